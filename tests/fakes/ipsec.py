"""IPsec of a node that is off and has never been on: it hears everything, and says nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dataplane.families import Family
from dataplane.interfaces import Interface, InterfaceMonitor
from dataplane.ipsec.mesh import Event
from dataplane.looks import Checked
from dataplane.parts import Step
from dataplane.settings import Settings


class NoIpsec:
    written = 0
    going: frozenset[Family] = frozenset()

    def __init__(self, families: Iterable[Family], settings: Settings) -> None:
        self.told: list[Event] = []

    def update(self, event: Event) -> None:
        self.told.append(event)

    def watch_routes(self, monitor: InterfaceMonitor) -> None:
        """Nothing."""

    def interface_changed(self, name: str, interface: Interface | None) -> None:
        """Nothing."""

    def set_refresh(self, seconds: float) -> None:
        """Nothing."""

    def workload_mtu(self, link: int) -> int:
        return link

    def checks(self) -> Mapping[str, Checked]:
        return {}

    def problems(self) -> dict[str, str]:
        return {}

    async def find_leftovers(self) -> None:
        """Nothing."""

    async def before(self, family: Family, step: Step) -> bool:
        return True

    async def after(self, family: Family, step: Step) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""
