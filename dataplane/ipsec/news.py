"""What has changed since it was last told: pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class News(Generic[K, V]):
    """Values are immutable; None means that there is none."""

    def __init__(self) -> None:
        self._touched: dict[K, None] = {}
        self._told: dict[K, V] = {}

    def touch(self, key: K) -> None:
        """It may have another value now."""
        self._touched[key] = None

    def touch_all(self, keys: Iterable[K]) -> None:
        self._touched.update(dict.fromkeys(keys))

    def take(self, value_of: Callable[[K], V | None]) -> dict[K, V | None]:
        """Of what was touched, what has another value than was told before."""
        news: dict[K, V | None] = {}
        for key in self._touched:
            value = value_of(key)
            if self._told.get(key) == value:
                continue
            news[key] = value
            if value is None:
                del self._told[key]
            else:
                self._told[key] = value
        self._touched.clear()
        return news
