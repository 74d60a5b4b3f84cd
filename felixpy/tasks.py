"""Tasks in the background: each is named, and the end of an endless one is a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class TaskEndedError(Exception):
    """A task that should go on for ever has come to its end."""


async def endless(work: Coroutine[Any, Any, None], name: str) -> None:
    """Raises TaskEndedError when `work` returns; whatever it raises goes through."""
    await work
    raise TaskEndedError(f"{name} ended")


class Background:
    """One task of an owner's, which begins it, asks now and then how it is, and ends it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._task: asyncio.Task[None] | None = None

    @property
    def begun(self) -> bool:
        """And not closed."""
        return self._task is not None

    def begin(self, work: Callable[[], Coroutine[Any, Any, None]], *, ends: bool = False) -> None:
        """Unless it has begun; `ends`: it may come to its end."""
        if self._task is None:
            self._task = asyncio.create_task(self._work(work, ends=ends), name=self._name)

    def check(self) -> None:
        """Raises what it has ended with: it should not."""
        if self._task is not None and self._task.done():
            self._task.result()

    async def close(self) -> None:
        """It is over when this returns, whatever it has ended with."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _work(self, work: Callable[[], Coroutine[Any, Any, None]], *, ends: bool) -> None:
        # made here: closed at once, nothing has begun
        await (work() if ends else endless(work(), self._name))
