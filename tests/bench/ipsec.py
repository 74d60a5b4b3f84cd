"""How fast 500 peers of IPsec are there from nothing, and how fast a key gives way to the next:
`python -m tests.bench.ipsec`, as root, on a kernel that has ESP (the guest of tests/guest, if this
machine's has not).

IPsec's part of the dataplane, mesh and drivers and table 200, runs against the kernel in a network
namespace of its own, which ends with it; what the peers publish is made up, and none of them is
waited for: their records are read before the clock starts, for that is the datastore's part.  With
`shared` as its argument it shows that layout.

Each step is shown with its messages, and the time that has passed and that this process has used,
the kernel's on its behalf too.  What the agent has done by then is done before the clock starts: it
has imported what it needs, and tried the keys of the file, for which the kernel loads its modules.
The garbage collector is as the agent has it (felixpy/commands/run.py).  The second
start is that of an agent that finds all of it there: states, policies and routes are read, and
their keys are compared.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import importlib
import logging
import os
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple

import structlog
from msgspec import structs

from calc_graph.model import IpPool, IpsecNode, IpsecPeering
from calc_graph.updates import HostUpdate, IpsecPeer, PoolUpdate, RouteType, RouteUpdate
from dataplane.families import Family
from dataplane.interfaces import InterfaceMonitor
from dataplane.ipsec.ipsec import Ipsec
from dataplane.ipsec.kernel import open_xfrm
from dataplane.ipsec.keys import Algorithm, Key, KeyRing
from dataplane.ipsec.life import Life, tag_of
from dataplane.ipsec.mesh import Event
from dataplane.ipsec.retire import IN_FLIGHT_SECONDS
from dataplane.settings import IpsecSettings, Settings
from felixpy.commands.run import spare_the_collector

PEERS: Final = 500
OWN_NAME, OWN, OWN_NET = "n0", "172.16.0.1", "10.127.0.0/26"
NETWORK: Final = f"""\
link set lo up
link add eth0 type veth peer name far
link set eth0 up
link set far up
addr add {OWN}/16 dev eth0
route add default via 172.16.255.254
"""
REQID: Final = 1
AES: Final = Algorithm("rfc4106(gcm(aes))", 128)
FAMILY: Final[Family] = 4
BOOT: Final = "00" * 16

Layout = Literal["pair", "shared"]


def key(key_id: int) -> Key:
    return Key(key_id, AES, bytearray(range(key_id, key_id + 20)))


class Spent(NamedTuple):
    """Messages to the kernel; seconds that have passed, and of the processor."""

    messages: int
    passed: float
    used: float


def show(what: str, *steps: Spent) -> None:
    messages, passed, used = map(sum, zip(*steps, strict=True))
    rate = f"{messages / passed:8.0f} messages/s" if messages else ""
    print(f"{what:<52}{messages:6}{passed:8.2f} s{used:8.2f} s CPU{rate}", flush=True)


def address(number: int) -> str:
    return f"172.16.{1 + (number >> 8)}.{number & 255}"


def net(number: int) -> str:
    return f"10.{128 + (number >> 10)}.{number >> 2 & 255}.{(number & 3) << 6}/26"


class Bench:
    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._keys: dict[int, Key] = {}
        self._ipsec = self._begin()

    def _begin(self) -> Ipsec:
        """Another agent's."""
        self._begun = False
        ours = IpsecSettings(families=frozenset({FAMILY}), layout=self._layout, reqid=REQID)
        return Ipsec((FAMILY,), Settings(OWN_NAME, ipsec=ours))

    async def run(self) -> None:
        await self._try_keys(1, 2)
        cluster = [*self._nodes(), *self._records(sends=1, receive=(1,))]
        start = await self._timed(f"keys, nodes, nets and records of {PEERS} peers", cluster, 1)
        self._ipsec.close()
        self._ipsec = self._begin()
        restart = await self._timed("the same, and all is there already", cluster, 1)
        received = self._records(sends=1, receive=(1, 2))
        sent = self._records(sends=2, receive=(1, 2))
        rotation = [
            await self._timed("the next key comes, and is received", [], 1, 2),
            await self._timed("the peers receive it, and it is sent with", received),
            await self._timed("they send with it, and the old one leaves the file", sent, 2),
        ]
        await asyncio.sleep(IN_FLIGHT_SECONDS)
        rotation.append(await self._timed("the old one is received no more", []))
        await self._show_kernel()
        show("START", start)
        show("RESTART", restart)
        show("ROTATION", *rotation)
        self._ipsec.close()

    # ---------------------------------------------------------------- what happens

    async def _timed(self, what: str, events: Sequence[Event], *key_ids: int) -> Spent:
        """`key_ids`: those of the file, if it is another than before."""
        written, start, cpu = self._ipsec.written, time.perf_counter(), time.process_time()
        if not self._begun:
            await self._meet_the_kernel()
        if key_ids:
            self._ipsec.offer_keys(KeyRing(self._keys[key_id] for key_id in key_ids))
        for event in events:
            self._ipsec.update(event)
        while True:
            before = self._ipsec.written, self._ipsec.record()
            await self._ipsec.before(FAMILY, self._step)
            await self._ipsec.after(FAMILY, self._step)
            if (self._ipsec.written, self._ipsec.record()) == before:
                break
            self._publish()
        passed, used = time.perf_counter() - start, time.process_time() - cpu
        spent = Spent(self._ipsec.written - written, passed, used)
        show(what, spent)
        return spent

    async def _meet_the_kernel(self) -> None:
        self._begun = True
        monitor = InterfaceMonitor(Settings(OWN_NAME))
        for name, interface in (await monitor.start()).items():
            self._ipsec.interface_changed(name, interface)
        monitor.close()
        self._ipsec.offer_life(Life(BOOT, tag_of(OWN_NAME, BOOT)))

    # ---------------------------------------------------------------- how

    async def _step(self, what: str, work: Coroutine[Any, Any, None]) -> bool:
        await work
        return True

    def _publish(self) -> None:
        record = self._ipsec.record()
        if record is not None:
            self._ipsec.update(IpsecPeer(OWN_NAME, record))

    async def _try_keys(self, *key_ids: int) -> None:
        xfrm = open_xfrm(REQID)
        for key_id in key_ids:
            self._keys[key_id] = key(key_id)
            reason = await xfrm.trial(self._keys[key_id], FAMILY)
            if reason:
                raise SystemExit(f"key {key_id}: {reason}")
        xfrm.close()

    def _nodes(self) -> Iterator[Event]:
        yield PoolUpdate(IpPool("10.0.0.0/8"))
        yield HostUpdate(OWN_NAME, OWN, "")
        yield RouteUpdate(OWN_NET, RouteType.LOCAL_WORKLOAD, "none", OWN_NAME, OWN)
        for i in range(PEERS):
            yield HostUpdate(f"p{i}", address(i), "")
            yield RouteUpdate(net(i), RouteType.REMOTE_WORKLOAD, "none", f"p{i}", address(i))

    def _records(self, *, sends: int, receive: tuple[int, ...]) -> list[Event]:
        made = IpsecNode(
            enabled=True,
            layout=self._layout,
            receive={key_id: self._keys[key_id].check for key_id in receive},
            peers={OWN_NAME: IpsecPeering(tag_of(OWN_NAME, BOOT), sends)},
        )
        found: list[Event] = []
        for i in range(PEERS):
            boot = i.to_bytes(16, "big").hex()
            tag = tag_of(f"p{i}", boot)
            end = structs.replace(made, tag=tag, boot=boot, ipv4=address(i))
            found.append(IpsecPeer(f"p{i}", end))
        return found

    async def _show_kernel(self) -> None:
        xfrm = open_xfrm(REQID)
        states, policies = await xfrm.read_states(FAMILY), await xfrm.read_policies(FAMILY)
        xfrm.close()
        stages = {peer.stage for peer in self._ipsec.known().peers}
        print(f"    {len(states)} states, {len(policies)} policies; peers: {', '.join(stages)}")


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    if ctypes.CDLL(None, use_errno=True).unshare(0x40000000) != 0:  # CLONE_NEWNET
        raise SystemExit(f"needs root: {os.strerror(ctypes.get_errno())}")
    subprocess.run(["ip", "-batch", "-"], input=NETWORK, text=True, check=True)
    bench = Bench("shared" if sys.argv[1:] == ["shared"] else "pair")
    as_the_agent()
    asyncio.run(bench.run())


def as_the_agent() -> None:
    """What it has imported when the first peer comes, and when it collects garbage."""
    importlib.import_module("dataplane.ipsec.netlink")
    gc.collect()
    spare_the_collector()


if __name__ == "__main__":
    main()
