"""What the agent tells the outside: status file, log lines of what happens, health, systemd."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog
from msgspec import structs

from dataplane.dataplane import Applied
from dataplane.desired.desired import Summary
from felixpy import status
from felixpy.health import Health, notify
from felixpy.status import (
    BgpStatus,
    DataplaneStatus,
    DatastoreStatus,
    Problems,
    Status,
    WireguardStatus,
)

log = structlog.get_logger(__name__)

GRAPH, DATAPLANE, STARTUP = "CalculationGraph", "InternalDataplaneMainLoop", "FelixStartup"
GRAPH_LIMIT = 30.0  # seconds of silence; section 7.5 of the data model reference
_LEAST_WATCHDOG = 20.0
LISTING, NOT_READY, IN_SYNC = "listing", "not ready", "in sync"
UNAVAILABLE = "unavailable"
_ETCD = "etcd"  # what EtcdSource has a problem with while it cannot read
_RESYNC_STATES = {IN_SYNC: 3, LISTING: 2}


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
        self._datastore = DatastoreStatus("", "", "connecting")  # as it was when it could be read
        self._status = Status(
            node=node,
            pid=os.getpid(),
            version=version,
            started=status.now(),
            datastore=self._datastore,
        )
        self._written: Status | None = None
        self._tried_at = float("-inf")
        self._unwritable = ""
        self._ready = False  # a first apply has succeeded

    def watch(self, watchdog_seconds: float) -> None:
        """How long the dataplane may be silent."""
        self.health.limit(DATAPLANE, max(watchdog_seconds, _LEAST_WATCHDOG))

    # ---------------------------------------------------------------- what happens

    def node(self, name: str) -> None:
        """Who the node is; that may change while the agent runs."""
        self._change(node=name)

    def datastore(self, type_: str, location: str, state: str) -> None:
        before, self._datastore = self._datastore, DatastoreStatus(type_, location, state)
        if state == before.state and type_ == before.type:
            return  # another member of the same cluster is not worth a line in the log
        if state == IN_SYNC:
            log.info("datastore.in_sync", type=type_, location=location)
        elif state == NOT_READY:
            log.warning(
                "datastore.not_ready",
                reason="ClusterInformation default does not say datastoreReady: true",
                meanwhile="its changes wait, and the kernel stays as it is",
            )

    def applied(self, applied: Applied, summary: Summary, backend: str) -> None:
        """After each apply: what it did, and whether anything is still pending.

        What cannot be had is a problem to be told, and pending it is not.
        """
        known = self._status.dataplane
        wrote = bool(applied.written)
        state = IN_SYNC if applied.complete else "failing"
        self.problems.replace("dataplane", applied.problems)
        self._change(
            dataplane=DataplaneStatus(
                state=state,
                backend=backend,
                writes=known.writes + wrote,
                last_write=status.now() if wrote else known.last_write,
                seconds=round(applied.seconds, 6) if wrote else known.seconds,
                workload_endpoints=summary.workload_endpoints,
                host_endpoints=summary.host_endpoints,
                policies=summary.policies,
                ipsets=summary.ipsets,
            )
        )
        say = log.info if wrote else log.debug
        say("dataplane.applied", ms=round(applied.seconds * 1000, 1), **applied.written)
        if state == IN_SYNC and known.state != state:
            log.info("dataplane.in_sync", backend=backend, **summary._asdict())
            self._ready = True
            self.tell_ready()

    def bgp(self, status: BgpStatus | None, problems: Mapping[str, str]) -> None:
        """None: it is switched off."""
        self.problems.replace("bgp", problems)
        self._change(bgp=status)

    def wireguard(self, status: tuple[WireguardStatus, ...], problems: Mapping[str, str]) -> None:
        """Of the families that it is on for."""
        self.problems.replace("wireguard", problems)
        self._change(wireguard=status)

    def tell_ready(self) -> None:
        """To systemd: the start, or a reload, is done; not before the first apply has succeeded."""
        if self._ready:
            endpoints = self._status.dataplane.workload_endpoints
            notify("READY=1", f"STATUS={self._status.dataplane.state}, {endpoints} endpoints")

    def tell_reloading(self) -> None:
        """To systemd, which waits for `tell_ready` then; before the first one it waits anyway."""
        if self._ready:
            notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def tick(self) -> None:
        """From time to time: say that the loop is alive, and bring the file up to date."""
        state = self._datastore_now().state
        # a cluster that is told to wait is not an agent that fails: so Felix has it
        self.health.report(STARTUP, ready=True)
        why = self._unavailable or f"the datastore is {state}"
        self.health.report(GRAPH, ready=state in (IN_SYNC, NOT_READY), why=why)
        self.health.report(DATAPLANE, ready=self._ready or state == NOT_READY)
        if not self.health.dead():
            notify("WATCHDOG=1")
        self.write()

    @property
    def _unavailable(self) -> str:
        """Why the datastore cannot be read just now; "" while it can."""
        return self.problems.text("datastore", _ETCD)

    def _datastore_now(self) -> DatastoreStatus:
        if not self._unavailable:
            return self._datastore
        return structs.replace(self._datastore, state=UNAVAILABLE)

    @property
    def resync_state(self) -> int:
        """As felix_resync_state counts them."""
        return _RESYNC_STATES.get(self._datastore_now().state, 1)

    # ---------------------------------------------------------------- the file

    def seconds_to_next(self) -> float:
        """How long until the file can take what it does not say yet; infinite if it says it all."""
        if self._status == self._written:
            return float("inf")
        return max(0.0, self._tried_at + status.INTERVAL - self._clock())

    def _change(
        self, **fields: str | DataplaneStatus | BgpStatus | tuple[WireguardStatus, ...] | None
    ) -> None:
        self._status = structs.replace(self._status, **fields)

    def write(self, *, at_once: bool = False) -> None:
        """Bring the status file up to date, unless that was done just now.

        A full disk is no reason to stop guarding the node; it is said once.
        """
        current = structs.replace(
            self._status, datastore=self._datastore_now(), problems=self.problems.all()
        )
        self._status = current
        if current == self._written:
            return
        if not at_once and self._clock() - self._tried_at < status.INTERVAL:
            return
        self._tried_at = self._clock()
        try:
            status.write(self._directory, current)
        except OSError as error:
            if str(error) != self._unwritable:
                self._unwritable = str(error)
                log.error("status.not_written", reason=self._unwritable)
            return
        self._unwritable = ""
        self._written = current
