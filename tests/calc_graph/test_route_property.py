"""Routes of random clusters: what a path of changes told is what the plain rules say of its end."""

from __future__ import annotations

from random import Random
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calc_graph.graph import CalcGraph, RouteSource
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
from tests.calc_graph import plain_routes
from tests.calc_graph.replay import Replay

HERE = "here"
State: TypeAlias = dict[Key, Value]
Step: TypeAlias = tuple[Key, Value | None] | None  # None: a flush

# ---------------------------------------------------------------- a small world, full of collisions

names = st.sampled_from([HERE, "a", "b"])
v4 = st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.33", "10.0.1.1", "10.1.0.1", "0.0.0.0"])
v6 = st.sampled_from(["fd00::1", "fd00::2", "fd00::41", "fd00:1::1", "::"])
singles = st.one_of(v4, v4, v6).map(lambda text: f"{text}/128" if ":" in text else f"{text}/32")
nets = st.sampled_from(
    [
        *("10.0.0.0/8", "10.0.0.0/16", "10.0.0.0/26", "10.0.0.0/27", "10.0.1.0/26", "10.0.0.1/32"),
        *("fd00::/16", "fd00::/64", "fd00::/122", "fd00::40/122", "fd00::1/128"),
    ]
)


def maybe(strategy: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(st.just(""), strategy)


interfaces_v4 = maybe(st.builds("{}/{}".format, v4, st.sampled_from([8, 16, 31, 32])))
interfaces_v6 = maybe(st.builds("{}/{}".format, v6, st.sampled_from([16, 64, 128])))
nodes = st.builds(
    Node,
    ipv4=interfaces_v4,
    ipv6=interfaces_v6,
    bgp_ipv4=interfaces_v4,
    bgp_ipv6=interfaces_v6,
    addresses=st.lists(st.one_of(v4, v6), max_size=2, unique=True).map(sorted).map(tuple),
    ipip_address=maybe(v4),
    vxlan_address=maybe(v4),
    vxlan_address_v6=maybe(v6),
    wireguard_address=maybe(v4),
    wireguard_address_v6=maybe(v6),
)
blocks = st.builds(
    Block,
    host=st.one_of(st.just(""), names),
    others=st.lists(st.tuples(singles, names), max_size=3, unique_by=lambda held: held[0])
    .map(sorted)
    .map(tuple),
)
modes = st.sampled_from(["never", "always", "cross-subnet"])
pools = st.builds(
    IpPool,
    cidr=nets,
    nat_outgoing=st.booleans(),
    ipip_mode=modes,
    vxlan_mode=modes,
    allowed_uses=st.sampled_from([(), ("Workload", "LoadBalancer"), ("LoadBalancer",)]),
)
workloads = st.builds(
    WorkloadEndpoint,
    interface=st.just("cali1"),
    nets=st.lists(st.one_of(singles, nets), max_size=3).map(tuple),
)
workload_keys = st.builds(
    WorkloadEndpointKey,
    host=names,
    orchestrator=st.just("k8s"),
    workload=st.sampled_from(["ns/a", "ns/b"]),
    endpoint=st.just("eth0"),
)


def pairs(
    keys: st.SearchStrategy[Key], values: st.SearchStrategy[Value]
) -> st.SearchStrategy[tuple[Key, Value | None]]:
    return st.tuples(keys, st.one_of(values, values, st.none()))


changes = st.one_of(
    pairs(st.builds(NodeKey, names), nodes),
    pairs(st.builds(BlockKey, nets), blocks),
    pairs(st.builds(IpPoolKey, st.sampled_from("pqr")), pools),
    pairs(workload_keys, workloads),
)
paths = st.lists(st.one_of(changes, changes, changes, st.none()), min_size=10, max_size=40)


def walk(path: list[Step], source: RouteSource) -> tuple[State, Replay]:
    graph, replay, state = CalcGraph(HERE, source), Replay(), State()
    graph.in_sync()
    for step in path:
        if step is None:
            replay.play(graph.flush())
            continue
        key, value = step
        graph.update(key, value)
        state.pop(key, None)
        if value is not None:
            state[key] = value
    replay.play(graph.flush())
    return state, replay


@pytest.mark.parametrize("source", ["CalicoIPAM", "WorkloadIPs"])
@given(path=paths)
@settings(max_examples=200, deadline=None)
def test_what_was_told_is_what_the_state_means(source: RouteSource, path: list[Step]) -> None:
    state, replay = walk(path, source)
    assert replay.routes == plain_routes.routes(state, HERE, source)


@given(path=paths, order=st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_the_order_in_which_a_state_is_told_makes_no_difference(
    path: list[Step], order: Random
) -> None:
    state, replay = walk(path, "CalicoIPAM")
    shuffled: list[Step] = list(state.items())
    order.shuffle(shuffled)
    assert walk(shuffled, "CalicoIPAM")[1].routes == replay.routes


@given(path=paths)
@settings(max_examples=50, deadline=None)
def test_nothing_is_left_of_what_is_gone(path: list[Step]) -> None:
    keys = dict.fromkeys(step[0] for step in path if step is not None)
    _, replay = walk([*path, *((key, None) for key in keys)], "WorkloadIPs")
    assert replay.state() == Replay().state()
