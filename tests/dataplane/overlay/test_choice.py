"""Which route one RouteUpdate comes to, in tables."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from calc_graph.updates import PoolType, RouteType, RouteUpdate
from dataplane.drivers.route_wishes import Route
from dataplane.families import Family
from dataplane.overlay.choice import Ways, route_for

REMOTE, LOCAL = RouteType.REMOTE_WORKLOAD, RouteType.LOCAL_WORKLOAD
TUNNEL = RouteType.REMOTE_TUNNEL
NODE_2, VTEP_2 = "172.30.0.2", "10.65.2.0"

WAYS = Ways(
    4,
    modes=frozenset[PoolType]({"vxlan", "ipip", "no-encap"}),
    parent="eth0",
    vxlan_device="vxlan.calico",
    vxlan_mtu=1450,
    ipip_device="tunl0",
    ipip_mtu=1480,
)
BLOCK = "10.65.2.0/26"


def told(pool: PoolType, types: RouteType = REMOTE, cidr: str = BLOCK, **more: Any) -> RouteUpdate:
    given = {"node": "n2", "node_ip": NODE_2, **more}
    return RouteUpdate(cidr, types, pool, **given)


def ours(dst: str, interface: str, **more: Any) -> Route:
    return Route(dst, interface, **{"metric": 0, "protocol": 80, **more})


DIRECT = ours(BLOCK, "eth0", gateway=NODE_2)
BY_VXLAN = ours(BLOCK, "vxlan.calico", gateway=VTEP_2, mtu=1450, protocol=3)
BY_IPIP = ours(BLOCK, "tunl0", gateway=NODE_2, mtu=1480)
BLACKHOLE = ours(BLOCK, "", kind="blackhole")

CASES: list[tuple[str, RouteUpdate, Route | None]] = [
    ("a block by VXLAN", told("vxlan"), BY_VXLAN),
    ("in our subnet", told("vxlan", same_subnet=True), DIRECT),
    ("in our subnet, its address unknown", told("vxlan", same_subnet=True, node_ip=""), BY_VXLAN),
    ("a block by IPIP", told("ipip"), BY_IPIP),
    ("IPIP in our subnet", told("ipip", same_subnet=True), DIRECT),
    (
        "IPIP, its address unknown",
        told("ipip", node_ip=""),
        structs.replace(BY_IPIP, gateway="", known=False),
    ),
    ("without encapsulation", told("no-encap"), DIRECT),
    (
        "without, its address unknown",
        told("no-encap", node_ip=""),
        ours(BLOCK, "eth0", known=False),
    ),
    ("a block of ours", told("vxlan", LOCAL), BLACKHOLE),
    ("a block of ours, IPIP", told("ipip", LOCAL), BLACKHOLE),
    ("a block of ours, bare", told("no-encap", LOCAL), BLACKHOLE),
    ("a block of one address", told("vxlan", LOCAL, "10.65.2.9/32"), None),
    ("an endpoint of ours", told("vxlan", LOCAL, "10.65.2.9/32", local_workload=True), None),
    (
        "one of ours in another's block",
        told("vxlan", LOCAL | REMOTE, "10.65.2.9/32", local_workload=True),
        None,
    ),
    (
        "an address that another borrowed",
        told("vxlan", REMOTE, "10.65.1.9/32", borrowed=True),
        ours("10.65.1.9/32", "vxlan.calico", gateway=VTEP_2, mtu=1450, protocol=3),
    ),
    ("a tunnel address in its own block", told("vxlan", TUNNEL, f"{VTEP_2}/32"), None),
    (
        "a borrowed tunnel address",
        told("vxlan", TUNNEL, f"{VTEP_2}/32", borrowed=True),
        ours(f"{VTEP_2}/32", "vxlan.calico", mtu=1450, protocol=3),
    ),
    (
        "a tunnel address with a block of its own",
        told("vxlan", TUNNEL | REMOTE, f"{VTEP_2}/32"),
        ours(f"{VTEP_2}/32", "vxlan.calico", mtu=1450, protocol=3),
    ),
    ("outside of pools", told("none"), None),
    ("a node", told("none", RouteType.REMOTE_HOST, "172.30.0.2/32"), None),
    ("a pool alone", told("vxlan", RouteType(0), "10.65.0.0/16", node="", node_ip=""), None),
    ("our own tunnel address", told("vxlan", RouteType.LOCAL_TUNNEL, "10.65.1.0/32"), None),
]


@pytest.mark.parametrize(("case", "update", "route"), CASES, ids=[case[0] for case in CASES])
def test_cases(case: str, update: RouteUpdate, route: Route | None) -> None:
    assert route_for(update, VTEP_2, WAYS) == route


ELSEWISE: list[tuple[str, RouteUpdate, dict[str, Any], Route | None]] = [
    # case, what is told, what is different about this node, the route
    (
        "no end known",
        told("vxlan"),
        {"vtep": ""},
        structs.replace(BY_VXLAN, gateway="", known=False),
    ),
    ("no end needed", told("vxlan", same_subnet=True), {"vtep": ""}, DIRECT),
    ("no parent, so by the tunnel", told("vxlan", same_subnet=True), {"parent": ""}, BY_VXLAN),
    ("no parent and no tunnel", told("no-encap"), {"parent": ""}, ours(BLOCK, "", known=False)),
    ("not ours to write", told("ipip"), {"modes": frozenset({"vxlan"})}, None),
    ("nor is its blackhole", told("ipip", LOCAL), {"modes": frozenset({"vxlan"})}, None),
    ("no mode at all", told("vxlan"), {"modes": frozenset()}, None),
    ("a source", told("vxlan"), {"source": "9.9.9.9"}, structs.replace(BY_VXLAN, source="9.9.9.9")),
    (
        "a source, for blackholes too",
        told("vxlan", LOCAL),
        {"source": "9.9.9.9"},
        structs.replace(BLACKHOLE, source="9.9.9.9"),
    ),
    ("a protocol", told("ipip"), {"protocol": 99}, structs.replace(BY_IPIP, protocol=99)),
    ("VXLAN's", told("vxlan"), {"vxlan_protocol": 99}, structs.replace(BY_VXLAN, protocol=99)),
]


@pytest.mark.parametrize(
    ("case", "update", "this_node", "route"), ELSEWISE, ids=[case[0] for case in ELSEWISE]
)
def test_other_nodes_than_that(case: str, update, this_node, route) -> None:
    different = {name: value for name, value in this_node.items() if name != "vtep"}
    vtep = this_node.get("vtep", VTEP_2)
    assert route_for(update, vtep, structs.replace(WAYS, **different)) == route


def test_ipv6_is_the_same() -> None:
    family: Family = 6
    ways = structs.replace(WAYS, family=family, vxlan_device="vxlan-v6.calico", vxlan_mtu=1430)
    update = told("vxlan", cidr="fd65:2::/122", node_ip="fd30::2")
    assert route_for(update, "fd65:2::", ways) == ours(
        "fd65:2::/122", "vxlan-v6.calico", gateway="fd65:2::", mtu=1430, protocol=3
    )
    single = told("vxlan", LOCAL, "fd65:2::9/128", node_ip="fd30::2")
    assert route_for(single, "fd65:2::", ways) is None
