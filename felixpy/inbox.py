"""Between datastore and graph: what has changed since the last look, the newest value of each key
only.

A slow kernel so makes larger batches, not a longer queue; and a source that is far ahead is made to
wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from calc_graph.model import Key, Value

LIMIT = 100_000  # keys; a first list of a whole cluster may come in several batches


class Batch(NamedTuple):
    changes: dict[Key, Value | None]
    in_sync: bool  # the source had said everything it knew, once, before or within this batch


class Inbox:
    """`filled` is called when there is something to take."""

    def __init__(self, filled: Callable[[], None], limit: int = LIMIT) -> None:
        self._changes: dict[Key, Value | None] = {}
        self._in_sync = False
        self._limit = limit
        self._room = asyncio.Event()
        self._room.set()
        self._filled = filled

    async def put(self, key: Key, value: Value | None) -> None:
        """Wait for room, unless the key has a place already."""
        while key not in self._changes and len(self._changes) >= self._limit:
            self._room.clear()
            await self._room.wait()
        self._changes[key] = value
        self._filled()

    def mark_in_sync(self) -> None:
        self._in_sync = True
        self._filled()

    def take(self) -> Batch:
        """Everything there is; possibly nothing."""
        batch = Batch(self._changes, self._in_sync)
        self._changes = {}
        self._room.set()
        return batch
