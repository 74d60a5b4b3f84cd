"""A background task: begun once, looked after, ended."""

from __future__ import annotations

import asyncio
import warnings

import pytest

from felixpy.tasks import Background, TaskEndedError


class Work:
    def __init__(self) -> None:
        self.begun = 0
        self.ended = 0
        self.gate = asyncio.Event()
        self.error: Exception | None = None

    async def run(self) -> None:
        self.begun += 1
        try:
            await self.gate.wait()
            if self.error:
                raise self.error
        finally:
            self.ended += 1


@pytest.fixture
async def work() -> Work:
    return Work()


async def test_it_begins_once_and_can_begin_again_when_it_was_closed(work: Work) -> None:
    task = Background("work")
    task.check()
    await task.close()
    for _ in range(2):
        task.begin(work.run)
        await asyncio.sleep(0)
        task.check()
    assert (work.begun, task.begun) == (1, True)
    await task.close()
    assert (work.ended, task.begun) == (1, False)
    task.begin(work.run)
    await asyncio.sleep(0)
    assert work.begun == 2
    await task.close()


async def test_closed_at_once_nothing_has_begun(work: Work) -> None:
    task = Background("work")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        task.begin(work.run)
        await task.close()
    assert work.begun == 0


async def test_its_end_is_a_failure_unless_it_has_one(work: Work) -> None:
    endless, ending = Background("work"), Background("work")
    endless.begin(work.run)
    ending.begin(work.run, ends=True)
    work.gate.set()
    await asyncio.sleep(0.01)
    with pytest.raises(TaskEndedError, match="work ended"):
        endless.check()
    ending.check()
    assert ending.begun
    await endless.close()
    endless.check()
    await ending.close()


async def test_what_it_raises_goes_through(work: Work) -> None:
    task = Background("work")
    work.error = ValueError("no")
    work.gate.set()
    task.begin(work.run)
    await asyncio.sleep(0.01)
    with pytest.raises(ValueError, match="no"):
        task.check()
    await task.close()
