"""The steps of an apply, as the journal of a FakeNode has them."""

from __future__ import annotations

import asyncio

from tests.fakes.node import FakeNode

SETS = ["IPv4 sets grown", "IPv6 sets grown"]
TABLES = ["IPv4 tables", "IPv6 tables"]
LEFTOVERS = ["IPv4 leftovers", "IPv6 leftovers"]
ROUTES = ["IPv4 routes", "IPv6 routes"]
AFTER = ["settings", *ROUTES, "neighbours", "addresses for BGP"]
REMOVALS = ["IPv4 sets shrunk and destroyed", "IPv6 sets shrunk and destroyed"]
ALL = {*SETS, *TABLES, *AFTER, *REMOVALS}


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
