"""When the agent tells of itself, and what."""

from __future__ import annotations

import asyncio
import datetime

import pytest
from structlog.testing import capture_logs

from felixpy.statusrep.process import ProcessReporter
from tests.felixpy.statusrep.fake_store import Call, FakeStore
from tests.felixpy.statusrep.virtual_time import now, running, virtually

ACTIVE, LAST = (
    f"/calico/felix/v2/no-region/host/n1/{name}" for name in ("status", "last_reported_status")
)
MIDNIGHT = datetime.datetime(2026, 1, 5, tzinfo=datetime.UTC)
EAST = datetime.timezone(datetime.timedelta(hours=3))


def reporter(store: FakeStore, interval: float = 30.0, ttl: float = 90.0) -> ProcessReporter:
    return ProcessReporter(
        store,
        "n1",
        "",
        interval,
        ttl,
        clock=now,
        started=-1.5,
        now=lambda: (MIDNIGHT + datetime.timedelta(seconds=now())).astimezone(EAST),
    )


def test_two_keys_every_interval() -> None:
    async def work() -> list[Call]:
        store = FakeStore()
        async with running(reporter(store).run()):
            await asyncio.sleep(41)
        return store.calls

    first = b'{"time":"2026-01-05T00:00:10Z","uptime":11.5,"first_update":true}'
    second = b'{"time":"2026-01-05T00:00:40Z","uptime":41.5,"first_update":false}'
    assert virtually(work) == [
        Call(10.0, "put", ACTIVE, first, 90.0),
        Call(10.0, "put", LAST, first),
        Call(40.0, "put", ACTIVE, second, 90.0),
        Call(40.0, "put", LAST, second),
    ]


def test_a_whole_number_of_seconds_has_no_point_and_no_ttl_is_none() -> None:
    async def work() -> Call:
        store = FakeStore()
        reporter = ProcessReporter(store, "n1", "eu", 30.0, 0.0, clock=now)
        async with running(reporter.run()):
            await asyncio.sleep(11)
        return store.calls[0]

    call = virtually(work)
    assert b'"uptime":10,' in call.value
    assert call.ttl is None
    assert call.key == "/calico/felix/v2/region-eu/host/n1/status"


def test_the_interval_may_change() -> None:
    async def work() -> list[float]:
        store = FakeStore()
        subject = reporter(store, interval=0.0)
        async with running(subject.run()):
            await asyncio.sleep(100)
            assert store.calls == []
            for interval in (30.0, 5.0, 0.0, 15.0):  # told at 100, 108, 116, 124
                subject.settle(interval, 90.0)
                await asyncio.sleep(8)
        return [call.at for call in store.calls if call.key == ACTIVE]

    assert virtually(work) == [100.0, 108.0, 113.0, 128.0]


def test_a_store_that_hangs_is_given_up_until_the_next_period() -> None:
    async def work() -> None:
        store = FakeStore()
        store.refuse = lambda call: "hang" if call.at < 60 else ""
        subject = reporter(store)
        async with running(subject.run()):
            await asyncio.sleep(50)
            assert [call.at for call in store.calls] == [10.0, 12.0, 44.0, 46.0]
            assert subject.problem == "no answer in 2 s (and 1 more)"
            await asyncio.sleep(50)
            assert subject.problem == ""
        assert all(b'"first_update":true' in call.value for call in store.calls[:6])

    virtually(work)


@pytest.mark.parametrize("broken", ["status", "last_reported_status"])
def test_a_failure_is_said_once_and_so_is_its_end(broken: str) -> None:
    async def work() -> None:
        store = FakeStore()
        store.refuse = lambda call: "no room" if call.key.endswith(f"/{broken}") else ""
        subject = reporter(store)
        with capture_logs() as logs:
            async with running(subject.run()):
                await asyncio.sleep(200)
                assert subject.problem == "no room"
                store.refuse = lambda call: ""
                await asyncio.sleep(40)
        assert subject.problem == ""
        assert [(entry["event"], entry["log_level"]) for entry in logs] == [
            ("process_status.unwritten", "warning"),
            ("process_status.recovered", "info"),
        ]
        # only what others can have seen counts as the first report
        (last,) = (call for call in store.calls[-2:] if call.key == ACTIVE)
        assert (b'"first_update":true' in last.value) == (broken == "status")

    virtually(work)


def test_no_reports_no_problem() -> None:
    async def work() -> str:
        store = FakeStore()
        store.refuse = lambda call: "no room"
        subject = reporter(store)
        async with running(subject.run()):
            await asyncio.sleep(11)
            assert subject.problem
            subject.settle(0.0, 90.0)
            await asyncio.sleep(100)
        return subject.problem

    assert virtually(work) == ""
