"""A directory of manifests for tests: what is written there, and what a source makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from calc_graph.model import Key, NetworkSet, NetworkSetKey, Value
from felixpy.datastore.manifests import BUILTIN, ManifestSource

PATIENCE = 20  # seconds until a test that waits gives up


def network_set(name: str, *nets: str) -> str:
    listed = "".join(f"\n    - {net}" for net in nets)
    return (
        "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\n"
        f"metadata:\n  name: {name}\nspec:\n  nets:{listed or ' []'}\n"
    )


def several(*documents: str) -> str:
    return "---\n".join(documents)


class RecordingSink:
    """Holds the state, and every put that led to it."""

    def __init__(self) -> None:
        self.state: dict[Key, Value] = {}
        self.puts: list[tuple[Key, Value | None]] = []
        self.in_sync = False
        self._changed = asyncio.Event()

    async def put(self, key: Key, value: Value | None) -> None:
        self.puts.append((key, value))
        if value is None:
            del self.state[key]
        else:
            self.state[key] = value
        self._changed.set()

    def mark_in_sync(self) -> None:
        self.in_sync = True
        self._changed.set()

    def wake(self) -> None:
        self._changed.set()

    def nets(self) -> dict[str, list[str]]:
        return {
            key.name: sorted(value.nets)
            for key, value in self.state.items()
            if isinstance(key, NetworkSetKey) and isinstance(value, NetworkSet)
        }

    def gone(self) -> list[Key]:
        """Keys that were ever taken back."""
        return [key for key, value in self.puts if value is None]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


class Running:
    def __init__(self, source: ManifestSource, sink: RecordingSink) -> None:
        self.source = source
        self.sink = sink

    async def until_nets(self, nets: dict[str, list[str]]) -> None:
        await self.sink.until(lambda: self.sink.nets() == nets)

    async def until_problem(self, path: Path, *words: str) -> str:
        """The problem's text, once it has all the words."""
        await self.sink.until(
            lambda: all(word in self.problem(path) for word in words) and bool(self.problem(path))
        )
        return self.problem(path)

    async def until_no_problem(self) -> None:
        await self.sink.until(lambda: not self.source.problems.current)

    def problem(self, path: Path) -> str:
        return self.source.problems.current.get(str(path), "")


@asynccontextmanager
async def running(root: Path, rescan_seconds: float = 3600) -> AsyncIterator[Running]:
    """A source that is in sync; by default no regular walk comes to help the events."""
    source = ManifestSource(root, rescan_seconds=rescan_seconds)
    sink = RecordingSink()
    source.problems.listen(sink.wake)
    task = asyncio.create_task(source.run(sink))
    task.add_done_callback(lambda _: sink.wake())
    try:
        await sink.until(lambda: sink.in_sync or task.done())
        if task.done():
            task.result()
        yield Running(source, sink)
        assert not task.done()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def fresh_state(root: Path) -> dict[Key, Value]:
    async with running(root) as store:
        return store.sink.state


def is_builtin(key: Key) -> bool:
    return key in BUILTIN
