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
        told = self._told
        for key in self._touched:
            value = value_of(key)
            if value is None:
                if told.pop(key, None) is not None:
                    news[key] = None
                continue
            before = told.get(key)
            # Nearly always it is the same object, or a new one.
            if before is not value and before != value:
                news[key] = told[key] = value
        self._touched.clear()
        return news
