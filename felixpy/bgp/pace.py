"""How often something is looked at: from time to time, soon after a change, and never so often that
it would matter beside the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

_SETTLED: Final = 1.0  # seconds that sessions and routes take to follow a change


class Pace:
    """Looks are `seconds` apart, or `rest` times as long as one takes where that is longer.
    `clock` gives seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float], seconds: float, rest: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._rest = rest
        self._again = asyncio.Event()

    def soon(self) -> None:
        """Something has changed that is worth a look."""
        self._again.set()

    async def keep(self, look: Callable[[], Awaitable[None]]) -> None:
        """Endless; to be run once."""
        while True:
            self._again.clear()
            started = self._clock()
            await look()
            pause = max(self._seconds, self._rest * (self._clock() - started))
            try:
                async with asyncio.timeout(pause):
                    await self._again.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(_SETTLED)
