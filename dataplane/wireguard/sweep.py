"""What is left of WireGuard of one family, out of the kernel: for `felixpy cleanup`.

    in   settings, the interfaces there are
    out  Swept: rules and routes removed, and the name of the device if that is ours to remove

Rules go first, so that nothing asks the table any more, then its routes; the device is the
caller's, and goes last.  Only a rule of ours, or a device, says that a table is ours: its number
may be anybody's on a node that never had WireGuard.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, structs

from dataplane.drivers.rules import RuleDriver
from dataplane.drivers.wireguard_routes import WireguardRouteDriver
from dataplane.families import Family
from dataplane.interfaces import Interface
from dataplane.settings import WIREGUARD_DEVICES, Settings
from dataplane.wireguard.driver import WireguardDriver
from dataplane.wireguard.former import find


class Swept(Struct, frozen=True):
    """`device` is "" where there is none of ours."""

    rules: int
    routes: int
    device: str


async def sweep(
    family: Family, settings: Settings, interfaces: Mapping[str, Interface], *, dry_run: bool
) -> Swept:
    """Raises DataplaneError."""
    device = await _device(family, settings, interfaces)
    tables, rules = await _rules(family, settings, dry_run=dry_run)
    if device:
        tables.add(settings.wireguard.table)
    routes = 0
    for table in sorted(tables):
        routes += await _routes(family, settings, table, interfaces, dry_run=dry_run)
    return Swept(rules, routes, device)


async def _device(family: Family, settings: Settings, interfaces: Mapping[str, Interface]) -> str:
    """Or the one that it had by another name."""
    return await _named(family, settings, interfaces) or next(
        (each.name for each in await find(family, settings.wireguard) if each.name in interfaces),
        "",
    )


async def _named(family: Family, settings: Settings, interfaces: Mapping[str, Interface]) -> str:
    name = settings.wireguard.devices[0 if family == 4 else 1]
    driver = WireguardDriver(family, settings.wireguard)
    try:
        driver.interface_changed(name, interfaces.get(name))
        state = await driver.look()
    finally:
        driver.close()
    if state is None:
        return ""
    return name if name in WIREGUARD_DEVICES or state.mark == settings.wireguard.mark else ""


async def _rules(family: Family, settings: Settings, *, dry_run: bool) -> tuple[set[int], int]:
    """The tables that rules of ours lead to, and how many rules."""
    driver = RuleDriver(family, settings.wireguard.table)
    try:
        found = await driver.read()
        if not dry_run:
            driver.desire(None)
            await driver.apply()
    finally:
        driver.close()
    return {rule.table for rule in found}, len(found)


async def _routes(
    family: Family,
    settings: Settings,
    table: int,
    interfaces: Mapping[str, Interface],
    *,
    dry_run: bool,
) -> int:
    of_table = structs.replace(settings.wireguard, table=table)
    driver = WireguardRouteDriver(family, structs.replace(settings, wireguard=of_table))
    try:
        for name, interface in interfaces.items():
            driver.interface_changed(name, interface)
        return await driver.remove_everything(dry_run=dry_run)
    finally:
        driver.close()
