"""etc/felixpy-hardened.cfg: taken without a complaint, and each line says why it is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from felixpy.config import PARAMETERS, Resolved, examine, read_local, resolve, to_settings
from felixpy.config.parameter import Parameter
from felixpy.config.sources import Rank, Setting, Source

HARDENED = Path(__file__).resolve().parents[3] / "etc" / "felixpy-hardened.cfg"
DEFAULT = "The default."


def entries() -> dict[str, str]:
    """Parameter -> the comment right above it."""
    found, comment = {}, ""
    for line in HARDENED.read_text().splitlines():
        if line.startswith("# ----") or not line or line == "[global]":
            comment = ""
        elif line.startswith("#"):
            comment += line.removeprefix("#")
        else:
            found[line.partition("=")[0].strip()] = " ".join(comment.split())
            comment = ""
    return found


@pytest.fixture(scope="module")
def resolved() -> Resolved:
    return examine(read_local(HARDENED, {"FELIX_FELIXHOSTNAME": "n1"}))


def test_there_are_no_problems_but_what_is_not_built(resolved: Resolved) -> None:
    waiting = [name for name in entries() if PARAMETERS[name].effect == "later"]
    asked = [name for name in waiting if _value(resolved, PARAMETERS[name])[1]]
    assert [problem.name for problem in resolved.problems] == asked


@pytest.mark.parametrize("name", entries())
def test_each_line_says_what_it_closes(resolved: Resolved, name: str) -> None:
    comment = entries()[name]
    assert comment.startswith(("Closes ", "As above, ", "Leaves room "))
    _, differs = _value(resolved, PARAMETERS[name])
    assert differs != comment.endswith(DEFAULT)
    assert resolved.origins[name].startswith(str(HARDENED))


def _value(resolved: Resolved, parameter: Parameter[Any]) -> tuple[Any, bool]:
    """The value, and whether it differs from the default."""
    value = getattr(resolved.config, parameter.attribute)
    return value, value != parameter.default


def test_what_the_dataplane_makes_of_it(resolved: Resolved) -> None:
    render = to_settings(resolved.config).render
    assert render.fabric_spoof_protection == "Drop"
    assert (render.workload_to_host_rate, render.workload_to_host_burst) == (100, 200)
    assert render.endpoint_to_host_action == "DROP"
    assert {port.port for port in render.failsafe_inbound} == {22, 68}
    assert {port.port for port in render.failsafe_outbound} == {53, 67, 2379}


@pytest.fixture
def encrypting(tmp_path: Path) -> tuple[Source, ...]:
    """With IPsec, which needs keys that no file to start from can have."""
    path = tmp_path / "felixpy.cfg"
    more = "FelixHostname = n1\nIPsecEnabled = true\nIPsecKeyFile = /etc/felixpy/ipsec/keys\n"
    path.write_text(HARDENED.read_text() + more)
    return read_local(path, {})


def test_ipsec_beside_it_is_closed_and_nobody_else_has_a_say(
    encrypting: tuple[Source, ...],
) -> None:
    alone = to_settings(resolve(encrypting).config).ipsec
    assert alone.families == frozenset((4, 6))
    assert (alone.layout, alone.allow_clear) == ("pair", False)
    told = ("WireguardEnabled", "WireguardEnabledV6", "IPsecAllowClear", "IPsecStateLayout")
    texts = dict.fromkeys(told, "true") | {"IPsecStateLayout": "shared", "Ipv6Support": "false"}
    settings = tuple(Setting(name, text, "default") for name, text in texts.items())
    resolved = resolve((*encrypting, Source(Rank.CLUSTER, settings)))
    assert to_settings(resolved.config).ipsec == alone
    # what the file itself says is no news to anybody
    assert {problem.name for problem in resolved.problems} == set(texts) - {"Ipv6Support"}


def test_whoever_is_locked_out_by_it_was_told() -> None:
    text = " ".join(HARDENED.read_text().replace("#", " ").split())
    assert text.count("THE RISK: ") == 2  # one for each list of failsafe ports
