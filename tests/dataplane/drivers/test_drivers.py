"""All drivers of a node at once: none is left out."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from dataplane.settings import Intervals, Settings, WireguardSettings
from tests.fakes.drivers import Looking
from tests.fakes.node import FakeNode, interface


@pytest.fixture
async def node() -> AsyncIterator[FakeNode]:
    node = FakeNode(Settings("here", wireguard=WireguardSettings(families=frozenset({4, 6}))))
    yield node
    await node.dataplane.close()


def every(node: FakeNode) -> dict[str, list[Looking]]:
    """By what is counted of them."""
    return {
        "members": [*node.ipsets.values()],
        "routes": [*node.routes.values()],
        "tunnel_ends": [*node.vteps.values()],
        "neighbours": [node.neighbours],
        "peer_addresses": [node.peer_addresses],
        "settings": [node.sysctls],
        "tunnels": [node.links],
        "wireguard": [*node.peers.values(), *node.wireguard_tables.values()],
    }


async def test_each_is_counted(node: FakeNode) -> None:
    drivers = node.dataplane._drivers
    before = drivers.written()
    for driver in (each for several in every(node).values() for each in several):
        driver.written += 3
    node.tables[6].written += 7
    counted = {name: 3 * len(several) for name, several in every(node).items()}
    assert drivers.written() - before == {"chains": 7, **counted}


async def test_each_looks_by_a_name_of_its_own(node: FakeNode) -> None:
    checks = node.dataplane._drivers.checks()
    several = every(node)
    wireguard = several.pop("wireguard")
    drivers = {id(each) for group in several.values() for each in group}
    assert drivers < {id(each) for each in checks.values()}
    assert len(checks) == len(drivers) + len(wireguard) // 2  # peers and table look as one


async def test_each_has_its_interval(node: FakeNode) -> None:
    node.dataplane.set_intervals(Intervals(1, 2, 3, 4, 5))
    seconds = {
        name: {driver.refresh_seconds for driver in several}
        for name, several in every(node).items()
    }
    assert seconds == {
        "members": {3},
        "routes": {4},
        "tunnel_ends": {4},
        "neighbours": {4},
        "wireguard": {4},
        "peer_addresses": {5},
        "settings": {5},
        "tunnels": {5},
    }


async def test_who_follows_interfaces_hears_of_them(node: FakeNode) -> None:
    cali1 = interface("cali1")
    known = [routes.interfaces for routes in node.routes.values()]
    known += [node.neighbours.interfaces, node.sysctls.interfaces]
    node.has(cali1)
    assert all(interfaces == {"cali1": cali1} for interfaces in known)
    node.has("cali1")
    assert not any(known)


async def test_whoever_holds_something_open_is_closed_once(node: FakeNode) -> None:
    await node.dataplane._drivers.close()
    for several in every(node).values():
        assert {driver.closed for driver in several} == {1}


async def test_what_cannot_be_had(node: FakeNode) -> None:
    node.links.unavailable = {"vxlan.calico": "this kernel has no VXLAN (module vxlan)"}
    assert node.dataplane._drivers.problems() == node.links.unavailable
