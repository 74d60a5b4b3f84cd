"""What each node may announce: section 6.1 of the BGP reference, row by row."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from calc_graph.bgp.graph import BgpGraph
from calc_graph.bgp.origins import EXCLUDED_LABEL
from calc_graph.bgp.resources import BlockAffinity, BlockAffinityKey
from calc_graph.bgp.updates import BgpOrigins, BgpOriginsRemove
from calc_graph.model import (
    Block,
    BlockKey,
    IpPool,
    IpPoolKey,
    Node,
    NodeKey,
    WorkloadEndpoint,
    WorkloadEndpointKey,
)
from tests.calc_graph.bgp.told import State, told

NODE = Node(bgp_ipv4="10.0.0.2/24", bgp_ipv6="fd00::2/64")
POOLS: State = {
    IpPoolKey("v4"): IpPool("10.65.0.0/16"),
    IpPoolKey("v6"): IpPool("fd65::/48"),
}
OWN = BlockAffinityKey("n2", "10.65.2.0/26")
CONFIRMED = BlockAffinity()
ENDPOINT = WorkloadEndpointKey("n2", "k8s", "p/w", "eth0")


def workload(*nets: str) -> WorkloadEndpoint:
    return WorkloadEndpoint("cali1", nets)


NETS: list[tuple[str, State, tuple[str, ...]]] = [
    ("a block", {OWN: CONFIRMED}, ("10.65.2.0/26",)),
    ("a pending one is none", {OWN: BlockAffinity("pending")}, ()),
    ("one given back is none", {OWN: BlockAffinity("pendingDeletion")}, ()),
    ("of another node", {BlockAffinityKey("n3", "10.65.2.0/26"): CONFIRMED}, ()),
    ("a workload in it", {OWN: CONFIRMED, ENDPOINT: workload("10.65.2.9/32")}, ("10.65.2.0/26",)),
    (
        "a workload in another's block",
        {OWN: CONFIRMED, ENDPOINT: workload("10.65.3.9/32", "fd65::9/128")},
        ("10.65.2.0/26", "10.65.3.9/32", "fd65::9/128"),
    ),
    ("a workload without blocks", {ENDPOINT: workload("10.65.3.9/32")}, ("10.65.3.9/32",)),
    (
        "a workload in a block that is given back",
        {OWN: BlockAffinity("pendingDeletion"), ENDPOINT: workload("10.65.2.9/32")},
        ("10.65.2.9/32",),
    ),
    ("a workload outside of all pools", {ENDPOINT: workload("192.0.2.1/32")}, ()),
    (
        "lent by another's block",
        {BlockKey("10.65.3.0/26"): Block("n3", (("10.65.3.7/32", "n2"),))},
        ("10.65.3.7/32",),
    ),
    (
        "lent and used is one",
        {
            BlockKey("10.65.3.0/26"): Block("n3", (("10.65.3.9/32", "n2"),)),
            ENDPOINT: workload("10.65.3.9/32"),
        },
        ("10.65.3.9/32",),
    ),
    (
        "tunnels outside its blocks",
        {
            OWN: CONFIRMED,
            NodeKey("n2"): replace(
                NODE,
                ipip_address="10.65.2.1",
                vxlan_address="10.65.9.1",
                vxlan_address_v6="fd65::1",
                wireguard_address="10.65.9.2",
                wireguard_address_v6="fd65::2",
            ),
        },
        ("10.65.2.0/26", "10.65.9.1/32", "10.65.9.2/32", "fd65::1/128", "fd65::2/128"),
    ),
    (
        "a pool that is not exported",
        {OWN: CONFIRMED, IpPoolKey("v4"): IpPool("10.65.0.0/16", bgp_export=False)},
        (),
    ),
    (
        "inside another that is",
        {OWN: CONFIRMED, IpPoolKey("x"): IpPool("10.65.2.0/24", bgp_export=False)},
        (),
    ),
    (
        "a pool out of which nothing new is given",
        {OWN: CONFIRMED, IpPoolKey("v4"): IpPool("10.65.0.0/16", disabled=True)},
        ("10.65.2.0/26",),
    ),
    (
        "of two pools of one CIDR the first by name stands",
        {OWN: CONFIRMED, IpPoolKey("z"): IpPool("10.65.0.0/16", bgp_export=False)},
        ("10.65.2.0/26",),
    ),
    (
        "sorted as numbers",
        {
            BlockAffinityKey("n2", "10.65.100.0/26"): CONFIRMED,
            BlockAffinityKey("n2", "10.65.20.0/26"): CONFIRMED,
            BlockAffinityKey("n2", "10.65.20.0/28"): CONFIRMED,
            BlockAffinityKey("n2", "fd65::/122"): CONFIRMED,
        },
        ("10.65.20.0/26", "10.65.20.0/28", "10.65.100.0/26", "fd65::/122"),
    ),
]


@pytest.mark.parametrize(("_", "more", "nets"), NETS, ids=[case[0] for case in NETS])
def test_what_a_node_may_announce(_, more, nets) -> None:
    assert told({NodeKey("n2"): NODE, **POOLS, **more}).origins["n2"].nets == nets


def test_without_a_pool_nobody_announces_anything() -> None:
    state: State = {NodeKey("n2"): NODE, OWN: CONFIRMED, ENDPOINT: workload("10.65.3.9/32")}
    assert told(state).origins["n2"] == BgpOrigins("n2", "10.0.0.2", "fd00::2")


def test_what_is_given_back_is_still_accepted() -> None:
    found = told({NodeKey("n2"): NODE, **POOLS, OWN: BlockAffinity("pendingDeletion")})
    assert found.origins["n2"].retiring == ("10.65.2.0/26",)


@pytest.mark.parametrize(("value", "services"), [("true", False), ("false", True), (None, True)])
def test_a_label_keeps_a_node_from_announcing_services(value, services) -> None:
    labels = {} if value is None else {EXCLUDED_LABEL: value}
    found = told({NodeKey("n2"): replace(NODE, labels=labels)})
    assert found.origins["n2"].services is services


def test_only_nodes_with_an_address_or_something_to_announce_are_told() -> None:
    others: State = {
        NodeKey("n3"): Node(ipv4="10.0.0.3/24"),  # which BGP is not told of
        BlockAffinityKey("n4", "192.0.2.0/26"): CONFIRMED,
        BlockAffinityKey("n5", "10.65.5.0/26"): CONFIRMED,
    }
    found = told({NodeKey("n2"): NODE, **POOLS, **others})
    assert sorted(found.origins) == ["n2", "n5"]
    assert found.origins["n5"] == BgpOrigins("n5", nets=("10.65.5.0/26",), services=False)


def test_a_block_that_moves_concerns_two_nodes() -> None:
    graph = BgpGraph("n1")
    for i in (1, 2, 3):
        graph.update(NodeKey(f"n{i}"), Node(bgp_ipv4=f"10.0.0.{i}/24"))
    for key, value in {**POOLS, OWN: CONFIRMED}.items():
        graph.update(key, value)
    graph.in_sync()
    graph.flush()
    graph.update(OWN, None)
    graph.update(replace(OWN, host="n3"), CONFIRMED)
    assert graph.flush() == [
        BgpOrigins("n2", "10.0.0.2"),
        BgpOrigins("n3", "10.0.0.3", nets=("10.65.2.0/26",)),
    ]


def test_a_node_that_goes_takes_its_origins_with_it() -> None:
    graph = BgpGraph("n1")
    graph.update(NodeKey("n2"), NODE)
    graph.in_sync()
    graph.flush()
    graph.update(NodeKey("n2"), None)
    assert graph.flush() == [BgpOriginsRemove("n2")]


def test_blocks_that_are_not_exported_are_known_all_the_same() -> None:
    state: State = {
        OWN: CONFIRMED,
        BlockAffinityKey("n2", "10.65.3.0/26"): BlockAffinity("pendingDeletion"),
        BlockAffinityKey("n2", "10.99.0.0/26"): CONFIRMED,
        IpPoolKey("v4"): IpPool("10.65.0.0/16", bgp_export=False),
    }
    found = told(state).origins["n2"]
    assert (found.nets, found.retiring) == ((), ())
    assert found.withheld == ("10.65.2.0/26", "10.65.3.0/26")
