"""How fast routes are written, read and repaired: `python -m tests.bench.routes`, as root.

It works in a network namespace of its own, which ends with it.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import statistics
import subprocess
import time
from collections.abc import Awaitable

import structlog

from calc_graph.updates import (
    EncapUpdate,
    HostUpdate,
    RouteType,
    RouteUpdate,
    TunnelAddresses,
    Update,
    VtepUpdate,
)
from dataplane.build import build_dataplane
from dataplane.dataplane import Dataplane
from dataplane.drivers.neighbours import NeighbourDriver
from dataplane.drivers.routes import Route, RouteDriver
from dataplane.interfaces import InterfaceMonitor
from dataplane.settings import Settings

ROUTES, ROUNDS = 10_000, 200
NODES = 500


async def timed(what: str, work: Awaitable[object]) -> None:
    start = time.perf_counter()
    await work
    show(what, time.perf_counter() - start)


def show(what: str, seconds: float) -> None:
    print(f"{what:<58}{seconds * 1000:10.2f} ms")


def route(i: int) -> Route:
    return Route(f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}/32", "caliw1")


async def main() -> None:
    monitor = InterfaceMonitor(Settings("bench"))
    start = time.perf_counter()
    interfaces = await monitor.start()
    show("interfaces listed", time.perf_counter() - start)
    driver, again = RouteDriver(4, Settings("bench")), RouteDriver(4, Settings("bench"))
    neighbours = NeighbourDriver()
    for name, interface in interfaces.items():
        for each in (driver, again, neighbours):
            each.interface_changed(name, interface)
    start = time.perf_counter()
    for i in range(ROUTES):
        driver.desire(route(i).dst, route(i))
    show(f"{ROUTES:,} routes desired", time.perf_counter() - start)
    await timed("the same, written", driver.apply())
    taken = []
    for i in range(ROUTES, ROUTES + ROUNDS):
        start = time.perf_counter()
        driver.desire(route(i).dst, route(i))
        await driver.apply()
        taken.append(time.perf_counter() - start)
    show(f"one more (median of {ROUNDS})", statistics.median(taken))
    for i in range(ROUTES + ROUNDS):
        again.desire(route(i).dst, route(i))
    await timed("restart with nothing to write", again.apply())
    driver.refresh_seconds = 0.001
    await timed(f"check of {ROUTES:,} routes", driver.check())
    for i in range(1000):
        neighbours.desire("caliw1", route(i).dst.removesuffix("/32"), "02:00:00:00:00:01")
    await timed("1,000 neighbours", neighbours.apply())
    for i in range(ROUTES + ROUNDS):
        driver.desire(route(i).dst, None)
    await timed(f"{ROUTES:,} routes removed, their flows forgotten", driver.apply())


# ---------------------------------------------------------------- blocks of other nodes, by VXLAN


def block(i: int, node: int) -> RouteUpdate:
    """The /26 number i of 10.128.0.0/9."""
    cidr = f"10.{128 + (i >> 10)}.{i >> 2 & 255}.{(i & 3) << 6}/26"
    return RouteUpdate(
        cidr,
        RouteType.REMOTE_WORKLOAD,
        "vxlan",
        f"n{node}",
        f"172.{16 + (node >> 8)}.{node & 255}.1",
    )


def cluster() -> list[Update]:
    ends: list[Update] = [
        VtepUpdate(
            f"n{node}",
            f"66:00:00:00:{node >> 8:02x}:{node & 255:02x}",
            f"10.{64 + (node >> 8)}.{node & 255}.0",
            f"172.{16 + (node >> 8)}.{node & 255}.1",
        )
        for node in range(NODES)
    ]
    return [
        EncapUpdate(ipip=False, vxlan=True, vxlan_v6=False),
        TunnelAddresses(vxlan="10.66.0.1", vxlan_mac="66:00:00:00:ff:ff"),
        HostUpdate("bench", "172.30.0.1", ""),
        *ends,
        *(block(i, i % NODES) for i in range(ROUTES)),
    ]


async def settle(dataplane: Dataplane, woken: asyncio.Event) -> int:
    """Until nothing is left to do; returns what was written of routes."""
    routes = 0
    while True:
        woken.clear()
        applied = await dataplane.apply()
        if applied is not None:
            assert not applied.problems, applied.problems
            routes += applied.written["routes"]
        try:
            async with asyncio.timeout(0.25 if dataplane.seconds_to_next() else 0.0):
                await woken.wait()
        except TimeoutError:
            if dataplane.seconds_to_next():
                return routes


async def between_nodes() -> None:
    """The whole dataplane: device, ends, routes, rules; without the quarter of a second in which
    nothing comes any more.
    """
    woken = asyncio.Event()
    settings = Settings("bench", iptables_backend="nft", ipv6=False)
    for what in (f"{ROUTES:,} blocks of {NODES} nodes from nothing", "the same, all there"):
        dataplane = await build_dataplane(settings, woken.set)
        updates = cluster()
        start = time.perf_counter()
        dataplane.desire(updates)
        written = await settle(dataplane, woken)
        show(f"{what} ({written} routes written)", time.perf_counter() - start - 0.25)
        if written == 0:
            break
        await dataplane.close()
    taken = []
    for i in range(ROUNDS):
        start = time.perf_counter()
        dataplane.desire([block(i, (i + 1) % NODES)])
        await dataplane.apply()
        taken.append(time.perf_counter() - start)
    show(f"one block moves to another node (median of {ROUNDS})", statistics.median(taken))
    show(f"the same (slowest of {ROUNDS})", max(taken))
    await settle(dataplane, woken)
    start = time.perf_counter()
    dataplane.desire(
        [HostUpdate("bench", "172.30.0.1", ""), EncapUpdate(ipip=True, vxlan=True, vxlan_v6=False)]
    )
    await dataplane.apply()
    show("another tunnel: all routes looked at, none written", time.perf_counter() - start)
    await dataplane.close()


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    if ctypes.CDLL(None, use_errno=True).unshare(0x40000000) != 0:  # CLONE_NEWNET
        raise SystemExit(f"needs root: {os.strerror(ctypes.get_errno())}")
    for command in (
        "ip link set lo up",
        "ip link add caliw1 type veth peer name caliw2",
        "ip link set caliw1 up",
        "ip link set caliw2 up",
        "ip link add eth0 type veth peer name eth1",
        "ip link set eth0 up",
        "ip link set eth1 up",
        "ip addr add 172.30.0.1/24 dev eth0",
    ):
        subprocess.run(command.split(), check=True)
    asyncio.run(main())
    asyncio.run(between_nodes())
