"""The guard against a datastore that is suddenly empty: wiped, restored from nothing, unmounted.

    in   changes, by key, as the ready gate lets them pass, and the time
    out  changes to work in now

Every endpoint and every policy of the cluster gone at once is hardly anybody's wish, and would cut
every flow.  Such deletions wait, whatever else comes goes on, and the newest word on each key wins:
what comes back meanwhile is not deleted.  It ends when somebody confirms it, when it has lasted
EmptyDatastoreGraceSecs, or when half of what was there is there again and no more comes back.

A wipe comes in pieces: etcd tells each kind apart, and people delete prefix after prefix.  So
deletions that leave less than half of any kind, counting those of the last RECENT seconds, wait
until it has been quiet for SETTLE seconds; is something left then, they go on.  No more than half
of any kind has passed when a wipe is noticed.  A deletion that comes alone waits only where it
takes the last of its kind, and then for SETTLE_ONE, which is long beside the pieces of one
transaction.  Where there is no endpoint or no policy in force, there is nothing to guard.

Times are seconds of one clock that all processes of a boot share, and are arguments.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from typing import Final, NamedTuple

import structlog

from calc_graph.model import HostEndpointKey, Key, PolicyKey, Value, WorkloadEndpointKey
from felixpy.census import Census
from felixpy.holds import Hold, Holds

log = structlog.get_logger(__name__)

RECENT: Final = 5.0
SETTLE, SETTLE_ONE, LONGEST_SETTLE = 2.0, 0.25, 10.0
RETURN: Final = 5.0  # nothing has come back for so long: no more will
ID, KIND = "empty-datastore", "empty datastore"
CONFIRMED, LASTED = "confirmed", "it has lasted EmptyDatastoreGraceSecs"
BACK, OFF = "the datastore is filled again", "EmptyDatastoreGraceSecs is 0"

_ENDPOINTS = (WorkloadEndpointKey, HostEndpointKey)
_GUARDED: Final = (WorkloadEndpointKey, PolicyKey)


class Emptiness:
    """One time of it, and what ends it; a later `since` than the first look is no mistake."""

    def __init__(self, since: float) -> None:
        self.since = since
        self._confirmed = False
        self._quiet_since: float | None = None  # enough is back, and no more has come since then

    def confirm(self) -> None:
        self._confirmed = True

    def ended(self, now: float, grace: float, *, enough: bool, growing: bool) -> str:
        """Why, or "".  `enough` is there again; `growing`: something has come back just now."""
        if self._confirmed:
            return CONFIRMED
        if grace <= 0:
            return OFF
        if now - self.since >= grace:
            return LASTED
        if not enough:
            self._quiet_since = None
            return ""
        if self._quiet_since is None or growing:
            self._quiet_since = now
        return BACK if now - self._quiet_since >= RETURN else ""

    def next_look(self, grace: float) -> float:
        """When it may end by itself."""
        lasted = self.since + grace
        return lasted if self._quiet_since is None else min(lasted, self._quiet_since + RETURN)


class _Passed(NamedTuple):
    moment: float
    kind: type
    number: int


class EmptyDatastoreGuard:
    """`census` knows what has been worked in: everything that `pass_on` returns must be noted there
    before it is called again.
    """

    def __init__(self, census: Census, holds: Holds) -> None:
        self._census = census
        self._holds = holds
        self._waiting: dict[Key, None] = {}  # keys to be deleted
        self._numbers: Counter[type] = Counter()  # of those that wait
        self._recent: deque[_Passed] = deque()  # deletions
        self._began, self._stirred = 0.0, 0.0  # the deletions that settle: the first, the last
        self._empty: Emptiness | None = None
        self._newcomers: set[Key] = set()  # made while it was empty
        self.due = float("inf")  # when to be asked again although nothing has changed

    @property
    def empty_since(self) -> float:
        """0.0: it is not."""
        return self._empty.since if self._empty else 0.0

    def pass_on(
        self, changes: Mapping[Key, Value | None], now: float, grace: float
    ) -> Mapping[Key, Value | None]:
        """The newest value of each key that may be worked in now; `grace` 0: all of them."""
        if not self._waiting and not any(value is None for value in changes.values()):
            return changes
        passed: dict[Key, Value | None] = {}
        new: Counter[type] = Counter()
        waited, returned = len(self._waiting), 0
        for key, value in changes.items():
            if value is None and key in self._census and key not in self._newcomers:
                self._wait(key)
                continue
            passed[key] = value
            if value is None:
                self._newcomers.discard(key)
            elif key in self._waiting:
                self._forget(key)
                returned += 1
            elif key not in self._census:
                new[_kind(key)] += 1
                if self._empty is not None:
                    self._newcomers.add(key)
        more = len(self._waiting) + returned > waited
        if self._may_go(new, now, grace, more=more, returned=returned > 0):
            passed |= dict.fromkeys(self._waiting)
            self._let_go()
        return passed

    def close(self) -> None:
        self._holds.lift(ID, "the datastore is read anew")

    # ---------------------------------------------------------------- what waits

    def _wait(self, key: Key) -> None:
        if key not in self._waiting:
            self._waiting[key] = None
            self._numbers[_kind(key)] += 1

    def _forget(self, key: Key) -> None:
        del self._waiting[key]
        self._numbers[_kind(key)] -= 1

    def _let_go(self) -> None:
        self._waiting.clear()
        self._numbers.clear()
        self._newcomers.clear()
        self._empty = None
        self.due = float("inf")

    # ---------------------------------------------------------------- the verdict

    def _may_go(
        self, new: Counter[type], now: float, grace: float, *, more: bool, returned: bool
    ) -> bool:
        """Whether the deletions that wait may go on; `new` keys of each kind come beside them."""
        there = {kind: self._there(kind) + new[kind] for kind in {*self._numbers, *_GUARDED}}
        if self._empty is None and not all(there[kind] - new[kind] for kind in _GUARDED):
            return self._pass_by(now)
        if grace > 0 and all(there[kind] == self._numbers[kind] for kind in _GUARDED):
            self._empty = self._empty or Emptiness(now)
        if self._empty is not None:
            return self._is_over(self._empty, there, now, grace, growing=returned)
        while self._recent and now - self._recent[0].moment > RECENT:
            self._recent.popleft()
        gone = Counter(self._numbers)
        for moment in self._recent:
            gone[moment.kind] += moment.number
        # less than half of what there was
        few = [kind for kind in +self._numbers if there[kind] - self._numbers[kind] < gone[kind]]
        if grace <= 0 or not few:
            return self._pass_by(now)
        many = len(self._waiting) > 1 or any(gone[kind] > 1 for kind in few)
        return self._has_settled(now, SETTLE if many else SETTLE_ONE, more=more)

    def _there(self, kind: type) -> int:
        return self._census.number(*(_ENDPOINTS if kind is WorkloadEndpointKey else (kind,)))

    def _pass_by(self, now: float) -> bool:
        for kind, number in (+self._numbers).items():
            self._recent.append(_Passed(now, kind, number))
        return True

    def _has_settled(self, now: float, quiet: float, *, more: bool) -> bool:
        if self.due == float("inf"):
            self._began = now
            if quiet > SETTLE_ONE:
                log.info("deletions.settling", waiting=len(self._waiting), seconds=quiet)
        if more:
            self._stirred = now
        self.due = min(self._stirred + quiet, self._began + LONGEST_SETTLE)
        if now < self.due:
            return False
        self._recent.clear()  # they have been waited for, and were not all
        return True

    def _is_over(
        self,
        empty: Emptiness,
        there: Mapping[type, int],
        now: float,
        grace: float,
        *,
        growing: bool,
    ) -> bool:
        enough = all(there[kind] >= 2 * self._numbers[kind] for kind in _GUARDED)
        reason = empty.ended(now, grace, enough=enough, growing=growing)
        if not reason and not self._waiting:
            reason = BACK
        if reason:
            self._recent.clear()
            self._holds.lift(ID, reason)
            return True
        endpoints, policies = (self._numbers[kind] for kind in _GUARDED)
        text = (
            "the datastore has lost every endpoint and policy at once: the deletion of"
            f" {counted(endpoints, policies)} waits, of {len(self._waiting)} resources in all,"
            f" at most for {grace:g} s"
        )
        self._holds.place(Hold(ID, KIND, text, len(self._waiting)), empty.confirm)
        self.due = empty.next_look(grace)
        return False


def counted(endpoints: int, policies: int) -> str:
    """In words."""
    return (
        f"{endpoints} {'endpoint' if endpoints == 1 else 'endpoints'} and"
        f" {policies} {'policy' if policies == 1 else 'policies'}"
    )


def _kind(key: Key) -> type:
    """Endpoints are one kind, whether of a workload or of a host."""
    return WorkloadEndpointKey if isinstance(key, HostEndpointKey) else type(key)
