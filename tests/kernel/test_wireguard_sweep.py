"""What `felixpy cleanup` takes of WireGuard on a kernel that has none of its devices."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec import structs

from dataplane.cleanup import clean
from dataplane.drivers.rules import Rule, RuleDriver
from dataplane.drivers.wireguard_routes import WireguardRouteDriver
from dataplane.families import Family
from dataplane.interfaces import Interface, InterfaceMonitor
from dataplane.settings import Settings, WireguardSettings
from dataplane.wireguard.sweep import Swept, sweep
from tests.kernel.conftest import Namespace
from tests.kernel.wireguard_cables import DEVICE, NET, Cables

pytestmark = pytest.mark.kernel

SETTINGS = Settings("n1", iptables_backend="nft")
OPERATORS = "ip -{0} rule add lookup 2 pref 99; ip -{0} route add table {2} throw {1}"


@pytest.fixture(params=[4, 6], ids=["IPv4", "IPv6"])
def cables(
    request: pytest.FixtureRequest, inside: Namespace, netns: Callable[[str], Namespace]
) -> Cables:
    return Cables(request.param, inside, netns("peer"), netns("clear"))


async def interfaces() -> dict[str, Interface]:
    monitor = InterfaceMonitor(SETTINGS)
    try:
        return dict(await monitor.start())
    finally:
        monitor.close()


async def populate(family: Family, settings: Settings = SETTINGS) -> None:
    """As an agent leaves it: two routes for the device, one back, and the rule."""
    routes = WireguardRouteDriver(family, settings)
    rules = RuleDriver(family, settings.wireguard.table)
    for name, interface in (await interfaces()).items():
        routes.interface_changed(name, interface)
    routes.desire(NET[family], "device")
    routes.desire({4: "10.0.1.0/26", 6: "fd00:1::/64"}[family], "throw")
    await routes.apply()
    rules.desire(Rule(99, settings.wireguard.table, settings.wireguard.mark))
    await rules.apply()
    routes.close()
    rules.close()


def kernel(cables: Cables) -> str:
    ip = f"ip -{cables.family}"
    return cables.inside.run(f"{ip} rule; {ip} route show table all")


async def test_rule_and_table_go_and_nothing_else(cables: Cables) -> None:
    family = cables.family
    cables.inside.run(OPERATORS.format(family, NET[family], 2))
    before = kernel(cables)
    await populate(family)
    during = kernel(cables)
    assert before != during
    looked = await clean(SETTINGS, dry_run=True)
    assert (looked.rules, looked.routes, looked.tunnels, looked.errors) == (1, 3, 0, ())
    assert kernel(cables) == during
    assert await clean(SETTINGS, dry_run=False) == looked
    assert kernel(cables) == before
    assert DEVICE[family] in cables.inside.run("ip link")  # no WireGuard device, so not ours
    again = await clean(SETTINGS, dry_run=False)
    assert (again.rules, again.routes, again.errors) == (0, 0, ())


async def test_a_table_that_no_rule_of_ours_leads_to_is_its_owners(cables: Cables) -> None:
    family = cables.family
    cables.inside.run(OPERATORS.format(family, NET[family], 1))
    before = kernel(cables)
    found = await sweep(family, SETTINGS, await interfaces(), dry_run=False)
    assert found == Swept(0, 0, "")
    assert kernel(cables) == before


async def test_what_lies_in_a_table_that_was_ours_before_goes_too(cables: Cables) -> None:
    family = cables.family
    before = kernel(cables)
    earlier = structs.replace(SETTINGS, wireguard=WireguardSettings(table=77, mark=0x100000))
    await populate(family, earlier)
    found = await sweep(family, SETTINGS, await interfaces(), dry_run=False)
    assert found == Swept(1, 3, "")
    assert kernel(cables) == before
