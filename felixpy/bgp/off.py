"""BGP switched off: what BIRD has left behind of an earlier run is swept away.

Nothing is touched where no file of ours says that there was such a run, nor while a daemon still
answers: see dataplane.bird.sweep.  As long as our file is there it is looked at again from time to
time, for a daemon may be stopped later, and what could not be removed may go then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from calc_graph.model import Key, Value
from dataplane.bird.sweep import Swept, sweep
from dataplane.errors import DataplaneError
from felixpy.config import Config, to_bird_settings

log = structlog.get_logger(__name__)

SECONDS: Final = 30.0  # between looks


class BgpOff:
    """`woken` is called when the sweeping has ended, and when a problem may be another one."""

    def __init__(self, config: Config, woken: Callable[[], None]) -> None:
        self._config = config
        self._woken = woken
        self._sweeping: asyncio.Task[None] | None = None
        self._problem = ""
        self._held = ""

    def note(self, key: Key, value: Value | None) -> None:
        """Nothing is computed."""

    def in_sync(self) -> None:
        """Nothing waits for it."""

    def settle(self, config: Config) -> None:
        self._config = config

    def turn(self, *, in_force: bool) -> None:
        """The dataplane's own routes come first.  Raises what nobody foresaw."""
        if self._sweeping is not None:
            if self._sweeping.done():
                self._sweeping.result()
        elif in_force:
            self._sweeping = asyncio.create_task(self._sweep(), name="bird leftovers")
            self._sweeping.add_done_callback(lambda _: self._woken())

    @property
    def problems(self) -> dict[str, str]:
        return {"leftovers": self._problem} if self._problem else {}

    @property
    def status(self) -> None:
        """There is nothing to tell."""

    def details(self) -> None:
        """As status."""

    def figures(self) -> None:
        """As status."""

    async def close(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)

    async def _sweep(self) -> None:
        """Until nothing of ours is left.  A daemon that was there and is not may be starting again:
        it is gone if it is not there at the next look either.
        """
        was_there = False
        while True:
            swept = await self._look(dry_run=was_there)
            if swept is not None and not swept.held and not was_there:
                break
            was_there = swept is not None and bool(swept.held)
            await asyncio.sleep(SECONDS)
        if swept.files:
            log.info("bird.swept", routes=swept.routes, files=swept.files)

    async def _look(self, *, dry_run: bool) -> Swept | None:
        """None where it failed.  What is as it was at the look before is not said again."""
        problem = ""
        try:
            swept = await sweep(to_bird_settings(self._config), dry_run=dry_run)
        except (DataplaneError, OSError) as error:
            swept = None
            problem = f"what BIRD has left behind cannot be removed: {error}"
            if problem != self._problem:
                log.error("bird.not_swept", reason=str(error))
        held = swept.held if swept is not None else ""
        if held and held != self._held:
            log.warning("bird.left_alone", reason=held, leaves="its routes and our files")
        self._held = held
        if problem != self._problem:
            self._problem = problem
            self._woken()
        return swept
