"""What a part is: one matter with drivers of its own, such as WireGuard.

Updates are told to a part by its name (desired/desired.py); otherwise all are used alike, so that
neither the order of writes nor what is done to all drivers has to know which there are.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Protocol, TypeAlias

from dataplane.families import Family
from dataplane.interfaces import Interface, InterfaceMonitor
from dataplane.looks import Checked

# Carry out one step of the order of writes; whether it has come to its end.
Step: TypeAlias = Callable[[str, Coroutine[Any, Any, None]], Awaitable[bool]]


class Part(Protocol):
    @property
    def written(self) -> int:
        """Changes of whatever kind, since the start."""

    def watch_routes(self, monitor: InterfaceMonitor) -> None:
        """Be told of what others do to the routes and rules that are its own."""

    def interface_changed(self, name: str, interface: Interface | None) -> None: ...
    def set_refresh(self, seconds: float) -> None: ...
    def checks(self) -> Mapping[str, Checked]:
        """Its looks beside the writing, by the names that the log calls them by."""

    def problems(self) -> dict[str, str]:
        """What was asked of it and cannot be had, whatever the kernel does."""

    async def before(self, family: Family, step: Step) -> bool:
        """What comes before the main table's routes.

        False: it failed, and no way to another node may open before it has come about.
        """

    async def after(self, family: Family, step: Step) -> None:
        """What comes once the main table's routes are as they should be."""

    def close(self) -> None: ...
