"""What the agent tells the outside: status file, log lines at each turn, metrics, health,
systemd.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import structlog
from msgspec import structs

from dataplane.dataplane import Applied, Summary
from felixpy import status
from felixpy.health import Health, notify
from felixpy.metrics import Metrics
from felixpy.status import DataplaneStatus, DatastoreStatus, Problems, Status

log = structlog.get_logger(__name__)

GRAPH, DATAPLANE, STARTUP = "CalculationGraph", "InternalDataplaneMainLoop", "FelixStartup"
GRAPH_LIMIT = 30.0  # seconds of silence; section 7.5 of the data model reference
_LEAST_WATCHDOG = 20.0


class Reporter:
    """`clock` gives seconds that only grow; `directory` is where the status file goes."""

    def __init__(
        self, node: str, version: str, directory: Path, clock: Callable[[], float]
    ) -> None:
        self._directory = directory
        self._clock = clock
        self.problems = Problems()
        self.health = Health(clock)
        self.health.register(STARTUP, 0.0)
        self.health.register(GRAPH, GRAPH_LIMIT)
        self.health.register(DATAPLANE, 90.0)
        self._status = Status(
            node=node,
            pid=os.getpid(),
            version=version,
            started=status.now(),
            datastore=DatastoreStatus("", "", "connecting"),
        )
        self._written: Status | None = None
        self._written_at = float("-inf")
        self._unwritable = ""
        self._metrics: Metrics | None = None
        self._applies = 0

    def watch(self, metrics: Metrics | None, watchdog_seconds: float) -> None:
        self._metrics = metrics
        self.health.register(DATAPLANE, max(watchdog_seconds, _LEAST_WATCHDOG))

    # ---------------------------------------------------------------- what happens

    def datastore(self, type_: str, location: str, state: str) -> None:
        before = self._status.datastore.state
        self._change(datastore=DatastoreStatus(type_, location, state))
        in_sync = state == "in sync"
        if self._metrics is not None:
            self._metrics.resync_state.set(3 if in_sync else 2)
        if in_sync and before != state:
            log.info("datastore.in_sync", type=type_, location=location)

    def applied(self, applied: Applied, summary: Summary, backend: str) -> None:
        """After each apply: what it did, and whether anything is still pending."""
        known = self._status.dataplane
        self._applies += 1
        state = "failing" if applied.problems else "in sync"
        self.problems.replace("dataplane", applied.problems)
        self._change(
            dataplane=DataplaneStatus(
                state=state,
                backend=backend,
                applies=self._applies,
                last_apply=status.now(),
                seconds=round(applied.seconds, 6),
                workload_endpoints=summary.workload_endpoints,
                host_endpoints=summary.host_endpoints,
                policies=summary.policies,
                ipsets=summary.ipsets,
            )
        )
        if state == "in sync" and known.state != state:
            log.info("dataplane.in_sync", backend=backend, **summary._asdict())
            notify("READY=1", f"STATUS=in sync, {summary.workload_endpoints} workload endpoints")
        log.info("dataplane.applied", ms=round(applied.seconds * 1000, 1))
        if self._metrics is not None:
            self._metrics.apply_seconds.observe(applied.seconds)
            if applied.problems:
                self._metrics.failures.inc()

    def tick(self) -> None:
        """From time to time: say that the loop is alive, and bring the file up to date."""
        in_sync = self._status.datastore.state == "in sync"
        self.health.report(STARTUP, ready=True)
        self.health.report(GRAPH, ready=in_sync)
        self.health.report(DATAPLANE, ready=self._status.dataplane.state != "waiting")
        if not self.health.dead():
            notify("WATCHDOG=1")
        if self._metrics is not None:
            self._metrics.problems.set(len(self._status.problems))
        self.write()

    # ---------------------------------------------------------------- the file

    def _change(self, **fields: DatastoreStatus | DataplaneStatus) -> None:
        self._status = structs.replace(self._status, **fields)

    def write(self, *, at_once: bool = False) -> None:
        """Bring the status file up to date, unless that was done just now.

        A full disk is no reason to stop guarding the node; it is said once.
        """
        current = structs.replace(self._status, problems=self.problems.all())
        self._status = current
        if current == self._written:
            return
        if not at_once and self._clock() - self._written_at < status.INTERVAL:
            return
        try:
            status.write(self._directory, current)
        except OSError as error:
            if str(error) != self._unwritable:
                self._unwritable = str(error)
                log.error("status.not_written", reason=self._unwritable)
            return
        self._unwritable = ""
        self._written, self._written_at = current, self._clock()
