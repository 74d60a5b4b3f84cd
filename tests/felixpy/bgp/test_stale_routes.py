"""Routes that BIRD has forgotten are looked for again and again, counted and named."""

from __future__ import annotations

import asyncio
import time

import pytest
from structlog.testing import capture_logs

from dataplane.bird.control import BirdAway
from dataplane.bird.settings import BirdSettings
from dataplane.bird.stale import Removed
from dataplane.netlink import NetlinkError
from felixpy.bgp import stale_routes as module
from felixpy.bgp.stale_routes import StaleRoutes

GONE = [Removed("10.65.2.7/32", 1024), Removed("fd65::2:7/128", 512)]


async def test_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[list[Removed] | Exception] = [
        *(GONE, [], BirdAway("b.ctl"), NetlinkError("removing", 1), GONE[:1])
    ]
    looked = asyncio.Event()

    async def remove_stale(settings: BirdSettings) -> list[Removed]:
        assert settings.group == "birds"
        if not answers:
            looked.set()
            return []
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(module, "remove_stale", remove_stale)
    monkeypatch.setattr(module, "SECONDS", 0.01)
    monkeypatch.setattr(module, "_REST", 0)
    routes = StaleRoutes(lambda: BirdSettings(group="birds"), time.monotonic)
    with capture_logs() as logs:
        task = asyncio.create_task(routes.run())
        async with asyncio.timeout(10):
            await looked.wait()
        task.cancel()
        await asyncio.wait([task])
    assert routes.removed == 3
    assert [(entry["event"], entry.get("net"), entry.get("metric")) for entry in logs] == [
        *(("bird.stale_route_removed", net, metric) for net, metric in GONE),
        ("bird.not_asked", None, None),
        ("bird.stale_routes_stay", None, None),
        ("bird.stale_route_removed", *GONE[0]),
    ]
