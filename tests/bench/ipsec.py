"""How fast 500 peers of IPsec are there from nothing, and how fast a key gives way to the next:
`python -m tests.bench.ipsec`, as root, on a kernel that has ESP (the guest of tests/guest, if this
machine's has not).

Mesh and driver run against the kernel in a network namespace of their own, which ends with it; what
the peers publish is made up, and none of them is waited for.  With `shared` as its argument it
shows that layout.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Final, Literal

import structlog
from msgspec import structs

from calc_graph.model import IpPool, IpsecNode, IpsecPeering
from calc_graph.updates import HostUpdate, IpsecPeer, PoolUpdate, RouteType, RouteUpdate
from dataplane.families import Family
from dataplane.interfaces import InterfaceMonitor
from dataplane.ipsec.driver import IpsecDriver
from dataplane.ipsec.kernel import Xfrm, open_xfrm
from dataplane.ipsec.keys import Algorithm, Key, KeyRing
from dataplane.ipsec.life import new_life, tag_of
from dataplane.ipsec.mesh import Mesh
from dataplane.ipsec.plan import REMOVALS_AFTER_ROUTES, REMOVALS_BEFORE_ROUTES
from dataplane.settings import IpsecSettings, Settings

PEERS: Final = 500
OWN_NAME, OWN, OWN_NET = "n0", "172.16.0.1", "10.127.0.0/26"
REQID: Final = 1
AES: Final = Algorithm("rfc4106(gcm(aes))", 128)
FAMILY: Final[Family] = 4
LATER: Final = 60.0  # seconds: longer than a withdrawn key is still received

Layout = Literal["pair", "shared"]


def key(key_id: int) -> Key:
    return Key(key_id, AES, bytearray(range(key_id, key_id + 20)))


def show(what: str, seconds: float) -> None:
    print(f"{what:<66}{seconds:8.2f} s", flush=True)


def address(number: int) -> str:
    return f"172.16.{1 + (number >> 8)}.{number & 255}"


def net(number: int) -> str:
    return f"10.{128 + (number >> 10)}.{number >> 2 & 255}.{(number & 3) << 6}/26"


class Bench:
    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._kernel: Xfrm = open_xfrm(REQID)
        self._keys: dict[int, Key] = {}
        self._now = 0.0
        self._life = new_life(OWN_NAME, bytes(range(16)))
        self._agent()

    def _agent(self) -> None:
        """Another one."""
        settings = IpsecSettings(families=frozenset({FAMILY}), layout=self._layout, reqid=REQID)
        self._mesh = Mesh(OWN_NAME, settings)
        self._driver = IpsecDriver(FAMILY, REQID, self._kernel)

    async def run(self) -> None:
        reason = await self._kernel.trial(key(1))
        if reason:
            raise SystemExit(f"this kernel has no states: {reason}")
        start = await self._timed("keys, nodes, nets and records of 500 peers", self._start)
        self._show_kernel()
        self._agent()
        restart = await self._timed("the same, and all is there already", self._start)
        steps = [
            await self._timed("the next key comes: received", self._key_comes),
            await self._timed("the peers receive it: sent with", self._peers_receive),
            await self._timed("they send with it, and the old one leaves the file", self._key_goes),
            await self._timed("the old one is received no more", self._old_ends),
        ]
        self._show_kernel()
        show("START", start)
        show("RESTART", restart)
        show("ROTATION", sum(steps))
        self._kernel.close()

    # ---------------------------------------------------------------- what happens

    async def _start(self) -> None:
        monitor = InterfaceMonitor(Settings(OWN_NAME))
        self._driver.interface_changed("lo", (await monitor.start())["lo"])
        monitor.close()
        self._mesh.adopt(FAMILY, await self._driver.adopt())
        self._mesh.life(self._life)
        self._offer(1)
        self._nodes()
        self._records(sends=1, receive=(1,))

    async def _key_comes(self) -> None:
        self._offer(1, 2)

    async def _peers_receive(self) -> None:
        assert set(self._mesh.record.receive) == {1, 2}
        self._records(sends=1, receive=(1, 2))

    async def _key_goes(self) -> None:
        assert {peer.sends for peer in self._mesh.record.peers.values()} == {2}
        self._records(sends=2, receive=(1, 2))
        self._offer(2)
        self._records(sends=2, receive=(2,))

    async def _old_ends(self) -> None:
        self._now += LATER

    # ---------------------------------------------------------------- how

    async def _timed(self, what: str, work: Callable[[], Awaitable[None]]) -> float:
        written, start = self._driver.written, time.perf_counter()
        await work()
        await self._settle()
        seconds = time.perf_counter() - start
        show(f"{what} ({self._driver.written - written} messages)", seconds)
        return seconds

    async def _settle(self) -> None:
        """The driver's loop, as dataplane.ipsec has it: written is what all agree on."""
        self._agree()
        while not self._driver.settled:
            await self._driver.additions()
            await self._driver.removals(*REMOVALS_BEFORE_ROUTES)
            await self._driver.removals(*REMOVALS_AFTER_ROUTES)
            self._agree()

    def _agree(self) -> None:
        while True:
            self._mesh.resolve(self._now)
            changes = self._mesh.take_changes(FAMILY)
            self._driver.desire(changes.states, changes.policies)
            states, policies = self._driver.take_observed()
            if not states and not policies:
                return
            self._mesh.observe(FAMILY, states, policies)

    def _offer(self, *key_ids: int) -> None:
        for key_id in key_ids:
            self._keys.setdefault(key_id, key(key_id))
        ring = KeyRing(self._keys[key_id] for key_id in key_ids)
        self._mesh.keys(ring.checks)
        # States of a key that has left the file are still compared.
        self._driver.offer_keys(KeyRing(self._keys[i] for i in {*key_ids, *self._mesh.alive}))

    def _nodes(self) -> None:
        self._mesh.update(PoolUpdate(IpPool("10.0.0.0/8")))
        self._mesh.update(HostUpdate(OWN_NAME, OWN, ""))
        own = RouteUpdate(OWN_NET, RouteType.LOCAL_WORKLOAD, "none", OWN_NAME, OWN)
        self._mesh.update(own)
        for i in range(PEERS):
            self._mesh.update(HostUpdate(f"p{i}", address(i), ""))
            there = RouteUpdate(net(i), RouteType.REMOTE_WORKLOAD, "none", f"p{i}", address(i))
            self._mesh.update(there)

    def _records(self, *, sends: int, receive: tuple[int, ...]) -> None:
        made = IpsecNode(
            enabled=True,
            layout=self._layout,
            receive={key_id: self._keys[key_id].check for key_id in receive},
            peers={OWN_NAME: IpsecPeering(self._life.tag, sends)},
        )
        for i in range(PEERS):
            boot = i.to_bytes(16, "big").hex()
            tag = tag_of(f"p{i}", boot)
            end = structs.replace(made, tag=tag, boot=boot, ipv4=address(i))
            self._mesh.update(IpsecPeer(f"p{i}", end))

    def _show_kernel(self) -> None:
        stages = {progress.stage for progress in self._mesh.progress().values()}
        states, policies = self._mesh.states(FAMILY), self._mesh.policies(FAMILY)
        print(f"    {len(states)} states, {len(policies)} policies; peers: {', '.join(stages)}")


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    if ctypes.CDLL(None, use_errno=True).unshare(0x40000000) != 0:  # CLONE_NEWNET
        raise SystemExit(f"needs root: {os.strerror(ctypes.get_errno())}")
    for command in ("link set lo up", f"addr add {OWN}/16 dev lo"):
        subprocess.run(["ip", *command.split()], check=True)
    asyncio.run(Bench("shared" if sys.argv[1:] == ["shared"] else "pair").run())


if __name__ == "__main__":
    main()
