"""IPsec's rules, letter by letter, and that without it nothing is different."""

from __future__ import annotations

from typing import Literal

import pytest
from msgspec import structs

from dataplane.render.encryption import NO_GUARDS, Guards, encryption_chains
from dataplane.render.fabric import fabric_chains
from dataplane.render.names import Table
from dataplane.render.overlays import NO_OVERLAYS, Overlays
from dataplane.render.static import static_chains
from dataplane.settings import RenderSettings

Family = Literal[4, 6]
ON = Overlays(ipsec=True)
SETTINGS = RenderSettings(interface_prefixes=("cali", "tap"))
DECRYPTED = "-m mark --mark 0xd00/0xf00 --jump RETURN"
MARK = "--jump MARK --set-mark 0xe00/0xf00"
TABLES: tuple[Table, ...] = ("raw", "mangle", "nat", "filter")


def chains(
    table: Table, family: Family, overlays: Overlays, guards: Guards = NO_GUARDS
) -> dict[str, tuple[str, ...]]:
    found = static_chains(table, family, SETTINGS, overlays, guards)
    return {chain.name: chain.rules for chain in found}


@pytest.mark.parametrize("family", [4, 6])
def test_what_workloads_send_is_marked_before_anything_else(family: Family) -> None:
    guards = Guards(policies=True, pools=True)
    on, off = chains("mangle", family, ON, guards), chains("mangle", family, NO_OVERLAYS, guards)
    rules = on["cali-PREROUTING"]
    assert rules[:2] == (f"--in-interface cali+ {MARK}", f"--in-interface tap+ {MARK}")
    assert {**on, "cali-PREROUTING": rules[2:]} == off


@pytest.mark.parametrize("family", [4, 6])
def test_esp_is_let_by_between_nodes_before_policy_of_hosts(family: Family) -> None:
    on, off = chains("filter", family, ON), chains("filter", family, NO_OVERLAYS)
    arriving, leaving = on["cali-INPUT"], on["cali-OUTPUT"]
    take = (
        f'-m comment --comment "Allow IPv{family} ESP packets from Calico hosts" -p 50'
        f" -m set --match-set cali{family}0ipsec-nodes src -m addrtype --dst-type LOCAL"
        " --jump ACCEPT"
    )
    send = (
        f'-m comment --comment "Allow IPv{family} ESP packets to other Calico hosts" -p 50'
        f" -m set --match-set cali{family}0ipsec-nodes dst -m addrtype --src-type LOCAL"
        " --jump ACCEPT"
    )
    assert arriving[0] == take
    where = leaving.index(send)
    assert where < next(n for n, rule in enumerate(leaving) if "cali-to-host-endpoint" in rule)
    without = {
        "cali-INPUT": arriving[1:],
        "cali-OUTPUT": (*leaving[:where], *leaving[where + 1 :]),
    }
    assert {**on, **without} == off


def test_the_configured_action_takes_esp_in() -> None:
    settings = structs.replace(SETTINGS, filter_allow_action="RETURN")
    found = static_chains("filter", 4, settings, ON)
    rules = [rule for chain in found for rule in chain.rules if "-p 50 " in rule]
    assert [rule.rpartition(" ")[2] for rule in rules] == ["RETURN", "RETURN"]


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("table", ["raw", "nat"])
def test_other_tables_are_as_without_it(table: Table, family: Family) -> None:
    assert chains(table, family, ON) == chains(table, family, NO_OVERLAYS)


@pytest.mark.parametrize("family", [4, 6])
def test_what_was_decrypted_is_not_forged(family: Family) -> None:
    settings = structs.replace(SETTINGS, fabric_spoof_protection="Drop")
    [on], [off] = (fabric_chains(family, settings, each) for each in (ON, NO_OVERLAYS))
    where = on.rules.index(DECRYPTED)
    assert all("--in-interface" in rule for rule in on.rules[:where])
    assert all("Forged" in rule for rule in on.rules[where + 1 :])
    assert (*on.rules[:where], *on.rules[where + 1 :]) == off.rules


@pytest.mark.parametrize("table", ["raw", "mangle", "filter"])
def test_what_ipsec_encrypts_is_encrypted(table: Table) -> None:
    on = encryption_chains(table, SETTINGS, "wg", ipsec=True)
    off = encryption_chains(table, SETTINGS, "wg", ipsec=False)
    leaving = "-m policy --dir out --pol ipsec --mode tunnel --proto esp --jump RETURN"
    for (before, after), rule in zip(zip(off, on, strict=True), (DECRYPTED, leaving), strict=True):
        assert after.name == before.name
        if "Must be encrypted" in before.rules[-1]:
            assert after.rules == (*before.rules[:-1], rule, before.rules[-1])
        else:
            assert after == before


def test_no_rule_of_calico_s_own_touches_these_bits() -> None:
    for family in (4, 6):
        for table in TABLES:
            for chain in static_chains(table, family, SETTINGS, ON, Guards(True, True, True)):
                for rule in chain.rules:
                    masks = [word.rpartition("/")[2] for word in rule.split() if "/0x" in word]
                    assert "0xf00" in masks or not any(int(mask, 16) & 0xF00 for mask in masks)
