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

import structlog

from felixpy.datastore.manifests import ManifestSource
from felixpy.health import notify
from felixpy.live_config import LiveConfig
from felixpy.pipeline import Pipeline
from felixpy.reporter import Reporter
from felixpy.services import Services
from felixpy.tasks import endless

log = structlog.get_logger(__name__)

TICK = 1.0  # seconds between looks at the clock when nothing else happens


class Agent:
    def __init__(self, live: LiveConfig, directory: Path) -> None:
        self._live = live
        self._stop = False
        self._reload = False
        self._woken = asyncio.Event()
        self._reporter = Reporter(
            live.config.felix_hostname, version("felixpy"), directory, time.monotonic
        )
        self._services = Services(self._reporter)

    async def run(self) -> None:
        """Until SIGTERM or SIGINT.

        Raises DatastoreStartError or ConfigError where the start is refused; the kernel is then as
        it was.
        """
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._ask_to_stop, name)
        loop.add_signal_handler(signal.SIGHUP, self._ask_to_reload)
        try:
            while not self._stop:
                await self._run_once()
        finally:
            self._services.close()
            self._reporter.write(at_once=True)

    def _ask_to_stop(self, name: signal.Signals) -> None:
        log.info("agent.stopping", signal=name.name, rules="stay in force")
        notify("STOPPING=1")
        self._stop = True
        self._woken.set()

    def _ask_to_reload(self) -> None:
        self._reload = True
        self._woken.set()

    async def _run_once(self) -> None:
        """Until asked to stop, or until the configuration asks for everything anew."""
        config = self._live.config
        source = ManifestSource(Path(config.datastore_path).absolute())
        self._reporter.datastore(config.datastore_type, config.datastore_path, "listing")
        source.problems.listen(self._woken.set)
        pipeline = Pipeline(self._live, self._reporter, self._services, self._woken)
        reading = asyncio.create_task(
            endless(source.run(pipeline.inbox), "datastore"), name="datastore"
        )
        reading.add_done_callback(lambda _: self._woken.set())
        try:
            while not self._stop:
                self._woken.clear()
                if reading.done():
                    await reading
                if self._reload:
                    self._read_again()
                self._reporter.problems.replace("datastore", source.problems.current)
                if await pipeline.turn():
                    log.info("agent.begins_anew")
                    self._live.forget_datastore()
                    return
                self._reporter.tick()
                await self._wait(pipeline.seconds_to_next())
        finally:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading
            await pipeline.close()

    def _read_again(self) -> None:
        self._reload = False
        notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        self._live.read_machine()
        notify("READY=1")

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(seconds, TICK)):
                await self._woken.wait()
