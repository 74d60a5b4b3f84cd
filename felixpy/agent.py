"""The agent: datastore -> graph -> dataplane, one event loop.

       source.run ──► Inbox ──► absorb ──► graph.flush ──► dataplane.desire ──► dataplane.apply
                        ▲         │                              ▲
        newest value of a key     └─► LiveConfig ── live ────────┤
                                                 ── dataplane ───┘ built anew, told everything again
                                                 ── everything ──► from the start

One task reads the datastore, one does the rest; while an apply waits for the kernel, changes gather
in the inbox and make one batch.  The dataplane does not exist before the datastore is in sync, so
nothing before that can touch the kernel.  A task that ends, and any error that nobody foresaw, ends
the process: what is in the kernel stays in force, and the next start converges.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import structlog

from dataplane.wireguard.status import FamilyStatus
from felixpy.bgp.control import register as register_bgp
from felixpy.bgp.report import Details
from felixpy.control import Control
from felixpy.datastore.opening import open_datastore
from felixpy.datastore.source import DatastoreStartError, Source
from felixpy.health import notify
from felixpy.holds import Holds
from felixpy.holds_control import register as register_holds
from felixpy.last_state import LastState
from felixpy.live_config import LiveConfig
from felixpy.lockout.memory import Memory
from felixpy.metrics import Figures
from felixpy.pipeline import Pipeline
from felixpy.reporter import Reporter
from felixpy.services import Services
from felixpy.tasks import endless
from felixpy.wireguard.control import register as register_wireguard
from felixpy.wireguard.facts import Facts
from felixpy.wireguard.publishing import PublishedKey

log = structlog.get_logger(__name__)

TICK = 2.0  # seconds between looks at the clock when nothing else happens
START_RETRY = 2.0  # seconds, where a running agent was sent to a datastore that cannot be used


class Agent:
    def __init__(self, live: LiveConfig, directory: Path) -> None:
        self._live = live
        self._directory = directory
        self._stop = False
        self._reload = False
        self._failure: BaseException | None = None
        self._woken = asyncio.Event()
        self._reporter = Reporter(
            live.config.felix_hostname, version("felixpy"), directory, time.monotonic
        )
        self._pipeline: Pipeline | None = None
        self._route_source = live.config.route_source
        self._holds = Holds(self._woken.set)
        self._last_state = LastState(directory)
        self._control = Control()
        register_holds(self._control, self._holds)
        register_bgp(self._control, self._bgp_details)
        register_wireguard(
            self._control, self._wireguard_keys, self._wireguard_status, self._wireguard_facts
        )
        self._services = Services(live.config, self._reporter.health, self._figures, time.monotonic)

    async def run(self) -> None:
        """Until SIGTERM or SIGINT.

        Raises DatastoreStartError or ConfigError where the start is refused; the kernel is then as
        it was.  Whatever else it raises nobody has foreseen.
        """
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._ask_to_stop, name)
        loop.add_signal_handler(signal.SIGHUP, self._ask_to_reload)
        loop.set_exception_handler(self._note_failure)
        self._services.settle(self._live.config)  # health says from now on what is waited for
        try:
            await self._open_control()
            await self._run_once()
            while not self._stop:
                try:
                    await self._run_once()
                except DatastoreStartError as error:
                    await self._stay(error)
        finally:
            await self._control.close()
            self._services.close()
            self._reporter.write(at_once=True)

    async def _open_control(self) -> None:
        """Commands that ask the agent do without, if need be; the node is guarded all the same."""
        try:
            await self._control.open(self._directory)
        except OSError as error:
            text = f"the control socket cannot be made: {error}"
            log.error("control.not_open", reason=str(error))
            self._reporter.problems.replace("control", {"socket": text})

    # ---------------------------------------------------------------- what comes from outside

    def _ask_to_stop(self, name: signal.Signals) -> None:
        if self._stop:
            return
        log.info("agent.stopping", signal=name.name, rules="stay in force")
        notify("STOPPING=1")
        self._stop = True
        self._woken.set()

    def _ask_to_reload(self) -> None:
        self._reload = True
        self._woken.set()

    def _note_failure(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What a callback raised, or a task that nobody awaits: it ends the process too."""
        failure = context.get("exception")
        if failure is None:
            loop.default_exception_handler(context)
            return
        self._failure = self._failure or failure
        self._woken.set()

    def _figures(self) -> Figures:
        return Figures() if self._pipeline is None else self._pipeline.figures()

    def _bgp_details(self) -> Details | None:
        return None if self._pipeline is None else self._pipeline.bgp.details()

    def _wireguard_keys(self) -> tuple[PublishedKey, ...]:
        return () if self._pipeline is None else self._pipeline.wireguard.keys()

    async def _wireguard_status(self) -> tuple[FamilyStatus, ...]:
        return () if self._pipeline is None else await self._pipeline.wireguard.details()

    def _wireguard_facts(self) -> Facts | None:
        return None if self._pipeline is None else self._pipeline.wireguard.facts()

    # ---------------------------------------------------------------- one datastore

    async def _run_once(self) -> None:
        """Until asked to stop, or until the configuration asks for everything anew."""
        datastore = open_datastore(self._live.config, self._directory)
        source = datastore.source
        source.problems.listen(self._woken.set)
        self._pipeline = pipeline = Pipeline(
            self._live,
            self._reporter,
            self._services,
            datastore,
            self._holds,
            self._last_state,
            Memory(self._directory),
            self._directory,
            self._route_source,
            self._woken,
        )
        reading = asyncio.create_task(
            endless(source.run(pipeline.inbox), "datastore"), name="datastore"
        )
        reading.add_done_callback(lambda _: self._woken.set())
        try:
            while not self._stop:
                self._woken.clear()
                if await self._turn(pipeline, reading, source):
                    log.info("agent.begins_anew")
                    # the datastore says it, and is about to be forgotten
                    self._route_source = self._live.config.route_source
                    self._live.forget_datastore()
                    return
                await self._wait(pipeline.seconds_to_next())
        finally:
            try:
                await _end(reading)
            finally:
                await pipeline.close()

    async def _turn(self, pipeline: Pipeline, reading: asyncio.Task[None], source: Source) -> bool:
        if self._failure is not None:
            raise self._failure
        if reading.done():
            await reading
        reloading, self._reload = self._reload, False
        if reloading:
            self._reporter.tell_reloading()
            self._live.read_machine()
            log.info("configuration.read_again")
        anew = await pipeline.turn()
        troubles = {**source.problems.current, **pipeline.problems}
        if troubles or pipeline.in_sync:
            self._reporter.problems.replace("datastore", troubles)
        self._tick()
        if reloading:
            self._reporter.tell_ready()
        return anew

    def _tick(self) -> None:
        self._services.tick()
        self._reporter.problems.replace("services", self._services.problems)
        self._reporter.problems.replace("held back", self._holds.problems())
        self._reporter.tick()

    async def _stay(self, error: DatastoreStartError) -> None:
        """A datastore that the running agent was sent to cannot be used: the kernel stays as it is,
        and after a while, or when told of another one, it is tried again.
        """
        texts = {str(each): str(each) for each in error.errors}
        known = {problem.text for problem in self._reporter.problems.all()}
        for text in texts.keys() - known:
            log.error("datastore.unusable", reason=text, meanwhile="the kernel stays as it is")
        self._reporter.problems.replace("datastore", texts)
        deadline = time.monotonic() + START_RETRY
        while not (self._stop or self._reload) and time.monotonic() < deadline:
            self._tick()
            self._woken.clear()
            await self._wait(TICK)
        if self._reload:
            self._reload = False
            self._live.read_machine()
            self._live.settle()

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(seconds, TICK, self._reporter.seconds_to_next())):
                await self._woken.wait()


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel it; what it has raised is not lost."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        await task
