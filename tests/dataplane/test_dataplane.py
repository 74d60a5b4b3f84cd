"""The order of writes, what a failure blocks, retries, and looks beside the writing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from dataplane import dataplane as module
from dataplane.dataplane import Applied
from dataplane.errors import DataplaneError
from dataplane.interfaces import Changes
from dataplane.settings import Intervals, Settings
from tests.dataplane.desired.builders import ALLOW, hep, policy, staged, wep
from tests.fakes.node import FakeNode, interface

SETS = ["IPv4 sets grown", "IPv6 sets grown"]
TABLES = ["IPv4 tables", "IPv6 tables"]
LEFTOVERS = ["IPv4 leftovers", "IPv6 leftovers"]
ROUTES = ["IPv4 routes", "IPv6 routes"]
AFTER = ["settings", *ROUTES, "neighbours", "addresses for BGP"]
REMOVALS = ["IPv4 sets shrunk and destroyed", "IPv6 sets shrunk and destroyed"]
ALL = {*SETS, *TABLES, *AFTER, *REMOVALS}


@pytest.fixture
async def node() -> AsyncIterator[FakeNode]:
    node = FakeNode()
    await node.dataplane.start()
    yield node
    await node.dataplane.close()


async def settle() -> None:
    """Let every task run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def apply(node: FakeNode) -> list[str]:
    """The steps of one apply, in order, without looks and leftovers."""
    node.journal.take()
    assert await node.dataplane.apply() is not None
    steps = node.journal.take()
    await settle()
    node.journal.take()
    return [step for step in steps if step in ALL]


class Clock:
    """Lets the time of the event loop pass at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        real = loop.time
        self.ahead = 0.0
        monkeypatch.setattr(loop, "time", lambda: real() + self.ahead)


# ---------------------------------------------------------------- order


async def test_the_first_rules_of_all_families_come_before_anything_else(node: FakeNode) -> None:
    steps = await apply(node)
    assert set(steps[:4]) == {*SETS, *TABLES}
    assert steps[4] == "settings"
    assert set(steps[5:]) == ({*AFTER, *REMOVALS} - {"settings"})
    assert_each_family_in_order(steps)


async def test_steps_come_in_their_order(node: FakeNode) -> None:
    await apply(node)
    node.desire(wep("a", "cali1", "10.0.0.1/32"))
    steps = await apply(node)
    assert set(steps) == ALL
    assert steps[0] == "settings"
    assert_each_family_in_order(steps)
    assert steps.index("IPv4 tables") < steps.index("IPv6 tables")


def assert_each_family_in_order(steps: list[str]) -> None:
    for family in (0, 1):
        wanted = [SETS[family], TABLES[family], ROUTES[family], REMOVALS[family]]
        assert [step for step in steps if step in wanted] == wanted
    assert steps.index("IPv4 routes") < steps.index("neighbours")


async def test_tunnels_come_before_their_routes_and_go_after_them(node: FakeNode) -> None:
    await node.dataplane.apply()
    node.journal.take()
    node.desire(wep("a", "cali1", "10.0.0.1/32"))
    await node.dataplane.apply()
    steps = node.journal.take()
    for family in (4, 6):
        wanted = [
            f"IPv{family} {step}"
            for step in (
                "tables",
                "tunnels made",
                "tunnel ends added",
                "routes",
                "tunnel ends removed",
                "tunnels removed",
                "sets shrunk and destroyed",
            )
        ]
        assert [step for step in steps if step in wanted] == wanted


TUNNEL_FAILURES = [
    # what fails, what is not done then
    ("IPv4 tables", {"IPv4 tunnels made"}),
    ("IPv4 routes", {"IPv4 tunnel ends removed", "IPv4 tunnels removed"}),
    ("IPv4 tunnels made", set()),
    ("IPv4 tunnel ends added", set()),
]


@pytest.mark.parametrize(("failing", "left_out"), TUNNEL_FAILURES)
async def test_what_a_failure_means_for_tunnels(node: FakeNode, failing, left_out) -> None:
    await node.dataplane.apply()
    steps = {step for step in node.journal.take() if "tunnel" in step}
    node.journal.failing = {failing: "no luck"}
    node.desire(wep("a", "cali1", "10.0.0.1/32"))
    await node.dataplane.apply()
    done = {step for step in node.journal.take() if "tunnel" in step}
    assert steps - done == left_out


async def test_a_refused_chain_does_not_keep_a_tunnel_from_being_made(node: FakeNode) -> None:
    node.tables[4].refused = {("filter", "cali-tw-cali1"): "the kernel does not like it"}
    await node.dataplane.apply()
    assert "IPv4 tunnels made" in node.journal.take()


async def test_one_family_does_not_wait_for_the_routes_and_sets_of_the_other(
    node: FakeNode,
) -> None:
    await apply(node)
    node.desire(wep("a", "cali1", "10.0.0.1/32"))
    node.journal.held["IPv6 tables"] = held = asyncio.Event()
    applying = asyncio.create_task(node.dataplane.apply())
    await settle()
    assert REMOVALS[0] in node.journal.lines
    held.set()
    await applying
    assert REMOVALS[1] in node.journal.lines


async def test_at_first_the_families_are_written_side_by_side(node: FakeNode) -> None:
    node.journal.held["IPv4 sets grown"] = held = asyncio.Event()
    applying = asyncio.create_task(node.dataplane.apply())
    await settle()
    assert [s for s in node.journal.lines if s in ALL] == [*SETS, "IPv6 tables"]
    held.set()
    await applying
    assert node.journal.lines.index("IPv4 tables") < node.journal.lines.index("settings")


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


async def test_without_ipv6_its_steps_are_not_there() -> None:
    node = FakeNode(Settings("here", ipv6=False))
    await node.dataplane.start()
    assert not any("IPv6" in step for step in await apply(node))
    await node.dataplane.close()


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


# ---------------------------------------------------------------- what a failure blocks

FAILURES = [
    # what fails at the first apply, and then what is done nevertheless
    ("IPv4 sets grown", {*SETS, "IPv6 tables"}),
    ("IPv6 sets grown", {*SETS, "IPv4 tables"}),
    ("IPv4 tables", {*SETS, *TABLES}),
    ("IPv6 tables", {*SETS, *TABLES}),
    ("settings", ALL),
    ("IPv4 routes", ALL),
    ("neighbours", ALL),
    ("IPv4 sets shrunk and destroyed", ALL),
]


@pytest.mark.parametrize(("failing", "done"), FAILURES)
async def test_before_a_first_success_a_failure_keeps_closed(node: FakeNode, failing, done) -> None:
    node.journal.failing[failing] = "no luck"
    applied = await node.dataplane.apply()
    assert applied is not None
    assert list(applied.problems.values()) == ["no luck"]
    assert {step for step in node.journal.take() if step in ALL} == done


async def test_a_refused_chain_does_not_keep_the_rest_closed(node: FakeNode) -> None:
    node.tables[4].refused = {("filter", "cali-tw-cali1"): "the kernel does not like it"}
    applied = await node.dataplane.apply()
    assert applied is not None
    assert list(applied.problems) == ["IPv4 tables"]
    steps = {step for step in node.journal.take() if step in ALL}
    assert steps == ALL - {"IPv4 sets shrunk and destroyed"}


async def test_a_failed_step_blocks_only_what_depends_on_it(node: FakeNode) -> None:
    await apply(node)
    for failing, blocked in (
        ("IPv4 sets grown", {"IPv4 tables", "IPv4 sets shrunk and destroyed"}),
        ("IPv6 tables", {"IPv6 sets shrunk and destroyed"}),
        ("settings", set()),
        ("IPv6 routes", set()),
        ("neighbours", set()),
    ):
        node.journal.failing = {failing: "no luck"}
        node.desire(wep("a", "cali1"))
        assert set(await apply(node)) == ALL - blocked, failing


async def test_several_failures_are_all_said(node: FakeNode) -> None:
    node.journal.failing = {"IPv4 tables": "one", "IPv6 sets grown": "two"}
    applied = await node.dataplane.apply()
    assert applied is not None
    assert applied.problems == {"IPv4 tables": "one", "IPv6 sets": "two"}
    node.journal.failing = {}
    node.desire()
    applied = await node.dataplane.apply()
    assert applied is not None
    assert applied.problems == {}


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


async def test_a_mistake_of_ours_is_no_failed_step(node: FakeNode) -> None:
    async def mistake() -> None:
        raise ZeroDivisionError

    node.tables[4].apply = mistake  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        await node.dataplane.apply()


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


async def test_the_other_backend_is_swept_once_ours_is_in_force(node: FakeNode) -> None:
    node.journal.failing["IPv4 tables"] = "no luck"
    await node.dataplane.apply()
    await settle()
    assert not {*LEFTOVERS} & {*node.journal.take()}
    node.journal.failing = {}
    for expected in (LEFTOVERS, []):
        node.desire()
        await node.dataplane.apply()
        await settle()
        assert [step for step in node.journal.take() if step in LEFTOVERS] == expected


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


async def test_a_permission_ends_though_tables_cannot_be_written(node: FakeNode) -> None:
    node.journal.failing = {"IPv4 tables": "no luck", "IPv6 sets grown": "no luck"}
    await node.dataplane.apply()
    shrunk = {step for step in node.journal.take() if step.endswith("shrunk")}
    assert shrunk == {"IPv4 sets shrunk", "IPv6 sets shrunk"}


async def test_a_notice_about_routes_alone_waits_for_the_next_attempt(node: FakeNode) -> None:
    node.journal.failing["IPv4 routes"] = "no luck"
    await apply(node)
    node.dataplane._note_interfaces(Changes(routes=True))
    assert node.dataplane.seconds_to_next() > 0
    assert await node.dataplane.apply() is None
