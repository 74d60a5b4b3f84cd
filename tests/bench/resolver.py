"""Figures of the route resolver: blocks from nothing, then single changes.

    .venv/bin/python -m tests.bench.resolver [--blocks 10000] [--nodes 1000]

The cluster: nodes with a VXLAN tunnel each, in subnets of 250; blocks of 64 addresses dealt out in
turn, one of them in ten with an address that another node has borrowed; one pool that crosses
subnets only.  Times are the processor's: nothing here waits for anything.  "Decoded" is what etcd
holds of a block, full, from JSON to the graph's value.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator

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
from felixpy.datastore.decode import decode_stored

CHANGES = 100
WORKLOADS = 50_000
HERE = "node-0"


def node(i: int, last: int = 0, length: int = 24) -> tuple[Key, Value]:
    interface = f"172.16.{i // 250}.{last or 1 + i % 250}/{length}"
    tunnel = f"10.{i // 4 >> 8}.{i // 4 & 255}.{i % 4 * 64}"
    return NodeKey(f"node-{i}"), Node(interface, bgp_ipv4=interface, vxlan_address=tunnel)


def block(i: int, nodes: int, borrower: int = 0, shift: int = 0) -> tuple[Key, Value]:
    base = f"10.{i // 4 >> 8}.{i // 4 & 255}"
    others: tuple[tuple[str, str], ...] = ()
    if borrower or i % 10 == 0:
        others = ((f"{base}.{i % 4 * 64 + 5}/32", f"node-{borrower or (i + 1) % nodes}"),)
    return BlockKey(f"{base}.{i % 4 * 64}/26"), Block(f"node-{(i + shift) % nodes}", others)


def pool(mode: str) -> tuple[Key, Value]:
    return IpPoolKey("default"), IpPool("10.0.0.0/8", True, vxlan_mode=mode)  # type: ignore[arg-type]


def cluster(blocks: int, nodes: int) -> Iterator[tuple[Key, Value]]:
    for i in range(blocks):
        yield block(i, nodes)
    for i in range(nodes):
        yield node(i)
    yield pool("cross-subnet")


def workloads() -> Iterator[tuple[Key, Value]]:
    for i in range(WORKLOADS):
        key = WorkloadEndpointKey(f"node-{1 + i % 500}", "k8s", f"ns/pod-{i}", "eth0")
        yield key, WorkloadEndpoint("cali1", (f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}/32",))


def load(state: list[tuple[Key, Value]]) -> CalcGraph:
    graph = CalcGraph(HERE)
    for key, value in state:
        graph.update(key, value)
    graph.in_sync()
    return graph


def milliseconds(graph: CalcGraph, change: Callable[[int], tuple[Key, Value]]) -> str:
    times, updates = [], 0
    for i in range(CHANGES):
        key, value = change(i)
        start = time.process_time()
        graph.update(key, value)
        updates += len(graph.flush())
        times.append((time.process_time() - start) * 1000)
    times.sort()
    return f"{statistics.median(times):7.3f} {times[-CHANGES // 20]:7.3f} {updates / CHANGES:9.1f}"


def memory(state: Iterator[tuple[Key, Value]]) -> float:
    """MiB that stay when only the graph is left."""
    gc.collect()
    tracemalloc.start()
    graph = CalcGraph(HERE)
    for key, value in state:
        graph.update(key, value)
    graph.in_sync()
    graph.flush()
    gc.collect()
    size = tracemalloc.get_traced_memory()[0] / 2**20
    tracemalloc.stop()
    return size


def decoding() -> float:
    """Microseconds for a block of which every address is given out."""
    attributes = [
        {
            "handle_id": f"k8s-pod-network.{i:064x}",
            "secondary": {
                "namespace": f"ns-{i % 7}",
                "node": "node-7",
                "pod": f"app-{i}",
                "timestamp": "2026-01-05 10:00:00 +0000 UTC",
            },
        }
        for i in range(64)
    ]
    raw = json.dumps(
        {
            "cidr": "10.0.0.0/26",
            "affinity": "host:node-7",
            "allocations": list(range(64)),
            "attributes": attributes,
            "unallocated": [],
            "sequenceNumberForAllocation": {str(i): i for i in range(64)},
        }
    ).encode()
    start = time.process_time()
    for _ in range(1000):
        decode_stored("IPAMBlock", "", "10.0.0.0-26", raw)
    return (time.process_time() - start) * 1000


def report(blocks: int, nodes: int) -> None:
    state = list(cluster(blocks, nodes))
    gc.collect()
    start = time.process_time()
    graph = load(state)
    updated = time.process_time()
    told = len(graph.flush())
    end = time.process_time()
    print(f"{blocks} blocks, {nodes} nodes")
    print(f"  from nothing: {updated - start:.2f} s to take in, {end - updated:.2f} s to resolve,")
    print(f"  {told} updates")
    print("  one change                       median    95 %   updates")
    cases: list[tuple[str, Callable[[int], tuple[Key, Value]]]] = [
        ("a block's owner", lambda i: block(5, nodes, shift=1 + i % 2)),
        ("a borrowed address", lambda i: block(6, nodes, borrower=2 + i % 2)),
        ("a node's address", lambda i: node(7, last=251 + i % 2)),
        ("our address, same subnet", lambda i: node(0, last=251 + i % 2)),
        ("our subnet", lambda i: node(0, length=20 + i % 2)),
        ("the pool's mode", lambda i: pool(("always", "cross-subnet")[i % 2])),
        ("nothing new: a block", lambda _: block(7, nodes)),
    ]
    for name, change in cases:
        print(f"    {name:<30}{milliseconds(graph, change)}")
    del graph, state
    alone = memory(iter(cluster(blocks, nodes)))
    print(f"  graph alone {alone:.1f} MiB; a full block decoded in {decoding():.0f} us", flush=True)


def report_workloads() -> None:
    """What remote endpoints add: nothing, where routes follow blocks."""
    state = list(workloads())
    for source in ("CalicoIPAM", "WorkloadIPs"):
        gc.collect()
        tracemalloc.start()
        graph = CalcGraph(HERE, source)
        for key, value in state:
            graph.update(key, value)
        graph.in_sync()
        graph.flush()
        gc.collect()
        size = tracemalloc.get_traced_memory()[0] / 2**20
        tracemalloc.stop()
        del graph
        print(f"{WORKLOADS} remote endpoints, routes by {source}: {size:.1f} MiB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--blocks", type=int, default=10_000)
    parser.add_argument("--nodes", type=int, default=1000)
    arguments = parser.parse_args()
    print(f"Python {sys.version.split()[0]}")
    report(arguments.blocks, arguments.nodes)
    report_workloads()


if __name__ == "__main__":
    main()
