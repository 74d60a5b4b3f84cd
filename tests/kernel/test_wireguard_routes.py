"""The routing table of WireGuard against the kernel, with a cable in place of its device."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from msgspec import structs

from dataplane.drivers.rules import Rule, RuleDriver
from dataplane.drivers.wireguard_routes import FLOOR_METRIC, WireguardRouteDriver
from dataplane.families import Family
from dataplane.interfaces import InterfaceMonitor
from dataplane.settings import Settings, WireguardSettings
from dataplane.wireguard.state import RouteKind
from tests.kernel.conftest import Namespace
from tests.kernel.wireguard_cables import DEVICE, NET, Cables, Sent, Traffic

pytestmark = pytest.mark.kernel

SETTINGS = Settings("n1")
OTHERS: dict[Family, str] = {4: "10.9.0.0/16", 6: "fd00:9::/64"}
SOME_PACKETS = 0.05  # seconds in which the sender is sure to have its turn
NARROW: dict[Family, str] = {4: "10.0.2.5/32", 6: "fd00:2::5/128"}


class Node:
    """The monitor feeds the driver, as the dataplane does."""

    def __init__(self, cables: Cables, settings: Settings = SETTINGS) -> None:
        self.cables, self.family, self.inside = cables, cables.family, cables.inside
        self.net = NET[self.family]
        self.device = DEVICE[self.family]
        self.table = settings.wireguard.table
        self.monitor = InterfaceMonitor(settings)
        self.driver = WireguardRouteDriver(self.family, settings)
        self.rules = RuleDriver(self.family, self.table)
        self.monitor.watch_routes(self.driver)

    async def start(self) -> None:
        for name, interface in (await self.monitor.start()).items():
            self.driver.interface_changed(name, interface)
        self.rules.desire(Rule(99, self.table, 0x200000))
        await self.rules.apply()

    async def lead(self, kind: RouteKind | None) -> None:
        self.driver.desire(self.net, kind)
        await self.driver.apply()

    async def follow(self) -> None:
        """One round of what the monitor has to tell."""
        async with asyncio.timeout(10):
            changes = await self.monitor.next_changes()
        for name in changes.gone:
            self.driver.interface_changed(name, None)
        for name, interface in changes.changed.items():
            self.driver.interface_changed(name, interface)
        await self.driver.apply()

    async def until(self, true: Callable[[], bool]) -> None:
        while not true():
            await self.follow()

    def shown(self) -> set[str]:
        """Routes as kind or device, destination, and whether it is the one below."""
        found = self.inside.run(f"ip -{self.family} route show table {self.table}", check=False)
        return {_brief(line) for line in found.splitlines()}

    def close(self) -> None:
        self.monitor.close()
        self.driver.close()
        self.rules.close()


def _brief(line: str) -> str:
    words = line.split()
    if words[0] in ("throw", "unreachable", "blackhole", "prohibit"):
        kind, dst = words[0], words[1]
    else:
        kind, dst = words[words.index("dev") + 1], words[0]
    below = " below" if f"metric {FLOOR_METRIC}" in line else ""
    return f"{dst} {kind}{below}"


MakeNode = Callable[..., Node]


@pytest.fixture(params=[4, 6], ids=["IPv4", "IPv6"])
async def make_node(
    request: pytest.FixtureRequest, inside: Namespace, netns: Callable[[str], Namespace]
) -> AsyncIterator[MakeNode]:
    cables = Cables(request.param, inside, netns("peer"), netns("clear"))
    made: list[Node] = []

    def make(settings: Settings = SETTINGS) -> Node:
        made.append(Node(cables, settings))
        return made[-1]

    yield make
    for node in made:
        node.close()


@pytest.fixture
async def node(make_node: MakeNode) -> Node:
    made = make_node()
    await made.start()
    return made


async def test_the_table_comes_with_its_first_route_and_is_read_as_written(node: Node) -> None:
    assert await node.driver.read() == {}
    await node.driver.apply()
    assert node.shown() == set()
    other = OTHERS[node.family]
    node.driver.desire(other, "throw")
    await node.lead("device")
    assert node.shown() == {
        f"{node.net} {node.device}",
        f"{node.net} unreachable below",
        f"{other} throw",
    }
    assert node.driver.written == 3
    assert await node.driver.read() == {node.net: "device", other: "throw"}
    node.driver.lost()
    await node.driver.apply()
    assert (node.driver.written, node.driver.pending) == (3, False)
    assert node.driver.is_written(node.net)
    await node.lead(None)
    node.driver.desire(other, None)
    await node.driver.apply()
    assert node.shown() == set()


async def test_an_agent_that_comes_after_writes_nothing(make_node: MakeNode) -> None:
    first, second = make_node(), make_node()
    await first.start()
    await first.lead("device")
    await second.start()
    await second.lead("device")
    assert second.driver.written == 0
    assert second.rules.written == 0


async def changed(node: Node, net: str, first: RouteKind | None, second: RouteKind) -> Sent:
    """What becomes of packets while a net changes between two kinds, as fast as it can."""
    node.driver.desire(net, first)
    await node.driver.apply()
    with Traffic(node.cables) as traffic:
        await asyncio.sleep(SOME_PACKETS)
        for kind in (second, first) * 150:
            node.driver.desire(net, kind)
            await node.driver.apply()
        node.driver.desire(net, second)
        await node.driver.apply()
        await asyncio.sleep(SOME_PACKETS)
    return traffic.sent


async def test_device_and_throw_change_places_without_a_loss(node: Node) -> None:
    sent = await changed(node, node.net, "throw", "device")
    assert (sent.lost, sent.refused) == (0, 0)
    assert min(sent.encrypted, sent.clear) > 0


async def test_device_and_unreachable_change_places_without_a_leak(node: Node) -> None:
    sent = await changed(node, node.net, "unreachable", "device")
    assert (sent.lost, sent.clear) == (0, 0)
    assert min(sent.encrypted, sent.refused) > 0


async def test_unreachable_and_throw_change_places_without_a_loss(node: Node) -> None:
    sent = await changed(node, node.net, "unreachable", "throw")
    assert (sent.lost, sent.encrypted) == (0, 0)
    assert min(sent.clear, sent.refused) > 0


async def test_a_net_within_another_comes_and_goes_without_a_gap(node: Node) -> None:
    """A borrowed address of a node that does not encrypt, in the net of one that does."""
    await node.lead("device")
    sent = await changed(node, NARROW[node.family], None, "throw")
    assert (sent.lost, sent.refused) == (0, 0)
    assert min(sent.encrypted, sent.clear) > 0


@pytest.mark.parametrize("end", ["set {} down", "delete {}"], ids=["down", "deleted"])
async def test_nothing_leaves_in_clear_when_the_device_goes(node: Node, end: str) -> None:
    await node.lead("device")
    with Traffic(node.cables) as traffic:
        node.inside.run(f"ip link {end.format(node.device)}")
        await asyncio.sleep(SOME_PACKETS)  # nobody has told the driver yet
        await node.until(lambda: node.shown() == _closed(node))
        if "delete" in end:
            node.cables.plug_again()
        else:
            node.inside.run(f"ip link set {node.device} up")
        await node.until(lambda: f"{node.net} {node.device}" in node.shown())
        await asyncio.sleep(SOME_PACKETS)
    assert traffic.sent.clear == 0
    assert traffic.sent.refused > 0


def _closed(node: Node) -> set[str]:
    return {f"{node.net} unreachable", f"{node.net} unreachable below"}


async def test_a_device_that_is_not_up_yet_refuses_and_then_leads(node: Node) -> None:
    node.inside.run(f"ip link set {node.device} down")
    await node.until(lambda: not node.monitor.interfaces[node.device].up)
    await node.lead("throw")
    with Traffic(node.cables) as traffic:
        await asyncio.sleep(SOME_PACKETS)
        await node.lead("device")
        await asyncio.sleep(SOME_PACKETS)
    sent = traffic.sent
    assert (sent.lost, sent.encrypted) == (0, 0)
    assert sent.refused > 0
    assert node.shown() == _closed(node)
    node.inside.run(f"ip link set {node.device} up")
    await node.until(lambda: f"{node.net} {node.device}" in node.shown())


async def test_what_others_write_into_the_table_goes(node: Node) -> None:
    await node.lead("device")
    add = f"ip -{node.family} route add table {node.table}"
    other = OTHERS[node.family]
    before = node.shown()
    node.inside.run(f"{add} {other} dev {node.device}")
    await node.until(lambda: node.shown() == before)
    node.inside.run(f"{add} blackhole {other} metric 7")
    await node.until(lambda: node.shown() == before)
    node.inside.run(f"ip -{node.family} route replace table {node.table} throw {node.net}")
    await node.until(lambda: node.shown() == before)
    node.inside.run(f"ip -{node.family} route flush table {node.table}")
    await node.until(lambda: node.shown() == before)
    node.inside.run(f"{add} {other} dev eth0")
    node.driver.lost()
    await node.driver.apply()
    assert node.shown() == before | {f"{other} eth0"}


async def test_a_look_finds_what_nobody_told_of(node: Node) -> None:
    await node.lead("device")
    node.driver.refresh_seconds = 1e-9
    assert not await node.driver.check()
    node.inside.run(f"ip -{node.family} route flush table {node.table}")
    assert await node.driver.check()
    await node.driver.apply()
    assert f"{node.net} {node.device}" in node.shown()


async def test_tables_of_large_numbers(make_node: MakeNode) -> None:
    node = make_node(structs.replace(SETTINGS, wireguard=WireguardSettings(table=70_000)))
    await node.start()
    await node.lead("device")
    assert node.shown() == {f"{node.net} {node.device}", f"{node.net} unreachable below"}
    main = node.inside.run(f"ip -{node.family} route show table main")
    assert "unreachable" not in main
    assert "lookup 70000" in node.inside.run(f"ip -{node.family} rule")
    node.inside.run(f"ip -{node.family} route flush table 70000")
    await node.until(lambda: f"{node.net} {node.device}" in node.shown())
    assert await node.driver.remove_everything(dry_run=True) == 2
    assert await node.driver.remove_everything() == 2
    assert node.shown() == set()


async def test_without_route_synchronisation_nothing_is_written(make_node: MakeNode) -> None:
    node = make_node(structs.replace(SETTINGS, route_sync=False))
    await node.start()
    await node.lead("device")
    assert node.shown() == set()
    assert node.driver.is_written(node.net)
    assert not node.driver.pending
    assert await node.driver.read() == {}
    assert await node.driver.remove_everything() == 0
