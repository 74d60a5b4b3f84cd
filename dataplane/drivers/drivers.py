"""Every driver of one node, and what is done to all of them alike.

A new driver is made in `__init__` and listed in `_listed`; one that is to hear of interfaces has
`interface_changed`, one that holds something open has `close`.  Its face for the desired layer is
in desired/sinks.py, its place among the writes in write_order.py.
A new part, which has several drivers for itself, is one more in `parts`.

The tables are the exception: they are made by whoever knows which iptables there is, look when they
want to, and their end takes time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from dataplane.desired.unwritten import NEIGHBOURS, routes_step
from dataplane.drivers.ipsets import IpsetDriver
from dataplane.drivers.iptables.driver import IptablesDriver
from dataplane.drivers.links import LinkDriver
from dataplane.drivers.neighbours import NeighbourDriver
from dataplane.drivers.peer_addresses import PeerAddressDriver
from dataplane.drivers.routes import RouteDriver
from dataplane.drivers.sysctls import SysctlDriver
from dataplane.drivers.vteps import VtepDriver
from dataplane.families import Family
from dataplane.interfaces import Interface, InterfaceMonitor
from dataplane.looks import Checked
from dataplane.parts import Part
from dataplane.settings import VXLAN_DEVICES, Intervals, Settings
from dataplane.wireguard.wireguard import Wireguard

PEER_ADDRESSES = "addresses for BGP"


class Driver(Checked, Protocol):
    """`refresh_seconds` is the time between looks; `written` counts changes, since the start."""

    refresh_seconds: float
    written: int


@runtime_checkable
class HearsInterfaces(Protocol):
    def interface_changed(self, name: str, interface: Interface | None) -> None: ...


@runtime_checkable
class Closes(Protocol):
    def close(self) -> None: ...


class Listed(NamedTuple):
    """`look` is the name that the log has for its looks, `counted` that of what it writes."""

    look: str
    driver: Driver
    counted: str
    interval: Literal["ipsets", "routes", "interfaces"]


class Drivers:
    """Is what the desired state is written to: see desired.sinks."""

    def __init__(self, settings: Settings, tables: Mapping[Family, IptablesDriver]) -> None:
        self.tables = tables
        self.families = tuple(tables)
        self.ipsets: dict[Family, IpsetDriver] = {
            family: IpsetDriver(family, settings.max_ipset_size) for family in tables
        }
        self.routes: dict[Family, RouteDriver] = {f: RouteDriver(f, settings) for f in tables}
        self.vteps: dict[Family, VtepDriver] = {
            family: VtepDriver(family, VXLAN_DEVICES[family]) for family in tables
        }
        self.neighbours = NeighbourDriver()
        self.peer_addresses = PeerAddressDriver(settings)
        self.sysctls = SysctlDriver()
        self.links = links = LinkDriver()
        self.wireguard = Wireguard(tables, settings, lambda: links.unavailable)
        self.parts: dict[str, Part] = {"wireguard": self.wireguard}  # by what is counted of them
        self._all = self._listed()
        self._hearing = [d for _, d, *_ in self._all if isinstance(d, HearsInterfaces)]

    def _listed(self) -> tuple[Listed, ...]:
        of_families = (
            listed
            for f in self.families
            for listed in (
                Listed(f"IPv{f} sets", self.ipsets[f], "members", "ipsets"),
                Listed(routes_step(f), self.routes[f], "routes", "routes"),
                Listed(f"IPv{f} tunnel ends", self.vteps[f], "tunnel_ends", "routes"),
            )
        )
        return (
            *of_families,
            Listed(NEIGHBOURS, self.neighbours, "neighbours", "routes"),
            Listed(PEER_ADDRESSES, self.peer_addresses, "peer_addresses", "interfaces"),
            Listed("settings", self.sysctls, "settings", "interfaces"),
            Listed("tunnels", self.links, "tunnels", "interfaces"),
        )

    def watch_routes(self, monitor: InterfaceMonitor) -> None:
        """Have them told what others do to our routes."""
        for routes in self.routes.values():
            monitor.watch_routes(routes)
        for part in self.parts.values():
            part.watch_routes(monitor)

    def interface_changed(self, name: str, interface: Interface | None) -> None:
        """It came, went, changed, or is another one by the same name; None: it is gone."""
        for driver in self._hearing:
            driver.interface_changed(name, interface)
        for part in self.parts.values():
            part.interface_changed(name, interface)

    def set_intervals(self, intervals: Intervals) -> None:
        seconds = {
            "ipsets": intervals.ipsets,
            "routes": intervals.routes,
            "interfaces": intervals.interfaces,
        }
        for tables in self.tables.values():
            tables.set_intervals(intervals)
        for each in self._all:
            each.driver.refresh_seconds = seconds[each.interval]
        for part in self.parts.values():
            part.set_refresh(intervals.routes)

    def checks(self) -> dict[str, Checked]:
        """All that look from time to time but the tables, by the names that the log has for it."""
        found: dict[str, Checked] = {each.look: each.driver for each in self._all}
        for part in self.parts.values():
            found.update(part.checks())
        return found

    def written(self) -> Counter[str]:
        """Since the start, by what it was."""
        counts = Counter(chains=sum(tables.written for tables in self.tables.values()))
        for each in self._all:
            counts[each.counted] += each.driver.written
        for name, part in self.parts.items():
            counts[name] += part.written
        return counts

    def problems(self) -> dict[str, str]:
        """What was asked for and cannot be had, whatever the kernel does."""
        found: dict[str, str] = {}
        for vteps in self.vteps.values():
            found |= vteps.problems()
        for part in self.parts.values():
            found |= part.problems()
        return found | self.links.unavailable

    async def close(self) -> None:
        """End processes and sockets; the kernel stays as it is."""
        for tables in self.tables.values():
            await tables.close()
        for each in self._all:
            if isinstance(each.driver, Closes):
                each.driver.close()
        for part in self.parts.values():
            part.close()
