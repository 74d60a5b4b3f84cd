"""The whole dataplane against the kernel, over real cables, seen through packets and the tools."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Literal

import pytest

from calc_graph.updates import (
    ActiveProfile,
    ActiveRule,
    IpsetDelta,
    IpsetType,
    IpsetUpdate,
    ProfileUpdate,
    TierPolicies,
    Update,
)
from dataplane import build
from dataplane.build import build_dataplane
from dataplane.dataplane import Applied, Dataplane
from dataplane.netlink import ACK, NETFILTER, Request, Socket, attributes
from dataplane.settings import Intervals, Settings
from tests.dataplane.desired.builders import ALLOW, from_set, gnp, hep, policy, tier, wep, wep_gone
from tests.kernel.conftest import Namespace

pytestmark = pytest.mark.kernel

_GET_GENERATION = Request(10 << 8 | 16, ACK, struct.pack(">BBH", 0, 0, 0))
GATEWAY = "169.254.1.1"
MAC = "02:65:00:00:00:{:02x}"
OPEN = ProfileUpdate("open", ActiveProfile((ALLOW,), (ALLOW,)))
PATIENCE = 10.0  # seconds in which what must come has come


class Lab:
    """A node with cables to workloads; workload n has 10.65.0.n and fd65::n."""

    def __init__(self, node: Namespace, netns: Callable[[str], Namespace]) -> None:
        self.node = node
        self.workloads = {n: netns(f"w{n}") for n in (1, 2, 3)}
        self.dataplane: Dataplane | None = None
        self.applied: list[Applied] = []
        self._woken = asyncio.Event()
        self._socket = Socket(NETFILTER)

    async def start(self, settings: Settings | None = None) -> None:
        await self.stop()
        self.dataplane = await build_dataplane(
            settings or Settings("n1", iptables_backend="nft"), self._woken.set
        )

    async def stop(self) -> None:
        if self.dataplane is not None:
            await self.dataplane.close()
            self.dataplane = None

    async def close(self) -> None:
        await self.stop()
        self._socket.close()

    def plug(self, n: int) -> None:
        far = self.workloads[n]
        self.node.run(
            f"ip link add cali{n} type veth peer name eth0 netns {far.name};"
            f"sysctl -qw net.ipv6.conf.cali{n}.accept_dad=0;"
            f"ip link set cali{n} address ee:ee:ee:ee:ee:ee up"
        )
        far.run(
            f"ip link set eth0 address {MAC.format(n)}; sysctl -qw net.ipv6.conf.eth0.accept_dad=0;"
            f"ip link set eth0 up; ip addr add 10.65.0.{n}/32 dev eth0;"
            f"ip addr add fd65::{n}/128 dev eth0 nodad;"
            f"ip neigh add {GATEWAY} lladdr ee:ee:ee:ee:ee:ee dev eth0;"
            f"ip neigh add fe80::1 lladdr ee:ee:ee:ee:ee:ee dev eth0;"
            f"ip route add {GATEWAY} dev eth0; ip route add default via {GATEWAY};"
            f"ip route add default via fe80::1 dev eth0"
        )
        self.node.await_carrier(f"cali{n}")

    def unplug(self, n: int) -> None:
        self.node.run(f"ip link del cali{n}")

    # ------------------------------------------------------------ the agent's part

    async def turn(self, seconds: float) -> None:
        """One turn of the pipeline; waits for the next at most so long."""
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
        """Until nothing has to be done for a while; then nothing is wrong."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end:
            before = len(self.applied)
            await self.turn(end - loop.time())
            if len(self.applied) > before:
                end = loop.time() + seconds

    async def told(self, *updates: Update) -> None:
        assert self.dataplane is not None
        self.dataplane.desire(updates)
        await self.settle()
        assert self.applied[-1].problems == {}

    # ------------------------------------------------------------ what comes of it

    async def generation(self) -> int:
        """Another one after every transaction of nf_tables."""
        (answer,) = await self._socket.query(_GET_GENERATION, "asking for the generation")
        return int.from_bytes(dict(attributes(answer.body, 4))[1], "big")

    def pings(self, source: int, target: int, family: int = 4) -> bool:
        address = f"10.65.0.{target}" if family == 4 else f"fd65::{target}"
        answer = self.workloads[source].run(f"ping -c1 -W0.3 {address}; true", check=False)
        return " 0% packet loss" in answer

    def both(self, source: int, target: int) -> set[int]:
        """The families in which it is answered."""
        return {family for family in (4, 6) if self.pings(source, target, family)}

    def routes(self) -> str:
        return self.node.run("ip route show; ip -6 route show")


@pytest.fixture
async def lab(inside: Namespace, netns: Callable[[str], Namespace]) -> AsyncIterator[Lab]:
    lab = Lab(inside, netns)
    yield lab
    await lab.close()


def endpoint(n: int, *policies: str, profiles: tuple[str, ...] = ("open",)) -> Update:
    return wep(
        f"w{n}",
        f"cali{n}",
        f"10.65.0.{n}/32",
        f"fd65::{n}/128",
        mac=MAC.format(n),
        profiles=profiles,
        tiers=[tier(*policies)] if policies else (),
    )


def ingress_only(name: str) -> TierPolicies:
    return TierPolicies("default", "Deny", (gnp(name),))


async def written_since(
    lab: Lab, work: Callable[[], Awaitable[None]]
) -> tuple[int, dict[str, int]]:
    """How many transactions, and what the drivers say that they wrote."""
    before, count = await lab.generation(), len(lab.applied)
    await work()
    total: dict[str, int] = {}
    for applied in lab.applied[count:]:
        for kind, number in applied.written.items():
            total[kind] = total.get(kind, 0) + number
    return await lab.generation() - before, {k: n for k, n in total.items() if n}


# ---------------------------------------------------------------- writing


async def test_the_first_apply_writes_and_the_second_does_not(lab: Lab) -> None:
    lab.plug(1)
    lab.plug(2)
    await lab.start()
    assert await lab.generation() == 1
    state = (OPEN, endpoint(1), endpoint(2))
    await lab.told(*state)
    assert lab.both(1, 2) == lab.both(2, 1) == {4, 6}
    assert "10.65.0.1 dev cali1 scope link" in lab.routes()
    assert f"10.65.0.1 lladdr {MAC.format(1)} PERMANENT" in lab.node.run("ip neigh show dev cali1")

    assert await written_since(lab, lab.settle) == (0, {})
    assert await written_since(lab, lambda: lab.told(*state)) == (0, {})


async def test_a_restart_writes_nothing_where_nothing_changed(lab: Lab) -> None:
    lab.plug(1)
    lab.plug(2)
    await lab.start()
    state = (
        OPEN,
        IpsetUpdate("s:x", IpsetType.NET, frozenset({"10.65.0.1/32", "fd65::1/128"})),
        policy("p", from_set("s:x"), ActiveRule("deny", protocol="tcp")),
        endpoint(1, "p"),
        endpoint(2, "p"),
        hep("h", "*", tiers=[tier("p")]),
    )
    await lab.told(*state)

    async def restart() -> None:
        await lab.start()
        await lab.told(*state)

    assert await written_since(lab, restart) == (0, {})


async def test_a_change_is_one_transaction(lab: Lab) -> None:
    await lab.start()
    await lab.told(policy("p", ALLOW), endpoint(1, "p", profiles=()))
    change = policy("p", ALLOW, ActiveRule("deny", protocol="tcp"))
    transactions, written = await written_since(lab, lambda: lab.told(change))
    assert transactions == 2  # one for each family
    assert written.keys() == {"chains"}


async def test_a_member_of_a_set_is_no_transaction(lab: Lab) -> None:
    lab.plug(1)
    lab.plug(2)
    await lab.start()
    await lab.told(
        OPEN,
        IpsetUpdate("s:x", IpsetType.NET, frozenset({"10.65.0.1/32", "fd65::1/128"})),
        policy("p", from_set("s:x")),
        endpoint(1),
        wep(
            "w2",
            "cali2",
            "10.65.0.2/32",
            "fd65::2/128",
            mac=MAC.format(2),
            profiles=("open",),
            tiers=[ingress_only("p")],
        ),
    )
    assert lab.both(1, 2) == {4, 6}
    gone = IpsetDelta("s:x", frozenset(), frozenset({"10.65.0.1/32", "fd65::1/128"}))
    assert await written_since(lab, lambda: lab.told(gone)) == (0, {"members": 2})
    assert lab.both(1, 2) == set()
    assert lab.both(2, 1) == {4, 6}


# ---------------------------------------------------------------- interfaces


@pytest.mark.parametrize(
    ("backend", "cable_first"), [("nft", True), ("nft", False), ("legacy", False)]
)
async def test_cable_and_endpoint_come_in_any_order(
    lab: Lab, backend: Literal["nft", "legacy"], cable_first: bool
) -> None:
    lab.plug(1)
    await lab.start(Settings("n1", iptables_backend=backend))
    await lab.told(OPEN, endpoint(1))
    if cable_first:
        lab.plug(2)
        await lab.settle()
        await lab.told(endpoint(2))
    else:
        await lab.told(endpoint(2))
        assert "10.65.0.2" not in lab.routes()
        lab.plug(2)
        await lab.until(lambda: "fd65::2" in lab.routes())
        await lab.settle()
    assert lab.both(1, 2) == lab.both(2, 1) == {4, 6}


async def test_a_cable_that_goes_down_and_comes_up(lab: Lab) -> None:
    lab.plug(1)
    lab.plug(2)
    await lab.start()
    await lab.told(OPEN, endpoint(1), endpoint(2))
    for _ in range(3):
        lab.node.run("ip link set cali2 down; ip link set cali2 up")
    lab.node.await_carrier("cali2")
    await lab.settle()
    assert lab.both(1, 2) == {4, 6}
    lab.node.run("ip link set cali2 down")
    await lab.until(lambda: "cali2" not in lab.routes())
    await lab.settle()
    assert lab.both(1, 2) == set()
    lab.node.run("ip link set cali2 up")
    await lab.until(lambda: "fd65::2" in lab.routes())
    await lab.settle()
    assert lab.both(1, 2) == lab.both(2, 1) == {4, 6}


async def test_a_cable_is_replaced_by_another_of_its_name(lab: Lab) -> None:
    lab.plug(1)
    lab.plug(2)
    await lab.start()
    await lab.told(OPEN, endpoint(1), endpoint(2))
    for _ in range(2):
        lab.unplug(2)
        lab.plug(2)
    await lab.settle()
    assert lab.both(1, 2) == lab.both(2, 1) == {4, 6}
    assert lab.node.run("cat /proc/sys/net/ipv4/conf/cali2/rp_filter").strip() == "1"
    assert MAC.format(2) in lab.node.run("ip neigh show dev cali2 nud permanent")


async def test_an_endpoint_moves_to_another_interface(lab: Lab) -> None:
    for n in (1, 2):
        lab.plug(n)
    await lab.start()
    await lab.told(OPEN, endpoint(1), endpoint(2))
    lab.node.run("ip link set cali2 down; ip link set cali2 name cali9; ip link set cali9 up")
    lab.node.await_carrier("cali9")
    moved = wep("w2", "cali9", "10.65.0.2/32", "fd65::2/128", mac=MAC.format(2), profiles=("open",))
    await lab.told(moved)
    assert lab.both(1, 2) == lab.both(2, 1) == {4, 6}
    assert "cali2" not in lab.node.saved()


async def test_an_interface_that_nobody_knows_is_closed(lab: Lab) -> None:
    for n in (1, 2):
        lab.plug(n)
    await lab.start()
    await lab.told(OPEN, endpoint(1))
    lab.node.run("ip route add 10.65.0.2 dev cali2; ip -6 route add fd65::2 dev cali2")
    lab.node.run("ip addr add 172.30.0.10/32 dev lo; ip route add 192.0.2.0/24 dev lo")
    lab.node.run("sysctl -qw net.ipv4.conf.cali2.forwarding=1 net.ipv6.conf.cali2.forwarding=1")
    assert lab.both(1, 2) == lab.both(2, 1) == set()
    assert "1 received" not in lab.workloads[2].run("ping -c1 -W0.3 172.30.0.10; true")
    await lab.told(endpoint(2))
    assert lab.both(1, 2) == lab.both(2, 1) == {4, 6}
    await lab.told(wep_gone("w2"))
    assert lab.both(1, 2) == lab.both(2, 1) == set()


async def test_nobody_else_may_speak_with_an_address(lab: Lab) -> None:
    """The route leads to cali1, so what comes from cali2 with that source is forged."""
    for n in (1, 2, 3):
        lab.plug(n)
    await lab.start()
    await lab.told(OPEN, endpoint(1), endpoint(2), endpoint(3))
    lab.workloads[2].run("ip addr add 10.65.0.1/32 dev eth0; ip addr add fd65::1/128 dev eth0")
    heard = "iptables-nft -A INPUT -s 10.65.0.1; ip6tables-nft -A INPUT -s fd65::1"
    lab.workloads[3].run(heard)
    for source, target in (("10.65.0.1", "10.65.0.3"), ("fd65::1", "fd65::3")):
        lab.workloads[2].run(f"ping -c1 -W0.2 -I {source} {target}", check=False)
    assert lab.both(2, 3) == {4, 6}
    assert counted(lab) == [0, 0]
    assert lab.both(1, 3) == {4, 6}
    assert all(counted(lab))


def counted(lab: Lab) -> list[int]:
    """How many packets with a source of workload 1 have come to workload 3."""
    listing = lab.workloads[3].run("iptables-nft -nvxL INPUT; ip6tables-nft -nvxL INPUT")
    return [int(line.split()[0]) for line in listing.splitlines() if "65" in line]


async def test_the_host_endpoint_follows_its_address(lab: Lab) -> None:
    lab.plug(1)
    await lab.start()
    lab.node.run("ip link add eth0 type veth peer name eth1; ip link set eth0 up")
    assert lab.dataplane is not None
    assert lab.dataplane is not None
    lab.dataplane.desire((hep("h", "", "172.30.0.10"),))
    await lab.settle()
    assert lab.applied[-1].problems == {"host endpoint h": "governs no interface of this host"}
    lab.node.run("ip addr add 172.30.0.10/24 dev eth0")
    await lab.until(lambda: "cali-fh-eth0" in lab.node.saved("", "iptables"))
    assert "172.30.0.10" in lab.node.run("ipset list cali40this-host")
    lab.node.run("ip addr del 172.30.0.10/24 dev eth0; ip addr add 172.30.0.10/24 dev eth1")
    lab.node.run("ip link set eth1 up")
    await lab.until(lambda: "cali-fh-eth1" in lab.node.saved("", "iptables"))
    assert "cali-fh-eth0" not in lab.node.saved()


# ---------------------------------------------------------------- what others do

OFTEN = Intervals(ipsets=0.2, routes=0.2, interfaces=0.2)
HANDS = [
    # case, what is done, where it shows
    ("a rule", "iptables-nft -D cali-fw-cali1 1", "iptables-nft -S cali-fw-cali1"),
    ("a chain", "iptables-nft -F cali-from-wl-dispatch", "iptables-nft -S cali-from-wl-dispatch"),
    ("an IPv6 rule", "ip6tables-nft -F cali-tw-cali1", "ip6tables-nft -S cali-tw-cali1"),
    ("a jump", "iptables-nft -D FORWARD 1", "iptables-nft -S FORWARD"),
    ("a rule too many", "iptables-nft -I cali-fw-cali1 -j ACCEPT", "iptables-nft -S cali-fw-cali1"),
    ("a rule above ours", "iptables-nft -I cali-FORWARD -j ACCEPT", "iptables-nft -S cali-FORWARD"),
    ("a table", "nft flush table ip raw", "iptables-nft -t raw -S"),
    ("a member", "ipset del cali40s:x 10.65.0.9", "ipset list cali40s:x | sort"),
    ("a member too many", "ipset add cali60s:x fd65::8", "ipset list cali60s:x | sort"),
    ("all members", "ipset flush cali40s:x", "ipset list cali40s:x | sort"),
    ("a route", "ip route del 10.65.0.1", "ip route show"),
    ("an IPv6 route", "ip -6 route del fd65::1", "ip -6 route show dev cali1"),
    ("a route too many", "ip route add 10.65.0.9 dev cali1", "ip route show"),
    ("a neighbour", "ip neigh del 10.65.0.1 dev cali1", "ip neigh show nud permanent"),
    (
        "a setting",
        "echo 0 > /proc/sys/net/ipv4/conf/cali1/rp_filter",
        "cat /proc/sys/net/ipv4/conf/cali1/rp_filter",
    ),
    ("forwarding", "echo 0 > /proc/sys/net/ipv4/ip_forward", "cat /proc/sys/net/ipv4/ip_forward"),
    (
        "forwarding of one",
        "echo 0 > /proc/sys/net/ipv6/conf/cali1/forwarding",
        "cat /proc/sys/net/ipv6/conf/cali1/forwarding",
    ),
]


async def repaired(lab: Lab, case: str, deed: str, view: str) -> None:
    before = lab.node.run(view)
    lab.node.run(deed)
    assert lab.node.run(view) != before, case
    await lab.until(lambda: lab.node.run(view) == before)


async def test_what_others_do_is_undone(lab: Lab) -> None:
    lab.plug(1)
    await lab.start(Settings("n1", iptables_backend="nft", intervals=OFTEN))
    await lab.told(
        OPEN,
        IpsetUpdate("s:x", IpsetType.NET, frozenset({"10.65.0.9/32", "fd65::9/128"})),
        policy("p", from_set("s:x")),
        endpoint(1, "p"),
    )
    for case, deed, view in HANDS:
        await repaired(lab, case, deed, view)


async def test_rules_and_routes_are_repaired_on_notice_alone(lab: Lab) -> None:
    lab.plug(1)
    never = Intervals(tables=0, ipsets=0, routes=0, interfaces=0)
    await lab.start(Settings("n1", iptables_backend="nft", intervals=never))
    await lab.told(OPEN, endpoint(1))
    for deed, view in (
        ("iptables-nft -F cali-FORWARD", "iptables-nft -S cali-FORWARD"),
        ("ip route del 10.65.0.1", "ip route show"),
    ):
        await repaired(lab, deed, deed, view)


# ---------------------------------------------------------------- end


def ours() -> tuple[set[str], int]:
    """The processes that this one has started and that still run, and how many files are open."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return set(children), len(list(Path("/proc/self/fd").iterdir()))


async def test_close_leaves_the_rules_and_nothing_of_itself(lab: Lab) -> None:
    lab.plug(1)
    lab.plug(2)
    await lab.generation()
    before = ours()
    for _ in range(2):
        await lab.start()
        await lab.told(OPEN, endpoint(1), endpoint(2))
        assert ours() != before
        await lab.stop()
        assert ours() == before
    assert lab.both(1, 2) == {4, 6}
    assert "cali1" in lab.node.saved("", "iptables")


async def test_a_kernel_without_ipv6_is_served_for_ipv4(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(build, "IPV6", tmp_path / "absent")
    lab.plug(1)
    await lab.start()
    assert lab.dataplane is not None
    lab.dataplane.desire([OPEN, wep("a", "cali1", "10.65.0.1/32")])
    await lab.settle()
    assert "10.65.0.1 dev cali1" in lab.node.run("ip route show")
    assert "cali-" not in lab.node.saved("", "ip6tables")
    assert not lab.node.run("ipset list -name | grep ^cali6; true")
