"""A directory of manifests as it is now, for commands that look once and do not watch."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from pathlib import Path

from msgspec import Struct

from calc_graph.model import Key, Value
from felixpy.datastore.decode import Resource, decode_documents
from felixpy.datastore.manifests import ManifestSource
from felixpy.datastore.source import BadInput, DatastoreStartError


class Snapshot(Struct, frozen=True):
    """`values` is what the graph would be told; with `errors` it is empty, as no agent would start.

    `kinds` counts the resources by kind, also those that mean nothing to this node.
    """

    values: dict[Key, Value]
    kinds: dict[str, int]
    errors: tuple[BadInput, ...] = ()


class _Collector:
    def __init__(self) -> None:
        self.values: dict[Key, Value] = {}
        self.complete = asyncio.Event()

    async def put(self, key: Key, value: Value | None) -> None:
        if value is not None:
            self.values[key] = value

    def mark_in_sync(self) -> None:
        self.complete.set()


def read_directory(root: Path) -> Snapshot:
    """Read all manifests below `root` as the agent does at its start."""
    return asyncio.run(_read(root))


async def _read(root: Path) -> Snapshot:
    kinds: Counter[str] = Counter()

    def counting(document: object) -> list[Resource]:
        resources = decode_documents(document)
        kinds.update(resource.kind for resource in resources)
        return resources

    collector = _Collector()
    source = ManifestSource(root.absolute(), decode=counting)
    reading = asyncio.create_task(source.run(collector))
    complete = asyncio.create_task(collector.complete.wait())
    await asyncio.wait((reading, complete), return_when=asyncio.FIRST_COMPLETED)
    complete.cancel()
    reading.cancel()
    errors: tuple[BadInput, ...] = ()
    with contextlib.suppress(asyncio.CancelledError):
        try:
            await reading
        except DatastoreStartError as error:
            errors = error.errors
    return Snapshot(collector.values, dict(kinds), errors)
