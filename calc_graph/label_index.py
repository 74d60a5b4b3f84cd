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
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Set
from functools import lru_cache
from sys import intern
from typing import Generic, TypeAlias, TypeVar

from calc_graph.multimap import Multimap
from calc_graph.selector import Selector

S = TypeVar("S", bound=Hashable)
I = TypeVar("I", bound=Hashable)  # noqa: E741  S and I as in "selector" and "item"

# What a selector waits under: (label, value), (label,) for any value, or () for any labels.
_Bucket: TypeAlias = tuple[str, ...]
_GroupKey: TypeAlias = tuple[tuple[str, ...], tuple[str, ...]]
_NO_LABELS: Mapping[str, str] = {}


class _Group(Generic[S, I]):
    """The items with the same labels of their own and the same profiles."""

    __slots__ = ("items", "key", "labels", "matched", "own")

    def __init__(self, key: _GroupKey, own: Mapping[str, str]) -> None:
        self.key = key
        self.own = own
        self.labels = own  # with those of the profiles
        self.items: dict[I, None] = {}
        self.matched: set[_Watch[S, I]] = set()


class _Watch(Generic[S, I]):
    """A selector in use."""

    __slots__ = ("buckets", "groups", "key", "matches", "selector")

    def __init__(self, key: S, selector: Selector) -> None:
        self.key = key
        self.selector = selector
        self.matches = selector.matches
        self.buckets: tuple[_Bucket, ...] = ()
        self.groups: set[_Group[S, I]] = set()


class LabelIndex(Generic[S, I]):
    """Keys of selectors and items are compared as a dict does."""

    def __init__(self, started: Callable[[S, I], None], stopped: Callable[[S, I], None]) -> None:
        self._started = started
        self._stopped = stopped
        self._profile_labels: dict[str, Mapping[str, str]] = {}
        self._groups: dict[_GroupKey, _Group[S, I]] = {}
        self._group_of: dict[I, _Group[S, I]] = {}
        self._groups_by_profile: Multimap[str, _Group[S, I]] = Multimap()
        self._watches: dict[S, _Watch[S, I]] = {}
        self._waiting: Multimap[_Bucket, _Watch[S, I]] = Multimap()
        self._labelled = _GroupsByLabel[S, I]()

    # ------------------------------------------------------------ items

    def put(self, item: I, labels: Mapping[str, str], profiles: tuple[str, ...]) -> None:
        new = self._group(labels, profiles)
        old = self._group_of.get(item)
        if old is new:
            return
        new.items[item] = None
        self._group_of[item] = new
        before = old.matched if old is not None else frozenset()
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
        key = _group_key(labels, profiles)
        group = self._groups.get(key)
        if group is None:
            own = {intern(label): intern(value) for label, value in labels.items()}
            group = _Group[S, I](key, own)
            self._groups[key] = group
            for profile in profiles:
                self._groups_by_profile.add(profile, group)
            self._relabel(group)
        return group

    def _leave(self, group: _Group[S, I], item: I) -> None:
        del group.items[item]
        if group.items:
            return
        del self._groups[group.key]
        for profile in group.key[1]:
            self._groups_by_profile.discard(profile, group)
        self._labelled.discard(group)
        for watch in group.matched:
            watch.groups.discard(group)

    # ------------------------------------------------------------ profiles

    def put_profile(self, name: str, labels: Mapping[str, str]) -> None:
        """A profile without labels is as good as none."""
        if labels == self._profile_labels.get(name, _NO_LABELS):
            return
        if labels:
            self._profile_labels[name] = dict(labels)
        else:
            del self._profile_labels[name]
        for group in list(self._groups_by_profile.get(name)):
            self._relabel(group)

    def _relabel(self, group: _Group[S, I]) -> None:
        self._labelled.discard(group)
        group.labels = self._inherited(group)
        self._labelled.add(group)
        matched = self._matching(group.labels)
        started, stopped = matched - group.matched, group.matched - matched
        group.matched = matched
        for watch in started:
            watch.groups.add(group)
            for item in group.items:
                self._started(watch.key, item)
        for watch in stopped:
            watch.groups.discard(group)
            for item in group.items:
                self._stopped(watch.key, item)

    def _inherited(self, group: _Group[S, I]) -> Mapping[str, str]:
        found = [p for p in map(self._profile_labels.get, group.key[1]) if p is not None]
        if not found:
            return group.own
        merged: dict[str, str] = {}
        for labels in reversed(found):
            merged.update(labels)
        merged.update(group.own)
        return merged

    def _matching(self, labels: Mapping[str, str]) -> set[_Watch[S, I]]:
        waiting = self._waiting
        buckets = [waiting.get(())]
        for pair in labels.items():
            if pair in waiting:
                buckets.append(waiting.get(pair))
            if pair[:1] in waiting:
                buckets.append(waiting.get(pair[:1]))
        return {watch for bucket in buckets for watch in bucket if watch.matches(labels)}

    # ------------------------------------------------------------ selectors

    def add_selector(self, key: S, selector: Selector) -> Iterator[I]:
        """The key must be new.  Gives the items that match now; none of them is announced."""
        watch = _Watch[S, I](key, selector)
        self._watches[key] = watch
        if not selector.can_match():
            return iter(())
        self._labelled.use(self._restricted_labels(selector), self._groups.values())
        watch.buckets = self._best_buckets(selector)
        for bucket in watch.buckets:
            self._waiting.add(bucket, watch)
        for group in self._candidates(selector):
            if watch.matches(group.labels):
                watch.groups.add(group)
                group.matched.add(watch)
        return self.items(key)

    def remove_selector(self, key: S) -> list[I]:
        """Gives the items that matched; none of them is announced."""
        watch = self._watches[key]
        items = list(self.items(key))
        del self._watches[key]
        for group in watch.groups:
            group.matched.discard(watch)
        for bucket in watch.buckets:
            self._waiting.discard(bucket, watch)
        if watch.selector.can_match():
            self._labelled.release(self._restricted_labels(watch.selector))
        return items

    def items(self, key: S) -> Iterator[I]:
        """The items that the selector of this key matches."""
        return (item for group in self._watches[key].groups for item in group.items)

    def any_item(self, key: S) -> bool:
        return bool(self._watches[key].groups)

    @staticmethod
    def _restricted_labels(selector: Selector) -> list[str]:
        return [label for label, found in selector.restrictions.items() if found.present]

    def _best_buckets(self, selector: Selector) -> tuple[_Bucket, ...]:
        best: tuple[_Bucket, ...] = ((),)
        best_load = (True, 0)  # a label without known values only if there is nothing better
        for label, restriction in selector.restrictions.items():
            if not restriction.present:
                continue
            buckets: tuple[_Bucket, ...] = ((label,),)
            if restriction.values is not None:
                buckets = tuple((label, value) for value in sorted(restriction.values))
            load = sum(len(self._waiting.get(bucket)) + 1 for bucket in buckets)
            if best == ((),) or (restriction.values is None, load) < best_load:
                best, best_load = buckets, (restriction.values is None, load)
        return best

    def _candidates(self, selector: Selector) -> Iterable[_Group[S, I]]:
        best: Iterable[Iterable[_Group[S, I]]] = (self._groups.values(),)
        best_count = len(self._groups)
        for label, restriction in selector.restrictions.items():
            if restriction.present:
                found = self._labelled.get(label, restriction.values)
                count = sum(map(len, found))
                if count < best_count:
                    best, best_count = found, count
        return (group for groups in best for group in groups)


class _GroupsByLabel(Generic[S, I]):
    """Label -> value -> groups, only for the labels that selectors in use restrict."""

    def __init__(self) -> None:
        self._users: dict[str, int] = {}
        self._groups: dict[str, Multimap[str, _Group[S, I]]] = {}

    def use(self, labels: Iterable[str], groups: Iterable[_Group[S, I]]) -> None:
        for label in labels:
            self._users[label] = self._users.get(label, 0) + 1
            if label in self._groups:
                continue
            by_value: Multimap[str, _Group[S, I]] = Multimap()
            for group in groups:
                value = group.labels.get(label)
                if value is not None:
                    by_value.add(value, group)
            self._groups[label] = by_value

    def release(self, labels: Iterable[str]) -> None:
        for label in labels:
            self._users[label] -= 1
            if not self._users[label]:
                del self._users[label], self._groups[label]

    def add(self, group: _Group[S, I]) -> None:
        for label, value in group.labels.items():
            if label in self._groups:
                self._groups[label].add(value, group)

    def discard(self, group: _Group[S, I]) -> None:
        for label, value in group.labels.items():
            if label in self._groups:
                self._groups[label].discard(value, group)

    def get(self, label: str, values: frozenset[str] | None) -> list[Set[_Group[S, I]]]:
        by_value = self._groups[label]
        return [by_value.get(value) for value in (by_value if values is None else values)]


@lru_cache(maxsize=1024)
def _shared(profiles: tuple[str, ...]) -> tuple[str, ...]:
    return profiles


def _group_key(labels: Mapping[str, str], profiles: tuple[str, ...]) -> _GroupKey:
    pairs = sorted(labels.items())
    return tuple(text for pair in pairs for text in pair), _shared(profiles)
