"""The graph's edges: what it lets in, when it speaks, in which order, and what passes through."""

from __future__ import annotations

from itertools import groupby

import pytest

from calc_graph.bgp.resources import BgpConfiguration, BgpConfigurationKey
from calc_graph.graph import CalcGraph, RouteSource
from calc_graph.model import (
    Block,
    BlockKey,
    ClusterInformation,
    ClusterInformationKey,
    FelixConfiguration,
    FelixConfigurationKey,
    HostEndpoint,
    HostEndpointKey,
    IpPool,
    IpPoolKey,
    Key,
    Node,
    NodeKey,
    Peer,
    Policy,
    PolicyKey,
    Profile,
    ProfileKey,
    Rule,
    Tier,
    TierKey,
    Value,
    WorkloadEndpoint,
    WorkloadEndpointKey,
)
from calc_graph.selector import parse
from calc_graph.updates import (
    ActiveProfile,
    ActiveRule,
    EncapUpdate,
    HostRemove,
    HostUpdate,
    PoolRemove,
    PoolUpdate,
    ProfileUpdate,
    RouteRemove,
    RouteUpdate,
    ServiceCidrsUpdate,
    TunnelAddresses,
    Update,
)
from calc_graph.vteps import generated_mac

WEB = WorkloadEndpointKey("here", "k8s", "ns/web", "eth0")
REMOTE = WorkloadEndpointKey("there", "k8s", "ns/db", "eth0")
P, Q = (PolicyKey("GlobalNetworkPolicy", "", name) for name in "pq")
WORKLOAD = WorkloadEndpoint("cali1", ("10.0.0.1/32",), {"app": "web"}, ("r",))
NODE = Node("10.1.0.1/24", bgp_ipv4="10.1.0.1/24", vxlan_address="10.0.0.2")
DB = "app == 'db'"
FROM_DB = Policy("default", "app == 'web'", ingress=(Rule("allow", source=Peer(selector=DB)),))


def graph_with(*pairs: tuple[Key, Value]) -> CalcGraph:
    graph = CalcGraph("here")
    for key, value in pairs:
        graph.update(key, value)
    graph.in_sync()
    return graph


def told(graph: CalcGraph, *pairs: tuple[Key, Value | None]) -> list[Update]:
    for key, value in pairs:
        graph.update(key, value)
    return graph.flush()


def kinds(updates: list[Update]) -> list[str]:
    """Each only once where several come one after the other."""
    return [kind for kind, _ in groupby(type(update).__name__ for update in updates)]


def without_routes(updates: list[Update]) -> list[Update]:
    return [u for u in updates if not isinstance(u, RouteUpdate | RouteRemove)]


SETUP: list[tuple[Key, Value]] = [
    (WEB, WORKLOAD),
    (HostEndpointKey("here", "eth0"), HostEndpoint("eth0")),
    (P, FROM_DB),
    (ProfileKey("r"), Profile()),
    (TierKey("default"), Tier()),
    (NodeKey("here"), NODE),
    (IpPoolKey("a"), IpPool("10.0.0.0/16", vxlan_mode="always")),
    (BlockKey("10.0.0.0/26"), Block("here")),
    (BgpConfigurationKey("default"), BgpConfiguration(("10.96.0.0/12",))),
]


@pytest.mark.parametrize("pairs", [SETUP, SETUP[::-1]])
def test_everything_comes_in_the_order_of_its_references(pairs: list[tuple[Key, Value]]) -> None:
    graph = graph_with(*pairs)
    assert kinds(graph.flush()) == [
        "IpsetUpdate",
        "PolicyUpdate",
        "ProfileUpdate",
        "WorkloadEndpointUpdate",
        "HostEndpointUpdate",
        "EncapUpdate",
        "TunnelAddresses",
        "VtepUpdate",
        "RouteUpdate",
        "HostUpdate",
        "PoolUpdate",
        "ServiceCidrsUpdate",
    ]
    assert kinds(told(graph, *((key, None) for key, _ in pairs))) == [
        "WorkloadEndpointRemove",
        "HostEndpointRemove",
        "ProfileRemove",
        "PolicyRemove",
        "IpsetRemove",
        "EncapUpdate",
        "TunnelAddresses",
        "RouteRemove",
        "VtepRemove",
        "HostRemove",
        "PoolRemove",
        "ServiceCidrsUpdate",
    ]


def test_nothing_is_said_before_in_sync_and_nothing_twice() -> None:
    graph = CalcGraph("here")
    for key, value in SETUP:
        graph.update(key, value)
        assert graph.flush() == []
    graph.in_sync()
    # eight, and for VXLAN three, and five routes: pool, block, endpoint, node and its tunnel
    assert len(graph.flush()) == 16
    graph.in_sync()
    assert told(graph, *SETUP) == []


CHANGES: list[tuple[str, list[tuple[Key, Value | None]], list[str]]] = [
    ("member comes", [(REMOTE, WorkloadEndpoint("", ("10.0.0.9/32",), {"app": "db"}))],
     ["IpsetDelta"]),
    ("remote endpoint that no set holds", [(REMOTE, WorkloadEndpoint("", ("10.0.0.9/32",)))], []),
    ("rules change", [(P, Policy("default", "app == 'web'"))], ["PolicyUpdate", "IpsetRemove"]),
    ("order changes without effect",
     [(P, Policy("default", "app == 'web'", 5.0, FROM_DB.ingress))], []),
    ("a second policy with the same set",
     [(Q, FROM_DB)], ["PolicyUpdate", "WorkloadEndpointUpdate"]),
    ("policy replaced by another with the same set", [(P, None), (Q, FROM_DB)],
     ["PolicyUpdate", "WorkloadEndpointUpdate", "PolicyRemove"]),
    ("policy of others", [(Q, Policy("default", "app == 'other'"))], []),
    ("policy gone and back", [(P, None), (P, FROM_DB)], []),
    ("endpoint gone and back", [(WEB, None), (WEB, WORKLOAD)], []),
    ("profile gone", [(ProfileKey("r"), None)], ["ProfileUpdate"]),
    ("selector that is none", [(P, Policy("default", "app ="))],
     ["WorkloadEndpointUpdate", "PolicyRemove", "IpsetRemove"]),
    ("bad selector in a rule",
     [(P, Policy("default", "app == 'web'", ingress=(Rule("allow", source=Peer(selector="!")),)))],
     ["WorkloadEndpointUpdate", "PolicyRemove", "IpsetRemove"]),
    ("tier passes", [(TierKey("default"), Tier(default_action="Pass"))],
     ["WorkloadEndpointUpdate"]),
    ("unused tier", [(TierKey("other"), Tier(1.0))], []),
    ("configuration of the shell",
     [(FelixConfigurationKey("default"), FelixConfiguration({})),
      (ClusterInformationKey("default"), ClusterInformation({})),
      (FelixConfigurationKey("default"), None), (ClusterInformationKey("default"), None)], []),
    ("BGP configuration of one node",
     [(BgpConfigurationKey("node.here"), BgpConfiguration(("1.0.0.0/8",)))], []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "expected"), [c[1:] for c in CHANGES], ids=[c[0] for c in CHANGES]
)
def test_a_change_says_no_more_than_it_must(
    changes: list[tuple[Key, Value | None]], expected: list[str]
) -> None:
    graph = graph_with(*SETUP)
    graph.flush()
    assert kinds(told(graph, *changes)) == expected


def test_a_profile_with_a_bad_selector_denies() -> None:
    graph = graph_with((WEB, WORKLOAD))
    deny = ActiveProfile((ActiveRule("deny"),), (ActiveRule("deny"),))
    bad = Profile((Rule("allow", source=Peer(selector="a =")),), labels={"a": "1"})
    assert ProfileUpdate("r", deny) in told(graph, (ProfileKey("r"), bad))


def test_ipsets_are_named_by_their_selectors() -> None:
    (made, *_) = graph_with(*SETUP).flush()
    assert made.id == parse(DB).id


SMALL, BIG = IpPool("10.0.0.0/16", nat_outgoing=True), IpPool("10.0.0.0/16")
OTHER = IpPool("10.9.0.0/16")
POOLS: list[tuple[str, list[tuple[str, IpPool | None]], list[Update]]] = [
    ("comes", [("a", BIG)], [PoolUpdate(BIG)]),
    ("smallest name stands", [("b", SMALL), ("a", BIG)], [PoolUpdate(BIG)]),
    ("bytes, not letters", [("a", SMALL), ("Z", BIG)], [PoolUpdate(BIG)]),
    ("next takes over", [("a", BIG), ("b", SMALL), ("a", None)], [PoolUpdate(SMALL)]),
    ("moves", [("a", BIG), ("b", SMALL), ("a", OTHER)], [PoolUpdate(SMALL), PoolUpdate(OTHER)]),
    ("all gone", [("a", BIG), ("b", SMALL), ("a", None), ("b", None)], []),
]


@pytest.mark.parametrize(("steps", "expected"), [c[1:] for c in POOLS], ids=[c[0] for c in POOLS])
def test_pools(steps: list[tuple[str, IpPool | None]], expected: list[Update]) -> None:
    found = told(graph_with(), *((IpPoolKey(name), pool) for name, pool in steps))
    assert without_routes(found) == expected


def test_pool_that_changes_its_cidr_leaves_the_old_one() -> None:
    graph = graph_with((IpPoolKey("a"), BIG))
    graph.flush()
    found = without_routes(told(graph, (IpPoolKey("a"), OTHER)))
    assert found == [PoolRemove(BIG.cidr), PoolUpdate(OTHER)]


NEVER = EncapUpdate(ipip=False, vxlan=False, vxlan_v6=False)
V4_AND_V6 = [
    ("v4", IpPool("10.0.0.0/16", vxlan_mode="cross-subnet", disabled=True)),
    ("v6", IpPool("fd00::/64", vxlan_mode="always")),
]
ENCAPS: list[tuple[str, list[tuple[str, IpPool]], EncapUpdate]] = [
    ("none", [("a", BIG)], NEVER),
    ("ipip", [("a", IpPool("10.0.0.0/16", ipip_mode="always"))], EncapUpdate(True, False, False)),
    ("vxlan of both families", V4_AND_V6, EncapUpdate(False, True, True)),
    ("only the pool that stands", [("a", BIG), V4_AND_V6[0]], NEVER),
]


@pytest.mark.parametrize(("pools", "expected"), [c[1:] for c in ENCAPS], ids=[c[0] for c in ENCAPS])
def test_tunnels_that_pools_ask_for(pools: list[tuple[str, IpPool]], expected: EncapUpdate) -> None:
    graph = graph_with(*((IpPoolKey(name), pool) for name, pool in pools))
    assert ([u for u in graph.flush() if isinstance(u, EncapUpdate)] or [NEVER])[-1] == expected
    gone = told(graph, *((IpPoolKey(name), None) for name, _ in pools))
    assert NEVER in [expected, *gone]


def test_own_tunnel_addresses_come_from_the_own_node() -> None:
    graph = graph_with((NodeKey("there"), NODE), (NodeKey("here"), NODE))
    (found,) = (u for u in graph.flush() if isinstance(u, TunnelAddresses))
    assert found == TunnelAddresses(vxlan="10.0.0.2", vxlan_mac=generated_mac("here"))
    assert TunnelAddresses() in told(graph, (NodeKey("here"), None))
    assert TunnelAddresses() not in told(graph, (NodeKey("there"), None))


BLOCK_AND_REMOTE: list[tuple[Key, Value]] = [
    (BlockKey("10.0.0.0/26"), Block("there")),
    (REMOTE, WorkloadEndpoint("", ("10.0.0.9/32",))),
    (WEB, WORKLOAD),
]


@pytest.mark.parametrize(
    ("source", "cidrs"),
    [
        ("CalicoIPAM", ["10.0.0.0/26", "10.0.0.1/32"]),
        ("WorkloadIPs", ["10.0.0.1/32", "10.0.0.9/32"]),
    ],
)
def test_routes_follow_blocks_or_workloads(source: RouteSource, cidrs: list[str]) -> None:
    graph = CalcGraph("here", source)
    graph.in_sync()
    found = told(graph, *BLOCK_AND_REMOTE)
    assert [update.cidr for update in found if isinstance(update, RouteUpdate)] == cidrs
    found = told(graph, *((key, None) for key, _ in BLOCK_AND_REMOTE))
    assert [update.cidr for update in found if isinstance(update, RouteRemove)] == cidrs


def test_a_new_dataplane_is_told_everything_again() -> None:
    graph = graph_with(*SETUP)
    assert graph.flush() == graph.replay()


def test_hosts_are_nodes_that_have_an_address() -> None:
    graph = graph_with((NodeKey("n"), Node()))
    assert graph.flush() == []
    both = Node("172.30.0.10/24", "fd00::1/64")
    found = without_routes(told(graph, (NodeKey("n"), both)))
    assert found == [HostUpdate("n", "172.30.0.10", "fd00::1")]
    assert told(graph, (NodeKey("n"), Node(both.ipv4, both.ipv6, {"a": "1"}))) == []
    assert without_routes(told(graph, (NodeKey("n"), Node()))) == [HostRemove("n")]
    assert told(graph, (NodeKey("n"), None)) == []


def test_service_addresses() -> None:
    key = BgpConfigurationKey("default")
    graph = graph_with()
    found = told(graph, (key, BgpConfiguration(("10.96.0.0/12",))))
    assert found == [ServiceCidrsUpdate(("10.96.0.0/12",))]
    assert told(graph, (key, None)) == [ServiceCidrsUpdate(())]


def test_a_value_of_another_kind_is_refused() -> None:
    with pytest.raises(TypeError, match="Tier"):
        CalcGraph("here").update(WEB, Tier())
