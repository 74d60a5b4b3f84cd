"""Nodes of a cluster on one wire, each with a workload; the test's own is node 1.

node n      172.30.0.n and fd30::n on eth0; 10.65.n.0 and fd65:n:: inside VXLAN
workload n  10.65.n.2 and fd65:n::2, in the block 10.65.n.0/26 and fd65:n::/122

The other nodes are made by the ip tool as another Calico would make them.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from calc_graph.updates import (
    ActiveProfile,
    EncapUpdate,
    HostUpdate,
    PoolType,
    ProfileUpdate,
    RouteType,
    RouteUpdate,
    TunnelAddresses,
    Update,
    VtepUpdate,
)
from dataplane.build import build_dataplane
from dataplane.dataplane import Applied, Dataplane
from dataplane.settings import Settings
from tests.dataplane.desired.builders import ALLOW, wep
from tests.kernel.conftest import Namespace

OPEN = ProfileUpdate("open", ActiveProfile((ALLOW,), (ALLOW,)))
PATIENCE = 10.0
NODES = (1, 2, 3)
NO_TUNNEL = EncapUpdate(ipip=False, vxlan=False, vxlan_v6=False)
BOTH = EncapUpdate(ipip=False, vxlan=True, vxlan_v6=True)


def mac(n: int, family: int = 4) -> str:
    name = f"n{n}" if family == 4 else f"n{n}-v6"
    return "66:" + hashlib.sha1(name.encode()).digest()[:5].hex(":")


def host(n: int) -> HostUpdate:
    return HostUpdate(f"n{n}", f"172.30.0.{n}", f"fd30::{n}")


def vtep(n: int) -> VtepUpdate:
    return VtepUpdate(
        f"n{n}",
        mac(n),
        f"10.65.{n}.0",
        f"172.30.0.{n}",
        mac(n, 6),
        f"fd65:{n}::",
        f"fd30::{n}",
    )


ADDRESSES = TunnelAddresses("10.65.1.1", "10.65.1.0", mac(1), "fd65:1::", mac(1, 6))


def blocks(n: int, pool: PoolType, *, same_subnet: bool = False) -> tuple[RouteUpdate, RouteUpdate]:
    kind = RouteType.LOCAL_WORKLOAD if n == 1 else RouteType.REMOTE_WORKLOAD
    return (
        RouteUpdate(f"10.65.{n}.0/26", kind, pool, f"n{n}", f"172.30.0.{n}", same_subnet),
        RouteUpdate(f"fd65:{n}::/122", kind, pool, f"n{n}", f"fd30::{n}", same_subnet),
    )


def cluster(
    pool: PoolType, encap: EncapUpdate = NO_TUNNEL, *, same_subnet: bool = False
) -> list[Update]:
    """All that a node is told of three nodes in pools of this type."""
    told: list[Update] = [OPEN, workload_endpoint(), ADDRESSES, encap]
    for n in NODES:
        told += [host(n), vtep(n), *blocks(n, pool, same_subnet=same_subnet)]
    return told


def workload_endpoint() -> Update:
    return wep(
        "w1", "cali1", "10.65.1.2/32", "fd65:1::2/128", mac="02:65:00:00:00:01", profiles=("open",)
    )


class Lab:
    """Node 1 is `node`, where the test runs; `nodes` are all, `workloads` one behind each."""

    def __init__(
        self, node: Namespace, netns: Callable[[str], Namespace], others: tuple[int, ...] = (2, 3)
    ) -> None:
        self.node = node
        self.nodes = {1: node, **{n: netns(f"n{n}") for n in others}}
        self.workloads = {n: netns(f"w{n}") for n in self.nodes}
        self.wire = netns("wire")
        self.wire.run("ip link add br0 type bridge; ip link set br0 up")
        self.dataplane: Dataplane | None = None
        self.applied: list[Applied] = []
        self._woken = asyncio.Event()
        for n in self.nodes:
            self._connect(n)
            self._plug(n)
        for n in self.nodes:
            self.nodes[n].await_carrier("eth0")
            self.nodes[n].await_carrier(f"cali{n}")

    def _connect(self, n: int) -> None:
        self.nodes[n].run(
            "sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv4.ip_forward=1"
            " net.ipv6.conf.all.forwarding=1;"
            f"ip link add eth0 type veth peer name p{n} netns {self.wire.name};"
            f"ip link set eth0 up; ip addr add 172.30.0.{n}/24 dev eth0;"
            f"ip addr add fd30::{n}/64 dev eth0 nodad"
        )
        self.wire.run(f"ip link set p{n} master br0 up")

    def _plug(self, n: int) -> None:
        far = self.workloads[n]
        self.nodes[n].run(
            f"ip link add cali{n} type veth peer name eth0 netns {far.name};"
            f"ip link set cali{n} address ee:ee:ee:ee:ee:ee up"
        )
        far.run(
            f"ip link set eth0 address 02:65:00:00:00:{n:02x};"
            "sysctl -qw net.ipv6.conf.eth0.accept_dad=0;"
            f"ip link set eth0 up; ip addr add 10.65.{n}.2/32 dev eth0;"
            f"ip addr add fd65:{n}::2/128 dev eth0 nodad;"
            "ip neigh add 169.254.1.1 lladdr ee:ee:ee:ee:ee:ee dev eth0;"
            "ip neigh add fe80::1 lladdr ee:ee:ee:ee:ee:ee dev eth0;"
            "ip route add 169.254.1.1 dev eth0; ip route add default via 169.254.1.1;"
            "ip route add default via fe80::1 dev eth0"
        )

    def populate(self, n: int, pool: PoolType) -> None:
        """Make another node as its own agent would: both ways back to node 1, and one in use."""
        lines = [
            f"ip route replace 10.65.{n}.2 dev cali{n}",
            f"ip route replace fd65:{n}::2 dev cali{n}",
        ]
        for family, device, prefix, carrier in (
            (4, "vxlan.calico", "10.65.{}.0", "172.30.0.{}"),
            (6, "vxlan-v6.calico", "fd65:{}::", "fd30::{}"),
        ):
            if device in self.nodes[n].run("ip -o link"):
                continue
            length = 32 if family == 4 else 128
            lines += [
                f"ip link add {device} address {mac(n, family)} type vxlan id 4096 dstport 4789"
                f" local {carrier.format(n)} dev eth0 nolearning",
                f"ip addr add {prefix.format(n)}/{length} dev {device}",
                f"ip link set {device} up",
                f"ip neigh add {prefix.format(1)} lladdr {mac(1, family)} dev {device}"
                " nud permanent",
                f"bridge fdb add {mac(1, family)} dst {carrier.format(1)} dev {device}",
            ]
        vxlan = pool == "vxlan"
        v4 = "via 10.65.1.0 dev vxlan.calico" if vxlan else "via 172.30.0.1 dev eth0"
        v6 = "via fd65:1:: dev vxlan-v6.calico" if vxlan else "via fd30::1 dev eth0"
        if vxlan:  # else IPv6 would refuse a gateway that it knows to be behind eth0
            lines.append("ip route replace fd65:1::/128 dev vxlan-v6.calico metric 1")
        lines += [
            f"ip route replace 10.65.1.0/26 {v4} onlink",
            f"ip route replace fd65:1::/122 {v6} onlink",
        ]
        self.nodes[n].run(";".join(lines))

    # ------------------------------------------------------------ the agent's part

    async def start(self, settings: Settings | None = None) -> None:
        await self.stop()
        self.dataplane = await build_dataplane(
            settings or Settings("n1", iptables_backend="nft"), self._woken.set
        )

    async def stop(self) -> None:
        if self.dataplane is not None:
            await self.dataplane.close()
            self.dataplane = None

    async def turn(self, seconds: float) -> None:
        assert self.dataplane is not None
        self._woken.clear()
        applied = await self.dataplane.apply()
        if applied is not None:
            self.applied.append(applied)
        try:
            async with asyncio.timeout(min(seconds, self.dataplane.seconds_to_next())):
                await self._woken.wait()
        except TimeoutError:
            pass

    async def until(self, what: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not what():
                await self.turn(0.02)

    async def settle(self, seconds: float = 0.4) -> None:
        """Until nothing has to be done for a while."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end:
            before = len(self.applied)
            await self.turn(end - loop.time())
            if len(self.applied) > before:
                end = loop.time() + seconds

    def desire(self, *updates: Update) -> None:
        assert self.dataplane is not None
        self.dataplane.desire(updates)

    async def told(self, *updates: Update) -> None:
        self.desire(*updates)
        await self.settle()
        problems = self.applied[-1].problems
        assert problems == {}

    # ------------------------------------------------------------ what comes of it

    def routes(self, family: int = 4) -> set[str]:
        shown = self.node.run(f"ip -{family} route show table main")
        return {" ".join(line.split()) for line in shown.splitlines()}

    def pings(self, source: int, target: int, family: int) -> bool:
        address = f"10.65.{target}.2" if family == 4 else f"fd65:{target}::2"
        answer = self.workloads[source].run(f"ping -c1 -W1 {address}; true", check=False)
        return " 0% packet loss" in answer

    def reached(self) -> set[tuple[int, int, int]]:
        """Of the ways between node 1 and the others, those that work: from, to, family."""
        ways = [way for n in self.nodes if n != 1 for way in ((1, n), (n, 1))]
        return {(a, b, f) for a, b in ways for f in (4, 6) if self.pings(a, b, f)}

    @contextmanager
    def flow(self, family: int) -> Iterator[list[int]]:
        """Packets from workload 1 to workload 2, 200 a second; how many were lost, at the end."""
        address = "10.65.2.2" if family == 4 else "fd65:2::2"
        lost: list[int] = []
        process = self.workloads[1].start("ping", "-q", "-i", "0.005", "-W", "2", address)
        yield lost
        process.send_signal(2)
        output, _ = process.communicate(timeout=10)
        (line,) = [line for line in output.splitlines() if "packets transmitted" in line]
        words = line.split()
        assert int(words[0]) > 20, line
        lost.append(int(words[0]) - int(words[3]))


ALL_WAYS = {(a, b, f) for a, b in ((1, 2), (2, 1), (1, 3), (3, 1)) for f in (4, 6)}
