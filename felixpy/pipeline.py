"""One node's way from resources to the kernel, while who the node is stays the same.

    turn()   take what has gathered, let the graph work it in, write what that changes

The dataplane is made when the datastore is in sync, and anew when the configuration asks for it; it
is then told everything again, reads what is there, and writes the difference: the rules in force
stay in force meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import structlog

from calc_graph.graph import CalcGraph, RouteSource
from calc_graph.model import Key, Value
from calc_graph.updates import Update
from dataplane.build import build_dataplane
from dataplane.dataplane import Dataplane
from dataplane.errors import DataplaneError
from felixpy.bgp.part import BgpPart, open_bgp
from felixpy.census import Census
from felixpy.config import to_intervals, to_settings
from felixpy.datastore.opening import Datastore
from felixpy.emptiness import EmptyDatastoreGuard
from felixpy.empty_start import EmptyStart
from felixpy.figures import with_dataplane
from felixpy.flow_ending.ender import FlowEnder
from felixpy.gate import ReadyGate
from felixpy.holds import Holds
from felixpy.inbox import Inbox
from felixpy.judging import judge_settings
from felixpy.last_state import LastState
from felixpy.live_config import Ask, LiveConfig
from felixpy.lockout.guard import LockoutGuard
from felixpy.lockout.ledger import Ledger
from felixpy.lockout.machine import Machine
from felixpy.lockout.memory import Memory
from felixpy.lockout.state import NodeState
from felixpy.metrics import Figures
from felixpy.reporter import IN_SYNC, LISTING, NOT_READY, Reporter
from felixpy.services import Services
from felixpy.statusrep.reports import StatusReports
from felixpy.wireguard.part import WireguardPart

log = structlog.get_logger(__name__)

BUILD_RETRY = 2.0  # seconds


class Pipeline:
    """`woken` is set whenever a turn may have something to do."""

    def __init__(
        self,
        live: LiveConfig,
        reporter: Reporter,
        services: Services,
        datastore: Datastore,
        holds: Holds,
        last_state: LastState,
        lockout_memory: Memory,
        run_directory: Path,
        route_source: RouteSource,
        woken: asyncio.Event,
    ) -> None:
        self.inbox = Inbox(woken.set)
        self._live = live
        self._reporter = reporter
        self._services = services
        self._source = datastore.source
        self._reports = StatusReports(datastore.status, live.config)
        self._woken = woken
        self._gate = ReadyGate(open_without=self._source.ready_without_record)
        self._census = Census()
        self._holds = holds
        self._guard = EmptyDatastoreGuard(self._census, holds)
        self._start = EmptyStart(self._census, holds, last_state)
        self._route_source: RouteSource = route_source
        self._graph = CalcGraph(live.config.felix_hostname, route_source)
        self._lockout = LockoutGuard(
            NodeState(self._graph, live),
            live.config.felix_hostname,
            Machine(time.monotonic),
            Ledger(holds, services.count_lockout),
            lockout_memory,
            time.monotonic,
        )
        self.bgp: BgpPart = open_bgp(
            live.config, os.environ, datastore.status, services.count_bird, woken.set
        )
        self.wireguard = WireguardPart(lambda: live.config, datastore.status, holds, run_directory)
        self._untold: list[Update] = []  # what the dataplane does not know yet
        self._dataplane: Dataplane | None = None
        self._flow_ender = FlowEnder(services.count_flows_ended, woken.set)
        self.in_sync = False
        self._listed = False
        self._reported = False  # all local endpoints of this dataplane, once
        self._build_at = 0.0
        reporter.node(live.config.felix_hostname)
        self._tell_datastore(LISTING)
        services.count_resync()

    async def turn(self) -> bool:
        """Whether everything has to begin anew.

        Raises ConfigError if the datastore's configuration forbids the start.
        """
        batch = self.inbox.take()
        now, grace = time.monotonic(), self._live.config.empty_datastore_grace_secs
        self._absorb(self._guard.pass_on(self._gate.pass_on(batch.changes), now, grace))
        self._listed = batch.in_sync
        if self._listed and not self._gate.open:
            self._tell_datastore(NOT_READY)
        if not self.in_sync and not (batch.in_sync and self._gate.open):
            return False
        starting = not self.in_sync
        self.in_sync = True
        if not starting:
            await self._review()
        settled = self._live.settle()
        self._reporter.problems.replace("configuration", self._live.problems())
        # what the graph has not kept for one source of routes, it cannot have for the other
        moved = self._live.config.route_source != self._route_source
        if settled.ask is Ask.EVERYTHING or moved:
            return True
        if starting or settled.ask is not Ask.NOTHING:
            self._services.settle(self._live.config)
            self._reports.settle(self._live.config)
            self.bgp.settle(self._live.config)
            self._reporter.watch(self._live.config.dataplane_watchdog_timeout)
        if starting:
            self._graph.in_sync()
            self.bgp.in_sync()
            self.wireguard.in_sync()
            self._start.begin(now)
            await self._review()
        if self._gate.open:
            self._tell_datastore(IN_SYNC)
        if settled.ask is Ask.DATAPLANE or await self.wireguard.review():
            await self._drop_dataplane()
        elif settled.ask is Ask.LIVE and self._dataplane is not None:
            self._dataplane.set_intervals(to_intervals(self._live.config))
        await self._bring_about()
        self.bgp.turn(in_force=self._dataplane is not None and self._dataplane.in_force)
        self._reporter.bgp(self.bgp.status, self.bgp.problems)
        self._reporter.wireguard(self.wireguard.status, self.wireguard.problems)
        return False

    def seconds_to_next(self) -> float:
        """How long nothing needs to be done unless something happens; perhaps infinite."""
        if not self.in_sync:
            return float("inf")
        now = time.monotonic()
        passing = max(0.0, self._guard.due - now)
        if self._dataplane is None:
            return min(passing, max(0.0, self._build_at - now))
        return min(passing, self.wireguard.seconds_to_next(), self._dataplane.seconds_to_next())

    @property
    def problems(self) -> dict[str, str]:
        """What is wrong with the datastore's state, though it can be read."""
        if self._gate.open or not self._listed:
            return {}
        text = "ClusterInformation default does not say datastoreReady: true; its changes wait"
        return {"ready flag": text}

    def figures(self) -> Figures:
        """For metrics; to be asked by another thread than the event loop's."""
        found = Figures(
            self._reporter.resync_state,
            len(self._reporter.problems.all()),
            cluster=self._census.counts(),
            held_back=self._holds.counts(),
            lockout=self._lockout.waiting,
            bgp=self.bgp.figures(),
            wireguard=self.wireguard.figures(),
        )
        dataplane = self._dataplane
        return found if dataplane is None else with_dataplane(found, dataplane)

    async def close(self) -> None:
        self._guard.close()
        self._start.close()
        self._lockout.close()
        await self.wireguard.close()
        await self.bgp.close()
        await self._reports.close()
        await self._flow_ender.close()
        await self._drop_dataplane()

    # ---------------------------------------------------------------- steps of a turn

    def _tell_datastore(self, state: str) -> None:
        config = self._live.config
        self._reporter.datastore(config.datastore_type, self._source.location, state)

    def _absorb(self, changes: Mapping[Key, Value | None]) -> None:
        if not changes:
            return
        started = time.perf_counter()
        for key, value in changes.items():
            self._live.note(key, value)
            self._census.note(key, value)
            self._graph.update(key, value)
            self.bgp.note(key, value)
            self.wireguard.note(key, value)
            self._lockout.note(key, value)
        kinds = Counter(type(key).__name__ for key in changes)
        self._services.count_changes(kinds, time.perf_counter() - started)

    async def _review(self) -> None:
        """Take back what would cut this machine off, before anything is settled or written."""
        self._untold += await self._lockout.review()
        self._reporter.problems.replace("lockout", self._lockout.problems)

    async def _bring_about(self) -> None:
        """Tell the dataplane what has changed, and have it written."""
        self._flow_ender.check()
        updates, self._untold = self._untold, []
        if self._dataplane is None:
            now, grace = time.monotonic(), self._live.config.empty_datastore_grace_secs
            if now < self._build_at or self._start.waits(now, grace):
                return
            self._dataplane, self._reported = await self._build(), False
            if self._dataplane is None:
                return
            updates = self._graph.replay()
        if updates:
            self._services.count_updates(updates)
            self._dataplane.desire(updates)
            self._flow_ender.update(updates)
        applied = await self._dataplane.apply()
        self.wireguard.turn(applied=applied is not None)
        if applied is not None:
            self._services.count_apply(applied)
            self._reporter.applied(applied, self._dataplane.summary(), self._dataplane.backend)
            self._report(self._dataplane)
            if applied.complete:
                self._flow_ender.applied(self._dataplane.interfaces)
        self._start.note(self._guard.empty_since)

    def _report(self, dataplane: Dataplane) -> None:
        """What the dataplane has made of the local endpoints.  A new one tells of all of them."""
        self._reports.check()
        if dataplane.in_force:
            self._reports.note(dataplane.take_endpoint_changes(), whole=not self._reported)
            self._reported = True
        self._reporter.problems.replace("status reports", self._reports.problems)

    async def _build(self) -> Dataplane | None:
        # a name in MetadataAddr is looked up, which may take its time
        settings = await asyncio.to_thread(to_settings, self._live.config)
        settings = await self.wireguard.admit(settings)
        try:
            dataplane = await build_dataplane(settings, self._woken.set)
        except DataplaneError as error:
            log.error("dataplane.not_started", reason=str(error), retry_seconds=BUILD_RETRY)
            self._reporter.problems.replace("dataplane", {"start": str(error)})
            self._build_at = time.monotonic() + BUILD_RETRY
            return None
        wanted = self._live.config.conntrack_flush_on_policy_change
        self._flow_ender.begin(judge_settings(settings) if wanted else None)
        self.wireguard.attach(dataplane)
        return dataplane

    async def _drop_dataplane(self) -> None:
        if self._dataplane is not None:
            dataplane, self._dataplane = self._dataplane, None
            self.wireguard.attach(None)
            await dataplane.close()
