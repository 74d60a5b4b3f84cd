"""The rules that keep to encryption, letter by letter, and that nothing else changes."""

from __future__ import annotations

import itertools
from typing import Literal

import pytest
from msgspec import structs

from calc_graph.updates import ActivePolicy, ActiveRule
from dataplane.chains import Chain
from dataplane.render.encryption import (
    POLICING,
    Guards,
    coverage_chain,
    encryption_chains,
    tunnelled_chain,
)
from dataplane.render.names import Direction
from dataplane.render.rules import policy_chains
from dataplane.render.static import static_chains
from dataplane.settings import MarkBits, RenderSettings
from tests.dataplane.desired.builders import gnp

Family = Literal[4, 6]
SETTINGS = RenderSettings(interface_prefixes=("cali", "tap"))
NOTE = "--jump CONNMARK --set-mark 0x80000000/0x80000000"
DROP_IN = '-m comment --comment "Must be encrypted: came in clear" --jump DROP'
DROP_OUT = '-m comment --comment "Must be encrypted: to leave in clear" --jump DROP'
FLOW = "-m connmark --mark 0x80000000/0x80000000 --jump cali-encrypted-"
POOLS = (
    "-m set --match-set cali{0}0encrypted-pools src -m set --match-set cali{0}0encrypted-pools dst"
    " --jump cali-encrypted-"
)
ALONE = "-m set --match-set cali{}0remote-workloads dst --jump cali-by-ipsec-alone"
COUNT = "! --out-interface {} --jump cali-left-in-clear"
DEVICES: dict[Family, str] = {4: "wireguard.cali", 6: "wg-v6.cali"}
RULES = (ActiveRule("allow", protocol="tcp"), ActiveRule("pass"), ActiveRule("deny"))


def returns(by: str, *names: str) -> list[str]:
    return [f"--{by}-interface {name} --jump RETURN" for name in names]


def mangle(family: Family, guards: Guards) -> dict[str, tuple[str, ...]]:
    chains = static_chains("mangle", family, RenderSettings(), guards=guards)
    return {chain.name: chain.rules for chain in chains}


@pytest.mark.parametrize(
    ("direction", "chain"), [("ingress", "cali-encrypted-in"), ("egress", "cali-encrypted-out")]
)
def test_what_a_policy_allows_goes_on_to_the_fixed_chain(direction: Direction, chain: str) -> None:
    plain = structs.replace(ActivePolicy("default", "all()"), **{direction: RULES})
    encrypted = structs.replace(plain, encrypted=True)
    which = 0 if direction == "ingress" else 1
    for family in (4, 6):
        changed = policy_chains(gnp("p"), encrypted, family, RenderSettings())[which]
        before = policy_chains(gnp("p"), plain, family, RenderSettings())[which]
        allowed = "-m mark --mark 0x10000/0x10000"
        assert changed.rules[1] == f"{allowed} --goto {chain}"
        assert before.rules[1] == f"{allowed} --jump RETURN"
        assert changed.rules[:1] + changed.rules[2:] == before.rules[:1] + before.rules[2:]
        assert changed.targets() == {chain}


def test_the_last_rule_too() -> None:
    """Elsewhere a return at the end is left out."""
    policy = ActivePolicy("default", "all()", ingress=(ActiveRule("allow"),), encrypted=True)
    ingress, egress = policy_chains(gnp("p"), policy, 4, RenderSettings())
    assert ingress.rules[-1].endswith("--goto cali-encrypted-in")
    assert len(egress.rules) == 1


@pytest.mark.parametrize(
    ("table", "arriving", "leaving"),
    [
        (
            "raw",
            [*returns("in", "lo", "cali+", "tap+", "wg9"), DROP_IN],
            [*returns("out", "lo", "cali+", "tap+", "wg9"), DROP_OUT],
        ),
        (
            "mangle",
            [NOTE, *returns("in", "lo", "cali+", "tap+", "wg9"), DROP_IN],
            [NOTE, *returns("out", "lo", "cali+", "tap+", "wg9"), DROP_OUT],
        ),
        ("filter", [NOTE, *returns("in", "lo", "cali+", "tap+", "wg9"), DROP_IN], [NOTE]),
    ],
)
def test_the_fixed_chains(
    table: Literal["raw", "mangle", "filter"], arriving: list[str], leaving: list[str]
) -> None:
    assert encryption_chains(table, SETTINGS, "wg9", ipsec=False) == (
        Chain("cali-encrypted-in", tuple(arriving)),
        Chain("cali-encrypted-out", tuple(leaving)),
    )


def test_the_note_is_the_highest_bit_that_is_ours() -> None:
    marks = MarkBits(1, 2, 4, 8, 16, 0xE0)
    settings = RenderSettings(marks=marks)
    assert marks.encrypted == 0x80
    assert encryption_chains("filter", settings, "wg9", ipsec=False)[1].rules == (
        "--jump CONNMARK --set-mark 0x80/0x80",
    )


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(
    ("policies", "pools", "counted", "tunnelled"),
    list(itertools.product((False, True), repeat=4)),
)
def test_guards_come_before_everything_else_in_mangle(
    family: Family, policies: bool, pools: bool, counted: bool, tunnelled: bool
) -> None:
    guards = Guards(policies, pools, counted, tunnelled)
    guarded, plain = mangle(family, guards), mangle(family, Guards())
    expected: dict[str, list[str]] = {"cali-PREROUTING": [], "cali-POSTROUTING": []}
    for chain, way in (("cali-PREROUTING", "in"), ("cali-POSTROUTING", "out")):
        expected[chain] += [FLOW + way] if policies else []
        expected[chain] += [POOLS.format(family) + way] if pools else []
    expected["cali-POSTROUTING"] += [ALONE.format(family)] if tunnelled else []
    expected["cali-POSTROUTING"] += [COUNT.format(DEVICES[family])] if counted else []
    for chain, rules in plain.items():
        assert guarded[chain] == (*expected.get(chain, []), *rules)


def test_other_tables_stay_as_they_are() -> None:
    everything = Guards(policies=True, pools=True, counted=True, tunnelled=True)
    for table in POLICING:
        if table != "mangle":
            assert static_chains(table, 4, SETTINGS, guards=everything) == static_chains(
                table, 4, SETTINGS
            )


@pytest.mark.parametrize("family", [4, 6])
def test_coverage(family: Family) -> None:
    assert coverage_chain(family, SETTINGS).rules == (
        *returns("out", "lo", "cali+", "tap+"),
        '-m comment --comment "Left in clear"'
        f" -m set --match-set cali{family}0remote-workloads dst",
    )


def test_by_ipsec_alone() -> None:
    assert tunnelled_chain(SETTINGS).rules == (
        *returns("out", "lo", "cali+", "tap+"),
        "-m policy --dir out --pol ipsec --mode tunnel --proto esp --jump RETURN",
        '-m comment --comment "Must be encrypted: to leave in clear" --jump DROP',
    )
