"""What the lockout guard adds to a change: `.venv/bin/python -m tests.bench.lockout`.

A node with 100 workloads in a cluster of 20,000, 200 policies for them; then a host endpoint with
21 policies beside them.  Times are those of `review`, which includes the graph's flush; how long
that takes alone is the first line.
"""

from __future__ import annotations

import asyncio
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from calc_graph.model import (
    Key,
    Peer,
    Policy,
    Rule,
    Value,
    WorkloadEndpoint,
    WorkloadEndpointKey,
)
from dataplane.settings import Settings
from felixpy.lockout.machine import Machine
from tests.felixpy.lockout.node import GUARDED, Node, gnp, policy, to_port

CALLS = 200
Changes = dict[Key, Value | None]


def workload(number: int, host: str, role: int) -> tuple[Key, Value]:
    key = WorkloadEndpointKey(host, "k8s", f"default/w{number}", "eth0")
    net = f"10.{65 + number // 65_536}.{number // 256 % 256}.{number % 256}/32"
    return key, WorkloadEndpoint(f"cali{number}", (net,), {"role": f"r{role}"})


def workload_policy(number: int, port: int) -> tuple[Key, Value]:
    source = Peer(selector=f"role == 'r{(number + 1) % 10}'")
    rules = (Rule("allow", protocol="tcp", source=source), to_port(port))
    return gnp(f"w{number}"), Policy("default", f"role == 'r{number % 10}'", number, rules)


def cluster() -> Changes:
    found: Changes = dict(workload(i, "n1", i % 10) for i in range(100))
    found |= dict(workload(i, f"n{i % 50 + 2}", i % 10) for i in range(100, 20_100))
    return found | dict(workload_policy(i, 80) for i in range(200))


def host_policies() -> Changes:
    return GUARDED | {gnp(f"h{i}"): policy(to_port(1000 + i), order=i) for i in range(20)}


async def measure(node: Node, name: str, changes: Callable[[int], Changes], calls: int) -> None:
    seconds = []
    for number in range(calls):
        for key, value in changes(number).items():
            node.live.note(key, value)
            node.graph.update(key, value)
            node.guard.note(key, value)
        begun = time.perf_counter()
        await node.guard.review()
        seconds.append(time.perf_counter() - begun)
    tell(f"  {name}", seconds)


def flush(node: Node) -> None:
    seconds = []
    for number in range(CALLS):
        for key, value in _workloads(number).items():
            node.graph.update(key, value)
        begun = time.perf_counter()
        node.graph.flush()
        seconds.append(time.perf_counter() - begun)
    tell("the flush of a workload's policy", seconds)


def tell(name: str, seconds: list[float]) -> None:
    median, most = statistics.median(seconds) * 1000, max(seconds) * 1000
    print(f"{name:47} {median:8.3f} ms, at most {most:.2f}")


async def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with tempfile.TemporaryDirectory() as directory:
        node = Node(Path(directory))
        await node.batch(cluster())
        flush(node)
        print("without a host endpoint")
        await both(node)
        print("with one")
        await measure(node, "the first one", lambda _: host_policies(), 1)
        await both(node)
        await measure(node, "a policy of the host", _host, CALLS)
        await measure(node, "one that cuts ssh", _cutting, CALLS)
        await measure(node, "a workload's policy while that waits", _workloads, CALLS)
    machine = Machine(time.monotonic)
    begun = time.perf_counter()
    await machine.read(Settings("n1"), ())
    print(f"reading this machine {(time.perf_counter() - begun) * 1000:.1f} ms")


async def both(node: Node) -> None:
    await measure(node, "a workload's policy", _workloads, CALLS)
    await measure(node, "a workload's label", _label, CALLS)


def _workloads(number: int) -> Changes:
    return dict([workload_policy(1, 2000 + number)])


def _label(number: int) -> Changes:
    return dict([workload(500, "n2", number % 2)])


def _host(number: int) -> Changes:
    return {gnp("h1"): policy(to_port(2000 + number), order=1)}


def _cutting(number: int) -> Changes:
    return {gnp("h1"): policy(to_port(22), to_port(2000 + number), order=1)}


if __name__ == "__main__":
    asyncio.run(main())
