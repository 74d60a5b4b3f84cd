"""The widest nets of a set of nets: those that no other of them covers.

    in   nets added, nets removed
    out  the difference that makes to the widest ones

nftables' interval sets refuse overlapping members, and no kind of set needs them.  A set of single
addresses cannot overlap, so as long as there is nothing wider none of this costs anything.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Set
from ipaddress import IPv6Network
from typing import NamedTuple, TypeAlias

Difference: TypeAlias = tuple[frozenset[str], frozenset[str]]  # added, removed

_V6_BASE = 1 << 32  # both families on one number line: the second begins where the first ends
_BEFORE_ANY = -(1 << 130)


class _Range(NamedTuple):
    """Sorted by first address; of those with the same one, the widest comes first."""

    first: int
    minus_last: int
    net: str


def is_wide(net: str) -> bool:
    """More than one address."""
    return not net.endswith("/128" if ":" in net else "/32")


def _range(net: str) -> _Range:
    if ":" in net:
        parsed = IPv6Network(net)
        first = _V6_BASE + int(parsed.network_address)
        return _Range(first, -(first + parsed.num_addresses - 1), net)
    address, _, length = net.partition("/")
    a, b, c, d = address.split(".")
    first = int(a) << 24 | int(b) << 16 | int(c) << 8 | int(d)
    return _Range(first, -(first + (1 << 32 - int(length)) - 1), net)


def _widest(ranges: Iterable[_Range]) -> list[_Range]:
    """Of sorted ranges.  Of two nets that overlap one holds the other: the last kept decides."""
    kept: list[_Range] = []
    for found in ranges:
        if not kept or found.first > -kept[-1].minus_last:
            kept.append(found)
    return kept


class MaximalNets:
    def __init__(self) -> None:
        self._wide = 0
        # Two sorted lists once there is a wide net, empty before.
        self._all: list[_Range] = []
        self._top: list[_Range] = []

    def start(self, nets: Set[str]) -> frozenset[str]:
        """Begin with these; gives the widest of them."""
        self._wide = sum(map(is_wide, nets))
        if not self._wide:
            self._all, self._top = [], []
            return frozenset(nets)
        self._all = sorted(map(_range, nets))
        self._top = _widest(self._all)
        return frozenset(found.net for found in self._top)

    def change(self, nets: Set[str], added: Set[str], removed: Set[str]) -> Difference:
        """`nets` is the whole set as it is after the change."""
        was_wide = self._wide
        self._wide += sum(map(is_wide, added)) - sum(map(is_wide, removed))
        if not was_wide and not self._wide:
            return frozenset(added), frozenset(removed)
        if was_wide and self._wide and (len(added) + len(removed)) * 16 < len(nets):
            return self._edit(added, removed)
        # From scratch: the lists have to be made or dropped, or the change is most of the set.
        before = (nets - added) | removed if not was_wide else {r.net for r in self._top}
        after = self.start(nets)
        return after - before, frozenset(before - after)

    def _edit(self, added: Set[str], removed: Set[str]) -> Difference:
        top_before: set[str] = set()
        top_after: set[str] = set()
        for net in removed:
            self._remove(_range(net), top_before, top_after)
        for net in added:
            self._add(_range(net), top_before, top_after)
        return frozenset(top_after - top_before), frozenset(top_before - top_after)

    def _add(self, new: _Range, before: set[str], after: set[str]) -> None:
        insort(self._all, new)
        at = bisect_left(self._top, new)
        if at and new.first <= -self._top[at - 1].minus_last:
            return
        self._replace(at, new, [new], before, after)

    def _remove(self, old: _Range, before: set[str], after: set[str]) -> None:
        del self._all[bisect_left(self._all, old)]
        at = bisect_left(self._top, old)
        if at == len(self._top) or self._top[at] != old:
            return
        first, last = bisect_left(self._all, old), _end(self._all, old)
        self._replace(at, old, _widest(self._all[first:last]), before, after)

    def _replace(
        self, at: int, where: _Range, ranges: list[_Range], before: set[str], after: set[str]
    ) -> None:
        """Put `ranges` in the place of the widest nets inside `where`, from index `at`."""
        end = _end(self._top, where)
        for gone in self._top[at:end]:
            _toggle(gone.net, after, before)
        for come in ranges:
            _toggle(come.net, before, after)
        self._top[at:end] = ranges


def _end(ranges: list[_Range], where: _Range) -> int:
    """The index of the first range that begins behind `where`."""
    return bisect_left(ranges, _Range(1 - where.minus_last, _BEFORE_ANY, ""))


def _toggle(net: str, undone: set[str], done: set[str]) -> None:
    """Note that a net came or went, or that it thereby is as it was."""
    if net in undone:
        undone.discard(net)
    else:
        done.add(net)
