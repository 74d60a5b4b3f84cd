"""How fast WireGuard's peers are written and read: `python -m tests.bench.wireguard`, as root, on a
kernel that has WireGuard (the guest of tests/guest, if this machine's has not).

It works in a network namespace of its own, which ends with it.  With `pyroute2` as its argument it
shows what that library takes for the same.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import structlog
from msgspec import structs

from dataplane.drivers.links import LinkDriver
from dataplane.interfaces import Interface, InterfaceMonitor
from dataplane.overlay.devices import Tunnel
from dataplane.settings import Settings, WireguardSettings
from dataplane.wireguard import codec, plan
from dataplane.wireguard.driver import WireguardDriver
from dataplane.wireguard.state import PeerWish, shown

PEERS, NETS, ROUNDS = 500, 4, 100


def show(what: str, seconds: float) -> None:
    print(f"{what:<62}{seconds * 1000:10.2f} ms")


async def timed(what: str, work: Awaitable[object]) -> None:
    start = time.perf_counter()
    await work
    show(what, time.perf_counter() - start)


def taken(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def net(number: int) -> str:
    return f"10.{128 + (number >> 10)}.{number >> 2 & 255}.{(number & 3) << 6}/26"


def wish(number: int) -> PeerWish:
    nets = frozenset(net(number * NETS + i) for i in range(NETS))
    return PeerWish(f"n{number}", (f"172.16.{number >> 8}.{number & 255}", 51820), nets)


def cluster() -> dict[bytes, PeerWish]:
    return {number.to_bytes(32, "big"): wish(number) for number in range(1, PEERS + 1)}


async def device() -> Interface:
    links = LinkDriver()
    links.desire(Tunnel("wireguard.cali", "wireguard", 4, "10.200.0.1", 1440))
    await links.apply(4)
    links.close()
    if links.unavailable:
        raise SystemExit(str(links.unavailable))
    monitor = InterfaceMonitor(Settings("bench"))
    found = (await monitor.start())["wireguard.cali"]
    monitor.close()
    return found


async def ours() -> None:
    wishes = cluster()
    show(
        f"{PEERS} peers x {NETS} packed",
        taken(lambda: codec.set_peers(30, 7, plan.additions(wishes, {}, {}))),
    )
    interface = await device()
    driver = WireguardDriver(4, WireguardSettings())
    driver.interface_changed(interface.name, interface)

    async def synchronise() -> None:
        driver.desire(wishes)
        await driver.apply_additions()
        await driver.apply_removals()

    await timed(f"{PEERS} peers x {NETS} AllowedIPs from nothing, key and all", synchronise())
    show_messages(driver.written)
    first, few = next(iter(wishes.items()))
    many = structs.replace(few, nets=few.nets | {"10.99.0.0/26"})
    times: dict[PeerWish, list[float]] = {many: [], few: []}
    written = driver.written
    for each in (many, few) * ROUNDS:
        wishes[first] = each
        start = time.perf_counter()
        await synchronise()
        times[each].append(time.perf_counter() - start)
    show(f"one AllowedIP more (median of {ROUNDS})", statistics.median(times[many]))
    show(f"one AllowedIP less (median of {ROUNDS})", statistics.median(times[few]))
    show_messages(driver.written - written)
    await timed("nothing has changed", synchronise())
    await timed(f"a look at {PEERS} peers", driver.look())
    again = WireguardDriver(4, WireguardSettings())
    again.interface_changed(interface.name, interface)
    again.desire(wishes)
    await timed("a restart: read, compared, nothing to write", again.apply_additions())
    show_messages(again.written)
    driver.close()
    again.close()


def show_messages(count: int) -> None:
    print(f"    {count} messages")


def memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def another_library() -> None:
    before, start = memory(), time.perf_counter()
    from pyroute2 import AsyncWireGuard

    show("import of pyroute2", time.perf_counter() - start)
    print(f"    {memory() - before:.1f} MiB")

    peers = list(cluster().items())
    await device()
    async with AsyncWireGuard() as library:
        await library.setup_endpoint()
        start = time.perf_counter()
        for key, each in peers:
            endpoint, port = each.endpoint
            peer = {"public_key": shown(key), "endpoint_addr": endpoint, "endpoint_port": port}
            await library.set("wireguard.cali", peer={**peer, "allowed_ips": sorted(each.nets)})
        show(f"{PEERS} peers x {NETS} by its own call, one by one", time.perf_counter() - start)
        await timed("one more AllowedIP", library.set("wireguard.cali", peer=one_more(peers[0])))
        await timed(f"a look at {PEERS} peers", library.info("wireguard.cali"))


def one_more(peer: tuple[bytes, PeerWish]) -> dict[str, object]:
    nets = sorted(peer[1].nets | {"10.99.0.0/26"})
    return {"public_key": shown(peer[0]), "allowed_ips": nets}


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    if ctypes.CDLL(None, use_errno=True).unshare(0x40000000) != 0:  # CLONE_NEWNET
        raise SystemExit(f"needs root: {os.strerror(ctypes.get_errno())}")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    asyncio.run(another_library() if sys.argv[1:] == ["pyroute2"] else ours())
