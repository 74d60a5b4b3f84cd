"""The table of WireGuard with its rule, in a kernel: who asks it, and another in its place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from msgspec import structs

from dataplane.drivers.wireguard_routes import WireguardRouteDriver
from dataplane.families import Family
from dataplane.interfaces import InterfaceMonitor
from dataplane.settings import Settings, WireguardSettings
from dataplane.wireguard.table import WireguardTable
from tests.kernel.conftest import Namespace
from tests.kernel.wireguard_cables import DEVICE, FAR, NET, Cables, Traffic

pytestmark = pytest.mark.kernel

SETTINGS = Settings("n1")
OTHER = structs.replace(SETTINGS, wireguard=WireguardSettings(table=7, rule_priority=98))
SOME_PACKETS = 0.1  # seconds
CLOSED: dict[Family, str] = {4: "10.0.3.0/26", 6: "fd00:3::/64"}


@pytest.fixture(params=[4, 6], ids=["IPv4", "IPv6"])
def cables(
    request: pytest.FixtureRequest, inside: Namespace, netns: Callable[[str], Namespace]
) -> Cables:
    return Cables(request.param, inside, netns("peer"), netns("clear"))


Make = Callable[[Settings], Awaitable[WireguardTable]]


@pytest.fixture
async def made(cables: Cables) -> AsyncIterator[Make]:
    tables: list[WireguardTable] = []

    async def make(settings: Settings) -> WireguardTable:
        table = WireguardTable(cables.family, settings)
        tables.append(table)
        monitor = InterfaceMonitor(settings)
        found = dict(await monitor.start())
        monitor.close()
        for name, interface in found.items():
            table.interface_changed(name, interface)
        return table

    yield make
    for table in tables:
        table.close()


def shown(cables: Cables, what: str) -> str:
    return cables.inside.run(f"ip -{cables.family} {what} 2>/dev/null; true")


async def test_another_table_takes_its_place_and_nothing_goes_in_clear(
    cables: Cables, made: Make
) -> None:
    net, closed = NET[cables.family], CLOSED[cables.family]
    table = await made(SETTINGS)
    table.desire(net, "device")
    table.desire(closed, "unreachable")
    await table.write_routes()
    await table.ask("everything")

    other = await made(OTHER)
    assert await other.asking() == "everything"
    found = await other.read()
    assert found == {net: "device", closed: "unreachable"}
    with Traffic(cables) as traffic:
        await asyncio.sleep(SOME_PACKETS)
        for each, kind in found.items():
            other.desire(each, kind)
        await other.write_routes()
        await other.ask("everything")
        await asyncio.sleep(SOME_PACKETS)
    assert traffic.sent.clear == traffic.sent.lost == traffic.sent.refused == 0
    assert traffic.sent.encrypted > 0
    assert shown(cables, "route show table 1") == ""
    assert "lookup 1 " not in shown(cables, "rule")
    assert "98:" in shown(cables, "rule")


async def test_a_table_that_was_another_goes_with_its_rule(cables: Cables, made: Make) -> None:
    table = await made(SETTINGS)
    table.desire(CLOSED[cables.family], "unreachable")
    await table.write_routes()
    await table.ask("forwarded")
    other = await made(OTHER)
    assert await other.asking() == "forwarded"
    await other.ask("nobody")
    assert shown(cables, "route show table 1") == ""
    assert await other.asking() == "nobody"


async def test_a_table_that_no_rule_of_ours_leads_to_is_nobodys(cables: Cables, made: Make) -> None:
    routes = WireguardRouteDriver(cables.family, SETTINGS)
    routes.desire(CLOSED[cables.family], "throw")
    await routes.apply()
    routes.close()
    other = await made(OTHER)
    assert await other.read() == {}
    await other.ask("everything")
    assert shown(cables, "route show table 1") != ""


async def test_the_host_itself_goes_round_it_while_it_has_no_address(
    cables: Cables, made: Make
) -> None:
    table = await made(SETTINGS)
    table.desire(NET[cables.family], "device")
    await table.write_routes()
    await table.ask("forwarded")
    get = f"route get {FAR[cables.family]}"
    assert "dev eth0" in shown(cables, get)
    await table.ask("everything")
    assert f"dev {DEVICE[cables.family]}" in shown(cables, get)
