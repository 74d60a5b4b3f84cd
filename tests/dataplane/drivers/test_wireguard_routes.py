"""What is to be under the two keys of a destination, and what a kernel that refuses leaves."""

from __future__ import annotations

import errno
from collections.abc import Sequence

import pytest

from dataplane import rtnetlink
from dataplane.drivers.routes import RouteError
from dataplane.drivers.wireguard_routes import FLOOR_METRIC, WireguardRouteDriver, routes_of
from dataplane.families import Family
from dataplane.interfaces import Interface
from dataplane.netlink import DUMP, Message, Request
from dataplane.rtnetlink import KernelRoute, RouteKey
from dataplane.settings import Settings

NETS: dict[Family, str] = {4: "10.0.2.0/26", 6: "fd00:2::/64"}
OTHERS: dict[Family, str] = {4: "10.0.3.0/26", 6: "fd00:3::/64"}
DEVICES: dict[Family, str] = {4: "wireguard.cali", 6: "wg-v6.cali"}

both = pytest.mark.parametrize("family", [4, 6])


class Kernel:
    """A table in place of the socket; `refuses` maps destinations to error numbers."""

    port = 1

    def __init__(self, family: Family) -> None:
        self.family: Family = family
        self.routes: dict[RouteKey, KernelRoute] = {}
        self.refuses: dict[bytes, int] = {}
        self.sent = 0

    async def query(self, request: Request, doing: str) -> list[Message]:
        assert request.flags == DUMP
        put = (rtnetlink.replace_route(self.family, 1, r).body for r in self.routes.values())
        return [Message(rtnetlink.NEWROUTE, body) for body in put]

    async def execute(self, requests: Sequence[Request]) -> list[int]:
        return [self._do(request) for request in requests]

    def _do(self, request: Request) -> int:
        self.sent += 1
        found = rtnetlink.parse_route(request.body)
        assert found is not None
        key = found.route.key
        if key.destination in self.refuses:
            return self.refuses[key.destination]
        if request.type == rtnetlink.DELROUTE:
            return 0 if self.routes.pop(key, None) else errno.ESRCH
        self.routes[key] = found.route
        return 0


def driver_of(family: Family) -> tuple[WireguardRouteDriver, Kernel]:
    driver, kernel = WireguardRouteDriver(family, Settings("n1")), Kernel(family)
    driver._socket = kernel  # type: ignore[assignment]
    return driver, kernel


def up(family: Family, index: int = 7, generation: int = 1) -> Interface:
    return Interface(DEVICES[family], index, up=True, generation=generation)


@both
def test_a_route_to_the_device_has_one_below_that_refuses(family: Family) -> None:
    routes = routes_of(family, NETS[family], "device", 7, 3)
    (metric, scope) = (0, 253) if family == 4 else (1024, 0)
    first, second = routes.values()
    assert first is not None
    assert second is not None
    assert [key.metric for key in routes] == [metric, FLOOR_METRIC]
    assert (first.device, first.type, first.scope) == (7, rtnetlink.UNICAST, scope)
    assert (second.device, second.type, second.scope) == (0, rtnetlink.UNREACHABLE, 0)
    assert routes.keys() == routes_of(family, NETS[family], None, 0, 0).keys()


@both
@pytest.mark.parametrize("kind", ["throw", "unreachable"])
def test_other_kinds_have_one_route(family: Family, kind: str) -> None:
    first, second = routes_of(family, NETS[family], kind, 7, 80).values()  # type: ignore[arg-type]
    assert first is not None
    assert (first.device, first.protocol) == (0, 80)
    assert first.type == getattr(rtnetlink, kind.upper())
    assert second is None


@both
def test_while_the_device_is_not_up_it_refuses(family: Family) -> None:
    routes = routes_of(family, NETS[family], "device", 0, 3)
    assert [r.type for r in routes.values() if r] == [rtnetlink.UNREACHABLE] * 2


@pytest.mark.parametrize("net", ["10.0.2.0/26", "fd00:2::", "fd00:2::/129", "nonsense"])
def test_what_is_no_net_of_the_family_is_refused(net: str) -> None:
    driver, _ = driver_of(6)
    with pytest.raises(ValueError, match="is not"):
        driver.desire(net, "throw")
    driver.desire(net, None)  # never was there
    assert driver._wishes == {}


@both
async def test_a_change_and_its_reversal_come_to_nothing(family: Family) -> None:
    driver, kernel = driver_of(family)
    driver.interface_changed(DEVICES[family], up(family))
    driver.desire(NETS[family], "device")
    await driver.apply()
    sent = kernel.sent
    assert sent == driver.written == 2
    driver.desire(NETS[family], "throw")
    driver.desire(NETS[family], "device")
    driver.desire(OTHERS[family], "throw")
    driver.desire(OTHERS[family], None)
    assert not driver.pending
    await driver.apply()
    assert kernel.sent == sent


@both
@pytest.mark.parametrize("code", [errno.ENOMEM, errno.ENETDOWN])
async def test_nothing_goes_while_something_that_comes_is_refused(
    family: Family, code: int
) -> None:
    driver, kernel = driver_of(family)
    driver.interface_changed(DEVICES[family], up(family))
    driver.desire(OTHERS[family], "unreachable")
    await driver.apply()
    refused = rtnetlink.parse_net(NETS[family])[1]
    kernel.refuses = {refused: code}
    driver.desire(OTHERS[family], None)
    driver.desire(NETS[family], "device")
    with pytest.raises(RouteError, match=f"routes of WireGuard: {NETS[family]}: "):
        await driver.apply()
    assert [r.type for r in kernel.routes.values()] == [rtnetlink.UNREACHABLE]
    assert driver.pending
    assert not driver.is_written(NETS[family])
    kernel.refuses = {}
    await driver.apply()
    assert {key.destination for key in kernel.routes} == {refused}
    assert driver.is_written(NETS[family])


@both
async def test_a_device_made_anew_is_led_to_by_its_new_number(family: Family) -> None:
    driver, kernel = driver_of(family)
    driver.interface_changed(DEVICES[family], up(family))
    driver.interface_changed("eth0", Interface("eth0", 2, up=True))
    driver.desire(NETS[family], "device")
    await driver.apply()
    driver.interface_changed(DEVICES[family], up(family, index=9, generation=2))
    assert driver.pending
    await driver.apply()
    assert {r.device for r in kernel.routes.values()} == {9, 0}
    sent = kernel.sent
    driver.interface_changed(DEVICES[family], up(family, index=9, generation=2))
    assert not driver.pending
    await driver.apply()
    assert kernel.sent == sent
