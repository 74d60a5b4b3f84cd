"""The order of writes, and what a failure blocks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from dataplane.families import Family
from dataplane.settings import Settings, WireguardSettings
from tests.dataplane.desired.builders import wep
from tests.dataplane.steps import (
    AFTER,
    ALL,
    LEFTOVERS,
    REMOVALS,
    ROUTES,
    SETS,
    TABLES,
    apply,
    settle,
)
from tests.fakes.node import FakeNode


@pytest.fixture
async def node() -> AsyncIterator[FakeNode]:
    node = FakeNode()
    await node.dataplane.start()
    yield node
    await node.dataplane.close()


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


async def test_what_is_not_closed_yet_keeps_ways_to_other_nodes_from_opening() -> None:
    both: frozenset[Family] = frozenset({4, 6})
    node = FakeNode(Settings("here", wireguard=WireguardSettings(families=both, strict=True)))
    await node.dataplane.start()
    node.journal.failing = {"IPv4 WireGuard routes written": "no luck"}
    await node.dataplane.apply()
    steps = node.journal.take()
    assert "IPv4 routes, those to other nodes held" in steps
    assert "IPv6 routes" in steps
    assert {"IPv4 tunnel ends removed", "IPv4 tunnels removed"}.isdisjoint(steps)
    node.journal.failing = {}
    node.desire(wep("a", "cali1", "10.0.0.1/32"))
    await node.dataplane.apply()
    assert "IPv4 routes" in node.journal.take()
    await node.dataplane.close()


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


async def test_without_ipv6_its_steps_are_not_there() -> None:
    node = FakeNode(Settings("here", ipv6=False))
    await node.dataplane.start()
    assert not any("IPv6" in step for step in await apply(node))
    await node.dataplane.close()


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


async def test_a_mistake_of_ours_is_no_failed_step(node: FakeNode) -> None:
    async def mistake() -> None:
        raise ZeroDivisionError

    node.tables[4].apply = mistake  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        await node.dataplane.apply()


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


async def test_a_permission_ends_though_tables_cannot_be_written(node: FakeNode) -> None:
    node.journal.failing = {"IPv4 tables": "no luck", "IPv6 sets grown": "no luck"}
    await node.dataplane.apply()
    shrunk = {step for step in node.journal.take() if step.endswith("shrunk")}
    assert shrunk == {"IPv4 sets shrunk", "IPv6 sets shrunk"}
