"""A datastore as it is now, for commands that look once and do not watch.

    in   the configuration, or a directory of manifests
    out  Snapshot: what the graph would be told, and what is wrong; or SnapshotError

etcd is read at one revision, by what an agent reads it with, but without a watch.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Collection
from pathlib import Path

from msgspec import Struct

from calc_graph.model import Key, Value
from felixpy.config import Config, Resolved
from felixpy.datastore import builtin
from felixpy.datastore.decode import (
    InvalidResourceError,
    Resource,
    decode_documents,
    decode_stored,
    remainder,
)
from felixpy.datastore.errors import render_path
from felixpy.datastore.etcd_keys import KeyRange, ranges
from felixpy.datastore.manifests import ManifestSource
from felixpy.datastore.source import BadInput, DatastoreStartError
from felixpy.etcd.client import EtcdClient
from felixpy.etcd.credentials import CredentialsError
from felixpy.etcd.errors import EtcdError
from felixpy.etcd.member import Interval, KeyValue, Member
from felixpy.etcd.settings import to_etcd_settings
from felixpy.gate import ReadyGate
from felixpy.live_config import IDENTITY


class SnapshotError(Exception):
    """The datastore cannot be read at the moment; the text says why, for people."""


class Snapshot(Struct, frozen=True):
    """`values` is what the graph would be told; with `errors` it is empty, as no agent would start.

    location  where that was read
    kinds     counts the resources by kind, also those that mean nothing to this node
    invalid   resources that count as absent; an agent says so and goes on
    warnings  what works, but should not stay as it is
    ready     whether an agent would act on it, and not wait
    """

    location: str
    values: dict[Key, Value]
    kinds: dict[str, int]
    errors: tuple[BadInput, ...] = ()
    invalid: tuple[BadInput, ...] = ()
    warnings: tuple[str, ...] = ()
    ready: bool = True


def is_named(resolved: Resolved) -> bool:
    """Whether the configuration says without a mistake which datastore is meant."""
    # "": what is wrong as a whole, and not about one parameter
    return not any(error.name in ("", *IDENTITY) for error in resolved.errors)


def read_snapshot(config: Config, seconds: float, kinds: Collection[str] | None = None) -> Snapshot:
    """Read the datastore that the configuration names, within so many seconds if it is etcd.

    `kinds`: of these at least, also those of BGP where BGPEnabled is off; what else is in etcd
    costs no time then.  None: what an agent reads.  Raises SnapshotError.
    """
    if config.datastore_type == "file":
        return read_directory(Path(config.datastore_path))
    return asyncio.run(_read_etcd(config, seconds, kinds))


def read_directory(root: Path) -> Snapshot:
    """Read all manifests below `root` as the agent does at its start."""
    return asyncio.run(_read_directory(root))


# ---------------------------------------------------------------- a directory


class _Collector:
    def __init__(self) -> None:
        self.values: dict[Key, Value] = {}
        self.complete = asyncio.Event()

    async def put(self, key: Key, value: Value | None) -> None:
        if value is not None:
            self.values[key] = value

    def mark_in_sync(self) -> None:
        self.complete.set()


async def _read_directory(root: Path) -> Snapshot:
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
    ready = _is_ready(collector.values, without_record=source.ready_without_record)
    return Snapshot(str(root), collector.values, dict(kinds), errors, ready=ready)


# ---------------------------------------------------------------- etcd


async def _read_etcd(config: Config, seconds: float, kinds: Collection[str] | None) -> Snapshot:
    client = EtcdClient(to_etcd_settings(config), config.felix_hostname)
    try:
        client.check()
    except CredentialsError as error:
        return Snapshot(client.location, {}, {}, (BadInput("etcd", 0, 0, "", str(error)),))
    try:
        async with asyncio.timeout(seconds):
            reading = _Reading(await client.member())
            for range_ in ranges(bgp=kinds is not None or config.bgp_enabled):
                if kinds is None or range_.kind in kinds:
                    await reading.read(range_)
    except TimeoutError:
        raise SnapshotError(f"etcd {client.location}: not read within {seconds:g} s") from None
    except EtcdError as error:
        raise SnapshotError(f"etcd cannot be read: {error}") from None
    finally:
        location = client.location
        client.close()
    return Snapshot(
        location,
        reading.values,
        dict(reading.kinds),
        invalid=tuple(reading.invalid),
        warnings=tuple(client.warnings()),
        ready=_is_ready(reading.values, without_record=False),
    )


class _Reading:
    def __init__(self, member: Member) -> None:
        self.values: dict[Key, Value] = dict((builtin.DEFAULT_ALLOW_PROFILE,))
        self.kinds: Counter[str] = Counter()
        self.invalid: list[BadInput] = []
        self._member = member
        self._revision = 0  # that of the first answer, from then on

    async def read(self, range_: KeyRange) -> None:
        async for pair in self._pairs(range_.interval):
            identity = range_.identity(pair.key)
            if identity is None:
                continue
            try:
                changes = decode_stored(range_.kind, *identity, pair.value)
            except InvalidResourceError as error:
                field = render_path(error.path)
                self.invalid.append(BadInput(pair.key.decode(), 0, 0, field, error.message))
                self.values |= dict(remainder(range_.kind, *identity, pair.value))
                continue
            self.kinds[range_.kind] += 1
            self.values |= {key: value for key, value in changes if value is not None}

    async def _pairs(self, interval: Interval) -> AsyncIterator[KeyValue]:
        async for page in self._member.pages(interval, self._revision):
            self._revision = self._revision or page.header.revision
            for pair in page.pairs:
                yield pair


def _is_ready(values: dict[Key, Value], *, without_record: bool) -> bool:
    gate = ReadyGate(open_without=without_record)
    gate.pass_on(values)
    return gate.open
