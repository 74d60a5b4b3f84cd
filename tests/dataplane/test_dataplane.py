"""What is told and written, retries, and looks beside the writing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from dataplane import dataplane as module
from dataplane.dataplane import Applied
from dataplane.errors import DataplaneError
from dataplane.interfaces import Changes
from dataplane.settings import Intervals
from tests.dataplane.desired.builders import ALLOW, hep, policy, staged, wep
from tests.dataplane.steps import ALL, apply, settle
from tests.fakes.node import FakeNode, interface


@pytest.fixture
async def node() -> AsyncIterator[FakeNode]:
    node = FakeNode()
    await node.dataplane.start()
    yield node
    await node.dataplane.close()


class Clock:
    """Lets the time of the event loop pass at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        real = loop.time
        self.ahead = 0.0
        monkeypatch.setattr(loop, "time", lambda: real() + self.ahead)


async def test_what_is_resolved_is_what_is_written(node: FakeNode) -> None:
    node.desire(policy("p", ALLOW), wep("a", "cali1", "10.0.0.1/32"))
    assert node.routes[4].routes == {}
    await apply(node)
    assert node.routes[4].routes.keys() == {"10.0.0.1/32"}


async def test_nothing_to_do_is_nothing_done(node: FakeNode) -> None:
    await apply(node)
    assert await node.dataplane.apply() is None
    assert node.journal.take() == []
    assert node.dataplane.seconds_to_next() == float("inf")


async def test_what_comes_while_writing_is_written_next(node: FakeNode) -> None:
    node.journal.held["IPv4 tables"] = held = asyncio.Event()
    applying = asyncio.create_task(node.dataplane.apply())
    await settle()
    node.desire(wep("a", "cali1", "10.0.0.1/32"))
    held.set()
    await applying
    assert node.dataplane.seconds_to_next() == 0.0
    await apply(node)
    assert node.routes[4].routes.keys() == {"10.0.0.1/32"}


async def test_what_is_refused_is_a_problem_but_not_tried_again(node: FakeNode) -> None:
    node.desire(wep("a", "cali 1"), hep("h", "eth0"))
    applied = await node.dataplane.apply()
    assert applied is not None
    assert applied.problems.keys() == {"workload endpoint default/a", "host endpoint h"}
    assert (applied.complete, applied.failures) == (True, {})
    assert await node.dataplane.apply() is None


async def test_what_has_failed_is_not_what_cannot_be_had(node: FakeNode) -> None:
    node.desire(hep("h", "eth0"))
    node.journal.failing = {"IPv4 routes": "no luck"}
    applied = await node.dataplane.apply()
    assert applied is not None
    assert not applied.complete
    assert applied.failures == {"IPv4 routes": "no luck"}
    assert applied.refused.keys() == {"host endpoint h"}
    assert applied.problems == {**applied.failures, **applied.refused}


# ---------------------------------------------------------------- again


async def test_a_failure_is_tried_again_with_growing_delays(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    node.journal.failing["IPv4 tables"] = "no luck"
    delays = []
    for _ in range(10):
        assert await node.dataplane.apply() is not None
        assert await node.dataplane.apply() is None
        delays.append(node.dataplane.seconds_to_next())
        clock.ahead += delays[-1]
    expected = [min(module.FIRST_RETRY * 2**n, module.LAST_RETRY) for n in range(10)]
    assert delays == pytest.approx(expected, rel=0.5)
    node.journal.failing = {}
    assert await node.dataplane.apply() is not None
    assert node.dataplane.seconds_to_next() == float("inf")
    node.journal.failing["IPv4 tables"] = "again"
    node.desire()
    await node.dataplane.apply()
    assert node.dataplane.seconds_to_next() <= module.FIRST_RETRY


async def test_news_do_not_wait_for_the_next_attempt(node: FakeNode) -> None:
    node.journal.failing["IPv4 routes"] = "no luck"
    await apply(node)
    assert await node.dataplane.apply() is None
    node.desire(wep("a", "cali1"))
    assert await node.dataplane.apply() is not None


# ---------------------------------------------------------------- interfaces


async def test_interfaces_are_known_before_anything_is_written() -> None:
    node = FakeNode()
    cali1 = interface("cali1")
    node.monitor.take(cali1, interface("eth0", "172.16.0.1"))
    await node.dataplane.start()
    assert node.monitor.watchers == [node.routes[4], node.routes[6]]
    for driver in (node.routes[4], node.routes[6], node.neighbours, node.sysctls):
        assert driver.interfaces["cali1"] == cali1
    await apply(node)
    assert node.members("cali40this-host") == {"172.16.0.1"}
    await node.dataplane.close()


async def test_a_change_of_interfaces_wakes_and_is_written(node: FakeNode) -> None:
    await apply(node)
    before = node.wakes
    node.monitor.tell(node.monitor.take(interface("eth0", "172.16.0.1")))
    await settle()
    assert node.wakes > before
    await apply(node)
    assert node.members("cali40this-host") == {"172.16.0.1"}


async def test_the_end_of_listening_is_raised() -> None:
    node = FakeNode()
    await node.dataplane.start()
    before = node.wakes
    node.monitor.tell(DataplaneError("the kernel is gone"))
    await settle()
    assert node.wakes > before
    with pytest.raises(DataplaneError, match="the kernel is gone"):
        await node.dataplane.apply()
    await node.dataplane.close()


# ---------------------------------------------------------------- looking

Due = Callable[[FakeNode], None]


def tables_due(node: FakeNode) -> None:
    node.tables[6].due_in = 0.0


def sets_due(node: FakeNode) -> None:
    node.ipsets[4].due_at = 0.0


def routes_due(node: FakeNode) -> None:
    node.routes[6].due_at = 0.0


def neighbours_due(node: FakeNode) -> None:
    node.neighbours.due_at = 0.0


def settings_due(node: FakeNode) -> None:
    node.sysctls.due_at = 0.0


LOOKS = [
    (tables_due, "IPv6 tables checked"),
    (sets_due, "IPv4 sets checked"),
    (routes_due, "IPv6 routes checked"),
    (neighbours_due, "neighbours checked"),
    (settings_due, "settings checked"),
]


@pytest.mark.parametrize(("due", "look"), LOOKS)
async def test_a_look_is_taken_when_it_is_due(node: FakeNode, due: Due, look: str) -> None:
    await apply(node)
    due(node)
    assert node.dataplane.seconds_to_next() == 0.0
    assert await node.dataplane.apply() is None
    await settle()
    assert node.journal.take() == [look]
    assert node.dataplane.seconds_to_next() == float("inf")


@pytest.mark.parametrize(("due", "look"), LOOKS)
async def test_a_look_runs_beside_the_writing_and_once_at_a_time(
    node: FakeNode, due: Due, look: str
) -> None:
    await apply(node)
    node.journal.held[look] = held = asyncio.Event()
    due(node)
    await node.dataplane.apply()
    await settle()
    node.desire(wep("a", "cali1"))
    assert set(await apply(node)) == ALL
    due(node)
    await node.dataplane.apply()
    await settle()
    assert node.journal.lines == []
    before = node.wakes
    held.set()
    await settle()
    assert node.wakes > before


async def test_what_a_look_has_found_is_repaired(node: FakeNode) -> None:
    await apply(node)
    node.ipsets[4].due_at, node.ipsets[4].drifted = 0.0, True
    assert await node.dataplane.apply() is None
    await settle()
    assert node.dataplane.seconds_to_next() == 0.0
    assert set(await apply(node)) == ALL


async def test_tables_that_have_drifted_are_repaired(node: FakeNode) -> None:
    await apply(node)
    node.tables[4].drifted = True
    assert set(await apply(node)) == ALL
    assert await node.dataplane.apply() is None


async def test_what_changed_while_looking_is_not_forgotten(node: FakeNode) -> None:
    """A look that finds nothing must not undo what was told meanwhile."""
    await apply(node)
    node.journal.held["IPv4 sets checked"] = held = asyncio.Event()
    node.ipsets[4].due_at = 0.0
    await node.dataplane.apply()
    await settle()
    node.desire(wep("a", "cali1"))
    held.set()
    await settle()
    assert set(await apply(node)) == ALL


async def test_a_look_that_fails_is_no_problem_of_the_apply(node: FakeNode) -> None:
    await apply(node)
    node.journal.failing["IPv4 sets checked"] = "unreadable"
    node.ipsets[4].due_at = 0.0
    await node.dataplane.apply()
    await settle()
    node.desire()
    applied = await node.dataplane.apply()
    assert applied is not None
    assert applied.problems == {}


async def test_a_mistake_in_a_look_is_raised(node: FakeNode) -> None:
    await apply(node)

    async def mistake() -> bool:
        raise ZeroDivisionError

    node.ipsets[4].check = mistake  # type: ignore[method-assign]
    node.ipsets[4].due_at = 0.0
    await node.dataplane.apply()
    await settle()
    with pytest.raises(ZeroDivisionError):
        await node.dataplane.apply()


# ---------------------------------------------------------------- leftovers, end, figures


async def test_close_ends_everything() -> None:
    node = FakeNode()
    await node.dataplane.start()
    await apply(node)
    node.journal.held["IPv4 sets checked"] = asyncio.Event()
    node.ipsets[4].due_at = 0.0
    await node.dataplane.apply()
    await settle()
    await node.dataplane.close()
    assert node.monitor.closed == node.neighbours.closed == 1
    for drivers in (node.tables, node.ipsets, node.routes):
        assert [driver.closed for driver in drivers.values()] == [1, 1]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_close_before_start() -> None:
    node = FakeNode()
    await node.dataplane.close()
    assert node.monitor.closed == 1


async def test_intervals_are_exchanged_in_place(node: FakeNode) -> None:
    intervals = Intervals(1, 2, 3, 4, 5)
    node.dataplane.set_intervals(intervals)
    assert node.tables[6].intervals == intervals
    assert node.ipsets[4].refresh_seconds == 3
    assert node.routes[6].refresh_seconds == node.neighbours.refresh_seconds == 4
    assert node.sysctls.refresh_seconds == node.monitor.refresh_seconds == 5


async def test_figures(node: FakeNode) -> None:
    node.has(interface("eth0", "172.16.0.1"))
    node.desire(
        policy("p", ALLOW),
        policy(staged("q"), ALLOW),
        wep("a", "cali1"),
        wep("b", "cali1"),
        hep("h", "eth0"),
        hep("i", "eth9"),
    )
    applied = await node.dataplane.apply()
    assert isinstance(applied, Applied)
    assert applied.seconds >= 0
    assert node.dataplane.summary()[:3] == (1, 1, 1)


async def test_a_new_interface_does_not_wait_for_the_next_attempt(node: FakeNode) -> None:
    node.journal.failing["IPv4 routes"] = "no luck"
    await apply(node)
    node.has(interface("cali1"))
    assert node.dataplane.seconds_to_next() == 0.0
    assert await node.dataplane.apply() is not None


async def test_a_notice_about_routes_alone_waits_for_the_next_attempt(node: FakeNode) -> None:
    node.journal.failing["IPv4 routes"] = "no luck"
    await apply(node)
    node.dataplane._note_interfaces(Changes(routes=True))
    assert node.dataplane.seconds_to_next() > 0
    assert await node.dataplane.apply() is None
