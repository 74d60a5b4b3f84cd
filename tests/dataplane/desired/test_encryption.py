"""What the drivers are asked for where something must be encrypted, or WireGuard is on."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from calc_graph.model import IpPool
from calc_graph.updates import (
    PolicyRemove,
    PoolRemove,
    PoolUpdate,
    RouteRemove,
    RouteType,
    RouteUpdate,
)
from dataplane.families import Family
from dataplane.settings import IpsecSettings, Settings, WireguardSettings
from tests.dataplane.desired.builders import ALLOW, gnp, policy, staged, tier, wep
from tests.fakes.node import FakeNode, interface

FAMILIES: tuple[Family, ...] = (4, 6)
ON = Settings("here", wireguard=WireguardSettings(frozenset(FAMILIES), devices=("wg4", "wg6")))
ONE = structs.replace(ON, wireguard=structs.replace(ON.wireguard, families=frozenset((4,))))
W1 = wep("w1", "cali1", "10.0.0.1/32", tiers=[tier("a")])
REMOTE = "cali40remote-workloads", "cali60remote-workloads"


def guarded(node: FakeNode) -> set[tuple[Family, str]]:
    """What mangle looks at: flows, pools, packets that leave in clear, or not by IPsec."""
    rules = [
        (family, rule)
        for family in node.tables
        for chain in ("cali-PREROUTING", "cali-POSTROUTING")
        for rule in node.chain(chain, "mangle", family)
    ]
    signs = {
        "connmark": "flows",
        "encrypted-pools": "pools",
        "cali-left-in-clear": "count",
        "cali-by-ipsec-alone": "tunnel",
    }
    return {(f, what) for f, rule in rules for sign, what in signs.items() if sign in rule}


def test_a_policy_guards_both_families_and_takes_its_guards_along() -> None:
    node = FakeNode()
    node.told(W1, policy("a", ALLOW))
    plain = node.state()
    assert not node.desired.encryption.required
    node.told(policy("a", ALLOW, encrypted=True), policy("b", ALLOW, encrypted=True))
    assert guarded(node) == {(4, "flows"), (6, "flows")}
    assert node.desired.encryption.required
    assert {"cali-encrypted-in", "cali-encrypted-out"} <= node.tables[4].programmed("filter").keys()
    node.told(PolicyRemove(gnp("b")))
    assert guarded(node) == {(4, "flows"), (6, "flows")}
    node.told(policy("a", ALLOW))
    assert guarded(node) == set()
    assert node.state() == plain
    assert not {n for n in node.tables[4].programmed("filter") if "encrypted" in n}


def test_a_staged_policy_asks_for_nothing() -> None:
    node = FakeNode()
    node.told(policy(staged("a"), ALLOW, encrypted=True))
    assert guarded(node) == set()


def test_pools_by_family() -> None:
    node = FakeNode()
    node.resolve()
    plain = node.state()
    node.told(
        PoolUpdate(IpPool("10.65.0.0/16", encrypted=True)),
        PoolUpdate(IpPool("10.66.0.0/16")),
        PoolUpdate(IpPool("fd66::/48")),
    )
    assert guarded(node) == {(4, "pools")}
    assert node.members("cali40encrypted-pools") == {"10.65.0.0/16"}
    node.told(PoolUpdate(IpPool("fd66::/48", encrypted=True)), PoolUpdate(IpPool("10.65.0.0/16")))
    assert guarded(node) == {(6, "pools")}
    assert node.members("cali60encrypted-pools") == {"fd66::/48"}
    for cidr in ("10.65.0.0/16", "10.66.0.0/16", "fd66::/48"):
        node.told(PoolRemove(cidr))
    assert guarded(node) == set()
    assert node.state() == plain


REMOTES: list[tuple[str, dict[str, Any], bool]] = [
    ("a block", {"types": RouteType.REMOTE_WORKLOAD}, True),
    ("a block with the end of a tunnel in it",
     {"types": RouteType.REMOTE_WORKLOAD | RouteType.REMOTE_TUNNEL}, True),
    ("the end of a tunnel", {"types": RouteType.REMOTE_TUNNEL}, False),
    ("a node that is its own workload's address",
     {"types": RouteType.REMOTE_WORKLOAD | RouteType.REMOTE_HOST}, False),
    ("a node", {"types": RouteType.REMOTE_HOST}, False),
    ("our block", {"types": RouteType.LOCAL_WORKLOAD, "node": "here"}, False),
    ("one of theirs that an endpoint here has",
     {"types": RouteType.REMOTE_WORKLOAD, "local_workload": True}, False),
]  # fmt: skip


@pytest.mark.parametrize(("what", "facts", "counts"), REMOTES, ids=[c[0] for c in REMOTES])
def test_what_is_counted(what: str, facts: dict[str, Any], counts: bool) -> None:
    node = FakeNode(ON)
    nets = ("10.65.1.0/26", "fd65:0:0:1::/122")
    facts = {"pool": "vxlan", "node": "there", **facts}
    node.told(*(RouteUpdate(net, **facts) for net in nets))
    assert [node.members(name) for name in REMOTE] == [{n} if counts else set() for n in nets]
    assert all(name in node.ipsets[f].counting for f, name in zip(FAMILIES, REMOTE, strict=True))
    node.told(RouteUpdate(nets[0], RouteType.LOCAL_WORKLOAD, "vxlan", "here"), RouteRemove(nets[1]))
    assert [node.members(name) for name in REMOTE] == [set(), set()]


def test_what_goes_by_ipsec_or_not_at_all() -> None:
    ipsec = IpsecSettings(frozenset((4,)))
    node = FakeNode(Settings("here", ipsec=ipsec))
    node.told(RouteUpdate("10.65.1.0/26", RouteType.REMOTE_WORKLOAD, "vxlan", "there"))
    assert node.members(REMOTE[0]) == {"10.65.1.0/26"}
    assert guarded(node) == {(4, "tunnel")}
    assert "cali-by-ipsec-alone" in node.tables[4].programmed("mangle")
    clear = FakeNode(Settings("here", ipsec=structs.replace(ipsec, allow_clear=True)))
    clear.told(RouteUpdate("10.65.1.0/26", RouteType.REMOTE_WORKLOAD, "vxlan", "there"))
    assert guarded(clear) == set()
    assert REMOTE[0] not in clear.ipsets[4].sets


def test_only_families_with_wireguard_count() -> None:
    node = FakeNode(ONE)
    node.told(RouteUpdate("fd65:0:0:1::/122", RouteType.REMOTE_WORKLOAD, "vxlan", "there"))
    assert guarded(node) == {(4, "count")}
    assert REMOTE[1] not in node.ipsets[6].sets
    assert node.chain("cali-POSTROUTING", "mangle")[0] == (
        "! --out-interface wg4 --jump cali-left-in-clear"
    )


# ---------------------------------------------------------------- the fixed rules of WireGuard


def accepted(node: FakeNode, family: Family) -> set[str]:
    return {
        port
        for chain in ("cali-INPUT", "cali-OUTPUT")
        for rule in node.chain(chain, family=family)
        if "Wireguard packets" in rule
        for port in [rule.split("--destination-ports ")[1].split()[0]]
    }


def masqueraded(node: FakeNode, family: Family) -> bool:
    rules = node.chain("cali-POSTROUTING", "nat", family)
    return any(f"--out-interface wg{family} " in rule for rule in rules)


def marked(node: FakeNode) -> list[bool]:
    jump = "--jump cali-wireguard-incoming-mark"
    return [jump in node.chain("cali-PREROUTING", "raw", family) for family in FAMILIES]


def test_while_it_is_on() -> None:
    node = FakeNode(ON)
    node.resolve()
    assert [accepted(node, family) for family in FAMILIES] == [{"51820"}, {"51821"}]
    assert [masqueraded(node, family) for family in FAMILIES] == [True, True]
    assert marked(node) == [False, False]


def test_of_one_family_the_marks_are_in_both() -> None:
    ours = structs.replace(ONE.wireguard, host_encryption=True, mark=0x400000)
    node = FakeNode(structs.replace(ONE, wireguard=ours))
    node.resolve()
    assert [accepted(node, family) for family in FAMILIES] == [{"51820"}, set()]
    assert marked(node) == [True, True]
    assert node.chain("cali-wireguard-incoming-mark", "raw", 6) == (
        *(f"--in-interface {name} --jump RETURN" for name in ("lo", "wg4", "wg6", "cali+")),
        "--jump MARK --set-mark 0x400000/0x400000",
    )


def test_off_they_stay_as_long_as_the_device() -> None:
    off = structs.replace(ON.wireguard, families=frozenset(), host_encryption=True)
    node = FakeNode(structs.replace(ON, wireguard=off))
    node.resolve()
    assert [accepted(node, family) for family in FAMILIES] == [set(), set()]
    assert marked(node) == [False, False]
    node.has(interface("wg6"))
    node.resolve()
    assert [accepted(node, family) for family in FAMILIES] == [set(), {"51821"}]
    assert [masqueraded(node, family) for family in FAMILIES] == [False, True]
    assert marked(node) == [True, True]
    node.has("wg6")
    node.resolve()
    assert [accepted(node, family) for family in FAMILIES] == [set(), set()]
    assert marked(node) == [False, False]
