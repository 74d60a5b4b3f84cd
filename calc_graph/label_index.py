"""Which selectors match which items, kept up to date without testing every pair.

    in   items with labels and profiles, profiles with labels, selectors
    out  started(selector key, item), stopped(…)   when an item or a profile changed
         the items themselves                      when a selector came or went

Two things make it cheap:

  - Items that say the same about themselves, as the replicas of one workload do, share a group; a
    selector is tested once for each group.
  - A selector that can only match under a value of some label (its restrictions) waits under that
    value, and looks only at the groups that have it.  Which label it waits under is a matter of
    speed alone: the one with the fewest others waiting.

An item's labels are its own, then those of its profiles in their order; the first to name one wins.

There may be as many groups as the cluster has endpoints, so what a group keeps is kept small: its
labels once, no table where one item will do, and one set of matches for all that match the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sized
from functools import lru_cache
from itertools import chain
from sys import intern
from typing import Any, Generic, TypeAlias, TypeVar

from calc_graph.multimap import Multimap
from calc_graph.selector import Selector

S = TypeVar("S", bound=Hashable)
I = TypeVar("I", bound=Hashable)  # noqa: E741  S and I as in "selector" and "item"

# What a selector waits under: (label, value), (label,) for any value, or () for any labels.
_Bucket: TypeAlias = tuple[str, ...]
_NO_LABELS: Mapping[str, str] = {}
_NO_MATCHES: frozenset[Any] = frozenset()
_MATCHES_REMEMBERED = 10_000


class _Labels(dict[str, str]):
    """Labels that do not change, and so can be a key."""

    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


class _Group(Generic[S, I]):
    """The items with the same labels of their own and the same profiles."""

    __slots__ = ("heirs", "items", "matched", "own")

    def __init__(self, own: _Labels, heirs: _Heirs[S, I]) -> None:
        self.own = own
        self.heirs = heirs
        self.items: tuple[I, ...] | dict[I, None] = ()  # a tuple of at most one
        self.matched: frozenset[_Watch[S, I]] = _NO_MATCHES

    def labels(self) -> Mapping[str, str]:
        inherited = self.heirs.labels
        return {**inherited, **self.own} if inherited else self.own

    def add(self, item: I) -> None:
        if not self.items:
            self.items = (item,)
            return
        if isinstance(self.items, tuple):
            self.items = dict.fromkeys(self.items)
        self.items[item] = None

    def remove(self, item: I) -> None:
        if isinstance(self.items, tuple):
            self.items = ()
        else:
            del self.items[item]


class _Heirs(Generic[S, I]):
    """The groups that inherit from the same profiles in the same order."""

    __slots__ = ("groups", "labels", "profiles")

    def __init__(self, profiles: tuple[str, ...], labels: Mapping[str, str]) -> None:
        self.profiles = profiles
        self.labels = labels
        self.groups: dict[_Labels, _Group[S, I]] = {}


class _Watch(Generic[S, I]):
    """A selector in use."""

    __slots__ = ("buckets", "groups", "key", "matches", "selector")

    def __init__(self, key: S, selector: Selector) -> None:
        self.key = key
        self.selector = selector
        self.matches = selector.matches
        self.buckets: tuple[_Bucket, ...] = ()
        # A dict takes half the memory of a large set, and comes out in a fixed order.
        self.groups: dict[_Group[S, I], None] = {}


class LabelIndex(Generic[S, I]):
    """Keys of selectors and items are compared as a dict does."""

    def __init__(self, started: Callable[[S, I], None], stopped: Callable[[S, I], None]) -> None:
        self._started = started
        self._stopped = stopped
        self._profile_labels: dict[str, Mapping[str, str]] = {}
        self._heirs: dict[tuple[str, ...], _Heirs[S, I]] = {}
        self._heirs_of: Multimap[str, tuple[str, ...]] = Multimap()  # by profile
        self._group_of: dict[I, _Group[S, I]] = {}
        self._watches: dict[S, _Watch[S, I]] = {}
        self._waiting: Multimap[_Bucket, _Watch[S, I]] = Multimap()
        self._labelled: _GroupsByLabel[S, I] = _GroupsByLabel()
        self._matches: dict[frozenset[_Watch[S, I]], frozenset[_Watch[S, I]]] = {}

    # ------------------------------------------------------------ items

    def put(self, item: I, labels: Mapping[str, str], profiles: tuple[str, ...]) -> None:
        new = self._group(labels, profiles)
        old = self._group_of.get(item)
        if old is new:
            return
        new.add(item)
        self._group_of[item] = new
        before = old.matched if old is not None else _NO_MATCHES
        for watch in new.matched - before:
            self._started(watch.key, item)
        for watch in before - new.matched:
            self._stopped(watch.key, item)
        if old is not None:
            self._leave(old, item)

    def discard(self, item: I) -> None:
        group = self._group_of.pop(item, None)
        if group is not None:
            for watch in group.matched:
                self._stopped(watch.key, item)
            self._leave(group, item)

    def _group(self, labels: Mapping[str, str], profiles: tuple[str, ...]) -> _Group[S, I]:
        heirs = self._heirs.get(profiles)
        if heirs is None:
            heirs = self._heirs[profiles] = _Heirs(profiles, self._inherited(profiles))
            for profile in profiles:
                self._heirs_of.add(profile, profiles)
        own = _Labels(labels)
        group = heirs.groups.get(own)
        if group is None:
            own = _Labels(zip(map(intern, labels), map(_shared, labels.values()), strict=True))
            group = heirs.groups[own] = _Group(own, heirs)
            self._relabel(group)
        return group

    def _leave(self, group: _Group[S, I], item: I) -> None:
        group.remove(item)
        if group.items:
            return
        self._labelled.discard(group)
        for watch in group.matched:
            del watch.groups[group]
        heirs = group.heirs
        del heirs.groups[group.own]
        if not heirs.groups:
            del self._heirs[heirs.profiles]
            for profile in heirs.profiles:
                self._heirs_of.discard(profile, heirs.profiles)

    # ------------------------------------------------------------ profiles

    def put_profile(self, name: str, labels: Mapping[str, str]) -> None:
        """A profile without labels is as good as none."""
        if labels == self._profile_labels.get(name, _NO_LABELS):
            return
        if labels:
            self._profile_labels[name] = dict(labels)
        else:
            del self._profile_labels[name]
        for profiles in list(self._heirs_of.get(name)):
            heirs = self._heirs[profiles]
            for group in heirs.groups.values():
                self._labelled.discard(group)
            heirs.labels = self._inherited(profiles)
            for group in heirs.groups.values():
                self._relabel(group)

    def _inherited(self, profiles: tuple[str, ...]) -> Mapping[str, str]:
        merged: dict[str, str] = {}
        for profile in reversed(profiles):
            merged.update(self._profile_labels.get(profile, _NO_LABELS))
        return merged

    def _relabel(self, group: _Group[S, I]) -> None:
        """The labels of the group, which no index by label has, are new."""
        labels = group.labels()
        self._labelled.add(group, labels)
        matched = self._matching(labels)
        started, stopped = matched - group.matched, group.matched - matched
        group.matched = matched
        for watch in started:
            watch.groups[group] = None
            for item in group.items:
                self._started(watch.key, item)
        for watch in stopped:
            del watch.groups[group]
            for item in group.items:
                self._stopped(watch.key, item)

    def _matching(self, labels: Mapping[str, str]) -> frozenset[_Watch[S, I]]:
        waiting = self._waiting
        if not waiting:  # as while a whole cluster is read, before any set is in use
            return _NO_MATCHES
        buckets = [waiting.get(())]
        for pair in labels.items():
            if pair in waiting:
                buckets.append(waiting.get(pair))
            if pair[:1] in waiting:
                buckets.append(waiting.get(pair[:1]))
        found = frozenset(watch for bucket in buckets for watch in bucket if watch.matches(labels))
        if len(self._matches) >= _MATCHES_REMEMBERED:
            self._matches.clear()
        return self._matches.setdefault(found, found)

    # ------------------------------------------------------------ selectors

    def add_selector(self, key: S, selector: Selector) -> Iterator[I]:
        """The key must be new.  Gives the items that match now; none of them is announced."""
        watch = _Watch[S, I](key, selector)
        self._watches[key] = watch
        if not selector.can_match():
            return iter(())
        self._labelled.use(_restrictions(selector), self._all_groups)
        watch.buckets = self._best_buckets(selector)
        for bucket in watch.buckets:
            self._waiting.add(bucket, watch)
        for group in self._candidates(selector):
            if watch.matches(group.labels()):
                watch.groups[group] = None
        self._rematch(watch, lambda matched: matched | {watch})
        return self.items(key)

    def remove_selector(self, key: S) -> list[I]:
        """Gives the items that matched; none of them is announced."""
        watch = self._watches[key]
        items = list(self.items(key))
        del self._watches[key]
        self._rematch(watch, lambda matched: matched - {watch})
        for bucket in watch.buckets:
            self._waiting.discard(bucket, watch)
        if watch.selector.can_match():
            self._labelled.release(_restrictions(watch.selector))
        return items

    def _rematch(
        self,
        watch: _Watch[S, I],
        change: Callable[[frozenset[_Watch[S, I]]], frozenset[_Watch[S, I]]],
    ) -> None:
        """Groups that share a set of matches go on sharing one."""
        self._matches.clear()  # it must not hold on to a selector that is gone
        changed: dict[frozenset[_Watch[S, I]], frozenset[_Watch[S, I]]] = {}
        for group in watch.groups:
            matched = changed.get(group.matched)
            if matched is None:
                matched = changed[group.matched] = change(group.matched)
            group.matched = matched

    def items(self, key: S) -> Iterator[I]:
        """The items that the selector of this key matches."""
        return (item for group in self._watches[key].groups for item in group.items)

    def any_item(self, key: S) -> bool:
        return bool(self._watches[key].groups)

    def _all_groups(self) -> Iterator[_Group[S, I]]:
        return chain.from_iterable(heirs.groups.values() for heirs in self._heirs.values())

    def _best_buckets(self, selector: Selector) -> tuple[_Bucket, ...]:
        best: tuple[_Bucket, ...] = ((),)
        best_load = (True, 0)  # a label without known values only if there is nothing better
        for label, values in _restrictions(selector):
            buckets: tuple[_Bucket, ...] = ((label,),)
            if values is not None:
                buckets = tuple((label, value) for value in sorted(values))
            load = sum(len(self._waiting.get(bucket)) + 1 for bucket in buckets)
            if best == ((),) or (values is None, load) < best_load:
                best, best_load = buckets, (values is None, load)
        return best

    def _candidates(self, selector: Selector) -> Iterable[_Group[S, I]]:
        restrictions = _restrictions(selector)
        if not restrictions:
            return self._all_groups()
        best = min((self._labelled.get(*each) for each in restrictions), key=_count)
        return chain.from_iterable(best)


# Of the labels that a selector cannot do without: the values it can match, None for any.
_Restrictions: TypeAlias = list[tuple[str, frozenset[str] | None]]


def _restrictions(selector: Selector) -> _Restrictions:
    found = selector.restrictions.items()
    return [(label, restriction.values) for label, restriction in found if restriction.present]


def _count(groups: Iterable[Sized]) -> int:
    return sum(map(len, groups))


# Labels that no selector restricts any more and whose groups are known still: the next selector,
# perhaps the same one corrected, does not have to ask all groups again.
_SPARES = 4


class _GroupsByLabel(Generic[S, I]):
    """Which groups have a label, only for the labels that selectors in use restrict: by value where
    one of them restricts it to values, as a whole where one asks for it with any value.
    """

    def __init__(self) -> None:
        self._users: Counter[tuple[str, bool]] = Counter()  # label, by value?
        self._spare: dict[tuple[str, bool], None] = {}  # the one to go first comes first
        self._by_value: dict[str, Multimap[str, _Group[S, I]]] = {}
        self._whole: dict[str, dict[_Group[S, I], None]] = {}

    def use(
        self, restrictions: _Restrictions, groups: Callable[[], Iterator[_Group[S, I]]]
    ) -> None:
        """`groups` gives all of them."""
        for label, values in restrictions:
            user = (label, values is not None)
            self._users[user] += 1
            if self._users[user] > 1:
                continue
            if user in self._spare:
                del self._spare[user]
            elif values is None:
                having = (group for group in groups() if label in group.labels())
                self._whole[label] = dict.fromkeys(having)
            else:
                self._by_value[label] = _by_value(label, groups())

    def release(self, restrictions: _Restrictions) -> None:
        for label, values in restrictions:
            user = (label, values is not None)
            self._users[user] -= 1
            if not self._users[user]:
                del self._users[user]
                self._spare[user] = None
        while len(self._spare) > _SPARES:
            label, by_value = next(iter(self._spare))
            del self._spare[label, by_value]
            if by_value:
                del self._by_value[label]
            else:
                del self._whole[label]

    def add(self, group: _Group[S, I], labels: Mapping[str, str]) -> None:
        if not self._by_value and not self._whole:
            return
        for label, value in labels.items():
            if label in self._by_value:
                self._by_value[label].add(value, group)
            if label in self._whole:
                self._whole[label][group] = None

    def discard(self, group: _Group[S, I]) -> None:
        for label, value in group.labels().items():
            if label in self._by_value:
                self._by_value[label].discard(value, group)
            if label in self._whole:
                self._whole[label].pop(group, None)

    def get(self, label: str, values: frozenset[str] | None) -> list[Collection[_Group[S, I]]]:
        if values is None:
            return [self._whole[label]]
        by_value = self._by_value[label]
        return [by_value.get(value) for value in values]


def _by_value(label: str, groups: Iterable[_Group[S, I]]) -> Multimap[str, _Group[S, I]]:
    found: Multimap[str, _Group[S, I]] = Multimap()
    for group in groups:
        value = group.labels().get(label)
        if value is not None:
            found.add(value, group)
    return found


@lru_cache(maxsize=4096)
def _shared(value: str) -> str:
    """The values that come again and again are kept once; those of one item only pass by."""
    return value
