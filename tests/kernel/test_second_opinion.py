"""What our netlink codec writes and reads, told by pyroute2, which shares no line with it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pyroute2 import AsyncIPRoute

from dataplane.drivers.neighbours import NeighbourDriver
from dataplane.drivers.routes import Route, RouteDriver
from dataplane.families import Family
from dataplane.interfaces import Interface, InterfaceMonitor
from dataplane.settings import Settings
from tests.kernel.conftest import Namespace

pytestmark = pytest.mark.kernel

MAC = "02:65:00:00:00:02"


@pytest.fixture
async def interfaces(
    inside: Namespace, netns: Callable[[str], Namespace], veth: Callable[..., None]
) -> dict[str, Interface]:
    veth(inside, "caliw1", netns("w1"), "eth0")
    inside.run("ip addr add 192.0.2.1/24 dev lo; ip addr add fd30::1/64 dev lo")
    monitor = InterfaceMonitor(Settings("n1"))
    try:
        return dict(await monitor.start())
    finally:
        monitor.close()


async def test_interfaces(interfaces: dict[str, Interface]) -> None:
    async with AsyncIPRoute() as other:
        links = {link.get("ifname"): link["index"] async for link in await other.link("dump")}
        local = {
            route.get("dst")
            for family in (2, 10)
            async for route in await other.route("dump", family=family, table=255)
            if route["type"] == 2  # local
        }
    assert {name: interface.index for name, interface in interfaces.items()} == links
    assert interfaces["lo"].addresses <= local
    assert {"192.0.2.1", "fd30::1"} <= interfaces["lo"].addresses


@pytest.mark.parametrize(
    ("family", "dst", "length"), [(4, "10.65.0.2", 32), (6, "fd65::2", 128), (4, "10.66.0.0", 24)]
)
async def test_a_route(
    interfaces: dict[str, Interface], family: Family, dst: str, length: int
) -> None:
    driver = RouteDriver(family, Settings("n1"))
    for name, interface in interfaces.items():
        driver.interface_changed(name, interface)
    driver.desire(f"{dst}/{length}", Route(f"{dst}/{length}", "caliw1"))
    try:
        await driver.apply()
    finally:
        driver.close()
    async with AsyncIPRoute() as other:
        found = [
            (route["dst_len"], route.get("oif"), route.get("priority"), route["proto"])
            async for route in await other.route("dump", family={4: 2, 6: 10}[family], table=254)
            if route.get("dst") == dst
        ]
    assert found == [(length, interfaces["caliw1"].index, 1024, 3)]


async def test_a_neighbour(interfaces: dict[str, Interface]) -> None:
    driver = NeighbourDriver()
    for name, interface in interfaces.items():
        driver.interface_changed(name, interface)
    driver.desire("caliw1", "10.65.0.2", MAC)
    try:
        await driver.apply()
    finally:
        driver.close()
    device = interfaces["caliw1"].index
    async with AsyncIPRoute() as other:
        found = [
            (entry.get("dst"), entry.get("lladdr"), entry["state"])
            async for entry in await other.neigh("dump", family=2)
            if entry["ifindex"] == device
        ]
    assert found == [("10.65.0.2", MAC, 0x80)]  # permanent
