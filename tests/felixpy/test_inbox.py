"""The inbox: the newest value of each key, and no more keys than there is room for."""

from __future__ import annotations

import asyncio

from calc_graph.model import Profile, ProfileKey
from felixpy.inbox import Batch, Inbox

A, B, C = (ProfileKey(name) for name in "abc")
ONE, OTHER = Profile(), Profile(labels={"a": "b"})


async def test_the_newest_value_of_each_key_is_taken_once() -> None:
    calls: list[int] = []
    inbox = Inbox(lambda: calls.append(1))
    await inbox.put(A, ONE)
    await inbox.put(B, None)
    await inbox.put(A, OTHER)
    assert inbox.take() == Batch({A: OTHER, B: None}, in_sync=False)
    inbox.mark_in_sync()
    assert inbox.take() == Batch({}, in_sync=True)
    assert len(calls) == 4


async def test_a_source_that_is_ahead_waits_but_known_keys_have_their_place() -> None:
    inbox = Inbox(lambda: None, limit=2)
    await inbox.put(A, ONE)
    await inbox.put(B, ONE)
    third = asyncio.create_task(inbox.put(C, ONE))
    await inbox.put(A, None)
    await asyncio.sleep(0)
    assert not third.done()
    assert inbox.take().changes == {A: None, B: ONE}
    await third
    assert inbox.take().changes == {C: ONE}
