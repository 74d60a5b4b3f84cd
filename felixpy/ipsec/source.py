"""The keys in use: those of the file as it is now, unless that cannot be, then those before.

    in   a feed: octets, whenever they may have changed
         known: the IDs that stand for a key somewhere still, with check values
         trial: can this kernel use that key?
    out  offer(KeyRing), whenever another one is to be used
         facts: what is in use, what was rejected and why

What is wrong with a file never takes a key away: who would empty it, or break its disk, would cut
all traffic, or lay it open.  A key goes by a good file that has not got it.
A file that is written in place may be read half done; so a bad one becomes a fault only when it has
stayed bad for a moment, and a good one is taken at once.
Where the kernel does not say whether it can use a key, nothing is known of the file: it is neither
taken nor rejected, and the kernel is asked again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Final

import structlog
from msgspec import Struct, structs

from dataplane.errors import DataplaneError
from dataplane.ipsec import ids
from dataplane.ipsec.keys import Key, KeyRing
from felixpy.ipsec.feeds import Feed, Reading, parse_reading
from felixpy.ipsec.keyfile import KeyFile, KeyFileError

log = structlog.get_logger(__name__)

SETTLE_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 3.0
_AGAIN_SECONDS: Final = 0.1

Trial = Callable[[Key], Awaitable[str]]


class KeyFacts(Struct, frozen=True):
    """`accepted`, `rejected_since`: seconds since 1970, 0 for never or not now.

    name        of the file or the Secret
    checks      of the ring in use, the newest key first
    reason      why what is there now is not what is in use, "" where it is
    notes       what is no fault and yet should be known
    asks_pair   some ID has a + behind it
    errors      how often something was rejected
    untried     why what is there now could not be tried, "" where it was
    """

    name: str
    checks: Mapping[int, str] = {}
    accepted: float = 0.0
    rejected_since: float = 0.0
    reason: str = ""
    notes: tuple[str, ...] = ()
    asks_pair: bool = False
    errors: int = 0
    untried: str = ""

    def problems(self, layout: str) -> list[str]:
        """What is wrong, for people; `layout` is IPsecStateLayout."""
        found = []
        stays = "the last good keys stay in use" if self.checks else "there are no keys to use"
        if self.untried:
            found.append(f"{self.untried}; that is done again, and {stays}")
        if self.reason:
            since = datetime.fromtimestamp(self.rejected_since, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            found.append(f"key file rejected since {since}: {self.reason}; {stays}")
        if self.asks_pair and layout != "pair":
            found.append(
                f"{self.name}: a + behind a key ID asks for states for each pair of nodes, and"
                f" IPsecStateLayout is {layout}"
            )
        return found


class _RejectedError(Exception):
    """Why a file that can be read is not used; shows nothing of a key."""


class _UntriedError(Exception):
    """Why nothing is known of a file yet; shows nothing of a key."""


class KeySource:
    """`feed` is made with the callback that it gets.

    `known` are keys that are not forgotten yet, those in use among them; `trial` may raise
    DataplaneError.
    """

    def __init__(
        self,
        feed: Callable[[Callable[[], None]], Feed],
        known: Callable[[], Mapping[int, str]],
        trial: Trial,
        offer: Callable[[KeyRing], None],
        *,
        changed: Callable[[], None] = lambda: None,
        now: Callable[[], float] = time.time,
        settle_seconds: float = SETTLE_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        """`changed` is called when `facts` are others; after `offer`, where both are called."""
        self._stirred = asyncio.Event()
        self._feed = feed(self._stirred.set)
        self._known = known
        self._trial = trial
        self._offer = offer
        self._changed = changed
        self._now = now
        self._settle_seconds = settle_seconds
        self._retry_seconds = retry_seconds
        self._ring = KeyRing()
        self._bad_since: float | None = None
        self.facts = KeyFacts(self._feed.name)

    async def run(self) -> None:
        """Endless; to be run once."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._feed.run(), name="ipsec-key-feed")
            while True:
                self._stirred.clear()
                settled = await self.look()
                again = self._retry_seconds if self.facts.untried else _AGAIN_SECONDS
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(None if settled else again):
                        await self._stirred.wait()

    async def look(self) -> bool:
        """Whether that was the last word: what is bad for a moment may be half done, and what could
        not be tried may be good.
        """
        reading = await asyncio.to_thread(self._feed.read)
        try:
            content = await self._judge(reading)
        except _UntriedError as error:
            self._put_off(str(error))
            return False
        except (_RejectedError, KeyFileError) as error:
            final = isinstance(error, _RejectedError)
            return self._reject(str(error), final=final)
        self._bad_since = None
        self._accept(content, reading)
        return True

    # ------------------------------------------------------------ judging

    async def _judge(self, reading: Reading) -> KeyFile:
        """Raises KeyFileError where it may be half done, _RejectedError or _UntriedError."""
        content = parse_reading(reading, self._feed.name)
        known = {**self._known(), **self._ring.checks}
        if reason := _contradiction(content.ring, known):
            raise _RejectedError(f"{self._feed.name}: {reason}")
        for key in content.ring.values():
            if self._ring.get(key.id) != key and (reason := await self._try(key)):
                raise _RejectedError(f"{self._feed.name}: key {key.id}: {reason}")
        if reason := _backwards(content.ring, known):
            content = content._replace(notes=(*content.notes, reason))
        return content

    async def _try(self, key: Key) -> str:
        try:
            return await self._trial(key)
        except DataplaneError as error:
            reason = f"{self._feed.name}: key {key.id} could not be tried: {error}"
            raise _UntriedError(reason) from error

    # ------------------------------------------------------------ what comes of it

    def _accept(self, content: KeyFile, reading: Reading) -> None:
        notes = tuple(filter(None, (*content.notes, reading.note)))
        fresh = content.ring != self._ring
        facts = structs.replace(self.facts, notes=notes, asks_pair=content.asks_pair, untried="")
        if fresh:
            facts = structs.replace(facts, checks=content.ring.checks, accepted=self._now())
            log.info("ipsec.keys_accepted", source=self._feed.name, ids=[*content.ring])
        if reading.problem:
            facts = self._rejected(facts, f"{self._feed.name}: {reading.problem}")
        else:
            if facts.reason:
                log.info("ipsec.keys_recovered", source=self._feed.name)
            facts = structs.replace(facts, reason="", rejected_since=0.0)
        for note in notes:
            if note not in self.facts.notes:
                log.warning("ipsec.keys_noted", source=self._feed.name, note=note)
        if fresh:
            self._ring = content.ring
            self._offer(content.ring)
        self._tell(facts)

    def _reject(self, reason: str, *, final: bool) -> bool:
        """Whether it is told."""
        now = asyncio.get_running_loop().time()
        if self._bad_since is None:
            self._bad_since = now
        # before there is a ring nothing is at stake, and somebody may be waiting for the reason
        if not final and self._ring and now - self._bad_since < self._settle_seconds:
            return False
        self._tell(self._rejected(structs.replace(self.facts, untried=""), reason))
        return True

    def _put_off(self, reason: str) -> None:
        self._bad_since = None
        if reason != self.facts.untried:
            log.warning("ipsec.keys_untried", reason=reason)
        self._tell(structs.replace(self.facts, untried=reason, reason="", rejected_since=0.0))

    def _rejected(self, facts: KeyFacts, reason: str) -> KeyFacts:
        if reason == facts.reason:
            return facts
        log.error("ipsec.keys_rejected", source=self._feed.name, reason=reason)
        return structs.replace(
            facts,
            reason=reason,
            rejected_since=facts.rejected_since or self._now(),
            errors=facts.errors + 1,
        )

    def _tell(self, facts: KeyFacts) -> None:
        if facts != self.facts:
            self.facts = facts
            self._changed()


def _contradiction(ring: KeyRing, known: Mapping[int, str]) -> str:
    """Why the ring cannot be used beside the keys that are known, "" if it can."""
    taken = sorted(
        key_id for key_id, check in ring.checks.items() if known.get(key_id, check) != check
    )
    if taken:
        return f"key ID {taken[0]} already stands for another key; use a new ID"
    alive = known.keys() | ring.keys()
    if len(alive) > ids.MAX_ALIVE:
        kept = ", ".join(map(str, sorted(alive - ring.keys())))
        return (
            f"at most {ids.MAX_ALIVE} keys may be in use at once, and these still are: {kept};"
            " `felixpy ipsec key drop` ends one"
        )
    return ""


def _backwards(ring: KeyRing, known: Mapping[int, str]) -> str:
    """What is said where no key of the ring is the newest of all, "" where one is."""
    ahead = ids.newest([*known, *ring])
    if ahead in ring:
        return ""
    return (
        f"key ID {ring.newest} counts as older than {ahead}, which is still in use:"
        f" after {ahead} comes {ids.next_id(ahead)}"
    )
