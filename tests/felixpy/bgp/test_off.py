"""BGP switched off: leftovers go once, after the packet filter is in force."""

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


class Sweeper:
    def __init__(self, answer: Swept | Exception) -> None:
        self.answer = answer
        self.asked: list[BirdSettings] = []

    async def __call__(self, settings: BirdSettings) -> Swept:
        self.asked.append(settings)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


CASES = [
    # what the sweep comes to       event                a problem
    (Swept(), [], False),
    (Swept(routes=2, files=1), ["bird.swept"], False),
    (Swept(held="a BIRD listens at /run/b.ctl"), ["bird.left_alone"], False),
    (OSError(30, "Read-only file system"), ["bird.not_swept"], True),
    (DataplaneError("no such device"), ["bird.not_swept"], True),
]


@pytest.mark.parametrize(("answer", "events", "problem"), CASES)
async def test_leftovers(
    monkeypatch: pytest.MonkeyPatch, answer: Swept | Exception, events: list[str], problem: bool
) -> None:
    sweeper, woken = Sweeper(answer), asyncio.Event()
    monkeypatch.setattr(module, "sweep", sweeper)
    part = BgpOff(CONFIG, woken.set)
    part.note(NodeKey("n1"), None)
    part.in_sync()
    with capture_logs() as logs:
        part.turn(in_force=False)
        assert sweeper.asked == []
        part.turn(in_force=True)
        async with asyncio.timeout(10):
            await woken.wait()
        part.turn(in_force=True)
    await part.close()
    assert [settings.config_file.name for settings in sweeper.asked] == ["b.conf"]
    assert [event["event"] for event in logs] == events
    assert bool(part.problems) == problem
    assert (part.status, part.details(), part.figures()) == (None, None, None)


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
