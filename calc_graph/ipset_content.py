"""The members of one IP set, counted, and what has changed since they were last told.

in   add, remove      a member may be held by several endpoints or network sets
out  content()        all of them; asked once, before any change
     take_changes()   added and removed since the last time; empty if it all cancelled out
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from calc_graph.maximal_nets import Difference, MaximalNets

_NOTHING: Difference = (frozenset(), frozenset())


class IpsetContent:
    """Members as they are."""

    __slots__ = ("_before", "_counts")

    def __init__(self, members: Iterable[str]) -> None:
        self._counts: dict[str, int] = dict(Counter(members))
        self._before: dict[str, bool] = {}  # of what was touched: was it a member?

    def content(self) -> frozenset[str]:
        return frozenset(self._counts)

    def add(self, member: str) -> None:
        count = self._counts.get(member, 0)
        self._counts[member] = count + 1
        if not count:
            self._before.setdefault(member, False)

    def remove(self, member: str) -> None:
        count = self._counts[member]
        if count > 1:
            self._counts[member] = count - 1
        else:
            del self._counts[member]
            self._before.setdefault(member, True)

    def take_changes(self) -> Difference:
        if not self._before:
            return _NOTHING
        added = frozenset(m for m, was in self._before.items() if not was and m in self._counts)
        removed = frozenset(m for m, was in self._before.items() if was and m not in self._counts)
        self._before = {}
        return added, removed


class NetIpsetContent(IpsetContent):
    """Members are nets, of which only the widest are told."""

    __slots__ = ("_maximal",)

    def __init__(self, members: Iterable[str]) -> None:
        super().__init__(members)
        self._maximal = MaximalNets()

    def content(self) -> frozenset[str]:
        return self._maximal.start(self._counts.keys())

    def take_changes(self) -> Difference:
        added, removed = super().take_changes()
        if not added and not removed:
            return _NOTHING
        return self._maximal.change(self._counts.keys(), added, removed)
