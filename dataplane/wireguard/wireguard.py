"""WireGuard of one node, both families: one that is on, or off, each by itself.

    update, interface_changed           what the dataplane is told
        |
    on    Mesh, and what hands its wishes to        off   what an agent has left, and how it goes
          WireguardDriver   the device's peers
          WireguardTable    its table, and the rule that asks it
        |
    before, after     their steps, in the order of writes: around those of the main table
    checks            looks beside the writing
    keys, problems    what to publish, and what to complain of
    status            for the command, metrics and the node's status

The devices themselves are made by drivers.links, as Overlays asks for them: `device_goes` tells it
when one may go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from calc_graph.updates import PoolRemove, PoolUpdate, RouteRemove, RouteUpdate
from dataplane.clear_packets import ClearPackets
from dataplane.families import Family, family_of
from dataplane.interfaces import Interface, InterfaceMonitor
from dataplane.looks import Checked
from dataplane.parts import Step
from dataplane.settings import Settings
from dataplane.wireguard.driver import WireguardDriver
from dataplane.wireguard.former import Former
from dataplane.wireguard.mesh import Event
from dataplane.wireguard.off import Off
from dataplane.wireguard.on import On
from dataplane.wireguard.status import HELD, FamilyStatus
from dataplane.wireguard.table import WireguardTable


class Wireguard:
    """`unavailable` maps the names of devices that this kernel cannot have to the reason."""

    def __init__(
        self,
        families: Iterable[Family],
        settings: Settings,
        unavailable: Callable[[], Mapping[str, str]],
    ) -> None:
        self._settings = settings.wireguard
        self._families: dict[Family, On | Off] = {}
        self._tables: dict[Family, WireguardTable] = {}
        self._drivers: dict[Family, WireguardDriver] = {}
        for family in families:
            name = settings.wireguard.device_of(family)
            driver = self._drivers[family] = WireguardDriver(
                family, settings.wireguard, settings.intervals.routes
            )
            table = self._tables[family] = WireguardTable(family, settings)
            former = Former(family, settings.wireguard)
            if family in settings.wireguard.families:
                held = family in settings.wireguard.held
                reason = (lambda: HELD) if held else _asking(unavailable, name)
                self._families[family] = On(family, settings, driver, table, former, reason)
            else:
                self._families[family] = Off(family, settings, driver, table, former)

    def watch_routes(self, monitor: InterfaceMonitor) -> None:
        """Be told of what others do to routes of the table."""
        for table in self._tables.values():
            table.watch(monitor)

    def set_refresh(self, seconds: float) -> None:
        for each in self._families.values():
            each.set_refresh(seconds)

    def close(self) -> None:
        for driver in self._drivers.values():
            driver.close()
        for table in self._tables.values():
            table.close()

    # ------------------------------------------------------------ told

    def update(self, event: Event) -> None:
        """Of a net only its own family hears."""
        net = _net_of(event)
        for family, each in self._families.items():
            if not net or family_of(net) == family:
                each.update(event)

    def interface_changed(self, name: str, interface: Interface | None) -> None:
        for each in self._families.values():
            each.interface_changed(name, interface)

    # ------------------------------------------------------------ writing

    async def before(self, family: Family, step: Step) -> bool:
        """What comes before the main table; whether that may lead to other nodes now."""
        return await self._families[family].before(step)

    async def after(self, family: Family, step: Step) -> None:
        """What comes once the main table is as it should be."""
        await self._families[family].after(step)

    @property
    def written(self) -> int:
        """Messages to devices, routes and rules, since the start."""
        return sum(each.written for each in self._families.values())

    # ------------------------------------------------------------ asked

    def checks(self) -> dict[str, Checked]:
        return {f"IPv{family} WireGuard": each for family, each in self._families.items()}

    def device_goes(self, family: Family) -> bool:
        """Whether the device of a family that is off is ours and needed no more."""
        each = self._families.get(family)
        return each is not None and each.device_goes

    def keys(self) -> dict[Family, str]:
        """What is to be published, in base64: "" where there is to be none.

        A family is left out while that is not known: what is published then stays.
        """
        keys: dict[Family, str | None] = {4: "", 6: ""}
        keys |= {family: each.key for family, each in self._families.items()}
        return {family: key for family, key in keys.items() if key is not None}

    def problems(self) -> dict[str, str]:
        found = {
            self._settings.device_of(family): f"this node does without IPv{family}"
            for family in self._settings.families - self._families.keys()
        }
        for each in self._families.values():
            found |= each.problems()
        return found

    def known(self) -> tuple[FamilyStatus, ...]:
        """The same as of the last look at the kernel, without what has left in clear."""
        return tuple([each.known() for each in self._families.values()])

    async def status(self, clear: ClearPackets) -> tuple[FamilyStatus, ...]:
        """As it is now.  `clear` is what has left in clear.  Raises DataplaneError."""
        return tuple(
            [await each.status(clear.get(family, {})) for family, each in self._families.items()]
        )


def _asking(unavailable: Callable[[], Mapping[str, str]], name: str) -> Callable[[], str]:
    return lambda: unavailable().get(name, "")


def _net_of(event: Event) -> str:
    """ "" for what is of both families."""
    match event:
        case RouteUpdate() | RouteRemove() | PoolRemove():
            return event.cidr
        case PoolUpdate(pool):
            return pool.cidr
        case _:
            return ""
