"""Which keys are alive on this node, and how one that has left the ring goes.

    used        it has left the ring; it is received, and sent with where nothing else is common,
                until no peer may be sending with it to us, or the grace time is over
    withdrawn   it is no longer published; it is still received for as long as packets may be on
                their way, or a peer may not have heard
    deaf        it is received no more; whom nothing else is common with is still sent to with it,
                until the grace time is over
    gone

A peer may be sending with a key, or come to, unless it says that it sends with a newer one: whoever
sends with an older one may take each that we publish.  One that does not send yet may if it has the
key.

Pure; who may be sending is told.  Source: sections 5.4 and 5.5 of the IPsec reference.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from calc_graph.model import IpsecNode
from dataplane.ipsec.ids import newer, newest_first

# What was encrypted before the last peer said that it had stopped is on its way for so long.
IN_FLIGHT_SECONDS: Final = 2.0
# A peer that has not read our record by then will not: withdrawn keys do not wait for ever.
HEARD_SECONDS: Final = 30.0

Phase: TypeAlias = Literal["ring", "used", "withdrawn", "deaf", "gone"]


def may_send(record: IpsecNode, to: str, key: int, check: str) -> bool:
    """Whether a peer sends to us with a key, or may be about to."""
    peering = record.peers.get(to)
    sends = 0 if peering is None else peering.sends
    if sends == 0:
        return record.enabled and record.receive.get(key) == check
    return not newer(sends, key)


class _Retired:
    """`quiet_since`: when nobody sent any more, and all could know that it is not received."""

    def __init__(self, now: float, grace: float) -> None:
        self.phase: Phase = "used"
        self.grace_ends = now + grace
        self.withdrawn_at = now
        self.quiet_since: float | None = None

    def advance(self, now: float, *, held: bool, published: bool, sent: bool) -> float:
        """`held`: a peer may send with it; `published`: others may read that we receive it;
        `sent`: we send with it.  Out: when to look again."""
        over = now >= self.grace_ends
        if self.phase == "used" and (over or not held):
            self.phase, self.withdrawn_at = "withdrawn", now
        if self.phase == "withdrawn":
            if held or published:
                self.quiet_since = None
            elif self.quiet_since is None:
                self.quiet_since = now
            due = self.withdrawn_at + HEARD_SECONDS
            if self.quiet_since is not None:
                due = min(due, self.quiet_since + IN_FLIGHT_SECONDS)
            if now < due:
                return due
            self.phase = "deaf"
        if self.phase == "deaf" and (over or not sent):
            self.phase = "gone"
        return float("inf") if self.phase == "gone" else self.grace_ends


class Picture(Struct, frozen=True):
    """What is to be done with the keys that are alive, by ID.

    checks     all of them -> check value
    order      to send with, the best first: the ring's, then those that have left it
    retired    those that have left it
    received   there are to be receiving states
    published  others may be told that it is received
    makeable   new states can be made with it; else those that are there can be kept
    closing    some are no longer published, and so not begun to be sent with
    """

    checks: Mapping[int, str] = {}
    order: tuple[int, ...] = ()
    retired: tuple[int, ...] = ()
    received: tuple[int, ...] = ()
    published: tuple[int, ...] = ()
    makeable: frozenset[int] = frozenset()
    closing: bool = False

    def change_from(self, before: Picture) -> KeyChange | None:
        """None where more is another than that keys have come or gone: an ID has come to stand for
        another key, or those that are still there are to be taken in another order.
        """
        stay = self.checks.keys() & before.checks.keys()
        if (
            any(self.checks[key] != before.checks[key] for key in stay)
            or self.makeable & stay != before.makeable & stay
            or [k for k in self.order if k in stay] != [k for k in before.order if k in stay]
        ):
            return None
        return KeyChange(
            alive=self.checks.keys() != before.checks.keys(),
            received=self.received != before.received,
            retired=bool(set(self.retired) - set(before.retired)),
            offered=tuple(key for key in self.published if key not in before.published),
        )


class KeyChange(Struct, frozen=True):
    """What is another between two pictures.

    alive     some have come, or gone
    received  others are received
    retired   more have left the ring
    offered   those that may be begun to be sent with, and might not before
    """

    alive: bool
    received: bool
    retired: bool
    offered: tuple[int, ...]


class Keys:
    """The keys of the ring, and those that were in it."""

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._ring: dict[int, str] = {}
        self._checks: dict[int, str] = {}  # of all that are alive
        self._held: set[int] = set()  # of these, those that were in a ring since the start
        self._retired: dict[int, _Retired] = {}
        self._offered: dict[int, str] | None = None
        self._known: dict[int, str] = {}
        self._begun = False
        self._found: set[int] = set()
        self._dropped: set[int] = set()
        # As of the last `take_over` or `advance`; the same object until anything is another.
        self.picture = Picture()

    @property
    def alive(self) -> Mapping[int, str]:
        """Key ID -> check value."""
        return self._checks

    @property
    def retired(self) -> Collection[int]:
        return self._retired.keys()

    @property
    def ring(self) -> list[int]:
        """Those that may be used, the newest first."""
        return [key for key in self._ring if key not in self._retired]

    @property
    def order(self) -> list[int]:
        """Those to send with, the best first: the ring's, then those that have left it."""
        return self.ring + newest_first(sorted(self._retired))

    def phase(self, key: int) -> Phase:
        if key not in self._checks:
            return "gone"
        return self._retired[key].phase if key in self._retired else "ring"

    def receives(self, key: int) -> bool:
        """Whether there are to be receiving states."""
        return self.phase(key) in ("ring", "used", "withdrawn")

    def publishes(self, key: int) -> bool:
        """Whether others may be told that it is received."""
        return self.phase(key) in ("ring", "used")

    def can_be_made(self, key: int) -> bool:
        """Whether new states can be made with it; else those that are there can be kept."""
        return key in self._held

    def refused(self) -> list[int]:
        """IDs that stand for another key in the ring than in states that are still used."""
        return [key for key, check in self._ring.items() if self._checks.get(key, check) != check]

    # ---------------------------------------------------------------- told

    def found(self, keys: Iterable[int]) -> None:
        """IDs of keys that states in the kernel have, which an agent before this one has made."""
        self._found.update(keys)

    def remember(self, known: Mapping[int, str]) -> None:
        """What an agent before this one has had; once there is a ring nothing is remembered."""
        if not self._begun:
            self._known = dict(known)

    def offer(self, ring: Mapping[int, str]) -> None:
        """The newest first; until the first one nothing is alive."""
        self._offered = dict(ring)

    def drop(self, key: int) -> None:
        """Its grace time is over, if it has left the ring."""
        self._dropped.add(key)

    @property
    def remembered(self) -> Mapping[int, str]:
        """Those that are alive, and those that may turn out to be."""
        return {**self._known, **self._checks}

    def take_over(self, now: float) -> bool:
        """What was told since the last time; whether anything is another than before."""
        if self._offered is not None:
            self._ring, self._offered = self._offered, None
            for key, check in self._known.items():
                if key in self._found or self._ring.get(key) == check:
                    self._checks.setdefault(key, check)
            self._known, self._begun = {}, True
            self._sort(now)
        elif not self._dropped:
            return False
        for key in self._dropped & self._retired.keys():
            self._retired[key].grace_ends = now
        self._dropped.clear()
        return self._look()

    def _look(self) -> bool:
        """Whether anything is another than at the last look."""
        published = tuple(key for key in self._checks if self.publishes(key))
        now = Picture(
            checks=dict(self._checks),
            order=tuple(self.order),
            retired=tuple(self._retired),
            received=tuple(key for key in self._checks if self.receives(key)),
            published=published,
            makeable=frozenset(key for key in self._checks if self.can_be_made(key)),
            closing=len(published) != len(self._checks),
        )
        if now == self.picture:
            return False
        self.picture = now
        return True

    def _sort(self, now: float) -> None:
        for key, check in self._ring.items():
            if self._checks.setdefault(key, check) == check:
                self._held.add(key)
                self._retired.pop(key, None)
        for key, check in self._checks.items():
            if self._ring.get(key) != check and key not in self._retired:
                self._retired[key] = _Retired(now, self._grace)

    # ---------------------------------------------------------------- worked out

    def advance(
        self,
        now: float,
        *,
        held: Collection[int],
        published: Collection[int],
        sent: Collection[int],
    ) -> tuple[float, bool]:
        """Of the keys that have left the ring: those that a peer may send with, those that others
        may read that we receive, those that we send with.

        Out: when to look again, and whether anything is another than before.
        """
        due = float("inf")
        if not self._retired:
            return due, False
        for key, retired in list(self._retired.items()):
            at = retired.advance(
                now, held=key in held, published=key in published, sent=key in sent
            )
            due = min(due, at)
            if retired.phase == "gone":
                self._forget(key, now)
        return due, self._look()

    def _forget(self, key: int, now: float) -> None:
        del self._retired[key], self._checks[key]
        self._held.discard(key)
        self._sort(now)
