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

from dataplane.drivers.neighbours import NeighbourDriver
from dataplane.drivers.routes import Route, RouteDriver
from dataplane.interfaces import InterfaceMonitor
from dataplane.settings import Settings

ROUTES, ROUNDS = 10_000, 200


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


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    if ctypes.CDLL(None, use_errno=True).unshare(0x40000000) != 0:  # CLONE_NEWNET
        raise SystemExit(f"needs root: {os.strerror(ctypes.get_errno())}")
    for command in (
        "ip link set lo up",
        "ip link add caliw1 type veth peer name caliw2",
        "ip link set caliw1 up",
        "ip link set caliw2 up",
    ):
        subprocess.run(command.split(), check=True)
    asyncio.run(main())
