"""Looks at BIRD: what is up, and a daemon that goes and comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dataplane.bird.settings import BirdSettings
from felixpy.bgp import looks as module
from felixpy.bgp.looks import Looks, Seen
from felixpy.bgp.netstat import SignatureFaults
from tests.felixpy.bgp.bird_socket import PROTOCOLS, bird_at
from tests.felixpy.bgp.bird_values import MESH, TOR

SEEN = Seen({MESH.name: True, TOR.name: False}, frozenset((TOR.name,)))


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> list[SignatureFaults]:
    """The last of them is what the kernel counts."""
    counted = [SignatureFaults()]
    monkeypatch.setattr(module, "read_signature_faults", lambda: counted[-1])
    monkeypatch.setattr(module, "SECONDS", 0.01)
    monkeypatch.setattr(module, "_REST", 0)
    return counted


async def test_a_daemon_that_goes_and_comes_back(
    tmp_path: Path, faults: list[SignatureFaults]
) -> None:
    settings = BirdSettings(control_socket=tmp_path / "b.ctl")
    news, turned = asyncio.Event(), asyncio.Event()
    looks = Looks(lambda: settings, time.monotonic, news.set, turned.set)

    async def until(holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not holds():
                news.clear()
                await news.wait()

    task = asyncio.create_task(looks.run())
    try:
        assert looks.seen is None
        with bird_at(settings.control_socket) as bird:
            await until(lambda: looks.seen == SEEN)
            assert turned.is_set()
            faults.append(SignatureFaults(wrong=7))
            await until(lambda: looks.seen is not None and looks.seen.faults.wrong == 7)
            # what came in long ago is no sign any more
            await until(lambda: looks.seen == SEEN)
            bird.replies["show protocols"] = PROTOCOLS.replace(" up ", " start ")
            await until(lambda: looks.seen is not None and not any(looks.seen.up.values()))
            turned.clear()
        await until(lambda: looks.seen is None)
        assert turned.is_set()
        turned.clear()
        with bird_at(settings.control_socket):
            await until(lambda: looks.seen == SEEN)
            assert turned.is_set()
    finally:
        task.cancel()
        await asyncio.wait([task])
