"""Packets from the fabric with sources that can and that cannot be, and what becomes of them.

fabric ══ eth0 node cali1, cali2 ══ w1, w2

And three nodes with VXLAN between them, one of which begins to send without it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Literal, NamedTuple

import pytest

from calc_graph.model import EncapMode, IpPool
from calc_graph.updates import PoolUpdate, Update
from dataplane.dropped import Dropped, read_dropped
from dataplane.settings import RenderSettings, Settings
from tests.dataplane.desired.builders import wep
from tests.kernel.conftest import Namespace
from tests.kernel.forging import ear, send, udp
from tests.kernel.test_dataplane import MAC, OPEN, Lab
from tests.kernel.vxlan_lab import ALL_WAYS, BOTH, cluster
from tests.kernel.vxlan_lab import Lab as VxlanLab

pytestmark = pytest.mark.kernel

PORT = 7000
UPLINK_MAC = "02:30:00:00:00:0a"
POOLS = (
    # local workloads and others, behind the tunnel
    PoolUpdate(IpPool("10.65.0.0/16", ipip_mode="always")),
    PoolUpdate(IpPool("fd65::/48", vxlan_mode="always")),
    # others, of one routed network
    PoolUpdate(IpPool("10.66.0.0/16")),
    PoolUpdate(IpPool("fd66::/48")),
    # others, behind the tunnel or on our subnet
    PoolUpdate(IpPool("10.68.0.0/16", vxlan_mode="cross-subnet")),
    PoolUpdate(IpPool("fd68::/48", vxlan_mode="cross-subnet")),
)
ROUTES = (
    "ip link add elsewhere type veth peer name far; ip link set far up; ip link set elsewhere up;"
    "ip route add 10.68.1.0/26 via 172.30.0.1; ip route add 10.68.2.0/26 dev elsewhere;"
    "ip -6 route add fd68:0:0:1::/64 via fd30::1; ip -6 route add fd68:0:0:2::/64 dev elsewhere"
)
W1 = ("10.65.0.1", "fd65::1")
W2 = ("10.65.0.2", "fd65::2")
ELSEWHERE = ("10.65.9.9", "fd65:0:0:9::9")  # a workload of another node, behind the tunnel
ROUTED = ("10.66.0.9", "fd66::9")
NEIGHBOUR = ("10.68.1.9", "fd68:0:0:1::9")
FAR = ("10.68.2.9", "fd68:0:0:2::9")
MACHINE = ("172.30.0.1", "fd30::1")
HOST = ("172.30.0.10", "fd30::10")
FLOATING1 = ("172.30.9.1", "fd30:9::1")
FLOATING2 = ("172.30.9.2", "fd30:9::2")

LOCAL = "address of a local workload"
TUNNELLED = "pool that arrives by a tunnel only"
CROSS_SUBNET = "its route leads elsewhere"


class Case(NamedTuple):
    """`forged` is the reason, or "" where all is well."""

    what: str
    source: tuple[str, str]
    target: tuple[str, str]
    forged: str


CASES = [
    Case("a local workload's address, to its neighbour", W2, W1, LOCAL),
    Case("a local workload's address, to the host", W2, HOST, LOCAL),
    Case("a workload's own address", W1, W1, LOCAL),
    Case("a tunnelled pool, unwrapped", ELSEWHERE, W1, TUNNELLED),
    Case("a tunnelled pool, to the host: sent without a tunnel", ELSEWHERE, HOST, ""),
    Case("a tunnelled pool, to a floating address: likewise", ELSEWHERE, FLOATING1, ""),
    Case("a routed pool", ROUTED, W1, ""),
    Case("a cross-subnet pool, of our subnet", NEIGHBOUR, W1, ""),
    Case("a cross-subnet pool, of another, unwrapped", FAR, W1, CROSS_SUBNET),
    Case("a cross-subnet pool, of another, to the host", FAR, HOST, ""),
    Case("a machine: a service's hairpin has translated to it", MACHINE, W1, ""),
    Case("a machine, to the host", MACHINE, HOST, ""),
    Case("a machine, to a floating address", MACHINE, FLOATING1, ""),
    Case("a floating address, of a router that translates", FLOATING2, W1, ""),
]


def workload(n: int) -> Update:
    floating = (FLOATING1, FLOATING2)[n - 1]
    inside = (W1, W2)[n - 1]
    nats = tuple(zip(floating, inside, strict=True))
    nets = (f"10.65.0.{n}/32", f"fd65::{n}/128")
    return wep(f"w{n}", f"cali{n}", *nets, mac=MAC.format(n), profiles=("open",), nats=nats)


class Fabric(Lab):
    """The lab with machines around it."""

    def __init__(self, node: Namespace, netns: Callable[[str], Namespace]) -> None:
        super().__init__(node, netns)
        for n in (1, 2):
            self.plug(n)
        self.fabric = netns("fabric")
        node.run(
            f"ip link add eth0 address {UPLINK_MAC} type veth"
            f" peer name eth0 netns {self.fabric.name}; ip link set eth0 up"
        )
        self.fabric.run("ip link set eth0 up")
        node.await_carrier("eth0")
        node.run(
            "for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $f; done;"
            f"ip addr add {HOST[0]}/24 dev eth0; ip addr add {HOST[1]}/64 dev eth0 nodad;"
            f"ip route add default via {MACHINE[0]}; ip route add default via {MACHINE[1]};{ROUTES}"
        )

    async def guard(
        self,
        protection: Literal["Off", "Warn", "Drop"],
        backend: Literal["nft", "legacy"] = "nft",
    ) -> None:
        render = RenderSettings(fabric_spoof_protection=protection)
        await self.start(Settings("n1", iptables_backend=backend, render=render, floating_ips=True))
        await self.told(OPEN, workload(1), workload(2), *POOLS)

    def refused(self, cases: Sequence[Case] = CASES) -> list[tuple[int, str]]:
        """Family and description of what does not arrive."""
        missing: list[tuple[int, str]] = []
        for family in (4, 6):
            arrived = self._arriving(cases, family)
            missing += [(family, c.what) for n, c in enumerate(cases) if n not in arrived]
        return missing

    def _arriving(self, cases: Sequence[Case], family: int) -> list[int]:
        """The numbers of those that do, whether at the workload or at the host."""
        which = 0 if family == 4 else 1
        with ear(self.node, family, PORT) as host, ear(self.workloads[1], family, PORT) as inside:
            packets = [
                udp(case.source[which], case.target[which], PORT, token=number)
                for number, case in enumerate(cases)
            ]
            send(self.fabric, packets, UPLINK_MAC)
            return [*host(), *inside()]


@pytest.fixture
async def lab(inside: Namespace, netns: Callable[[str], Namespace]) -> AsyncIterator[Fabric]:
    lab = Fabric(inside, netns)
    yield lab
    await lab.close()


async def forged() -> dict[tuple[int, str], int]:
    counts = (await read_dropped((4, 6))).forged
    return {key: packets for key, packets in counts.items() if packets}


EXPECTED = Counter((family, case.forged) for family in (4, 6) for case in CASES if case.forged)


@pytest.mark.parametrize("backend", ["nft", "legacy"])
async def test_forged_packets_are_dropped_and_no_others(
    lab: Fabric, backend: Literal["nft", "legacy"]
) -> None:
    await lab.guard("Drop", backend)
    assert lab.refused() == [(f, case.what) for f in (4, 6) for case in CASES if case.forged]
    assert await forged() == EXPECTED
    flows = lab.node.run("conntrack -L 2>/dev/null; conntrack -L -f ipv6 2>/dev/null")
    assert f"src={W2[0]} " not in flows
    assert f"src={W2[1]} " not in flows
    assert f"src={ROUTED[0]} " in flows
    # what belongs here goes on: workloads with each other, with the host, and their own service
    assert lab.both(1, 2) == lab.both(2, 1) == {4, 6}
    for n, floating in ((1, FLOATING1), (2, FLOATING1)):
        assert "1 received" in lab.workloads[n].run(f"ping -c1 -W0.5 {floating[0]}", check=False)
    assert "1 received" in lab.node.run(f"ping -c1 -W0.5 {W1[0]}; true")
    assert await forged() == EXPECTED


async def test_a_warning_lets_them_pass_and_counts_them(lab: Fabric) -> None:
    await lab.guard("Warn")
    assert lab.refused() == []
    assert await forged() == EXPECTED


async def test_off_is_off(lab: Fabric) -> None:
    await lab.guard("Off")
    assert lab.refused() == []
    assert await read_dropped((4, 6)) == Dropped()
    assert "fabric" not in lab.node.saved() + lab.node.run("ipset list -n")


def guarded(mode: EncapMode) -> tuple[Update, ...]:
    """The pools of the cluster's workloads and of the ends of its tunnels."""
    nets = "10.65.0.0/16", "fd65::/16"
    return tuple(PoolUpdate(IpPool(net, vxlan_mode=mode)) for net in nets)


@pytest.mark.parametrize(
    ("mode", "same_subnet", "reason"),
    [
        ("always", False, TUNNELLED),
        ("cross-subnet", False, CROSS_SUBNET),
        ("cross-subnet", True, ""),
    ],
)
async def test_nodes_reach_each_other_as_their_pools_say(
    inside: Namespace,
    netns: Callable[[str], Namespace],
    mode: EncapMode,
    same_subnet: bool,
    reason: str,
) -> None:
    lab = VxlanLab(inside, netns)
    for n in (2, 3):
        lab.populate(n, "vxlan")
    await lab.start(
        Settings(
            "n1", iptables_backend="nft", render=RenderSettings(fabric_spoof_protection="Drop")
        )
    )
    await lab.told(*cluster("vxlan", BOTH, same_subnet=same_subnet), *guarded(mode))
    assert lab.reached() == ALL_WAYS
    assert await forged() == {}
    lab.populate(2, "no-encap")
    assert {lab.pings(2, 1, family) for family in (4, 6)} == {not reason}
    assert {lab.pings(3, 1, family) for family in (4, 6)} == {True}
    assert set(await forged()) == ({(4, reason), (6, reason)} if reason else set())
    await lab.stop()
