"""What should be there against what is there: the difference, kept at the cost of each change.

    in   desire                 what should be there
         observe                what was read, or surely written
    out  updates, deletions     DeltaTracker, a table of keys and values
         additions, removals    SetDelta, a set

Nothing here touches the kernel.  Values are immutable; None means that the key is not there.
Where there are thousands of keys their loops call nothing: a second look into a dict costs less.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Set
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class DeltaTracker(Generic[K, V]):
    def __init__(self) -> None:
        self._desired: dict[K, V] = {}
        self._actual: dict[K, V] = {}
        self._updates: dict[K, V] = {}  # dicts, not sets: writes come out in a fixed order
        self._deletions: dict[K, None] = {}

    @property
    def desired(self) -> Mapping[K, V]:
        return self._desired

    @property
    def actual(self) -> Mapping[K, V]:
        return self._actual

    def desire(self, key: K, value: V | None) -> None:
        _put(self._desired, key, value)
        self._compare(key, value, self._actual.get(key))

    def observe(self, key: K, value: V | None) -> None:
        _put(self._actual, key, value)
        self._compare(key, self._desired.get(key), value)

    def desire_these(self, values: Mapping[K, V | None]) -> None:
        """Of many keys, at once."""
        desired, actual = self._desired, self._actual
        updates, deletions = self._updates, self._deletions
        for key, value in values.items():
            if key in deletions:
                del deletions[key]
            if value is None:
                if key in desired:
                    del desired[key]
                if key in updates:
                    del updates[key]
                if key in actual:
                    deletions[key] = None
                continue
            desired[key] = value
            if key not in actual or (actual[key] is not value and actual[key] != value):
                updates[key] = value
            elif key in updates:
                del updates[key]

    def observe_these(self, values: Mapping[K, V]) -> None:
        """Many that are there, at once."""
        self._actual.update(values)
        desired, updates, deletions = self._desired, self._updates, self._deletions
        for key, value in values.items():
            if key in updates:
                del updates[key]
            if key in deletions:
                del deletions[key]
            if key not in desired:
                deletions[key] = None
            elif desired[key] is not value and desired[key] != value:
                updates[key] = desired[key]

    def observe_gone(self, keys: Iterable[K]) -> None:
        """Many that are not there, at once."""
        desired, actual = self._desired, self._actual
        updates, deletions = self._updates, self._deletions
        for key in keys:
            if key in actual:
                del actual[key]
            if key in deletions:
                del deletions[key]
            if key in updates:
                del updates[key]
            if key in desired:
                updates[key] = desired[key]

    def observe_all(self, actual: Mapping[K, V]) -> None:
        """`actual` is everything that is there."""
        self._actual = there = dict(actual)
        self._updates = {k: v for k, v in self._desired.items() if k not in there or there[k] != v}
        self._deletions = {k: None for k in there if k not in self._desired}

    def updates(self) -> dict[K, V]:
        """What has to be written: keys that are missing or have another value."""
        return dict(self._updates)

    def deletions(self) -> list[K]:
        """What has to go."""
        return list(self._deletions)

    def differs(self, key: K) -> bool:
        return key in self._updates or key in self._deletions

    def agreeing(self, keys: Iterable[K]) -> dict[K, V]:
        """Those of them that are there as they should be."""
        actual, updates, deletions = self._actual, self._updates, self._deletions
        return {
            k: actual[k] for k in keys if k in actual and k not in updates and k not in deletions
        }

    @property
    def in_sync(self) -> bool:
        return not self._updates and not self._deletions

    def _compare(self, key: K, desired: V | None, actual: V | None) -> None:
        self._updates.pop(key, None)
        if desired is not None:
            if self._deletions:
                self._deletions.pop(key, None)
            if actual != desired:
                self._updates[key] = desired
            return
        self._deletions.pop(key, None)
        if actual is not None:
            self._deletions[key] = None


class SetDelta(Generic[K]):
    """The same for a set; wholesale changes go through the set operations of the interpreter.

    What is there is not kept beside what should be: it is that, without the additions and with
    the removals.  Nearly always the two are equal, and may have tens of thousands of members.
    """

    def __init__(self) -> None:
        self._desired: set[K] = set()
        self._additions: set[K] = set()
        self._removals: set[K] = set()

    @property
    def desired(self) -> Set[K]:
        return self._desired

    def desire(self, added: Iterable[K], removed: Iterable[K] = ()) -> None:
        """What is in both stays."""
        for member in removed:
            if member in self._desired:
                self._desired.discard(member)
                _move(member, self._additions, self._removals)
        for member in added:
            if member not in self._desired:
                self._desired.add(member)
                _move(member, self._removals, self._additions)

    def desire_all(self, members: Iterable[K]) -> None:
        actual = self._actual()
        self._desired = set(frozenset(members))  # a copy takes half the room of a set that grew
        self._compare(actual)

    def observe(self, added: Iterable[K], removed: Iterable[K] = ()) -> None:
        for member in removed:
            if member in self._desired:
                self._additions.add(member)
            else:
                self._removals.discard(member)
        for member in added:
            if member in self._desired:
                self._additions.discard(member)
            else:
                self._removals.add(member)

    def observe_all(self, members: Iterable[K]) -> None:
        self._compare(frozenset(members))

    @property
    def additions(self) -> Set[K]:
        return self._additions

    @property
    def removals(self) -> Set[K]:
        return self._removals

    @property
    def in_sync(self) -> bool:
        return not self._additions and not self._removals

    def _actual(self) -> Set[K]:
        return (self._desired - self._additions) | self._removals

    def _compare(self, actual: Set[K]) -> None:
        self._additions = self._desired - actual
        self._removals = set(actual - self._desired)


def _move(member: K, undone: set[K], done: set[K]) -> None:
    """A change to a member takes back the one before it, or else is to be made."""
    if member in undone:
        undone.discard(member)
    else:
        done.add(member)


def _put(table: dict[K, V], key: K, value: V | None) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value
