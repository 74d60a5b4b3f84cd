"""What has changed since it was last told: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class News(Generic[K, V]):
    """Values are immutable; in what is told, None means that there is none any more."""

    def __init__(self) -> None:
        self._touched: dict[K, None] = {}
        self._told: dict[K, V] = {}

    def touch(self, keys: Iterable[K]) -> None:
        """They may have other values now."""
        self._touched.update(dict.fromkeys(keys))

    @property
    def touched(self) -> Set[K]:
        return self._touched.keys()

    def take(self, values: Mapping[K, V]) -> dict[K, V | None]:
        """Of what was touched, what has another value than was told before."""
        news: dict[K, V | None] = {}
        told = self._told
        for key in self._touched:  # thousands: nothing is called for each
            if key not in values:
                if key in told:
                    del told[key]
                    news[key] = None
                continue
            value = values[key]
            # Nearly always it is the same object, or a new one.
            if key not in told or (told[key] is not value and told[key] != value):
                news[key] = told[key] = value
        self._touched.clear()
        return news
