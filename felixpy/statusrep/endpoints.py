"""The state of each local endpoint, told to the datastore at a pace that spares it.

    in   note        what has changed; the first call: everything there is
    out  StatusStore {"status":"up"} under one key for each endpoint, and nothing else beside them

Section 7.2 of the data model reference.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping

import msgspec

from calc_graph.model import EndpointKey
from dataplane.endpoint_states import LocalEndpoint
from felixpy.statusrep.keys import endpoint_directories, endpoint_key
from felixpy.statusrep.store import StatusStore, StatusUnwritableError, answered
from felixpy.statusrep.troubles import Troubles
from felixpy.statusrep.waiting import Waker

WRITE_SECONDS = 2.0
LIST_SECONDS = 10.0
DELAYS_BETWEEN_LISTS = 180
LEAST_DELAY = 0.01  # seconds; a delay of 0 must not make a loop of what fails


def _draw() -> float:
    """So that the agents of a cluster do not all write in the same moment."""
    return random.uniform(1.0, 1.1)  # noqa: S311 - nobody gains by guessing it


class EndpointReporter:
    """`delay` is in seconds; `region` is the parameter OpenstackRegion.

    `jitter` gives the factor by which the next pause is longer than `delay` asks for.
    """

    def __init__(
        self,
        store: StatusStore,
        hostname: str,
        region: str,
        delay: float,
        *,
        jitter: Callable[[], float] = _draw,
    ) -> None:
        self._store = store
        self._hostname, self._region = hostname, region
        self._directories = endpoint_directories(hostname, region)
        self._delay = max(delay, LEAST_DELAY)
        self._jitter = jitter
        self._begun = False
        self._desired: dict[str, bytes] = {}
        self._pending: dict[str, None] = {}  # a queue without repetition, the oldest first
        # times of the event loop's clock
        self._wrote_at = self._listed_at = float("-inf")
        self._write_pause = self._list_pause = 0.0  # delays
        self._troubles = Troubles("endpoint_status")
        self._waker = Waker()

    @property
    def problem(self) -> str:
        return self._troubles.text

    def settle(self, delay: float) -> None:
        """From now on at this pace."""
        self._delay = max(delay, LEAST_DELAY)
        self._waker.wake()

    def note(self, changes: Mapping[EndpointKey, LocalEndpoint | None]) -> None:
        """None: that endpoint is gone.

        The first call holds every endpoint there is, be it none: what else the store knows of this
        host is removed from then on.  Before it nothing is written or removed.
        """
        for endpoint, local in changes.items():
            key = endpoint_key(endpoint, self._hostname, self._region)
            value = None if local is None else msgspec.json.encode({"status": local.state})
            if value == self._desired.get(key):
                continue
            if value is None:
                del self._desired[key]
            else:
                self._desired[key] = value
            self._pending.setdefault(key)
        self._begun = True
        self._waker.wake()

    async def run(self) -> None:
        """Endless; to be run once."""
        while not self._begun:
            await self._waker.sleep()
        clock = asyncio.get_running_loop().time
        while True:
            if clock() >= self._list_due():
                await self._compare()
                self._listed_at = clock()
            if clock() >= self._write_due():
                await self._write_oldest()
                self._wrote_at = clock()
                self._write_pause = self._jitter()
            await self._waker.sleep(min(self._list_due(), self._write_due()) - clock())

    def _list_due(self) -> float:
        return self._listed_at + self._list_pause * self._delay

    def _write_due(self) -> float:
        if not self._pending:
            return float("inf")
        return self._wrote_at + self._write_pause * self._delay

    async def _compare(self) -> None:
        """Make pending what differs from the store, and nothing else."""
        there: dict[str, bytes] = {}
        for directory in self._directories:
            try:
                found = await answered(self._store.read(directory), LIST_SECONDS)
            except StatusUnwritableError as error:
                self._troubles.add(directory, str(error))
                self._list_pause = self._jitter()
                return
            # whatever a store makes of a prefix: nothing of another host is ours to remove
            there.update((key, found[key]) for key in found if key.startswith(directory))
        self._list_pause = DELAYS_BETWEEN_LISTS * self._jitter()
        candidates = (*self._pending, *self._desired, *sorted(there))
        self._pending = {
            key: None for key in candidates if there.get(key) != self._desired.get(key)
        }
        self._troubles.keep(self._pending)

    async def _write_oldest(self) -> None:
        key = next(iter(self._pending))
        del self._pending[key]  # first, so that what changes meanwhile is pending again
        value = self._desired.get(key)
        call = self._store.delete(key) if value is None else self._store.put(key, value)
        try:
            await answered(call, WRITE_SECONDS)
        except StatusUnwritableError as error:
            self._pending.setdefault(key)  # behind the others
            self._troubles.add(key, str(error))
        else:
            self._troubles.clear(key)
