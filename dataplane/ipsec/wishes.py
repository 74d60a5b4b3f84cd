"""What is wished for, by who wishes for it, and what of it is new since it was taken.  Pure."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
O = TypeVar("O", bound=Hashable)  # noqa: E741


class Wishes(Generic[O, K, V]):
    """An owner's wishes replace those that it had; of two for one key the later one counts."""

    def __init__(self) -> None:
        self._of: dict[O, Mapping[K, V]] = {}
        self._owner: dict[K, O] = {}
        self._all: dict[K, V] = {}
        self._beaten: set[O] = set()  # who has lost a key to a later one
        self._before: dict[K, V | None] = {}  # as it was taken, of what was touched since

    @property
    def all(self) -> Mapping[K, V]:
        """A live view."""
        return self._all

    def owner(self, key: K) -> O | None:
        """None if nobody wishes for it."""
        return self._owner.get(key)

    def put(self, owner: O, wishes: Mapping[K, V]) -> None:
        """The mapping is kept, and must not change any more."""
        before = self._of.get(owner)
        if before is None:
            if not wishes:
                return
        elif before == wishes and owner not in self._beaten:
            return
        else:
            if self._beaten:
                self._beaten.discard(owner)
            for key in before:
                if key not in wishes:
                    self._take_back(owner, key)
        if not wishes:
            del self._of[owner]
            return
        self._of[owner] = wishes
        everything, owners, touched = self._all, self._owner, self._before
        for key, value in wishes.items():
            there = everything.get(key)
            if there is None or owners[key] != owner:
                if there is not None:
                    self._beaten.add(owners[key])
                owners[key] = owner
            if there is not value and there != value:
                if key not in touched:
                    touched[key] = there
                everything[key] = value

    def _take_back(self, owner: O, key: K) -> None:
        if self._owner.get(key) == owner:
            self._before.setdefault(key, self._all[key])
            del self._all[key], self._owner[key]

    def take(self) -> dict[K, V | None]:
        """What is another than at the last take; None: gone."""
        touched, self._before = self._before, {}
        if not touched:
            return {}
        now = self._all.get
        return {key: v for key, before in touched.items() if (v := now(key)) != before}
