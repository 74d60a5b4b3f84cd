"""BGP switched off: what BIRD has left behind of an earlier run is swept away, once.

Nothing is touched where no file of ours says that there was such a run, nor while a daemon still
answers: see dataplane.bird.sweep.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from calc_graph.model import Key, Value
from dataplane.bird.sweep import sweep
from dataplane.errors import DataplaneError
from felixpy.config import Config, to_bird_settings

log = structlog.get_logger(__name__)


class BgpOff:
    """`woken` is called when the sweeping has ended."""

    def __init__(self, config: Config, woken: Callable[[], None]) -> None:
        self._config = config
        self._woken = woken
        self._sweeping: asyncio.Task[None] | None = None
        self._problem = ""

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
        try:
            swept = await sweep(to_bird_settings(self._config))
        except (DataplaneError, OSError) as error:
            self._problem = f"what BIRD has left behind cannot be removed: {error}"
            log.error("bird.not_swept", reason=str(error))
            return
        if swept.held:
            log.warning("bird.left_alone", reason=swept.held, leaves="its routes and our files")
        elif swept.files:
            log.info("bird.swept", routes=swept.routes, files=swept.files)
