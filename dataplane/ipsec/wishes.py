"""What is wished for, by who wishes for it, and what of it is new since it was taken.  Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
O = TypeVar("O", bound=Hashable)  # noqa: E741


class Wishes(Generic[O, K, V]):
    """An owner's wishes replace those that it had; of two for one key the later one counts."""

    def __init__(self) -> None:
        self._of: dict[O, tuple[K, ...]] = {}
        self._owner: dict[K, O] = {}
        self._all: dict[K, V] = {}
        self._changed: dict[K, None] = {}
        self._taken: dict[K, V] = {}

    @property
    def all(self) -> Mapping[K, V]:
        """A live view."""
        return self._all

    def of(self, owner: O) -> list[V]:
        """What an owner has wished for, but for what a later one has."""
        keys = self._of.get(owner, ())
        return [self._all[key] for key in keys if self._owner.get(key) == owner]

    def owner(self, key: K) -> O:
        """Raises KeyError if nobody wishes for it."""
        return self._owner[key]

    def put(self, owner: O, wishes: Iterable[tuple[K, V]] = ()) -> None:
        new = dict(wishes)
        for key in self._of.pop(owner, ()):
            if key not in new and self._owner.get(key) == owner:
                del self._all[key], self._owner[key]
                self._changed[key] = None
        for key, value in new.items():
            self._owner[key] = owner
            if self._all.get(key) != value:
                self._all[key] = value
                self._changed[key] = None
        if new:
            self._of[owner] = tuple(new)

    def take(self) -> dict[K, V | None]:
        """What is another than at the last take; None: gone."""
        changed, self._changed = self._changed, {}
        before = self._taken
        others = [key for key in changed if self._all.get(key) != before.get(key)]
        return {key: self._remember(key) for key in others}

    def _remember(self, key: K) -> V | None:
        value = self._all.get(key)
        if value is None:
            self._taken.pop(key, None)
        else:
            self._taken[key] = value
        return value
