"""A dict of sets whose empty keys vanish, so that "has any" is "is a key"."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Set
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Hashable)

_EMPTY: frozenset[object] = frozenset()


class Multimap(Generic[K, V]):
    """Values of a key come out in the order in which they were added."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        # Dicts, because a set of thousands takes twice the memory.
        self._values: dict[K, dict[V, None]] = {}

    def add(self, key: K, value: V) -> None:
        values = self._values.get(key)
        if values is None:
            self._values[key] = {value: None}
        else:
            values[value] = None

    def discard(self, key: K, value: V) -> None:
        values = self._values.get(key)
        if values is not None:
            values.pop(value, None)
            if not values:
                del self._values[key]

    def get(self, key: K) -> Set[V]:
        """A live view: copy it before changing the map while walking it."""
        values = self._values.get(key)
        return _EMPTY if values is None else values.keys()  # type: ignore[return-value]

    def __contains__(self, key: K) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[K]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)
