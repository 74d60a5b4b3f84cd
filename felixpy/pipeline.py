"""One node's way from resources to the kernel, while who the node is stays the same.

    turn()   take what has gathered, let the graph work it in, write what that changes

The dataplane is made when the datastore is in sync, and anew when the configuration asks for it; it
is then told everything again, reads what is there, and writes the difference: the rules in force
stay in force meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import structlog

from calc_graph.graph import CalcGraph
from dataplane.build import build_dataplane
from dataplane.dataplane import Dataplane
from dataplane.errors import DataplaneError
from felixpy.config import to_intervals, to_settings
from felixpy.inbox import Batch, Inbox
from felixpy.live_config import Ask, LiveConfig
from felixpy.reporter import Reporter
from felixpy.services import Services

log = structlog.get_logger(__name__)

BUILD_RETRY = 2.0  # seconds


class Pipeline:
    """`woken` is set whenever a turn may have something to do."""

    def __init__(
        self, live: LiveConfig, reporter: Reporter, services: Services, woken: asyncio.Event
    ) -> None:
        self.inbox = Inbox(woken.set)
        self._live = live
        self._reporter = reporter
        self._services = services
        self._woken = woken
        self._graph = CalcGraph(live.config.felix_hostname)
        self._dataplane: Dataplane | None = None
        self._in_sync = False
        self._build_at = 0.0

    async def turn(self) -> bool:
        """Whether everything has to begin anew.

        Raises ConfigError if the datastore's configuration forbids the start.
        """
        batch = self.inbox.take()
        self._absorb(batch)
        if not self._in_sync and not batch.in_sync:
            return False
        starting = not self._in_sync
        self._in_sync = True
        settled = self._live.settle(starting=starting)
        self._reporter.problems.replace("configuration", self._live.problems())
        if settled.ask is Ask.EVERYTHING:
            return True
        if starting or settled.ask is not Ask.NOTHING:
            self._services.settle(self._live.config)
        if starting:
            self._graph.in_sync()
            config = self._live.config
            self._reporter.datastore(config.datastore_type, config.datastore_path, "in sync")
        if settled.ask is Ask.DATAPLANE:
            await self._drop_dataplane()
        elif settled.ask is Ask.LIVE and self._dataplane is not None:
            self._dataplane.set_intervals(to_intervals(self._live.config))
        await self._bring_about()
        return False

    def seconds_to_next(self) -> float:
        """How long nothing needs to be done unless something happens; perhaps infinite."""
        if not self._in_sync:
            return float("inf")
        if self._dataplane is None:
            return max(0.0, self._build_at - time.monotonic())
        return self._dataplane.seconds_to_next()

    async def close(self) -> None:
        await self._drop_dataplane()

    # ---------------------------------------------------------------- steps of a turn

    def _absorb(self, batch: Batch) -> None:
        if not batch.changes:
            return
        started = time.perf_counter()
        for key, value in batch.changes.items():
            self._live.note(key, value)
            self._graph.update(key, value)
        kinds = Counter(type(key).__name__ for key in batch.changes)
        self._services.count_changes(kinds, time.perf_counter() - started)

    async def _bring_about(self) -> None:
        """Tell the dataplane what has changed, and have it written."""
        started = time.perf_counter()
        if self._dataplane is None:
            if time.monotonic() < self._build_at or not await self._build():
                return
            updates = self._graph.replay()
        else:
            updates = self._graph.flush()
        assert self._dataplane is not None
        if updates:
            self._services.count_updates(updates, time.perf_counter() - started)
            self._dataplane.desire(updates)
        applied = await self._dataplane.apply()
        if applied is not None:
            self._reporter.applied(applied, self._dataplane.summary(), self._dataplane.backend)

    async def _build(self) -> bool:
        settings = to_settings(self._live.config)
        try:
            self._dataplane = await build_dataplane(settings, self._woken.set)
        except DataplaneError as error:
            log.error("dataplane.not_started", reason=str(error), retry_seconds=BUILD_RETRY)
            self._reporter.problems.replace("dataplane", {"start": str(error)})
            self._build_at = time.monotonic() + BUILD_RETRY
            return False
        return True

    async def _drop_dataplane(self) -> None:
        if self._dataplane is not None:
            await self._dataplane.close()
            self._dataplane = None
