"""The routing table of WireGuard and the rule that asks it, one family: two drivers as one.

    99: not from all fwmark M/M lookup T     everything
    99: not from all iif lo lookup T         forwarded

Every packet without the mark asks the table first, those of the host itself too; what the device
has encrypted has the mark, and takes the other tables.  By the second rule what the host itself
sends does not ask, what the device has encrypted among it.  Without route synchronisation neither
routes nor the rule are written, nor read.

A rule of ours that leads to another table says that this was ours before its parameter changed:
what it said is said here, too, before the new rule comes, and it is emptied once the old rule is
gone.
Source: section 3.6 of the routes reference.
"""

from __future__ import annotations

from msgspec import structs

from dataplane.drivers.rules import Rule, RuleDriver
from dataplane.drivers.wireguard_routes import WireguardRouteDriver
from dataplane.families import Family
from dataplane.interfaces import Interface, InterfaceMonitor
from dataplane.settings import Settings, WireguardSettings
from dataplane.wireguard.state import Asking, RouteKind


class WireguardTable:
    def __init__(self, family: Family, settings: Settings) -> None:
        ours = settings.wireguard
        self._family: Family = family
        self._settings = settings
        self._enabled = settings.route_sync
        self._device: Interface | None = None
        self._former: dict[int, WireguardRouteDriver] | None = None  # None: not looked for yet
        self._routes = WireguardRouteDriver(family, settings)
        self._rules = RuleDriver(family, ours.table, settings.intervals.routes)
        self._rule = Rule(ours.rule_priority, ours.table, ours.mark)

    @property
    def written(self) -> int:
        """Routes and rules made or deleted, since the start."""
        return self._routes.written + self._rules.written

    def desire(self, net: str, kind: RouteKind | None) -> None:
        """None takes its route away.  Raises ValueError for what is no net of the family."""
        self._routes.desire(net, kind)

    def watch(self, monitor: InterfaceMonitor) -> None:
        """Be told of what others do here."""
        monitor.watch_routes(self._routes)
        monitor.watch_rules(self._rules)

    def interface_changed(self, name: str, interface: Interface | None) -> None:
        self._routes.interface_changed(name, interface)
        if name == self._settings.wireguard.device_of(self._family):
            self._device = interface
        for driver in (self._former or {}).values():
            driver.interface_changed(name, interface)

    def set_refresh(self, seconds: float) -> None:
        self._routes.refresh_seconds = self._rules.refresh_seconds = seconds

    def next_check(self) -> float:
        """When `check` is due, in the event loop's time; infinity for never."""
        return min(self._routes.next_check(), self._rules.next_check())

    async def check(self) -> bool:
        """True if the next apply has something to repair."""
        routes, rules = await self._routes.check(), await self._rules.check()
        return routes or rules

    async def read(self) -> dict[str, RouteKind]:
        """What is there, whoever made it.  Raises NetlinkError."""
        found: dict[str, RouteKind] = {}
        for driver in (await self._find_former()).values():
            found |= await driver.read()
        return found | await self._routes.read()

    async def write_routes(self) -> None:
        """Raises RouteError."""
        await self._routes.apply()

    async def ask(self, asking: Asking) -> None:
        """Have the rule that leads here, another one, or none; never none in between.

        Raises RuleError, and RouteError for what is left in a former table.
        """
        if not self._enabled:
            return
        former = await self._find_former()
        self._rules.desire(self._wish(asking))
        await self._rules.apply()
        for table, driver in list(former.items()):
            await driver.remove_everything()
            driver.close()
            del former[table]

    async def asking(self) -> Asking:
        """By a rule of ours, left by an agent before this one perhaps.  Raises NetlinkError."""
        found = await self._rules.read() if self._enabled else []
        if all(rule.forwarded for rule in found):
            return "forwarded" if found else "nobody"
        return "everything"

    async def _find_former(self) -> dict[int, WireguardRouteDriver]:
        if self._former is None:
            rules = await self._rules.read() if self._enabled else []
            ours = self._settings.wireguard
            self._former = {
                table: self._driver_of(structs.replace(ours, table=table))
                for table in {rule.table for rule in rules} - {ours.table}
            }
        return self._former

    def _driver_of(self, wireguard: WireguardSettings) -> WireguardRouteDriver:
        settings = structs.replace(self._settings, wireguard=wireguard)
        driver = WireguardRouteDriver(self._family, settings)
        driver.interface_changed(wireguard.device_of(self._family), self._device)
        return driver

    def _wish(self, asking: Asking) -> Rule | None:
        if asking == "nobody":
            return None
        return self._rule._replace(forwarded=asking == "forwarded")

    def close(self) -> None:
        for driver in (self._former or {}).values():
            driver.close()
        self._routes.close()
        self._rules.close()
