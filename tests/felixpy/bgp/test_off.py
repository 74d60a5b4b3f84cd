"""BGP switched off: leftovers go, after the packet filter is in force and no daemon is there."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from calc_graph.model import NodeKey
from dataplane.bird.settings import BirdSettings
from dataplane.bird.sweep import Swept
from dataplane.errors import DataplaneError
from felixpy.bgp import off as module
from felixpy.bgp.off import BgpOff
from felixpy.config import Config

CONFIG = Config(felix_hostname="n1", bird_config_file="/tmp/b.conf")


A_BIRD, ANOTHER = Swept(held="a BIRD listens at /run/b.ctl"), Swept(held="one hangs")
SWEPT = Swept(routes=2, files=1)
FULL, GONE = OSError(30, "Read-only file system"), DataplaneError("no such device")


class Sweeper:
    """Answers what it is given, one after the other.  A dry run changes nothing."""

    def __init__(self, *answers: Swept | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, bool]] = []
        self.waits = asyncio.Event()  # what it is given has come to its end

    async def __call__(self, settings: BirdSettings, *, dry_run: bool) -> Swept:
        self.asked.append((settings.config_file.name, dry_run))
        if not self.answers:
            self.waits.set()
            await asyncio.Event().wait()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.0)


CASES = [
    # what looks come to                 events
    ([Swept()], []),
    ([SWEPT], ["bird.swept"]),
    ([FULL, FULL, SWEPT], ["bird.not_swept", "bird.swept"]),
    ([FULL, GONE, Swept()], ["bird.not_swept", "bird.not_swept"]),
    # it is stopped later
    ([A_BIRD, A_BIRD, SWEPT, SWEPT], ["bird.left_alone", "bird.swept"]),
    # it was started again, or another one was
    ([A_BIRD, SWEPT, A_BIRD, SWEPT, SWEPT], ["bird.left_alone"] * 2 + ["bird.swept"]),
    ([A_BIRD, ANOTHER, SWEPT, SWEPT], ["bird.left_alone"] * 2 + ["bird.swept"]),
    ([A_BIRD, FULL, SWEPT], ["bird.left_alone", "bird.not_swept", "bird.swept"]),
]


@pytest.mark.parametrize(("answers", "events"), CASES)
async def test_leftovers(
    monkeypatch: pytest.MonkeyPatch, answers: list[Swept | Exception], events: list[str]
) -> None:
    sweeper, woken = Sweeper(*answers), asyncio.Event()
    monkeypatch.setattr(module, "sweep", sweeper)
    part = BgpOff(CONFIG, woken.set)
    part.note(NodeKey("n1"), None)
    part.in_sync()
    with capture_logs() as logs:
        part.turn(in_force=False)
        assert sweeper.asked == []
        part.turn(in_force=True)
        async with asyncio.timeout(10):
            await asyncio.wait(
                [task for task in asyncio.all_tasks() if task.get_name() == "bird leftovers"]
            )
            await woken.wait()
        part.turn(in_force=True)
    await part.close()
    # nothing is removed at the first look that finds no daemon where there was one
    after = [isinstance(answer, Swept) and bool(answer.held) for answer in answers]
    assert sweeper.asked == [("b.conf", was_there) for was_there in [False, *after[:-1]]]
    assert [event["event"] for event in logs] == events
    assert part.problems == {}
    assert part.status is None


@pytest.mark.parametrize("failure", [FULL, GONE])
async def test_what_cannot_be_removed_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    sweeper, woken = Sweeper(failure), asyncio.Event()
    monkeypatch.setattr(module, "sweep", sweeper)
    part = BgpOff(CONFIG, woken.set)
    part.turn(in_force=True)
    async with asyncio.timeout(10):
        await woken.wait()
        await sweeper.waits.wait()
    part.turn(in_force=True)
    assert str(failure) in part.problems["leftovers"]
    await part.close()


async def test_what_nobody_foresaw_ends_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    woken = asyncio.Event()
    monkeypatch.setattr(module, "sweep", Sweeper(ZeroDivisionError()))
    part = BgpOff(CONFIG, woken.set)
    part.turn(in_force=True)
    async with asyncio.timeout(10):
        await woken.wait()
    with pytest.raises(ZeroDivisionError):
        part.turn(in_force=True)
    await part.close()
