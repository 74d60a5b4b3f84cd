"""The etcd datastore: listed once, then watched.

    connect ─► list every range at one revision, in pages ─► watch all ranges from there on
       ▲                        ▲                                    │
       │                        │ compacted, or another history      │
       └────────────────────────┴── the member is lost ◄─────────────┘
            the watch is resumed where it was, if the cluster still knows that moment

A list that follows another is compared with what was told before: what has gone meanwhile is told
as gone.  Whether a cluster's history is still the one we know is asked of it before a watch is
resumed, because a watch itself would wait in silence for a future that never comes: see `_verify`.

An etcd that is away or refuses us is a problem, before in-sync as after it, and never an end: it is
tried again with growing delays.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterable
from typing import Final

import structlog

from calc_graph.model import Key, Value
from felixpy.datastore import builtin
from felixpy.datastore.etcd_holdings import Holdings
from felixpy.datastore.etcd_keys import RANGES, KeyRange
from felixpy.datastore.source import BadInput, Changed, DatastoreStartError, Problems, Sink
from felixpy.etcd.client import EtcdClient
from felixpy.etcd.credentials import CredentialsError
from felixpy.etcd.errors import CompactedError, EtcdError, HistoryError
from felixpy.etcd.member import Change, Delivery, Header, Interval, Member, Page

log = structlog.get_logger(__name__)

FIRST_DELAY, LAST_DELAY = 0.1, 15.0  # seconds, before jitter
PEACE: Final = 1.0  # seconds that a watch has lasted, after which its failure is a first one

_NOTHING_KNOWN: Final = Header(0, 0, 0)


class EtcdSource:
    ready_without_record = False

    def __init__(self, client: EtcdClient, *, ranges: Iterable[KeyRange] = RANGES) -> None:
        self.problems = Problems()
        self._client = client
        self._holdings = {
            number: Holdings(range_, self.problems) for number, range_ in enumerate(ranges, start=1)
        }
        self._told: dict[int, int] = {}  # range -> all changes up to this revision are told
        self._known = _NOTHING_KNOWN  # the newest header
        self._witness: Change | None = None  # the newest that we saw
        self._in_sync = False
        self._delay = FIRST_DELAY
        self._well_since = float("inf")

    @property
    def location(self) -> str:
        """Which member the answers come from, or which ones are tried."""
        return self._client.location

    async def run(self, sink: Sink) -> None:
        """Endless.  Raises DatastoreStartError where what etcd would be shown cannot be read."""
        for text in self._client.warnings():
            log.warning("etcd.insecure", reason=text)
        try:
            self._client.check()
        except CredentialsError as error:
            raise DatastoreStartError([BadInput("etcd", 0, 0, "", str(error))]) from None
        going_home = asyncio.create_task(self._go_home(), name="etcd home")
        try:
            while True:
                try:
                    await self._follow(await self._client.member(), sink)
                except EtcdError as error:
                    await self._pause(error)
        finally:
            going_home.cancel()
            self._client.close()

    # ---------------------------------------------------------------- one member

    async def _follow(self, member: Member, sink: Sink) -> None:
        """Until something fails; that is raised.  Returns when another member is in use."""
        try:
            if self._told:
                await self._verify(member)
            while True:
                if not self._told:
                    await self._list(member, sink)
                await self._watch(member, sink)
        except (HistoryError, CompactedError) as error:
            log.warning("etcd.listing_anew", member=str(member), reason=str(error))
            self._told.clear()
            self._known = _NOTHING_KNOWN
            self._witness = None
        except EtcdError:
            if self._client.current is not member:
                return
            self._client.drop(member)
            raise

    async def _pause(self, error: EtcdError) -> None:
        """Say it, and wait before the next attempt."""
        if self.problems.report("etcd", str(error)):
            log.warning("etcd.unavailable", reason=str(error), kernel="stays as it is")
        if asyncio.get_running_loop().time() - self._well_since > PEACE:
            self._delay = FIRST_DELAY
        self._well_since = float("inf")
        await asyncio.sleep(self._delay * random.uniform(0.5, 1.0))  # noqa: S311 - spreads a fleet
        self._delay = min(self._delay * 2, LAST_DELAY)

    def _note_success(self) -> None:
        self._well_since = min(self._well_since, asyncio.get_running_loop().time())
        if self.problems.clear("etcd"):
            log.info("etcd.available", member=self.location)

    async def _go_home(self) -> None:
        """The watch is resumed at home when the connection it runs on is closed."""
        while True:
            member = await self._client.home_again(self._holdings[1].range.interval)
            log.info("etcd.back_home", member=str(member))
            self._client.move(member)

    # ---------------------------------------------------------------- history

    def _note(self, header: Header) -> None:
        """Raises HistoryError where another cluster answers."""
        if self._known.cluster not in (0, header.cluster):
            raise HistoryError(
                f"the cluster has another id, {header.cluster:x} instead of {self._known.cluster:x}"
            )
        newest = max(self._known.revision, header.revision)
        self._known = Header(header.cluster, newest, max(self._known.term, header.term))

    async def _verify(self, member: Member) -> None:
        """Is this the history that we know?

        The answer is the whole cluster's, so it cannot be behind: a lower revision or a lower term
        than seen before means that the cluster was restored.  And where it has since gone further
        than it was, the key that changed last, as far as we know, tells.

        Raises HistoryError, or CompactedError where that cannot be told any more.
        """
        key = self._witness.key if self._witness else self._holdings[1].range.interval.key
        page = await member.range(Interval(key))
        if page.header.revision < self._known.revision:
            raise HistoryError(
                f"the cluster is at revision {page.header.revision}, "
                f"and has been at {self._known.revision}"
            )
        if page.header.term < self._known.term:
            raise HistoryError("the cluster has begun to count its leaders anew")
        self._note(page.header)
        if self._witness is not None and self._witness not in _changes(page):
            await self._question(member, self._witness)

    async def _question(self, member: Member, witness: Change) -> None:
        """Was this change a part of that history?"""
        key, revision = Interval(witness.key), witness.revision
        page = await member.range(key, revision=revision)
        known = witness in _changes(page)
        if witness.value is None and not page.pairs:
            known = bool((await member.range(key, revision=revision - 1)).pairs)
        if not known:
            raise HistoryError(f"it knows nothing of our revision {revision}")

    # ---------------------------------------------------------------- list and watch

    async def _list(self, member: Member, sink: Sink) -> None:
        """All ranges as they are at the revision of the first answer."""
        revision = 0
        builtin_changes = () if self._in_sync else (Changed(*builtin.DEFAULT_ALLOW_PROFILE),)
        await _put(sink, builtin_changes)
        for holdings in self._holdings.values():
            gone = holdings.keys()
            async with contextlib.aclosing(
                member.pages(holdings.range.interval, revision)
            ) as pages:
                async for page in pages:
                    self._note(page.header)
                    revision = revision or page.header.revision
                    for pair in page.pairs:
                        gone.discard(pair.key)
                        self._see(Change(*pair))
                        await _put(sink, holdings.put(pair.key, pair.value))
            for key in gone:
                await _put(sink, holdings.delete(key))
        self._told = dict.fromkeys(self._holdings, revision)
        log.info("etcd.listed", member=str(member), revision=revision)
        if not self._in_sync:
            self._in_sync = True
            sink.mark_in_sync()

    async def _watch(self, member: Member, sink: Sink) -> None:
        wanted = {
            number: (holdings.range.interval, self._told[number] + 1)
            for number, holdings in self._holdings.items()
        }
        async with contextlib.aclosing(member.watch(wanted)) as deliveries:
            async for delivery in deliveries:
                self._note_success()
                await self._tell(delivery, sink)

    async def _tell(self, delivery: Delivery, sink: Sink) -> None:
        holdings = self._holdings[delivery.watch]
        for change in delivery.changes:
            self._see(change)
            if change.value is None:
                await _put(sink, holdings.delete(change.key))
            else:
                await _put(sink, holdings.put(change.key, change.value))
        if delivery.revision is not None:
            self._told[delivery.watch] = delivery.revision
            newest = max(self._known.revision, delivery.revision)
            self._known = Header(self._known.cluster, newest, self._known.term)

    def _see(self, change: Change) -> None:
        if self._witness is None or change.revision >= self._witness.revision:
            self._witness = change


def _changes(page: Page) -> list[Change]:
    return [Change(*pair) for pair in page.pairs]


async def _put(sink: Sink, changes: Iterable[tuple[Key, Value | None]]) -> None:
    for key, value in changes:
        await sink.put(key, value)
