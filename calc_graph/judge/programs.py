"""The rules that one endpoint asks in one direction, laid out so that few have to be looked at.

    in   the tiers of an endpoint, or its profiles, and the books of their rules
    out  for a destination port, the rules that could match, in order, a stretch for each tier or
         profile

Most rules say destination ports, and most of them others than a packet's.  The ports that rules
name cut the numbers into intervals in which all ports are alike; the rules of an interval are
gathered when it is first asked about.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from calc_graph.judge.flow import Family
from calc_graph.judge.rules import Ready, RuleBook, Test
from calc_graph.judge.verdict import Direction
from calc_graph.model import PolicyKey
from calc_graph.updates import TierPolicies


class Entry(NamedTuple):
    """`test` is that of `ready`, at hand because it is the one thing that is needed of most."""

    test: Test
    policy: PolicyKey | None
    ready: Ready


class Stretch(NamedTuple):
    """Of `tier` and `profile` one is there.  `denies`: a policy is enforced, and what none of them
    decides is denied, where the stage denies at all.
    """

    tier: str
    profile: str
    denies: bool
    entries: tuple[Entry, ...]


class Program:
    """`enforced` tells whether any policy or profile is asked."""

    __slots__ = ("_bounds", "_slices", "_stretches", "enforced")

    def __init__(self, stretches: Sequence[Stretch], *, enforced: bool) -> None:
        self.enforced = enforced
        self._stretches = stretches
        bounds = {
            bound
            for stretch in stretches
            for entry in stretch.entries
            for port in entry.ready.ports
            for bound in (port.first, port.last + 1)
        }
        self._bounds = sorted(bounds)
        self._slices: list[tuple[Stretch, ...] | None] = [None] * (len(bounds) + 1)

    def at(self, port: int) -> tuple[Stretch, ...]:
        """-1 for what has no ports."""
        index = bisect_right(self._bounds, port)
        found = self._slices[index]
        if found is None:
            found = self._slices[index] = tuple(
                stretch._replace(entries=tuple(e for e in stretch.entries if e.ready.at(port)))
                for stretch in self._stretches
            )
        return found


def of_tiers(
    tiers: Iterable[TierPolicies],
    books: Mapping[PolicyKey, RuleBook | None],
    direction: Direction,
    family: Family,
    protocol: int,
) -> Program:
    """A book that is None is that of a staged policy, which decides nothing."""
    stretches = []
    enforced_anywhere = False
    for tier in tiers:
        entries: list[Entry] = []
        enforced = False
        for key in tier.ingress if direction == "ingress" else tier.egress:
            book = books[key]
            if book is not None:
                enforced = enforced_anywhere = True
                rules = book.rules(direction, family, protocol)
                entries += [Entry(ready.test, key, ready) for ready in rules]
        denies = enforced and tier.default_action != "Pass"
        stretches.append(Stretch(tier.name, "", denies, tuple(entries)))
    return Program(stretches, enforced=enforced_anywhere)


def of_profiles(
    profiles: Sequence[str],
    books: Mapping[str, RuleBook],
    direction: Direction,
    family: Family,
    protocol: int,
) -> Program:
    """A profile that passes a packet on ends only itself, as a tier does."""
    stretches = []
    for name in profiles:
        rules = books[name].rules(direction, family, protocol)
        entries = tuple(Entry(ready.test, None, ready) for ready in rules)
        stretches.append(Stretch("", name, False, entries))
    return Program(stretches, enforced=bool(profiles))
