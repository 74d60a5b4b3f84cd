"""An event loop whose clock jumps to whatever comes next: hours pass in no time."""

from __future__ import annotations

import asyncio
import contextlib
import selectors
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Selector(selectors.SelectSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("nothing will ever happen again")
        self.now += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.selector = _Selector()
        super().__init__(self.selector)

    def time(self) -> float:
        return self.selector.now


def virtually(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work())


def now() -> float:
    return asyncio.get_running_loop().time()


@contextlib.asynccontextmanager
async def running(task: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """An endless task, ended with the block; one that ended by itself fails the test."""
    endless = asyncio.create_task(task)
    try:
        yield
        assert not endless.done(), endless
    finally:
        endless.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await endless
