"""A dict of sets whose empty keys vanish, so that "has any" is "is a key"."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Set
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Hashable)

_EMPTY: frozenset[object] = frozenset()


class Multimap(Generic[K, V]):
    __slots__ = ("_sets",)

    def __init__(self) -> None:
        self._sets: dict[K, set[V]] = {}

    def add(self, key: K, value: V) -> None:
        self._sets.setdefault(key, set()).add(value)

    def discard(self, key: K, value: V) -> None:
        values = self._sets.get(key)
        if values is not None:
            values.discard(value)
            if not values:
                del self._sets[key]

    def get(self, key: K) -> Set[V]:
        """A live view: copy it before changing the map while walking it."""
        return self._sets.get(key, _EMPTY)  # type: ignore[arg-type]

    def __contains__(self, key: K) -> bool:
        return key in self._sets

    def __iter__(self) -> Iterator[K]:
        return iter(self._sets)

    def __len__(self) -> int:
        return len(self._sets)
