"""Figures of BGP's graph alone: from nothing to the first flush, then single changes.

    .venv/bin/python -m tests.bench.bgp [--nodes 1000] [--blocks 10000] [--endpoints 50000]

The cluster: a full mesh in both families, a ToR, one pool; blocks and endpoints are spread over the
nodes evenly, one endpoint in a hundred has an address out of another node's block.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator

from msgspec.structs import replace

from calc_graph.bgp.graph import BgpGraph
from calc_graph.bgp.resources import BgpPeer, BgpPeerKey, BlockAffinity, BlockAffinityKey
from calc_graph.model import (
    IpPool,
    IpPoolKey,
    Key,
    Node,
    NodeKey,
    Value,
    WorkloadEndpoint,
    WorkloadEndpointKey,
)

CHANGES = 200
BORROWED = 100  # one endpoint in so many


def node(i: int) -> tuple[NodeKey, Node]:
    return NodeKey(f"node-{i}"), Node(
        bgp_ipv4=f"172.16.{i >> 8}.{i & 255}/16",
        bgp_ipv6=f"fd00::{i:x}/64",
        labels={"rack": f"r{i % 40}", "kubernetes.io/hostname": f"node-{i}"},
        vxlan_address=f"10.255.{i >> 8}.{i & 255}",
    )


def block(i: int) -> str:
    first = (10 << 24) + (i << 6)
    return f"{address(first)}/26"


def address(number: int) -> str:
    return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))


def affinity(i: int, nodes: int) -> tuple[Key, BlockAffinity]:
    return BlockAffinityKey(f"node-{i % nodes}", block(i)), BlockAffinity()


def endpoint(i: int, nodes: int, blocks: int) -> tuple[Key, WorkloadEndpoint]:
    """Block `i % blocks` is of node `i % nodes`, as there are whole rounds of nodes in it."""
    other = (i + 1 if i % BORROWED == 0 else i) % blocks
    number = (10 << 24) + (other << 6) + i // blocks + (32 if i % BORROWED == 0 else 0)
    key = WorkloadEndpointKey(f"node-{i % nodes}", "k8s", f"ns-{i // 100}/app-{i}", "eth0")
    return key, WorkloadEndpoint(interface=f"cali{i:011x}", nets=(f"{address(number)}/32",))


def cluster(nodes: int, blocks: int, endpoints: int) -> Iterator[tuple[Key, Value]]:
    yield IpPoolKey("pool"), IpPool("10.0.0.0/8")
    yield BgpPeerKey("tor"), BgpPeer(address="172.31.0.1", as_number=65001)
    for i in range(nodes):
        yield node(i)
    for i in range(blocks):
        yield affinity(i, nodes)
    for i in range(endpoints):
        yield endpoint(i, nodes, blocks)


def loaded(state: list[tuple[Key, Value]]) -> tuple[BgpGraph, int]:
    graph = BgpGraph("node-0")
    for key, value in state:
        graph.update(key, value)
    graph.in_sync()
    return graph, len(graph.flush())


def milliseconds(graph: BgpGraph, change: Callable[[int], tuple[Key, Value | None]]) -> str:
    times, updates = [], 0
    for i in range(CHANGES):
        key, value = change(i)
        start = time.perf_counter()
        graph.update(key, value)
        updates += len(graph.flush())
        times.append((time.perf_counter() - start) * 1000)
    times.sort()
    return f"{statistics.median(times):8.3f} {times[-CHANGES // 20]:8.3f} {updates / CHANGES:8.1f}"


def memory(state: list[tuple[Key, Value]]) -> int:
    """Bytes that the graph holds besides the datastore's own values."""
    gc.collect()
    tracemalloc.start()
    graph, _ = loaded(state)
    gc.collect()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del graph
    return size


def report(nodes: int, blocks: int, endpoints: int) -> None:
    state = list(cluster(nodes, blocks, endpoints))
    gc.collect()
    start = time.perf_counter()
    graph, updates = loaded(state)
    seconds = time.perf_counter() - start
    print(f"{nodes} nodes, {blocks} blocks, {endpoints} endpoints")
    print(f"  first flush: {seconds:.2f} s, {updates} updates")

    def one_block(i: int) -> tuple[Key, Value | None]:
        key, value = affinity(7, nodes)
        return key, value if i % 2 else None

    def borrowed(i: int) -> tuple[Key, Value | None]:
        key, value = endpoint(BORROWED, nodes, blocks)
        return key, value if i % 2 else None

    def own(i: int) -> tuple[Key, Value | None]:
        key, value = endpoint(BORROWED + 1, nodes, blocks)
        return key, value if i % 2 else None

    def label(i: int) -> tuple[Key, Value | None]:
        key, value = node(7)
        return key, replace(value, labels=value.labels | {"rack": f"r{i % 2}"})

    def own_label(i: int) -> tuple[Key, Value | None]:
        key, value = node(0)
        return key, replace(value, labels=value.labels | {"rack": f"r{i % 2}"})

    def peer(i: int) -> tuple[Key, Value | None]:
        return BgpPeerKey("tor"), BgpPeer(address="172.31.0.1", as_number=65001 + i % 2)

    cases: list[tuple[str, Callable[[int], tuple[Key, Value | None]]]] = [
        ("a block comes or goes", one_block),
        ("an endpoint, borrowed address", borrowed),
        ("an endpoint in its block", own),
        ("label of another node", label),
        ("label of this node", own_label),
        ("a BGPPeer", peer),
    ]
    print("  one change                       median    95 %   updates")
    for name, change in cases:
        print(f"    {name:<30}{milliseconds(graph, change)}", flush=True)
    del graph
    with_endpoints = memory(state)
    without = memory([each for each in state if not isinstance(each[0], WorkloadEndpointKey)])
    each = (with_endpoints - without) / endpoints
    print(f"  graph alone {with_endpoints / 2**20:.1f} MiB, {each:.0f} bytes an endpoint")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--blocks", type=int, default=10000)
    parser.add_argument("--endpoints", type=int, default=50000)
    arguments = parser.parse_args()
    print(f"Python {sys.version.split()[0]}")
    report(arguments.nodes, arguments.blocks, arguments.endpoints)


if __name__ == "__main__":
    main()
