"""That the agent lives, and since when: two keys, written anew every interval.

One of them has a ttl and so tells of agents that are gone; the other stays as the last word.
Section 7.1 of the data model reference.
"""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import Callable

import msgspec
from msgspec import Struct

from felixpy.statusrep.keys import process_keys
from felixpy.statusrep.store import StatusStore, StatusUnwritableError, answered
from felixpy.statusrep.troubles import Troubles
from felixpy.statusrep.waiting import Waker

# An agent that ends again and again soon after its start never claims to be well.
FIRST_SECONDS = 10.0
WRITE_SECONDS = 2.0


class _Report(Struct, frozen=True):
    time: str
    uptime: float
    first_update: bool


class ProcessReporter:
    """`interval` and `ttl` are seconds; an interval of 0: nothing is written.

    `region` is the parameter OpenstackRegion.  `clock` gives seconds that only grow, `started` is
    what it showed when the agent began (as it shows now, if not given), `now` is the time of day.
    """

    def __init__(
        self,
        store: StatusStore,
        hostname: str,
        region: str,
        interval: float,
        ttl: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        started: float | None = None,
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._store = store
        self._active, self._last = process_keys(hostname, region)
        self._interval, self._ttl = interval, ttl
        self._clock, self._now = clock, now
        self._started = clock() if started is None else started
        self._first = True  # nobody can have seen a report of ours yet
        self._troubles = Troubles("process_status")
        self._waker = Waker()

    @property
    def problem(self) -> str:
        return self._troubles.text

    def settle(self, interval: float, ttl: float) -> None:
        """From now on at this pace; what has passed of the interval counts."""
        self._interval, self._ttl = interval, ttl
        if interval <= 0:
            self._troubles.keep(())
        self._waker.wake()

    async def run(self) -> None:
        """Endless; to be run once."""
        await asyncio.sleep(FIRST_SECONDS)
        while True:
            if self._interval > 0:
                await self._report()
            await self._pause()

    async def _pause(self) -> None:
        loop = asyncio.get_running_loop()
        since = loop.time()
        while self._interval <= 0 or loop.time() < since + self._interval:
            left = since + self._interval - loop.time()
            await self._waker.sleep(left if self._interval > 0 else None)

    async def _report(self) -> None:
        uptime = round(self._clock() - self._started, 3)
        report = _Report(
            time=self._now().astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            # a whole number has no point, as in what Go's encoder writes
            uptime=int(uptime) if uptime.is_integer() else uptime,
            first_update=self._first,
        )
        value = msgspec.json.encode(report)
        if await self._put(self._active, value, self._ttl or None):
            self._first = False
        await self._put(self._last, value, None)

    async def _put(self, key: str, value: bytes, ttl: float | None) -> bool:
        try:
            await answered(self._store.put(key, value, ttl), WRITE_SECONDS)
        except StatusUnwritableError as error:
            self._troubles.add(key, str(error))
            return False
        self._troubles.clear(key)
        return True
