"""Looks at what others may have changed, beside the writing, each driver at most once at a time.

seconds_to_next   until a driver wants to look
begin, start      begin those that are due; begin one that nobody waits for
end               forget those that are done
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

import structlog

from dataplane.drivers.iptables.driver import IptablesDriver
from dataplane.errors import DataplaneError

log = structlog.get_logger(__name__)


class Checked(Protocol):
    """`next_check` is a time of the event loop's clock; `check` tells whether it found anything."""

    def next_check(self) -> float: ...
    async def check(self) -> bool: ...


class Looks:
    """`found` is called when a look has found something, `wake` at the end of each."""

    def __init__(
        self,
        drivers: Mapping[str, Checked],
        tables: Mapping[str, IptablesDriver],
        found: Callable[[], None],
        wake: Callable[[], None],
    ) -> None:
        """By the names that the log is to call them by."""
        self._drivers = drivers
        self._tables = tables
        self._found = found
        self._wake = wake
        self._running: dict[str, asyncio.Task[None]] = {}

    def seconds_to_next(self, now: float) -> float:
        """Perhaps infinite."""
        return max(0.0, min(self._due(now).values(), default=float("inf")))

    def begin(self, now: float) -> None:
        for name, seconds in self._due(now).items():
            if seconds <= 0:
                driver = self._drivers.get(name)
                self.start(name, driver.check() if driver else self._tables[name].check())

    def start(self, name: str, work: Coroutine[Any, Any, bool | None]) -> None:
        task = asyncio.create_task(self._look(name, work), name=name)
        self._running[name] = task
        task.add_done_callback(lambda _: self._wake())

    def end(self) -> None:
        """What nobody foresaw is raised here."""
        for name in [name for name, task in self._running.items() if task.done()]:
            self._running.pop(name).result()

    async def close(self) -> None:
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    def _due(self, now: float) -> dict[str, float]:
        """Seconds until each driver wants to look; those that are looking are left out."""
        due = {name: driver.next_check() - now for name, driver in self._drivers.items()}
        for name, tables in self._tables.items():
            seconds = tables.next_check()
            if seconds is not None:
                due[name] = seconds
        return {name: seconds for name, seconds in due.items() if name not in self._running}

    async def _look(self, name: str, work: Coroutine[Any, Any, bool | None]) -> None:
        try:
            if await work:
                self._found()
        except DataplaneError as error:
            log.warning("dataplane.check_failed", what=name, reason=str(error))
