"""All that this node tells others about itself, as the configuration wants it told.

    note(changes)     states of local endpoints, from the dataplane
    settle(config)    which reports are made, and how often

Nothing is told before the dataplane has been in force once: only then does anybody know.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

from dataplane.endpoint_states import EndpointKey, LocalEndpoint
from felixpy.config import Config
from felixpy.statusrep.endpoints import EndpointReporter
from felixpy.statusrep.files import EndpointFiles
from felixpy.statusrep.process import ProcessReporter
from felixpy.statusrep.store import StatusStore
from felixpy.tasks import endless

_FILES_BELOW = "endpoint-status"


class StatusReports:
    def __init__(self, store: StatusStore, config: Config) -> None:
        self._store = store
        self._started = time.monotonic()
        self._known: dict[EndpointKey, LocalEndpoint] = {}
        self._begun = False
        self._files: EndpointFiles | None = None
        self._files_below = ""
        self._endpoints: EndpointReporter | None = None
        self._process: ProcessReporter | None = None
        self._region = config.openstack_region
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._config = config

    @property
    def problems(self) -> dict[str, str]:
        parts = {
            "process status": self._process,
            "endpoint status": self._endpoints,
            "endpoint status files": self._files,
        }
        return {name: part.problem for name, part in parts.items() if part and part.problem}

    def note(self, changes: Mapping[EndpointKey, LocalEndpoint | None], *, whole: bool) -> None:
        """`whole`: these are all there are; what else was known is gone."""
        if whole:
            changes = {**dict.fromkeys(self._known.keys() - changes.keys()), **changes}
        for key, state in changes.items():
            if state is None:
                self._known.pop(key, None)
            else:
                self._known[key] = state
        first, self._begun = not self._begun, True
        if first:
            self.settle(self._config)
        elif changes:
            for part in (self._files, self._endpoints):
                if part is not None:
                    part.note(changes)

    def settle(self, config: Config) -> None:
        """Begin, end or change the reports as this configuration wants it."""
        self._config = config
        if not self._begun:
            return
        moved, self._region = self._region != config.openstack_region, config.openstack_region
        self._settle_process(config, moved=moved)
        self._settle_endpoints(config, moved=moved)
        self._settle_files(config.endpoint_status_path_prefix)

    def check(self) -> None:
        """Raises what a report has ended with: none of them should."""
        for task in self._tasks.values():
            if task.done():
                task.result()

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self._store.close()

    # ---------------------------------------------------------------- each of them

    def _settle_process(self, config: Config, *, moved: bool) -> None:
        interval, ttl = config.reporting_interval_secs, config.reporting_ttl_secs
        if self._process is not None and not moved:
            self._process.settle(interval, ttl)
            return
        self._process = ProcessReporter(
            self._store,
            config.felix_hostname,
            config.openstack_region,
            interval,
            ttl,
            started=self._started,
        )
        self._run("process status", self._process)

    def _settle_endpoints(self, config: Config, *, moved: bool) -> None:
        if not config.endpoint_reporting_enabled:
            self._end("endpoint status")
            self._endpoints = None
        elif self._endpoints is not None and not moved:
            self._endpoints.settle(config.endpoint_reporting_delay_secs)
        else:
            self._endpoints = EndpointReporter(
                self._store,
                config.felix_hostname,
                config.openstack_region,
                config.endpoint_reporting_delay_secs,
            )
            self._endpoints.note(self._known)
            self._run("endpoint status", self._endpoints)

    def _settle_files(self, below: str) -> None:
        if below == self._files_below:
            return
        self._files_below = below
        self._end("endpoint status files")
        self._files = None
        if below:
            self._files = EndpointFiles(Path(below) / _FILES_BELOW)
            self._files.note(self._known)
            self._run("endpoint status files", self._files)

    def _run(self, name: str, part: ProcessReporter | EndpointReporter | EndpointFiles) -> None:
        self._end(name)
        self._tasks[name] = asyncio.create_task(endless(part.run(), name), name=name)

    def _end(self, name: str) -> None:
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
