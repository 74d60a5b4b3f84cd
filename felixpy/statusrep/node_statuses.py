"""CalicoNodeStatus: how this node's BGP is, told to whoever has asked for it.

    in   note(key, request)   what the datastore says is asked for, of this node or of others
         settle(provider)     who knows how the node is
    out  the status of each resource that asks about this node, at the pace that it asks for

What several ask for at the same moment is looked up once.  A request that nobody makes any more is
forgotten; one that cannot be answered is tried again, at its own pace or after RETRY.
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from calc_graph.bgp.resources import NodeStatusKey, NodeStatusRequest, StatusClass
from felixpy.statusrep.keys import node_status_directory, node_status_key
from felixpy.statusrep.node_facts import FactsError, FactsProvider, NodeFacts
from felixpy.statusrep.store import StatusStore, StatusUnwritableError, answered
from felixpy.statusrep.troubles import Troubles
from felixpy.statusrep.waiting import Waker
from felixpy.tasks import Background

RETRY: Final = 10.0  # seconds
WRITE_SECONDS: Final = 5.0
FACTS_SECONDS: Final = 30.0  # a table of a hundred thousand routes takes a while
_NAME: Final = "node status"


class NodeStatuses:
    """`hostname` is this node's; `now` is the time of day."""

    def __init__(
        self,
        store: StatusStore,
        hostname: str,
        *,
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._store = store
        self._hostname = hostname
        self._now = now
        self._requests: dict[NodeStatusKey, NodeStatusRequest] = {}
        self._due: dict[NodeStatusKey, float] = {}  # seconds of the loop
        self._provider: FactsProvider | None = None
        self._crowded = True  # there may be answers to what nobody asks
        self._troubles = Troubles("node_status")
        self._waker = Waker()
        self._task = Background(_NAME)

    @property
    def problem(self) -> str:
        return self._troubles.text

    def note(self, key: NodeStatusKey, request: NodeStatusRequest | None) -> None:
        """None: gone, or never valid."""
        if request is None or request.node != self._hostname or request.period <= 0:
            if self._requests.pop(key, None) is not None:
                self._crowded = True
            self._due.pop(key, None)
        elif self._requests.get(key) != request:
            self._requests[key] = request
            self._due[key] = 0.0
        else:
            return
        self._waker.wake()

    def settle(self, provider: FactsProvider) -> None:
        """From now on this one is asked; not before the datastore has said all that it knows."""
        self._provider = provider
        self._task.begin(self.run)

    def check(self) -> None:
        """Raises what the task has ended with: it should not."""
        self._task.check()

    async def close(self) -> None:
        """What has been told stays, with the time when it was."""
        await self._task.close()

    async def run(self) -> None:
        """Endless; by `settle`."""
        loop = asyncio.get_running_loop()
        while True:
            self._troubles.keep({*map(_about, self._requests), node_status_directory()})
            retry = await self._tidy_up()
            due = [key for key, moment in self._due.items() if moment <= loop.time()]
            if due:
                await self._tell(due)
            moments = [*self._due.values(), *retry]
            await self._waker.sleep(max(min(moments) - loop.time(), 0.0) if moments else None)

    # ---------------------------------------------------------------- steps

    async def _tidy_up(self) -> list[float]:
        """When to try it again."""
        if not self._crowded:
            return []
        self._crowded = False
        directory = node_status_directory()
        keys = set(map(_about, self._requests))
        try:
            await answered(self._store.keep_answers(directory, keys), WRITE_SECONDS)
        except StatusUnwritableError as error:
            self._crowded = True
            self._troubles.add(directory, str(error))
            return [asyncio.get_running_loop().time() + RETRY]
        self._troubles.clear(directory)
        return []

    async def _tell(self, keys: Iterable[NodeStatusKey]) -> None:
        requests = {key: self._requests[key] for key in keys}
        loop = asyncio.get_running_loop()
        for key, request in requests.items():
            self._due[key] = loop.time() + request.period
        classes = {each for request in requests.values() for each in request.classes}
        facts: NodeFacts | str
        try:
            facts = await self._facts(classes)
        except FactsError as error:
            facts = str(error)
        for key, request in requests.items():
            if self._requests.get(key) != request:
                continue  # nobody asks for this any more
            reason = facts if isinstance(facts, str) else await self._answer(key, request, facts)
            if reason:
                self._troubles.add(_about(key), reason)
                if self._requests.get(key) == request:
                    self._due[key] = min(self._due[key], loop.time() + RETRY)
            else:
                self._troubles.clear(_about(key))

    async def _facts(self, classes: set[StatusClass]) -> NodeFacts:
        """Raises FactsError."""
        if self._provider is None:
            raise FactsError("nobody is there to ask")
        try:
            async with asyncio.timeout(FACTS_SECONDS):
                return await self._provider.facts(sorted(classes))
        except TimeoutError:
            raise FactsError(f"not known within {FACTS_SECONDS:g} s") from None

    async def _answer(
        self, key: NodeStatusKey, request: NodeStatusRequest, facts: NodeFacts
    ) -> str:
        """Why it could not be told, or ""."""
        status = _render(request, facts, self._now())
        writing = self._store.answer(_about(key), _resource(key, request), status)
        try:
            await answered(writing, WRITE_SECONDS)  # where it is gone, that will be told
        except StatusUnwritableError as error:
            return str(error)
        return ""


def _about(key: NodeStatusKey) -> str:
    return node_status_key(key.name)


def _render(request: NodeStatusRequest, facts: NodeFacts, now: datetime.datetime) -> bytes:
    """Only what this one has asked for, whatever others did."""
    wanted = {
        "agent": facts.agent if "Agent" in request.classes else None,
        "bgp": facts.bgp if "BGP" in request.classes else None,
        "routes": facts.routes if "Routes" in request.classes else None,
    }
    moment = now.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    told = {name: part for name, part in wanted.items() if part is not None}
    return msgspec.json.encode({"lastUpdated": moment, **told})


def _resource(key: NodeStatusKey, request: NodeStatusRequest) -> bytes:
    return msgspec.json.encode(
        {
            "apiVersion": "projectcalico.org/v3",
            "kind": "CalicoNodeStatus",
            "metadata": {"name": key.name},
            "spec": {
                "node": request.node,
                "classes": request.classes,
                "updatePeriodSeconds": request.period,
            },
        }
    )
