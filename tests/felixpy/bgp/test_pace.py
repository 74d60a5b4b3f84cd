"""How often something is looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from felixpy.bgp import pace as module
from felixpy.bgp.pace import Pace


class Looker:
    def __init__(self) -> None:
        self.now = 0.0
        self.looks = 0
        self.looked = asyncio.Event()

    async def __call__(self) -> None:
        self.looks += 1
        self.now += 1.0  # what a look takes
        self.looked.set()


async def _twice(pace: Pace, look: Looker, between: Callable[[], None]) -> None:
    task: asyncio.Task[None] = asyncio.create_task(pace.keep(look))
    try:
        for _ in range(2):
            async with asyncio.timeout(10):
                await look.looked.wait()
            look.looked.clear()
            between()
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_from_time_to_time() -> None:
    look = Looker()
    await _twice(Pace(lambda: look.now, 0.01, 0.0), look, lambda: None)
    assert look.looks == 2


async def test_soon_after_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SETTLED", 0.0)
    look = Looker()
    pace = Pace(lambda: look.now, 3600.0, 0.0)
    await _twice(pace, look, pace.soon)


PAUSES = [
    # seconds, rest -> the pause after a look of one second
    (10.0, 0.0, 10.0),
    (10.0, 5.0, 10.0),
    (10.0, 100.0, 100.0),
]


@pytest.mark.parametrize(("seconds", "rest", "pause"), PAUSES)
async def test_what_takes_long_is_done_seldom(
    monkeypatch: pytest.MonkeyPatch, seconds: float, rest: float, pause: float
) -> None:
    asked: list[float] = []

    def timeout(given: float) -> Awaitable[None]:
        asked.append(given)
        raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "timeout", timeout)
    look = Looker()
    with pytest.raises(asyncio.CancelledError):
        await Pace(lambda: look.now, seconds, rest).keep(look)
    assert asked == [pause]
