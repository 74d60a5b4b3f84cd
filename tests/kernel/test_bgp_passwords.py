"""Sessions with passwords: right ones come up, others stay down with a reason, and no value shows.

One laboratory for all; the values are such that they can be looked for wherever something is said.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.bgp_lab import Lab, laboratory
from tests.kernel.bgp_routers import Node, comes_to
from tests.kernel.bgp_texts import (
    FAMILIES,
    MESH_PASSWORD,
    SECRETS,
    TOR,
    TOR_PASSWORD,
    block,
    mesh,
    outside,
    secret,
    usual_tor,
)

pytestmark = pytest.mark.kernel

METRICS_PORT = 9091
SESSION = {family: outside(TOR, family) for family in FAMILIES}
OVERLONG = "overlong-5Wd-" + "x" * 68
QUOTED = 'quoted-2Hf"; import all; #'
# case: what stands under the key, words of the reason
REFUSED = {
    "over-long": (OVERLONG, "longer than 80"),
    "empty": ("", "empty"),
    "newline": ("trailing-8Pc\n", "newline"),
    "quotation mark": (QUOTED, "quotation mark"),
    "not ASCII": ("umlaut-6Rt-ä", "ASCII"),
    "control character": ("bell-4Mb-\a", "control character"),
}
ROTATED = "tor-v4.rotated.1Xy"
NEVER_SHOWN = (
    MESH_PASSWORD,
    *TOR_PASSWORD.values(),
    ROTATED,
    "wrong-mesh-3Jn",
    "overlong-5Wd",
    "trailing-8Pc",
    "quoted-2Hf",
    "umlaut-6Rt",
    "bell-4Mb",
)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with laboratory() as made:
        made.furnish()
        made.start(
            PrometheusMetricsEnabled="true",
            PrometheusMetricsHost="127.0.0.1",
            PrometheusMetricsPort=str(METRICS_PORT),
        )
        made.await_established()
        yield made


def said(found: Node) -> str:
    """On one line, so that words that a table has broken apart can be found."""
    return " ".join(found.felixpy("status", "bgp")[1].split())


def secrets(**changed: str) -> str:
    values = {"mesh": MESH_PASSWORD, "tor_v4": TOR_PASSWORD[4], "tor_v6": TOR_PASSWORD[6]}
    return secret("bgp-secrets", **(values | changed))


def test_right_passwords_are_up_and_wrong_or_missing_ones_down(lab: Lab) -> None:
    n1, n3 = lab.nodes[1], lab.nodes[3]
    of_n3 = {mesh(3, family) for family in FAMILIES}
    others = {name: s for name, s in n1.sessions().items() if name not in of_n3}

    def down() -> bool:
        return not of_n3 & n1.established() and n3.established() == set(SESSION.values())

    n3.give_secret(secrets(mesh="wrong-mesh-3Jn"))
    comes_to(True, down)
    comes_to(True, lambda: n1.learned(mesh(3, 4)) == set())
    assert {name: s for name, s in n1.sessions().items() if name not in of_n3} == others
    comes_to(True, lambda: "password" in said(n1))  # the kernel has counted it

    (n3.secrets / "bgp.yaml").unlink()
    comes_to(set(), n3.established)
    comes_to(True, lambda: "no such Secret" in said(n3))
    assert block(3, 4) not in n1.kernel(4)
    assert {name: s for name, s in n1.sessions().items() if name not in of_n3} == others

    n3.give_secret(secret("bgp-secrets", mesh=MESH_PASSWORD, tor_v6=TOR_PASSWORD[6]))
    n3.await_established(lab.expected(3) - {SESSION[4]})
    comes_to(True, lambda: "key is missing" in said(n3))
    assert n3.sessions()[SESSION[4]].state == "down"
    assert "key is missing" in n3.log_text()
    n3.give_secret(SECRETS)
    lab.await_established()


def test_what_can_be_no_password_keeps_that_session_down(lab: Lab) -> None:
    n1 = lab.nodes[1]
    others = {name: s for name, s in n1.sessions().items() if name != SESSION[4]}
    for case, (value, words) in REFUSED.items():
        n1.give_secret(secrets(tor_v4=value))
        comes_to(True, lambda w=words: w in said(n1))
        comes_to("down", lambda: n1.sessions()[SESSION[4]].state)
        assert words in n1.log_text(), case
        comes_to(set(), lab.tor.learned, "p1_4")  # which hears of it from n1
        found = n1.sessions()
        assert {name: found[name] for name in others} == others, case
    n1.give_secret(SECRETS)
    n1.await_established([SESSION[4]])


def test_a_rotation_touches_the_sessions_of_that_key_only(lab: Lab) -> None:
    n1 = lab.nodes[1]
    before = n1.sessions()
    n1.give_secret(secrets(tor_v4=ROTATED))
    comes_to(True, lambda: SESSION[4] not in n1.established())
    text = usual_tor(lab.nodes)
    first = text.index("protocol bgp p1_4")
    lab.tor.configure(
        text[:first] + text[first:].replace(f'"{TOR_PASSWORD[4]}"', f'"{ROTATED}"', 1)
    )
    n1.await_established([SESSION[4]])
    after = n1.sessions()
    assert {name for name in after if after[name] != before[name]} == {SESSION[4]}
    lab.tor.configure(text)
    n1.give_secret(SECRETS)
    lab.await_established()


def test_a_secret_that_others_can_read_is_none(lab: Lab) -> None:
    n1 = lab.nodes[1]
    n1.give_secret(SECRETS, mode=0o644)
    comes_to(set(), n1.established)
    assert "others than root have access" in said(n1)
    n1.give_secret(SECRETS)
    lab.await_established()


def test_no_password_is_to_be_read_anywhere(lab: Lab) -> None:
    """After all of the above; the secrets' own directory and BIRD's file excepted."""
    n1 = lab.nodes[1]
    spoken = {
        " ".join(words): n1.felixpy(*words)[1]
        for words in (
            ("status",),
            ("status", "--json"),
            ("status", "bgp"),
            ("status", "bgp", "--json"),
            ("bgp", "config"),
            ("bgp", "config", "--json"),
            ("bgp", "rejected"),
            ("bgp", "rejected", "--json"),
            ("bgp", "rbac"),
        )
    }
    spoken["metrics"] = n1.space.run(f"curl -s http://127.0.0.1:{METRICS_PORT}/metrics")
    spoken["processes"] = subprocess.run(
        ["ps", "axeww"], capture_output=True, text=True, check=True
    ).stdout
    for found in lab.nodes.values():
        spoken[f"log of {found.name}"] = found.log_text()
        spoken[f"BIRD's log of {found.name}"] = found.log.read_text()
    assert "bgp" in spoken["metrics"]
    shown = [
        (where, value) for where, text in spoken.items() for value in NEVER_SHOWN if value in text
    ]
    assert shown == []
    holding = [path for path in lab.directory.rglob("*") if path.is_file() and _holds(path)]
    assert {path.parent.name for path in holding} == {"secrets", "bird"}
    for path in holding:
        assert path.stat().st_mode & 0o007 == 0, path
        if path.parent.name == "bird" and path.parent.parent != lab.tor.directory:
            assert (path.stat().st_mode & 0o777, path.owner(), path.group()) == (
                0o640,
                "root",
                "bird",
            )


def _holds(path: Path) -> bool:
    content = path.read_bytes()
    return any(value.encode() in content for value in NEVER_SHOWN)
