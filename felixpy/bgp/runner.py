"""BGP beside the pipeline: what the datastore says goes to a graph of its own, and from there to
BIRD, in tasks that the packet filter never waits for.

    in   note(key, value), in_sync()   as the big graph is told
         settle(config)                the parameters in force now
         turn(in_force)                after each turn of the pipeline
    out  problems, status, details()   what the outside is told
         figures()                     for metrics

Nothing is given to BIRD before the datastore is in sync and the dataplane has been in force once:
what BIRD announces and learns rests on what is in the kernel.  To close it touches no session.
Whoever asks by a CalicoNodeStatus how this node is, is answered from then on too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from operator import is_not
from typing import Any, NamedTuple

from calc_graph.bgp.graph import BgpGraph
from calc_graph.bgp.resources import NodeStatusKey, NodeStatusRequest
from calc_graph.model import Key, Value
from dataplane.bird.outcome import Outcome
from dataplane.bird.settings import BirdSettings
from felixpy.bgp import report
from felixpy.bgp.bringing import Bringing, Brought
from felixpy.bgp.figures import BgpFigures, read_figures
from felixpy.bgp.looks import Looks, Seen
from felixpy.bgp.node_facts import BirdFacts
from felixpy.bgp.report import Details
from felixpy.bgp.secrets_place import secrets_place
from felixpy.bgp.stale_routes import StaleRoutes
from felixpy.config import Config, to_bird_settings, to_felix_settings
from felixpy.status import BgpStatus
from felixpy.statusrep.node_statuses import NodeStatuses
from felixpy.statusrep.store import StatusStore
from felixpy.tasks import endless


class _Summary(NamedTuple):
    """`facts`: what it was worked out from."""

    facts: tuple[Brought | None, Seen | None, BirdSettings]
    status: BgpStatus
    problems: dict[str, str]


class BgpRunner:
    """`tell` is called after each outcome, `woken` when problems or status may be others."""

    def __init__(
        self,
        config: Config,
        environ: Mapping[str, str],
        store: StatusStore,
        tell: Callable[[Outcome], None],
        woken: Callable[[], None],
    ) -> None:
        self._environ = environ
        self._graph = BgpGraph(config.felix_hostname)
        self._graph.settle(to_felix_settings(config))
        self._tell = tell
        self._woken = woken
        self._bringing = Bringing(
            to_bird_settings(config),
            secrets_place(config, environ),
            time.monotonic,
            self._took,
            woken,
        )
        self._looks = Looks(
            lambda: self._bringing.settings, time.monotonic, woken, self._bringing.look_again
        )
        self._stale_routes = StaleRoutes(lambda: self._bringing.settings, time.monotonic)
        self._node_statuses = NodeStatuses(store, config.felix_hostname)
        self._summary: _Summary | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def note(self, key: Key, value: Value | None) -> None:
        self._graph.update(key, value)
        match key, value:
            case NodeStatusKey(), NodeStatusRequest() | None:
                self._node_statuses.note(key, value)

    def in_sync(self) -> None:
        self._graph.in_sync()

    def settle(self, config: Config) -> None:
        self._graph.settle(to_felix_settings(config))
        self._bringing.settle(to_bird_settings(config), secrets_place(config, self._environ))
        if self._tasks:
            self._node_statuses.settle(BirdFacts(self._bringing.settings))

    def turn(self, *, in_force: bool) -> None:
        """Raises what has ended a task of it: none of them should."""
        for task in self._tasks:
            if task.done():
                task.result()
        self._node_statuses.check()
        updates = self._graph.flush()
        if updates:
            self._bringing.add(updates)
        if in_force and not self._tasks:
            self._begin("bird", self._bringing.run())
            self._begin("bird looks", self._looks.run())
            self._begin("bird stale routes", self._stale_routes.run())
            self._node_statuses.settle(BirdFacts(self._bringing.settings))

    @property
    def problems(self) -> dict[str, str]:
        unanswered = self._node_statuses.problem
        found = {"node status": f"CalicoNodeStatus: {unanswered}"} if unanswered else {}
        return {**self._summarized().problems, **found}

    @property
    def status(self) -> BgpStatus:
        return self._summarized().status

    def _summarized(self) -> _Summary:
        """Worked out anew where it may be another one: a turn must not cost what a mesh counts."""
        facts = (self._bringing.brought, self._looks.seen, self._bringing.settings)
        last = self._summary
        if last is None or any(map(is_not, facts, last.facts)):
            last = _Summary(facts, report.summary(*facts), report.problems(facts[0]))
            self._summary = last
        return last

    def details(self) -> Details:
        return report.details(self._bringing.brought, self._looks.seen, self._bringing.settings)

    def figures(self) -> BgpFigures:
        """To be asked by another thread than the event loop's."""
        return read_figures(
            self._bringing.settings, self._bringing.brought, self._stale_routes.removed
        )

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._node_statuses.close()

    def _begin(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(endless(work, name), name=name)
        task.add_done_callback(lambda _: self._woken())
        self._tasks.append(task)

    def _took(self, outcome: Outcome) -> None:
        self._looks.soon()
        self._stale_routes.soon()
        self._tell(outcome)
