"""The interface monitor against interfaces that come, go and bounce."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from dataplane.interfaces import Changes, InterfaceMonitor
from dataplane.netlink import Message
from dataplane.settings import RenderSettings, Settings
from tests.kernel.conftest import Namespace

pytestmark = pytest.mark.kernel

Veth = Callable[[Namespace, str, Namespace, str], None]


@pytest.fixture
async def monitor(inside: Namespace) -> AsyncIterator[InterfaceMonitor]:
    made = InterfaceMonitor(
        Settings(
            "n1",
            render=RenderSettings(interface_prefixes=("cali", "tap")),
            interface_exclude=("kube-ipvs0", "/^skip[0-9]$/"),
        )
    )
    yield made
    made.close()


@pytest.fixture
def other(netns: Callable[[str], Namespace]) -> Namespace:
    return netns("other")


async def soon(monitor: InterfaceMonitor, wanted: Callable[[], bool]) -> list[Changes]:
    """The changes until something holds."""
    seen: list[Changes] = []
    async with asyncio.timeout(5):
        while not wanted():
            seen.append(await monitor.next_changes())
    return seen


async def test_addresses_are_those_of_the_local_table(
    monitor: InterfaceMonitor, inside: Namespace, other: Namespace, veth: Veth
) -> None:
    """The members of this-host in Calico's golden files, 127.0.0.0 among them."""
    for name, address, ip6 in (
        ("eth0", "172.30.0.10/24", "fd30::10/64"),
        ("caliw1", "169.254.1.1/32", "fd30:1::1/128"),
        ("skip0", "10.1.1.1/32", "fd30:2::1/128"),
        ("kube-ipvs0", "10.1.1.2/32", "fd30:3::1/128"),
    ):
        veth(inside, name, other, f"p-{name}")
        inside.run(f"ip addr add {address} dev {name}; ip addr add {ip6} dev {name} nodad")
    inside.run("ip link set eth0 address 02:30:00:00:00:0a; ip link set eth0 addrgenmode none")
    inside.run("ip addr add fe80::30:ff:fe00:a/64 dev eth0 nodad")
    inside.run("ip -6 addr flush dev eth0 scope link; ip addr add fe80::30:ff:fe00:a/64 dev eth0")
    interfaces = await monitor.start()
    assert interfaces["lo"].addresses == {"127.0.0.0", "127.0.0.1", "::1"}
    await soon(
        monitor,
        lambda: (
            monitor.interfaces["eth0"].addresses
            == {"172.30.0.10", "fd30::10", "fe80::30:ff:fe00:a"}
        ),
    )
    for name in ("caliw1", "skip0", "kube-ipvs0"):
        assert interfaces[name].up
        assert interfaces[name].addresses == frozenset()


async def test_an_address_comes_and_goes(
    monitor: InterfaceMonitor, inside: Namespace, other: Namespace, veth: Veth
) -> None:
    veth(inside, "eth0", other, "peer")
    await monitor.start()
    inside.run("ip addr add 172.30.0.10/24 dev eth0; ip addr add 172.30.0.11/24 dev eth0")
    await soon(
        monitor,
        lambda: {"172.30.0.10", "172.30.0.11"} <= monitor.interfaces["eth0"].addresses,
    )
    inside.run("ip addr del 172.30.0.11/24 dev eth0; ip route add local 10.9.0.0/24 dev lo")
    await soon(monitor, lambda: "172.30.0.11" not in monitor.interfaces["eth0"].addresses)
    await soon(monitor, lambda: "10.9.0.0" in monitor.interfaces["lo"].addresses)


async def test_an_interface_that_is_down_keeps_the_addresses_that_the_kernel_answers_for(
    monitor: InterfaceMonitor, inside: Namespace, other: Namespace, veth: Veth
) -> None:
    veth(inside, "eth0", other, "peer")
    inside.run("ip addr add 172.30.0.10/24 dev eth0; ip addr add fd30::10/64 dev eth0 nodad")
    await monitor.start()
    inside.run("ip link set eth0 down")
    await soon(monitor, lambda: not monitor.interfaces["eth0"].up)
    await soon(monitor, lambda: "fd30::10" not in monitor.interfaces["eth0"].addresses)
    assert "172.30.0.10" in monitor.interfaces["eth0"].addresses
    assert "local 172.30.0.10" in inside.run("ip route show table local")
    assert "local fd30::10" not in inside.run("ip -6 route show table local")


async def test_a_carrier_is_part_of_being_up(
    monitor: InterfaceMonitor, inside: Namespace, other: Namespace, veth: Veth
) -> None:
    veth(inside, "caliw1", other, "peer")
    await monitor.start()
    other.run("ip link set peer down")
    await soon(monitor, lambda: not monitor.interfaces["caliw1"].up)
    other.run("ip link set peer up")
    await soon(monitor, lambda: monitor.interfaces["caliw1"].up)


async def test_one_that_comes_and_goes(
    monitor: InterfaceMonitor, inside: Namespace, other: Namespace, veth: Veth
) -> None:
    await monitor.start()
    veth(inside, "caliw1", other, "peer")
    await soon(monitor, lambda: "caliw1" in monitor.interfaces and monitor.interfaces["caliw1"].up)
    inside.run("ip link del caliw1")
    seen = await soon(monitor, lambda: "caliw1" not in monitor.interfaces)
    assert "caliw1" in seen[-1].gone


@pytest.mark.parametrize(
    "command",
    [
        "ip link del caliw1; ip link add caliw1 type veth peer name p2; ip link set p2 up;"
        "ip link set caliw1 up",
        "ip link set caliw1 down; ip link set caliw1 up",
    ],
    ids=["made anew", "down and up"],
)
async def test_a_bounce_within_one_look_is_a_change(
    monitor: InterfaceMonitor, inside: Namespace, other: Namespace, veth: Veth, command: str
) -> None:
    veth(inside, "caliw1", other, "peer")
    before = (await monitor.start())["caliw1"]
    inside.run(command)
    seen = await soon(
        monitor,
        lambda: monitor.interfaces["caliw1"].up and monitor.interfaces["caliw1"] != before,
    )
    assert all("caliw1" not in changes.gone for changes in seen)
    assert monitor.interfaces["caliw1"].generation != before.generation
    if "link del" in command:
        assert monitor.interfaces["caliw1"].index != before.index


async def test_a_new_name_is_an_end_and_a_beginning(
    monitor: InterfaceMonitor, inside: Namespace, other: Namespace, veth: Veth
) -> None:
    veth(inside, "eth7", other, "peer")
    inside.run("ip addr add 172.30.0.10/24 dev eth7")
    await monitor.start()
    inside.run("ip link set eth7 down; ip link set eth7 name tap7; ip link set tap7 up")
    await soon(monitor, lambda: "tap7" in monitor.interfaces and "eth7" not in monitor.interfaces)
    await soon(monitor, lambda: monitor.interfaces["tap7"].up)
    assert monitor.interfaces["tap7"].addresses == frozenset()


async def test_a_bridge_port_that_leaves_is_still_there(
    monitor: InterfaceMonitor, inside: Namespace, other: Namespace, veth: Veth
) -> None:
    veth(inside, "eth0", other, "peer")
    inside.run("ip link add br0 type bridge; ip link set br0 up; ip link set eth0 master br0")
    await monitor.start()
    inside.run("ip link set eth0 nomaster; ip link del br0")
    await soon(monitor, lambda: "br0" not in monitor.interfaces)
    assert monitor.interfaces["eth0"].up


class Watcher:
    def __init__(self) -> None:
        self.noticed = 0
        self.lost_all = 0

    def notice(self, message: Message) -> bool:
        self.noticed += 1
        return True

    def lost(self) -> None:
        self.lost_all += 1


async def test_an_overrun_is_made_good(
    monitor: InterfaceMonitor, inside: Namespace, other: Namespace, veth: Veth
) -> None:
    watcher = Watcher()
    monitor.watch_routes(watcher)
    await monitor.start()
    assert monitor._listener is not None
    monitor._listener._socket.setsockopt(1, 33, 2048)  # SO_RCVBUFFORCE
    veth(inside, "eth0", other, "peer")
    inside.run("for i in $(seq 100); do ip route add 10.77.0.$i dev eth0; done")
    seen = await soon(monitor, lambda: watcher.lost_all > 0)
    assert seen[-1].routes
    assert monitor.interfaces["eth0"].up
    inside.run("ip route add 10.78.0.1 dev eth0")
    seen = await soon(monitor, lambda: watcher.noticed > 0)
    assert seen[-1].routes


async def test_nothing_is_lost_when_a_wait_is_cancelled(
    monitor: InterfaceMonitor, inside: Namespace, other: Namespace, veth: Veth
) -> None:
    veth(inside, "eth0", other, "peer")
    await monitor.start()
    monitor.refresh_seconds = 0.0
    process = inside.start(
        "sh", "-c", "for i in $(seq 60); do ip addr add 10.7.0.$i/32 dev eth0; done"
    )
    while process.poll() is None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.002):
                await monitor.next_changes()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.1):
            await monitor.next_changes()
    assert {f"10.7.0.{i}" for i in range(1, 61)} <= monitor.interfaces["eth0"].addresses


async def test_a_listing_finds_what_no_message_told(
    monitor: InterfaceMonitor, inside: Namespace, other: Namespace, veth: Veth
) -> None:
    await monitor.start()
    assert monitor._listener is not None
    monitor._listener._socket.setsockopt(270, 2, 1)  # deaf to links
    monitor.refresh_seconds = 0.05
    veth(inside, "caliw1", other, "peer")
    await soon(monitor, lambda: "caliw1" in monitor.interfaces)
