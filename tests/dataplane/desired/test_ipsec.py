"""Which families have IPsec's rules, and who is in the set of nodes."""

from __future__ import annotations

import pytest

from calc_graph.model import IpsecNode
from calc_graph.updates import HostRemove, HostUpdate, IpsecPeer, IpsecPeerRemove
from dataplane.families import Family
from dataplane.settings import IpsecSettings, RenderSettings, Settings
from tests.fakes.node import FakeNode

FAMILIES: tuple[Family, ...] = (4, 6)
BOTH = Settings("here", ipsec=IpsecSettings(frozenset(FAMILIES)))
ONE = Settings("here", ipsec=IpsecSettings(frozenset((4,))))
SETS = {4: "cali40ipsec-nodes", 6: "cali60ipsec-nodes"}
R1 = HostUpdate("r1", "172.30.0.1", "fd30::1")
R2 = HostUpdate("r2", "172.30.0.2", "")


def end(ipv4: str = "", ipv6: str = "", *, enabled: bool = True) -> IpsecNode:
    return IpsecNode(enabled=enabled, ipv4=ipv4, ipv6=ipv6)


def members(node: FakeNode) -> set[str]:
    return {address for name in SETS.values() for address in node.members(name)}


def ruled(node: FakeNode) -> set[tuple[Family, str]]:
    """Family and chain of the rules there are."""
    signs = (("filter", "cali-INPUT"), ("filter", "cali-OUTPUT"), ("mangle", "cali-PREROUTING"))
    return {
        (family, chain)
        for family in node.tables
        for table, chain in signs
        for rule in node.chain(chain, table, family)
        if "ipsec-nodes" in rule or "0xe00/0xf00" in rule
    }


ALL = {(f, c) for f in FAMILIES for c in ("cali-INPUT", "cali-OUTPUT", "cali-PREROUTING")}


def test_nothing_is_there_without_it() -> None:
    node = FakeNode()
    node.told(R1, IpsecPeer("r1", end("172.30.0.1", "fd30::1")))
    assert ruled(node) == set()
    assert not set(SETS.values()) & {name for sets in node.ipsets.values() for name in sets.sets}


@pytest.mark.parametrize(("settings", "families"), [(BOTH, FAMILIES), (ONE, (4,))])
def test_each_family_that_it_is_on_for(settings: Settings, families: tuple[Family, ...]) -> None:
    node = FakeNode(settings)
    node.told(R1, IpsecPeer("r1", end("172.30.0.1", "fd30::1")))
    assert ruled(node) == {each for each in ALL if each[0] in families}
    assert {f for f in FAMILIES if SETS[f] in node.ipsets[f].sets} == set(families)


def test_nodes_come_and_go() -> None:
    node = FakeNode(BOTH)
    node.told(R1, R2, IpsecPeer("here", end("172.30.0.9")), HostUpdate("here", "172.30.0.9", ""))
    assert members(node) == set()
    node.told(IpsecPeer("r1", end("172.30.0.1", "fd30::1")))
    assert members(node) == {"172.30.0.1", "fd30::1"}
    node.told(IpsecPeer("r2", end("10.0.0.2")))
    assert members(node) == {"172.30.0.1", "fd30::1", "10.0.0.2"}
    node.told(HostRemove("r1"))
    assert members(node) == {"10.0.0.2"}
    node.told(R1, IpsecPeerRemove("r2"))
    assert members(node) == {"172.30.0.1", "fd30::1"}


def test_a_node_that_goes_off_is_still_listened_to() -> None:
    node = FakeNode(BOTH)
    node.told(R2, IpsecPeer("r2", end(enabled=False)))
    assert members(node) == {"172.30.0.2"}


def test_rules_stay_until_it_has_come_to_its_end() -> None:
    node = FakeNode()
    node.told(R1, IpsecPeer("r1", end("172.30.0.1", "fd30::1")))
    before = node.state()
    node.ipsec.going = frozenset((6,))
    node.resolve()
    assert ruled(node) == {each for each in ALL if each[0] == 6}
    assert node.members(SETS[6]) == {"fd30::1"}
    assert SETS[4] not in node.ipsets[4].sets
    node.ipsec.going = frozenset()
    node.resolve()
    assert node.state() == before


def test_forged_sources_are_looked_for_in_what_was_not_decrypted() -> None:
    render = RenderSettings(fabric_spoof_protection="Drop")
    node = FakeNode(Settings("here", render=render, ipsec=BOTH.ipsec))
    node.resolve()
    for family in FAMILIES:
        rules = node.chain("cali-fabric-spoof", "raw", family)
        assert "-m mark --mark 0xd00/0xf00 --jump RETURN" in rules
