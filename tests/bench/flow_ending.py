"""How long a round of flow ending takes: `python -m tests.bench.flow_ending`, as root.

100 workloads under 21 policies, 50,000 flows of theirs to 250 others; a policy changes that selects
one workload and ends its flows, then one that selects all and ends none, then few.  It works in a
network namespace of its own, which ends with it.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import struct
import time

import structlog

from calc_graph.graph import CalcGraph
from calc_graph.judge import JudgeSettings
from calc_graph.model import (
    Peer,
    Policy,
    PolicyKey,
    PortRange,
    Rule,
    WorkloadEndpoint,
    WorkloadEndpointKey,
)
from dataplane import ctnetlink
from dataplane.interfaces import Interface
from dataplane.netlink import CREATE, EXCL, NETFILTER, Request, Socket, attribute, nested
from felixpy.flow_ending import ender as module
from felixpy.flow_ending.ender import FlowEnder

FLOWS, WORKLOADS, PEERS, POLICIES = 50_000, 100, 250, 20
HTTPS = (PortRange(443, 443),)
CHANGES = (
    # what                           selector    the destinations of a deny
    ("one workload, all its flows", "n == '3'", Peer(ports=HTTPS)),
    ("all workloads, no flow", "all()", Peer(nets=("192.0.2.0/24",))),
    ("all workloads, to one peer", "all()", Peer(nets=("10.65.1.1/32",))),
)


def flow(number: int) -> Request:
    source = bytes((10, 65, 0, 1 + number % WORKLOADS))
    peer = bytes((10, 65, 1, 1 + number // WORKLOADS % PEERS))
    ports = struct.pack("!H", 10_000 + number // WORKLOADS), struct.pack("!H", 443)

    def direction(kind: int, ends: tuple[bytes, bytes], used: tuple[bytes, bytes]) -> bytes:
        addresses = nested(1, attribute(1, ends[0]), attribute(2, ends[1]))
        protocol = nested(2, attribute(1, b"\6"), attribute(2, used[0]), attribute(3, used[1]))
        return nested(kind, addresses, protocol)

    established = nested(4, nested(1, attribute(1, b"\3")))
    confirmed, timeout = struct.pack("!I", 0xE), struct.pack("!I", 600)
    body = direction(1, (source, peer), ports) + direction(2, (peer, source), ports[::-1])
    rest = established + attribute(3, confirmed) + attribute(7, timeout)
    return Request(1 << 8, CREATE | EXCL, ctnetlink.head(4) + body + rest)


def cluster() -> CalcGraph:
    graph = CalcGraph("n1")
    graph.in_sync()
    for number in range(POLICIES):
        peer = Peer(selector=f"role == 'r{number}'", ports=HTTPS)
        rules = (Rule(action="allow", protocol="udp", destination=peer),)
        _put(graph, f"p{number}", "all()", rules, float(number))
    _put(graph, "last", "all()", (Rule(action="allow"),), 99.0)
    for host, third, count in (("n1", 0, WORKLOADS), ("n2", 1, PEERS)):
        for number in range(count):
            endpoint = WorkloadEndpoint(
                interface=f"cali{number}",
                nets=(f"10.65.{third}.{1 + number}/32",),
                labels={"role": f"r{number % POLICIES}", "n": str(number)},
            )
            graph.update(WorkloadEndpointKey(host, "k8s", f"w{number}", "eth0"), endpoint)
    return graph


def _put(graph: CalcGraph, name: str, selector: str, rules: tuple[Rule, ...], order: float) -> None:
    policy = Policy("default", selector, order, egress=rules, applies_ingress=False)
    graph.update(PolicyKey("GlobalNetworkPolicy", "", name), policy)


async def lags(found: list[float]) -> None:
    while True:
        start = time.perf_counter()
        await asyncio.sleep(0.001)
        found.append(time.perf_counter() - start)


async def main() -> None:
    module.REST = 0.0  # the rest after a round is not what is measured
    await Socket(NETFILTER).execute([flow(number) for number in range(FLOWS)])
    graph = cluster()
    interfaces = {f"cali{n}": Interface(f"cali{n}", n + 2, up=True) for n in range(WORKLOADS)}
    for what, selector, refused in CHANGES:
        ended: list[int] = []
        done = asyncio.Event()
        ender = FlowEnder(ended.append, done.set)
        ender.begin(JudgeSettings())
        ender.update(graph.replay())
        _put(graph, what, selector, (Rule("deny", protocol="tcp", destination=refused),), -1.0)
        ender.update(graph.flush())
        late: list[float] = []
        watching = asyncio.create_task(lags(late))
        start = time.process_time()
        ender.applied(interfaces)
        await done.wait()
        seconds = time.process_time() - start
        watching.cancel()
        await ender.close()
        print(f"{what}: {seconds:.2f} s of a processor, {sum(ended)} ended, ", end="")
        print(f"event loop kept at most {max(late) * 1000:.0f} ms")


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    if ctypes.CDLL(None, use_errno=True).unshare(0x40000000) != 0:
        raise SystemExit(f"needs root: {os.strerror(ctypes.get_errno())}")
    asyncio.run(main())
