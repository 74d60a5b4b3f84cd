"""What one kind of thing should be told and what was told last: only differences leave.

in   put, discard     any number of times, in any order
out  take()           put since, if other than last told; discarded since, if ever told

`Outbox` is for what there are many of, `Latest` for what there is always exactly one of.
"""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar


class Sortable(Protocol):
    def __lt__(self, other: Any, /) -> bool: ...
    def __hash__(self) -> int: ...


K = TypeVar("K", bound=Sortable)
V = TypeVar("V")


class Outbox(Generic[K, V]):
    def __init__(self) -> None:
        self._wanted: dict[K, V] = {}
        self._told: dict[K, V] = {}
        self._dirty: set[K] = set()

    def put(self, key: K, value: V) -> None:
        self._wanted[key] = value
        self._dirty.add(key)

    def discard(self, key: K) -> None:
        self._wanted.pop(key, None)
        self._dirty.add(key)

    def get(self, key: K) -> V | None:
        """As put last, told or not."""
        return self._wanted.get(key)

    def take(self) -> tuple[list[tuple[K, V]], list[K]]:
        """Changed with their values, and gone; each sorted by key.  They count as told."""
        changed: list[tuple[K, V]] = []
        gone: list[K] = []
        for key in sorted(self._dirty):
            if key in self._wanted:
                value = self._wanted[key]
                if key not in self._told or self._told[key] != value:
                    self._told[key] = value
                    changed.append((key, value))
            elif key in self._told:
                del self._told[key]
                gone.append(key)
        self._dirty.clear()
        return changed, gone

    def told(self) -> list[tuple[K, V]]:
        """All that has been told and still holds, sorted by key."""
        return [(key, self._told[key]) for key in sorted(self._told)]


class Latest(Generic[V]):
    """`value` may be set any number of times; who has been told nothing takes it for the first."""

    def __init__(self, value: V) -> None:
        self.value = value
        self._told = value

    def take(self) -> list[V]:
        """The value, if it is another one than last told; it counts as told."""
        if self.value == self._told:
            return []
        self._told = self.value
        return [self.value]

    def told(self) -> V:
        return self._told
