"""A task's sleep that others can cut short."""

from __future__ import annotations

import asyncio
import contextlib


class Waker:
    def __init__(self) -> None:
        self._event = asyncio.Event()

    def wake(self) -> None:
        """End the sleep of now, or else the next one as it begins."""
        self._event.set()

    async def sleep(self, seconds: float | None = None) -> None:
        """For so long, or until woken; None: until woken."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()
        self._event.clear()
