"""Routes and static neighbours against the kernel, seen through the ip tool."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable

import pytest

from dataplane import rtnetlink
from dataplane.drivers import routes as routes_module
from dataplane.drivers.conntrack import Conntrack
from dataplane.drivers.neighbours import NeighbourDriver
from dataplane.drivers.route_wishes import Owner
from dataplane.drivers.routes import Route, RouteDriver, RouteError
from dataplane.families import Family
from dataplane.interfaces import InterfaceMonitor
from dataplane.netlink import ROUTE, Listener
from dataplane.settings import Settings
from tests.kernel.conftest import Namespace

pytestmark = pytest.mark.kernel


class Node:
    """A machine with three workloads; the monitor feeds the drivers, as the dataplane does."""

    def __init__(self, inside: Namespace, other: Namespace, settings: Settings) -> None:
        self.inside, self.other = inside, other
        self.monitor = InterfaceMonitor(settings)
        self.neighbours = NeighbourDriver()
        self.routes: dict[Family, RouteDriver] = {4: RouteDriver(4, settings)}
        self.routes[6] = RouteDriver(6, settings)
        for driver in self.routes.values():
            self.monitor.watch_routes(driver)

    def drivers(self) -> list[RouteDriver | NeighbourDriver]:
        return [*self.routes.values(), self.neighbours]

    async def start(self) -> None:
        for name, interface in (await self.monitor.start()).items():
            for driver in self.drivers():
                driver.interface_changed(name, interface)

    def plug(self, name: str, extra: str = "") -> None:
        self.inside.run(
            f"ip link add {name} type veth peer name p-{name} netns {self.other.name};"
            f"ip link set {name} up; {extra}"
        )
        self.other.run(f"ip link set p-{name} up")
        self.inside.await_carrier(name)

    async def apply(self) -> None:
        await self.routes[4].apply()
        await self.routes[6].apply()
        await self.neighbours.apply()

    async def settle(self, seconds: float = 0.4) -> None:
        """Follow interfaces and routes for a while, and apply each time."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        await self.apply()
        while (left := end - loop.time()) > 0:
            try:
                async with asyncio.timeout(left):
                    changes = await self.monitor.next_changes()
            except TimeoutError:
                break
            for driver in self.drivers():
                for name in changes.gone:
                    driver.interface_changed(name, None)
                for name, interface in changes.changed.items():
                    driver.interface_changed(name, interface)
            await self.apply()

    def shown(self, family: int = 4) -> set[str]:
        found = self.inside.run(f"ip -{family} route show table main")
        return {" ".join(line.split()) for line in found.splitlines()}

    def close(self) -> None:
        self.monitor.close()
        for driver in self.drivers():
            driver.close()


MakeNode = Callable[..., Node]


@pytest.fixture
async def make_node(
    inside: Namespace, netns: Callable[[str], Namespace]
) -> AsyncIterator[MakeNode]:
    other, made = netns("other"), []

    def make(**settings: object) -> Node:
        node = Node(inside, other, Settings("n1", **settings))  # type: ignore[arg-type]
        made.append(node)
        return node

    yield make
    for node in made:
        node.close()


@pytest.fixture
def node(make_node: MakeNode) -> Node:
    made = make_node()
    for name in ("caliw1", "caliw2", "eth0"):
        made.plug(name)
    return made


def route(dst: str, interface: str, **more: object) -> Route:
    return Route(dst, interface, **more)  # type: ignore[arg-type]


async def test_routes_come_change_and_go(node: Node) -> None:
    await node.start()
    v4, v6 = node.routes[4], node.routes[6]
    v4.desire("10.65.0.2/32", route("10.65.0.2/32", "caliw1"))
    v4.desire("10.65.0.3/32", route("10.65.0.3/32", "caliw2", source="127.0.0.1", protocol=80))
    v6.desire("fd65::2/128", route("fd65::2/128", "caliw1"))
    assert node.shown() == set()
    await node.apply()
    assert node.shown() == {
        "10.65.0.2 dev caliw1 proto boot scope link metric 1024".replace(" proto boot", ""),
        "10.65.0.3 dev caliw2 proto 80 scope link src 127.0.0.1 metric 1024",
    }
    assert {r for r in node.shown(6) if "fd65" in r} == {
        "fd65::2 dev caliw1 metric 1024 pref medium"
    }
    v4.desire("10.65.0.3/32", route("10.65.0.3/32", "caliw2", metric=0))
    v4.desire("10.65.0.2/32", None)
    v6.desire("fd65::2/128", None)
    await node.apply()
    assert node.shown() == {"10.65.0.3 dev caliw2 scope link"}
    assert not {r for r in node.shown(6) if "fd65" in r}


async def test_ways_to_other_nodes_can_be_held(node: Node) -> None:
    await node.start()
    v4 = node.routes[4]
    v4.desire("10.65.0.2/32", route("10.65.0.2/32", "caliw1"))
    v4.desire("10.65.1.0/26", route("10.65.1.0/26", "eth0"), Owner.CLUSTER)
    hole = route("10.65.0.0/26", "", kind="blackhole")
    v4.desire("10.65.0.0/26", hole, Owner.CLUSTER)
    await v4.apply(hold=True)
    assert {line.split()[0] for line in node.shown()} == {"10.65.0.2", "blackhole"}
    assert v4.pending
    await v4.apply()
    assert {line.split()[0] for line in node.shown()} == {"10.65.0.2", "blackhole", "10.65.1.0/26"}
    assert not v4.pending


async def test_a_second_apply_asks_nothing(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    await node.start()
    node.routes[4].desire("10.65.0.2/32", route("10.65.0.2/32", "caliw1"))
    node.routes[6].desire("fd65::2/128", route("fd65::2/128", "caliw1"))
    node.neighbours.desire("caliw1", "10.65.0.2", "02:65:00:00:00:02")
    await node.settle()
    sent: list[bytes] = []
    for driver in node.drivers():
        monkeypatch.setattr(driver._socket, "_send", sent.append)
        assert not driver.pending
    await node.apply()
    assert sent == []


async def test_a_restart_writes_nothing_where_nothing_changed(
    make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = make_node(), make_node()
    first.plug("caliw1")
    for node in (first, second):
        await node.start()
        node.routes[4].desire("10.65.0.2/32", route("10.65.0.2/32", "caliw1"))
        node.routes[6].desire("fd65::2/128", route("fd65::2/128", "caliw1", metric=0))
    await first.apply()
    for driver in second.routes.values():
        await driver.apply()
        before = driver._socket._sequence
        assert before == 1  # the listing, and no write
    assert "10.65.0.2 dev caliw1 scope link metric 1024" in second.shown()


async def test_a_route_waits_for_its_interface(node: Node) -> None:
    await node.start()
    node.routes[4].desire("10.65.0.9/32", route("10.65.0.9/32", "caliw9"))
    await node.apply()
    assert node.shown() == set()
    assert not node.routes[4].pending
    node.plug("caliw9")
    await node.settle()
    assert node.shown() == {"10.65.0.9 dev caliw9 scope link metric 1024"}
    node.inside.run("ip link set caliw9 down")
    await node.settle()
    assert node.shown() == set()
    node.inside.run("ip link set caliw9 up")
    await node.settle()
    assert node.shown() == {"10.65.0.9 dev caliw9 scope link metric 1024"}


async def test_an_interface_made_anew_in_a_hurry(node: Node) -> None:
    await node.start()
    node.routes[4].desire("10.65.0.2/32", route("10.65.0.2/32", "caliw1"))
    node.routes[6].desire("fd65::2/128", route("fd65::2/128", "caliw1"))
    node.neighbours.desire("caliw1", "10.65.0.2", "02:65:00:00:00:02")
    await node.settle(0.1)
    for _ in range(2):
        node.inside.run("ip link del caliw1")
        node.plug("caliw1")
    await node.settle()
    assert node.shown() == {"10.65.0.2 dev caliw1 scope link metric 1024"}
    assert "fd65::2 dev caliw1 metric 1024 pref medium" in node.shown(6)
    neighbours = node.inside.run("ip neigh show dev caliw1 nud permanent")
    assert "10.65.0.2 lladdr 02:65:00:00:00:02 PERMANENT" in neighbours


async def test_what_vanished_before_we_heard_is_no_error(node: Node) -> None:
    await node.start()
    node.routes[4].desire("10.65.0.2/32", route("10.65.0.2/32", "caliw1"))
    node.neighbours.desire("caliw1", "10.65.0.2", "02:65:00:00:00:02")
    node.inside.run("ip link del caliw1; ip link set caliw2 down")
    node.routes[4].desire("10.65.0.3/32", route("10.65.0.3/32", "caliw2"))
    await node.apply()
    assert node.routes[4].pending
    await node.settle()
    assert not node.routes[4].pending
    assert not node.neighbours.pending


async def test_a_refusal_is_an_error_and_stays_pending(node: Node) -> None:
    await node.start()
    node.routes[4].desire("10.65.0.2/32", route("10.65.0.2/32", "caliw1", source="9.9.9.9"))
    node.routes[4].desire("10.65.0.3/32", route("10.65.0.3/32", "caliw2"))
    with pytest.raises(RouteError, match=r"10\.65\.0\.2/32 dev caliw1: Invalid argument"):
        await node.routes[4].apply()
    assert node.routes[4].pending
    assert node.shown() == {"10.65.0.3 dev caliw2 scope link metric 1024"}


async def test_what_others_do_is_undone_at_once(node: Node) -> None:
    await node.start()
    node.routes[4].desire("10.65.0.2/32", route("10.65.0.2/32", "caliw1"))
    node.routes[6].desire("fd65::2/128", route("fd65::2/128", "caliw1"))
    await node.settle(0.1)
    before = node.shown(), node.shown(6)
    node.inside.run(
        "ip route del 10.65.0.2; ip -6 route del fd65::2; ip route add 10.65.0.77 dev caliw1;"
        "ip -6 route add fd65::77 dev caliw1; ip route add 10.99.0.0/16 dev caliw1"
    )
    await node.settle()
    assert (node.shown(), node.shown(6)) == before
    node.inside.run("ip route replace 10.65.0.2 dev eth0 metric 1024")
    await node.settle()
    assert (node.shown(), node.shown(6)) == before


async def test_the_check_finds_what_no_message_told(node: Node) -> None:
    await node.start()
    driver = node.routes[4]
    driver.desire("10.65.0.2/32", route("10.65.0.2/32", "caliw1"))
    await driver.apply()
    node.inside.run("ip route del 10.65.0.2")
    assert not await driver.check()  # not yet due
    driver.refresh_seconds = 0.001
    await asyncio.sleep(0.01)
    assert driver.next_check() <= asyncio.get_running_loop().time()
    assert await driver.check()
    await driver.apply()
    assert node.shown() == {"10.65.0.2 dev caliw1 scope link metric 1024"}


STRAYS = "ip route add 10.65.0.77 dev caliw1; ip route add 10.65.0.78 dev caliw2"


async def test_strays_have_their_grace(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends early where there is a route of ours; elsewhere with the time."""
    monkeypatch.setattr(routes_module, "GRACE_SECONDS", 0.3)
    node.inside.run(STRAYS + "; ip route add 10.65.0.2 dev caliw1")
    await node.start()
    driver = node.routes[4]
    driver.desire("10.65.0.2/32", route("10.65.0.2/32", "caliw1"))
    await driver.apply()
    assert node.shown() == {
        "10.65.0.2 dev caliw1 scope link metric 1024",
        "10.65.0.78 dev caliw2 scope link",
    }
    assert not driver.pending
    loop = asyncio.get_running_loop()
    await asyncio.sleep(driver.next_check() - loop.time() + 0.01)
    assert await driver.check()
    await driver.apply()
    assert node.shown() == {"10.65.0.2 dev caliw1 scope link metric 1024"}
    assert driver.next_check() > loop.time() + 60


async def test_what_is_not_ours_stays(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes_module, "GRACE_SECONDS", 0.0)
    node.inside.run(
        "ip addr add 172.30.0.10/24 dev eth0; ip route add default via 172.30.0.1;"
        "ip route add 10.1.0.0/16 dev eth0 proto bird; ip addr add 10.7.0.1/24 dev caliw1;"
        "ip -6 addr add fd77::1/64 dev caliw1 nodad; ip route add blackhole 10.3.0.0/16;"
        "ip route add 10.4.0.0/16 dev caliw1 table 77; ip route add 10.5.0.1 dev caliw1 proto 80;"
        "ip route add 10.6.0.0/16 dev eth0 proto 80; ip route add blackhole 10.8.0.0/26 proto 80"
    )
    before, before_v6 = node.shown(), node.shown(6)
    await node.start()
    await node.apply()
    assert node.shown() == {r for r in before if "proto 80" not in r}
    assert node.shown(6) == before_v6
    assert "fe80::/64 dev caliw1 proto kernel" in " ".join(before_v6)
    assert "10.4.0.0/16" in node.inside.run("ip route show table 77")
    local = node.inside.run("ip route show table local; ip -6 route show table local")
    assert "10.7.0.1" in local
    assert "fd77::1" in local


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        ({}, set()),
        ({"remove_external_routes": False}, {"10.2.0.1", "10.2.0.3"}),
        ({"remove_external_routes": False, "device_route_protocol": 99}, {"10.2.0.1"}),
        ({"route_sync": False}, {"10.2.0.1", "10.2.0.2", "10.2.0.3", "10.2.0.4"}),
    ],
)
async def test_whose_routes_are_removed(
    make_node: MakeNode,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, object],
    left: set[str],
) -> None:
    monkeypatch.setattr(routes_module, "GRACE_SECONDS", 0.0)
    node = make_node(**settings)
    node.plug("caliw1")
    node.inside.run(
        "ip route add 10.2.0.1 dev caliw1 proto static; ip route add 10.2.0.2 dev caliw1 proto 80;"
        "ip route add 10.2.0.3 dev caliw1 proto 99; ip route add 10.2.0.4 dev caliw1 proto boot"
    )
    await node.start()
    await node.apply()
    assert {line.split()[0] for line in node.shown()} == left
    assert node.routes[4].next_check() != 0


async def test_a_route_of_others_outlives_one_of_ours_that_never_came(node: Node) -> None:
    node.inside.run("ip addr add 172.30.0.10/24 dev eth0; ip route add 10.65.0.2/32 dev eth0")
    await node.start()
    driver = node.routes[4]
    driver.desire("10.65.0.2/32", route("10.65.0.2/32", "caliw1", metric=0, source="9.9.9.9"))
    with pytest.raises(RouteError):
        await driver.apply()
    driver.desire("10.65.0.2/32", None)
    await driver.apply()
    assert "10.65.0.2 dev eth0 scope link" in node.shown()
    assert not driver.pending
    assert driver.next_check() > asyncio.get_running_loop().time()


async def test_without_route_sync_nothing_is_touched(make_node: MakeNode) -> None:
    node = make_node(route_sync=False)
    node.plug("caliw1")
    await node.start()
    node.routes[4].desire("10.65.0.2/32", route("10.65.0.2/32", "caliw1"))
    await node.settle(0.1)
    assert node.shown() == set()
    assert not node.routes[4].pending


FLOWS = (
    "conntrack -I -s {0} -d 10.9.9.9 -p tcp --sport 1 --dport 2 --state ESTABLISHED -t 600;"
    "conntrack -I -s 10.9.9.9 -d {0} -p udp --sport 3 --dport 4 -t 600;"
)


async def test_flows_of_addresses_that_move_or_vanish_are_forgotten(node: Node) -> None:
    await node.start()
    v4, v6 = node.routes[4], node.routes[6]
    for last in (2, 3, 4):
        v4.desire(f"10.65.0.{last}/32", route(f"10.65.0.{last}/32", "caliw1"))
    v6.desire("fd65::2/128", route("fd65::2/128", "caliw1"))
    await node.settle(0.1)
    node.inside.run("".join(FLOWS.format(f"10.65.0.{last}") for last in (2, 3, 4)))
    node.inside.run(
        "conntrack -I -s fd65::2 -d fd65::9 -p udp --sport 3 --dport 4 -t 600;"
        "conntrack -I -s fd65::8 -d fd65::9 -p udp --sport 3 --dport 4 -t 600"
    )
    v4.desire("10.65.0.2/32", route("10.65.0.2/32", "caliw2"))  # moves
    v4.desire("10.65.0.3/32", None)  # vanishes
    v4.desire("10.65.0.4/32", route("10.65.0.4/32", "caliw1", metric=512))  # stays where it is
    v6.desire("fd65::2/128", None)
    await node.apply()
    flows = node.inside.run("conntrack -L; conntrack -L -f ipv6")
    assert "10.65.0.2" not in flows
    assert "10.65.0.3" not in flows
    assert flows.count("10.65.0.4") == 4
    assert "fd65::2" not in flows
    assert "fd65::8" in flows
    assert node.shown() == {
        "10.65.0.2 dev caliw2 scope link metric 1024",
        "10.65.0.4 dev caliw1 scope link metric 512",
    }


async def test_flows_of_many_addresses_are_forgotten_together(node: Node) -> None:
    conntrack = Conntrack()
    everybody = [f"10.65.0.{last}" for last in range(1, 41)]
    node.inside.run("".join(FLOWS.format(address) for address in everybody))
    assert await conntrack.forget([socket.inet_aton(address) for address in everybody[:20]])
    flows = node.inside.run("conntrack -L")
    assert not any(f"={address} " in flows for address in everybody[:20])
    assert all(flows.count(f"={address} ") == 4 for address in everybody[20:])
    assert await conntrack.forget([])
    conntrack.close()


async def test_flows_of_a_workload_whose_interface_went_first(node: Node) -> None:
    await node.start()
    v4 = node.routes[4]
    v4.desire("10.65.0.2/32", route("10.65.0.2/32", "caliw1"))
    v4.desire("10.65.0.3/32", route("10.65.0.3/32", "caliw2"))
    await node.settle(0.1)
    node.inside.run(FLOWS.format("10.65.0.2") + FLOWS.format("10.65.0.3"))
    node.inside.run("ip link del caliw1; ip link del caliw2")
    await node.settle(0.2)
    v4.desire("10.65.0.2/32", None)
    node.plug("caliw2")
    await node.settle(0.2)
    assert "10.65.0" not in node.inside.run("conntrack -L")
    assert node.shown() == {"10.65.0.3 dev caliw2 scope link metric 1024"}


async def test_cleanup_removes_ours_alone(node: Node) -> None:
    node.inside.run(
        "ip addr add 172.30.0.10/24 dev eth0; ip route add 10.1.0.0/16 via 172.30.0.1;" + STRAYS
    )
    await node.start()
    node.inside.run("ip route add 10.65.0.79 dev caliw2 proto static")
    node.routes[4].desire("10.65.0.2/32", route("10.65.0.2/32", "caliw1"))
    await node.apply()
    assert len(await node.routes[4].remove_everything(dry_run=True)) == 2
    assert len(node.shown()) == 5
    assert len(await node.routes[4].remove_everything()) == 2
    assert {line.split()[0] for line in node.shown()} == {
        "172.30.0.0/24",
        "10.1.0.0/16",
        "10.65.0.79",
    }


async def test_neighbours_come_change_and_go(node: Node) -> None:
    await node.start()
    driver = node.neighbours
    driver.desire("caliw1", "10.65.0.2", "02:65:00:00:00:02")
    driver.desire("caliw1", "fd65::2", "02:65:00:00:00:02")
    driver.desire("caliw2", "10.65.0.3", "02:65:00:00:00:03")
    await driver.apply()
    show = "ip -4 neigh show nud permanent; ip -6 neigh show nud permanent"
    assert "10.65.0.2 dev caliw1 lladdr 02:65:00:00:00:02 PERMANENT" in node.inside.run(show)
    assert "fd65::2 dev caliw1 lladdr 02:65:00:00:00:02 PERMANENT" in node.inside.run(show)
    driver.desire("caliw1", "10.65.0.2", "02:65:00:00:00:aa")
    driver.desire("caliw2", "10.65.0.3", None)
    await driver.apply()
    assert "10.65.0.2 dev caliw1 lladdr 02:65:00:00:00:aa PERMANENT" in node.inside.run(show)
    assert "10.65.0.3" not in node.inside.run(show)
    assert not await driver.check()
    node.inside.run("ip neigh del 10.65.0.2 dev caliw1; ip neigh add 10.65.0.9 dev caliw1 "
                    "lladdr 02:65:00:00:00:09 nud permanent")  # fmt: skip
    assert await driver.check()
    await driver.apply()
    assert "10.65.0.2 dev caliw1 lladdr 02:65:00:00:00:aa PERMANENT" in node.inside.run(show)
    assert "10.65.0.9" in node.inside.run(show)


@pytest.mark.parametrize("mac", ["", "02:65:00:00:00", "zz:65:00:00:00:02", "0265.0000.0002"])
def test_what_is_no_mac_is_refused(mac: str) -> None:
    with pytest.raises(ValueError, match="is not a MAC"):
        NeighbourDriver().desire("caliw1", "10.65.0.2", mac)


@pytest.mark.parametrize("dst", ["fd65::2/128", "10.65.0.2", "10.65.0.999/32"])
def test_what_is_no_destination_is_refused(dst: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        RouteDriver(4, Settings("n1")).desire(dst, route(dst, "caliw1"))


# ---------------------------------------------------------------- routes to other nodes


def cluster(dst: str, interface: str, **more: object) -> Route:
    return Route(dst, interface, **{"metric": 0, "protocol": 80, **more})  # type: ignore[arg-type]


BLOCK, BLOCK_6 = "10.65.2.0/26", "fd65:2::/122"


async def test_routes_to_nodes_and_blackholes_are_read_back_as_written(make_node: MakeNode) -> None:
    first, second = make_node(), make_node()
    first.plug("eth0")
    first.plug("caliw1")
    for node in (first, second):
        await node.start()
        v4, v6 = node.routes[4], node.routes[6]
        v4.desire(BLOCK, cluster(BLOCK, "eth0", gateway="172.30.0.2", mtu=1400), Owner.CLUSTER)
        v6.desire(BLOCK_6, cluster(BLOCK_6, "eth0", gateway="fd30::2", mtu=1400), Owner.CLUSTER)
        for driver, dst, source in ((v4, "10.65.1.0/26", "127.0.0.1"), (v6, "fd65:1::/122", "::1")):
            blackhole = cluster(dst, "", kind="blackhole", source=source)
            driver.desire(dst, blackhole, Owner.CLUSTER)
    await first.apply()
    assert {route for route in first.shown() if "10.65" in route} == {
        "10.65.2.0/26 via 172.30.0.2 dev eth0 proto 80 onlink mtu 1400",
        "blackhole 10.65.1.0/26 proto 80 src 127.0.0.1",
    }
    assert {route for route in first.shown(6) if "fd65" in route} == {
        "fd65:2::/122 via fd30::2 dev eth0 proto 80 metric 1024 onlink mtu 1400 pref medium",
        "blackhole fd65:1::/122 dev lo proto 80 src ::1 metric 1024 pref medium",
    }
    for driver in second.routes.values():
        await driver.apply()
        assert driver._socket._sequence == 1  # the listing, and no write


async def test_a_blackhole_and_a_route_take_each_other_s_place(node: Node) -> None:
    await node.start()
    ways = [
        {"interface": "", "kind": "blackhole"},
        {"interface": "eth0", "gateway": "172.30.0.2"},
        {"interface": "", "kind": "blackhole"},
        {"interface": "caliw1"},
    ]
    for way in ways:
        for driver, dst in ((node.routes[4], BLOCK), (node.routes[6], BLOCK_6)):
            gateway = "fd30::2" if dst == BLOCK_6 and "gateway" in way else way.get("gateway", "")
            driver.desire(dst, cluster(dst, **{**way, "gateway": gateway}), Owner.CLUSTER)
        await node.apply()
        for family, dst in ((4, BLOCK), (6, BLOCK_6)):
            (found,) = [route for route in node.shown(family) if dst in route]
            assert way["interface"] in found
            assert ("blackhole" in found) == (way.get("kind") == "blackhole")
    for driver, dst in ((node.routes[4], BLOCK), (node.routes[6], BLOCK_6)):
        driver.desire(dst, None, Owner.CLUSTER)
    await node.apply()
    assert not {route for family in (4, 6) for route in node.shown(family) if "65:" in route}


async def test_a_workload_comes_before_the_cluster(node: Node) -> None:
    """The kernel would prefer the other one by its metric."""
    await node.start()
    driver, dst = node.routes[4], "10.65.0.2/32"
    driver.desire(dst, cluster(dst, "eth0", gateway="172.30.0.2"), Owner.CLUSTER)
    await node.apply()
    assert node.shown() == {"10.65.0.2 via 172.30.0.2 dev eth0 proto 80 onlink"}
    driver.desire(dst, route(dst, "caliw1"))
    await node.apply()
    assert node.shown() == {"10.65.0.2 dev caliw1 scope link metric 1024"}
    node.inside.run("ip link set caliw1 down")
    await node.settle()
    assert node.shown() == {"10.65.0.2 via 172.30.0.2 dev eth0 proto 80 onlink"}


async def test_the_old_path_stays_until_the_new_one_is_there(make_node: MakeNode) -> None:
    """Also over a restart, and for a while only."""
    node = make_node()
    for name in ("eth0", "eth1", "caliw1"):
        node.plug(name)
    await node.start()
    driver = node.routes[4]
    old = "10.65.2.0/26 via 172.30.0.2 dev eth0 proto 80 onlink"
    driver.desire(BLOCK, cluster(BLOCK, "eth0", gateway="172.30.0.2"), Owner.CLUSTER)
    await node.apply()
    for waiting in (cluster(BLOCK, "tun9"), cluster(BLOCK, "eth1", known=False)):
        driver.desire(BLOCK, waiting, Owner.CLUSTER)
        await node.apply()
        assert node.shown() == {old}
        assert not driver.pending
    again = make_node()
    await again.start()
    again.routes[4].desire(BLOCK, cluster(BLOCK, "eth1", known=False), Owner.CLUSTER)
    await again.apply()
    assert node.shown() == {old}
    # where it would lead over the same device, what is there is wrong by now
    driver.desire(BLOCK, cluster(BLOCK, "eth0", known=False), Owner.CLUSTER)
    await node.apply()
    assert node.shown() == set()


async def test_the_old_path_goes_when_the_new_one_never_comes(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes_module, "HOLD_SECONDS", 0.2)
    await node.start()
    driver = node.routes[4]
    driver.desire(BLOCK, cluster(BLOCK, "eth0", gateway="172.30.0.2"), Owner.CLUSTER)
    await node.apply()
    driver.desire(BLOCK, cluster(BLOCK, "tun9"), Owner.CLUSTER)
    await node.apply()
    assert len(node.shown()) == 1
    await asyncio.sleep(driver.next_check() - asyncio.get_running_loop().time() + 0.01)
    assert await driver.check()
    await node.apply()
    assert node.shown() == set()


async def test_flows_are_forgotten_between_here_and_elsewhere_but_not_among_others(
    node: Node,
) -> None:
    await node.start()
    v4 = node.routes[4]
    here, there = "10.65.0.2/32", "10.65.0.3/32"
    v4.desire(here, route(here, "caliw1"))
    v4.desire(there, cluster(there, "eth0", gateway="172.30.0.2"), Owner.CLUSTER)
    await node.settle(0.1)
    node.inside.run(FLOWS.format("10.65.0.2") + FLOWS.format("10.65.0.3"))
    v4.desire(there, cluster(there, "caliw2", gateway="172.30.0.3"), Owner.CLUSTER)
    v4.desire(there, cluster(there, "eth0", gateway="172.30.0.3"), Owner.CLUSTER)
    await node.apply()
    assert node.inside.run("conntrack -L").count("10.65.0.3") == 4
    v4.desire(here, cluster(here, "eth0", gateway="172.30.0.2"), Owner.CLUSTER)
    v4.desire(here, None)
    v4.desire(there, route(there, "caliw1"))
    await node.apply()
    assert "10.65.0." not in node.inside.run("conntrack -L")
    assert node.shown() == {
        "10.65.0.2 via 172.30.0.2 dev eth0 proto 80 onlink",
        "10.65.0.3 dev caliw1 scope link metric 1024",
    }


async def test_writes_come_in_the_order_that_loses_nothing(node: Node) -> None:
    """As the kernel tells them: a workload's own route before its block goes black, for example."""
    await node.start()
    driver = node.routes[4]
    driver.desire(BLOCK, cluster(BLOCK, "eth0", gateway="172.30.0.2"), Owner.CLUSTER)
    driver.desire("10.65.0.0/16", cluster("10.65.0.0/16", "eth0"), Owner.CLUSTER)
    await node.apply()
    listening = Listener(ROUTE, [rtnetlink.GROUP_ROUTE_V4])
    driver.desire("10.65.0.0/16", None, Owner.CLUSTER)
    driver.desire(BLOCK, cluster(BLOCK, "", kind="blackhole"), Owner.CLUSTER)
    driver.desire("10.65.2.9/32", route("10.65.2.9/32", "caliw1"))
    await node.apply()
    told = [(m.type, rtnetlink.parse_route(m.body)) for m in await listening.receive()]
    listening.close()
    assert [(kind, found.route.key.length) for kind, found in told if found is not None] == [
        (rtnetlink.NEWROUTE, 32),
        (rtnetlink.NEWROUTE, 26),
        (rtnetlink.DELROUTE, 16),
    ]


async def test_who_asks_is_told_what_is_written(node: Node) -> None:
    await node.start()
    driver, refused = node.routes[4], "10.65.0.2/32"
    driver.desire(refused, route(refused, "caliw1", source="9.9.9.9"))
    driver.desire("10.65.0.3/32", route("10.65.0.3/32", "caliw2"))
    driver.desire("10.65.0.4/32", route("10.65.0.4/32", "caliw9"))
    node.neighbours.desire("caliw1", "10.65.0.2", "02:65:00:00:00:02")
    assert not driver.is_written("10.65.0.3/32")
    assert not node.neighbours.is_written("caliw1", "10.65.0.2")
    with pytest.raises(RouteError):
        await driver.apply()
    await node.neighbours.apply()
    assert not driver.is_written(refused)
    assert driver.is_written("10.65.0.3/32")
    assert driver.is_written("10.65.0.4/32")  # as far as its interface lets it
    assert driver.is_written("10.65.0.5/32")  # nothing is wanted there
    assert node.neighbours.is_written("caliw1", "10.65.0.2")
    assert node.neighbours.is_written("caliw9", "10.65.0.2")
    assert driver.leads_over("caliw2")
    assert not driver.leads_over("caliw1")


async def test_ipv6_is_helped_to_a_gateway_that_it_knows_elsewhere(node: Node) -> None:
    await node.start()
    driver = node.routes[6]
    driver.desire(BLOCK_6, cluster(BLOCK_6, "eth0", gateway="fd30::2"), Owner.CLUSTER)
    await node.apply()
    inside_it = "fd65:2::1"
    driver.desire(BLOCK_6, cluster(BLOCK_6, "caliw1", gateway=inside_it), Owner.CLUSTER)
    await node.apply()
    assert {route for route in node.shown(6) if "fd65" in route} == {
        f"fd65:2::/122 via {inside_it} dev caliw1 proto 80 metric 1024 onlink pref medium"
    }
