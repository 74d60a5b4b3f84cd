"""What is told of BGP: problems, a line, and everything; a password in none of them."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import structs

from calc_graph.bgp.resources import SecretRef
from calc_graph.bgp.updates import BgpSession
from dataplane.bird.credentials import Credential, Password
from dataplane.bird.outcome import Outcome
from dataplane.bird.settings import BirdSettings
from dataplane.bird.version import SessionPart, Version
from felixpy.bgp import report
from felixpy.bgp.bringing import Brought
from felixpy.bgp.looks import Seen
from felixpy.bgp.netstat import SignatureFaults
from felixpy.status import BgpStatus
from tests.felixpy.bgp.bird_values import FAULTS, MESH, REF, TOR

NAMES = (MESH.name, TOR.name)
GOOD = {REF: Credential(Password("hidden"))}
WELL = Brought(
    Version("", "", {name: SessionPart(None) for name in NAMES}),
    {MESH.name: MESH, TOR.name: TOR},
    GOOD,
    outcome=Outcome("unchanged"),
)
SEEN = Seen({MESH.name: True, TOR.name: False}, frozenset((TOR.name,)))
SETTINGS = BirdSettings()
REASON = "Secret bgp-secrets/mesh: there is no such Secret"


def disabled(*names: str) -> Version:
    return Version("", "", {name: SessionPart(None, False, REASON) for name in names})


STATES = [
    (None, SEEN, "waiting"),
    (WELL, SEEN, "in sync"),
    (WELL, None, "away"),
    (structs.replace(WELL, outcome=Outcome("away", "x")), None, "away"),
    (structs.replace(WELL, outcome=Outcome("refused", "x")), SEEN, "refused"),
    (structs.replace(WELL, outcome=Outcome("undone", "x")), SEEN, "undone"),
    (structs.replace(WELL, outcome=None), SEEN, "trying"),
    (structs.replace(WELL, trying=True), SEEN, "trying"),
    (structs.replace(WELL, unrenderable="no router id"), SEEN, "refused"),
]


@pytest.mark.parametrize(("brought", "seen", "state"), STATES)
def test_states(brought: Brought | None, seen: Seen | None, state: str) -> None:
    assert report.state(brought, seen) == state
    assert report.summary(brought, seen, SETTINGS).state == state
    assert report.details(brought, seen, SETTINGS).state == state


PROBLEMS = [
    (WELL, {}),
    (
        structs.replace(WELL, faults=FAULTS.faults),
        {"BGPPeer odd": "BGPPeer odd: names no AS number"},
    ),
    (
        structs.replace(WELL, version=Version("", "", {}, {"BGPFilter f": "too long"})),
        {"BGPFilter f": "BGPFilter f: too long"},
    ),
    (
        structs.replace(WELL, version=disabled("a", "b", "c", "d", "e")),
        {"session a": f"a, b, c and 2 more disabled: {REASON}"},
    ),
    (
        structs.replace(WELL, version=disabled(MESH.name, TOR.name)),
        {
            f"session {MESH.name}": f"{MESH.name} disabled: {REASON} (Secret bgp-secrets/mesh)",
            f"session {TOR.name}": f"{TOR.name} disabled: {REASON}",
        },
    ),
    (
        structs.replace(
            WELL,
            version=disabled("a"),
            secret_problems={"Secret bgp-secrets/mesh": REASON, "/etc/s.yaml": "others may read"},
        ),
        {
            "session a": f"a disabled: {REASON}",
            "/etc/s.yaml": "/etc/s.yaml: others may read",
        },
    ),
    (
        structs.replace(WELL, outcome=Outcome("refused", "line 3: syntax error")),
        {"BIRD": "the new configuration is refused, and the one before stays: line 3: syntax"},
    ),
    (
        structs.replace(WELL, outcome=Outcome("undone", "Mesh_10_0_0_2 is not back")),
        {"BIRD": "the new configuration was undone: Mesh_10_0_0_2 is not back"},
    ),
    (
        structs.replace(WELL, outcome=Outcome("away", "no such file")),
        {"BIRD": "BIRD does not answer: no such file"},
    ),
    (
        structs.replace(WELL, unrenderable="no router id"),
        {"BIRD": "no configuration for BIRD can be made: no router id"},
    ),
]


@pytest.mark.parametrize(("brought", "expected"), PROBLEMS)
def test_problems(brought: Brought, expected: dict[str, str]) -> None:
    found = report.problems(brought)
    assert found.keys() == expected.keys()
    for about, text in expected.items():
        assert found[about].startswith(text)


def test_one_line() -> None:
    parts = {MESH.name: SessionPart(None), TOR.name: SessionPart(None, False, REASON)}
    brought = structs.replace(WELL, version=Version("", "", parts))
    settings = BirdSettings(unguarded=frozenset(("tor", "unknown")))
    assert report.summary(brought, SEEN, settings) == BgpStatus("in sync", 2, 1, 1, ("tor",))


PASSWORDS = [
    (TOR, {}, "none"),
    (MESH, {}, "refused: not read yet"),
    (MESH, GOOD, "set"),
    (MESH, {REF: Credential(Password("hidden"), "disk fault")}, "last good: disk fault"),
    (MESH, {REF: Credential(None, "longer than 80")}, "refused: longer than 80"),
]


@pytest.mark.parametrize(("session", "credentials", "expected"), PASSWORDS)
def test_passwords(
    session: BgpSession, credentials: dict[SecretRef, Credential], expected: str
) -> None:
    brought = structs.replace(WELL, credentials=credentials)
    assert report.password(session, brought) == expected
    refusals = report.password_refusals(brought)
    assert (session.name in refusals) == expected.startswith("refused")


HINTS = [
    (True, SignatureFaults(), False),
    (True, SignatureFaults(wrong=1), True),
    (True, SignatureFaults(missing=1), True),
    (True, SignatureFaults(unexpected=1), False),
    (False, SignatureFaults(wrong=1, missing=1), False),
    (False, SignatureFaults(unexpected=1), True),
]


@pytest.mark.parametrize(("password_set", "faults", "said"), HINTS)
def test_a_hint_where_signatures_do_not_agree(
    password_set: bool, faults: SignatureFaults, said: bool
) -> None:
    assert bool(report.hint(faults, password_set=password_set)) == said


def test_details_name_each_session_and_no_password() -> None:
    settings = BirdSettings(unguarded=frozenset(("mesh", "tor")))
    seen = structs.replace(SEEN, faults=SignatureFaults(unexpected=4))
    found = report.details(WELL, seen, settings)
    tor, mesh = found.sessions
    assert (tor.name, tor.filters, tor.password, tor.unguarded) == (
        *(TOR.name, ("narrow", "wide")),
        *("none", True),
    )
    assert "has a password" in tor.hint
    assert (mesh.name, mesh.password, mesh.unguarded, mesh.hint) == (MESH.name, "set", False, "")
    assert b"hidden" not in msgspec.json.encode(found)
