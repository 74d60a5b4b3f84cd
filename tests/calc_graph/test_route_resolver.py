"""Routes of one cluster as Felix resolves them, and what a change of it costs."""

from __future__ import annotations

from typing import TypeAlias

import pytest

from calc_graph.graph import CalcGraph
from calc_graph.model import (
    Block,
    BlockKey,
    IpPool,
    IpPoolKey,
    Key,
    Node,
    NodeKey,
    Value,
    WorkloadEndpoint,
    WorkloadEndpointKey,
)
from calc_graph.updates import RouteRemove, RouteType, RouteUpdate, VtepUpdate

T: TypeAlias = RouteType
State: TypeAlias = dict[Key, Value]


def bgp(interface: str, **tunnels: str) -> Node:
    return Node(interface, bgp_ipv4=interface, **tunnels)  # type: ignore[arg-type]


def workload(number: int, host: str = "n1") -> WorkloadEndpointKey:
    return WorkloadEndpointKey(host, "k8s", f"ns/w{number}", "eth0")


def endpoint(*nets: str) -> WorkloadEndpoint:
    return WorkloadEndpoint("cali1", nets)


CLUSTER: State = {
    NodeKey("n1"): bgp("192.168.0.1/24", ipip_address="10.1.0.1", vxlan_address="10.0.0.1"),
    NodeKey("n2"): bgp("192.168.0.2/24", ipip_address="10.1.1.1", vxlan_address="10.0.1.1"),
    NodeKey("n3"): bgp("192.168.9.3/24", vxlan_address="10.0.2.70"),
    NodeKey("n4"): Node("172.16.0.4/32", addresses=("172.16.0.4",), vxlan_address="10.0.3.1"),
    NodeKey("n5"): Node(vxlan_address="10.0.4.1"),
    IpPoolKey("vxlan"): IpPool("10.0.0.0/16", True, vxlan_mode="cross-subnet"),
    IpPoolKey("ipip"): IpPool("10.1.0.0/16", ipip_mode="always"),
    IpPoolKey("plain"): IpPool("10.2.0.0/16", disabled=True),
    IpPoolKey("services"): IpPool("10.3.0.0/24", True, allowed_uses=("LoadBalancer",)),
    BlockKey("10.0.0.0/26"): Block("n1", (("10.0.0.6/32", "n2"),)),
    BlockKey("10.0.1.0/26"): Block("n2", (("10.0.1.7/32", "n1"),)),
    BlockKey("10.0.2.64/26"): Block("n3"),
    BlockKey("10.0.5.0/26"): Block("", (("10.0.5.3/32", "n2"),)),
    BlockKey("10.1.1.0/26"): Block("n2"),
    BlockKey("10.0.6.1/32"): Block("n3"),
    workload(1): endpoint("10.0.0.5/32"),
    workload(2): endpoint("10.0.1.7/32"),
    workload(3): endpoint("10.9.9.9/32"),
}

# What Felix's own resolver says of this cluster.
VECTORS = """
10.0.0.0/16      0  vxlan     -   -            nat
10.0.0.0/26      4  vxlan     n1  192.168.0.1  nat same
10.0.0.1/32     32  vxlan     n1  192.168.0.1  nat same vxlan
10.0.0.5/32      4  vxlan     n1  192.168.0.1  nat same local
10.0.0.6/32      5  vxlan     n2  192.168.0.2  nat same borrowed
10.0.1.0/26      1  vxlan     n2  192.168.0.2  nat same
10.0.1.1/32     16  vxlan     n2  192.168.0.2  nat same vxlan
10.0.1.7/32      5  vxlan     n1  192.168.0.1  nat same local borrowed
10.0.2.64/26     1  vxlan     n3  192.168.9.3  nat
10.0.2.70/32    16  vxlan     n3  192.168.9.3  nat vxlan
10.0.3.1/32     16  vxlan     n4  172.16.0.4   nat vxlan
10.0.5.3/32      1  vxlan     n2  192.168.0.2  nat same
10.0.6.1/32      1  vxlan     n3  192.168.9.3  nat
10.1.0.0/16      0  ipip      -   -
10.1.0.1/32     32  ipip      n1  192.168.0.1  ipip
10.1.1.0/26      1  ipip      n2  192.168.0.2
10.1.1.1/32     16  ipip      n2  192.168.0.2  ipip
10.2.0.0/16      0  no-encap  -   -
10.3.0.0/24      0  none      -   -            nat
10.9.9.9/32      4  none      n1  192.168.0.1  local
172.16.0.4/32    2  none      n4  172.16.0.4
192.168.0.1/32   8  none      n1  192.168.0.1
192.168.0.2/32   2  none      n2  192.168.0.2
192.168.9.3/32   2  none      n3  192.168.9.3
"""


def parse_vector(line: str) -> RouteUpdate:
    cidr, types, pool, node, address, *flags = line.split()
    return RouteUpdate(
        cidr,
        RouteType(int(types)),
        pool,  # type: ignore[arg-type]
        node.strip("-"),
        address.strip("-"),
        same_subnet="same" in flags,
        nat_outgoing="nat" in flags,
        local_workload="local" in flags,
        borrowed="borrowed" in flags,
        tunnels=tuple(flag for flag in flags if flag in ("ipip", "vxlan")),  # type: ignore[misc]
    )


def graph_of(state: State) -> CalcGraph:
    graph = CalcGraph("n1")
    graph.in_sync()
    for key, value in state.items():
        graph.update(key, value)
    return graph


def change(graph: CalcGraph, *pairs: tuple[Key, Value | None]) -> dict[str, RouteUpdate | None]:
    for key, value in pairs:
        graph.update(key, value)
    found: dict[str, RouteUpdate | None] = {}
    for update in graph.flush():
        if isinstance(update, RouteUpdate | RouteRemove):
            assert update.cidr not in found
            found[update.cidr] = update if isinstance(update, RouteUpdate) else None
    return found


def test_a_cluster_as_felix_resolves_it() -> None:
    expected = [parse_vector(line) for line in VECTORS.strip().splitlines()]
    assert list(change(graph_of(CLUSTER)).values()) == expected


TOUCHED: list[tuple[str, list[tuple[Key, Value | None]], list[str]]] = [
    ("nothing new", list(CLUSTER.items()), []),
    (
        "a node's labels",
        [(NodeKey("n3"), bgp("192.168.9.3/24", labels={"a": "b"}, vxlan_address="10.0.2.70"))],  # type: ignore[arg-type]
        [],
    ),
    (
        "an address in a block finds another borrower",
        [(BlockKey("10.0.0.0/26"), Block("n1", (("10.0.0.6/32", "n3"),)))],
        ["10.0.0.6/32"],
    ),
    (
        "a block goes to another node, and with it what is borrowed in it",
        [(BlockKey("10.0.0.0/26"), Block("n2", (("10.0.0.5/32", "n1"),)))],
        ["10.0.0.0/26", "10.0.0.1/32", "10.0.0.5/32", "10.0.0.6/32"],
    ),
    (
        "a node's address, and every way that leads to it, its tunnels' too",
        [(NodeKey("n3"), bgp("192.168.0.3/24", vxlan_address="10.0.2.70"))],
        [
            *("10.0.2.64/26", "10.0.2.70/32", "10.0.6.1/32", "192.168.0.3/32"),
            "192.168.9.3/32",
        ],
    ),
    (
        "our subnet: who is in it",
        [
            (
                NodeKey("n1"),
                bgp("192.168.0.1/20", ipip_address="10.1.0.1", vxlan_address="10.0.0.1"),
            )
        ],
        ["10.0.2.64/26", "10.0.2.70/32", "10.0.6.1/32"],
    ),
    (
        "a pool, and what is in it",
        [(IpPoolKey("ipip"), IpPool("10.1.0.0/16"))],
        ["10.1.0.0/16", "10.1.0.1/32", "10.1.1.0/26", "10.1.1.1/32"],
    ),
    (
        "an endpoint moves here from elsewhere",
        [(workload(4, "n2"), endpoint("10.0.0.6/32")), (workload(4), endpoint("10.0.0.6/32"))],
        ["10.0.0.6/32"],
    ),
]


@pytest.mark.parametrize(("pairs", "cidrs"), [c[1:] for c in TOUCHED], ids=[c[0] for c in TOUCHED])
def test_what_a_change_touches(pairs: list[tuple[Key, Value | None]], cidrs: list[str]) -> None:
    graph = graph_of(CLUSTER)
    graph.flush()
    assert sorted(change(graph, *pairs)) == cidrs


def test_a_destination_that_changes_hands_is_told_once_and_not_taken_away() -> None:
    graph = graph_of(CLUSTER)
    graph.flush()
    key = BlockKey("10.0.2.64/26")
    found = change(graph, (key, None), (key, Block("n2")))
    assert found.keys() == {"10.0.2.64/26", "10.0.2.70/32"}
    assert None not in found.values()


def test_a_new_node_is_told_before_the_routes_to_it() -> None:
    graph = graph_of(CLUSTER)
    graph.flush()
    graph.update(BlockKey("10.0.7.0/26"), Block("n6"))
    graph.update(NodeKey("n6"), bgp("192.168.0.6/24", vxlan_address="10.0.7.1"))
    told = graph.flush()
    vtep = next(i for i, update in enumerate(told) if isinstance(update, VtepUpdate))
    assert all(i > vtep for i, update in enumerate(told) if isinstance(update, RouteUpdate))


ODD: list[tuple[str, State, RouteUpdate]] = [
    (
        "a node's own address is no workload's, whatever block it is in",
        {NodeKey("n2"): bgp("10.0.0.9/24"), BlockKey("10.0.0.0/26"): Block("n2")},
        RouteUpdate("10.0.0.9/32", T.REMOTE_HOST, "none", "n2", "10.0.0.9"),
    ),
    (
        "nor in a block of its own",
        {NodeKey("n2"): bgp("10.0.0.9/24"), BlockKey("10.0.0.9/32"): Block("n2")},
        RouteUpdate("10.0.0.9/32", T.REMOTE_HOST, "none", "n2", "10.0.0.9"),
    ),
    (
        "a tunnel's address in a block of its own is a workload's too",
        {
            NodeKey("n2"): bgp("10.0.0.9/24", vxlan_address="10.8.0.1"),
            BlockKey("10.8.0.1/32"): Block("n2"),
        },
        RouteUpdate(
            "10.8.0.1/32",
            T.REMOTE_TUNNEL | T.REMOTE_WORKLOAD,
            "none",
            "n2",
            "10.0.0.9",
            tunnels=("vxlan",),
        ),
    ),
    (
        "one address for all tunnels, borrowed",
        {
            NodeKey("n2"): Node(
                "10.0.0.9/24",
                ipip_address="10.8.0.1",
                vxlan_address="10.8.0.1",
                wireguard_address="10.8.0.1",
            ),
            BlockKey("10.8.0.0/26"): Block("n1"),
        },
        RouteUpdate(
            "10.8.0.1/32",
            T.REMOTE_TUNNEL,
            "none",
            "n2",
            "10.0.0.9",
            borrowed=True,
            tunnels=("ipip", "vxlan", "wireguard"),
        ),
    ),
    (
        "two nodes with one address: the first by name",
        {NodeKey("n3"): bgp("10.0.0.9/24"), NodeKey("n2"): bgp("10.0.0.9/24")},
        RouteUpdate("10.0.0.9/32", T.REMOTE_HOST, "none", "n2", "10.0.0.9"),
    ),
    (
        "an endpoint before a tunnel of the same node",
        {
            NodeKey("n1"): bgp("10.0.0.9/24", vxlan_address="10.8.0.1"),
            workload(1): endpoint("10.8.0.1/32"),
        },
        RouteUpdate("10.8.0.1/32", T.LOCAL_WORKLOAD, "none", "n1", "10.0.0.9", local_workload=True),
    ),
    (
        "a block's own node before the holder of an address in a wider one",
        {
            BlockKey("10.8.0.1/32"): Block("n3"),
            BlockKey("10.8.0.0/26"): Block("n2", (("10.8.0.1/32", "n4"),)),
        },
        RouteUpdate("10.8.0.1/32", T.REMOTE_WORKLOAD, "none", "n3", borrowed=True),
    ),
    (
        "a pool for services only leaves the type of the one around it",
        {
            IpPoolKey("a"): IpPool("10.8.0.0/16", ipip_mode="cross-subnet"),
            IpPoolKey("b"): IpPool("10.8.0.0/24", True, allowed_uses=("LoadBalancer",)),
        },
        RouteUpdate("10.8.0.0/24", T(0), "ipip", nat_outgoing=True),
    ),
    (
        "IPv6",
        {
            NodeKey("n1"): Node(bgp_ipv6="fd00::1/64"),
            NodeKey("n2"): Node(bgp_ipv6="fd00::2/64"),
            IpPoolKey("a"): IpPool("fd10::/48", vxlan_mode="cross-subnet"),
            BlockKey("fd10::40/122"): Block("n2"),
        },
        RouteUpdate("fd10::40/122", T.REMOTE_WORKLOAD, "vxlan", "n2", "fd00::2", same_subnet=True),
    ),
    (
        "a node without an address of the family",
        {
            NodeKey("n1"): bgp("10.0.0.1/0"),
            NodeKey("n2"): Node(bgp_ipv6="fd00::2/64"),
            IpPoolKey("a"): IpPool("10.8.0.0/16", vxlan_mode="cross-subnet"),
            BlockKey("10.8.0.0/26"): Block("n2"),
        },
        RouteUpdate("10.8.0.0/26", T.REMOTE_WORKLOAD, "vxlan", "n2"),
    ),
]


@pytest.mark.parametrize(("state", "expected"), [c[1:] for c in ODD], ids=[c[0] for c in ODD])
def test_odd_clusters(state: State, expected: RouteUpdate) -> None:
    for order in (state, dict(reversed(state.items()))):
        assert change(graph_of(order))[expected.cidr] == expected


def test_an_address_that_is_not_set_is_no_destination() -> None:
    graph = graph_of({NodeKey("n2"): bgp("0.0.0.0/0", addresses=("::",))})  # type: ignore[arg-type]
    assert change(graph) == {}
    assert change(graph, (NodeKey("n2"), None)) == {}
