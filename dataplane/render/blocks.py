"""Alternatives within one rule: lists of matches in, rules that leave the outcome in a scratch
bit out.

iptables ands the matches of a rule and takes one source and one destination each, so a list of
alternatives becomes a block of rules.  Scratch bit 0 means "every block so far has matched"; a
block after the first collects in scratch bit 1.

    first block      match -> set 0                              for each alternative
    later blocks     match -> set 1, then: 1 clear -> clear 0
    excluding block  match -> clear 0

Positive blocks come first.  Felix clears bit 1 only at the very beginning, so that from its third
positive block on a packet passes whatever the block says (defect D2); here bit 1 is cleared
before each block that finds it used. Source: projectcalico/calico felix/rules/policy.go; section
3.3 of the rules reference.
"""

from __future__ import annotations

from collections.abc import Iterable

from dataplane.render import text
from dataplane.settings import MarkBits


class MatchBlocks:
    """Rules that come before the rule proper; `result` is what that rule has to match on."""

    def __init__(self, marks: MarkBits) -> None:
        self.bodies: list[str] = []
        self._all = marks.scratch0
        self._this = marks.scratch1
        self._positive = 0

    @property
    def result(self) -> str:
        return text.mark_set(self._all) if self.bodies else ""

    def any_of(self, matches: Iterable[str]) -> None:
        """At least one of the matches must hold."""
        self._begin(0)
        self._positive += 1
        if self._positive == 1:
            self._each(matches, text.set_mark(self._all))
            return
        if self._positive > 2:
            self.bodies.append(text.clear_mark(self._this))
        self._each(matches, text.set_mark(self._this))
        self.bodies.append(text.body(text.mark_clear(self._this), text.clear_mark(self._all)))

    def none_of(self, matches: Iterable[str]) -> None:
        """None of the matches may hold."""
        self._begin(self._all)
        self._each(matches, text.clear_mark(self._all))

    def _begin(self, initially: int) -> None:
        if not self.bodies:
            self.bodies.append(text.set_masked_mark(initially, self._all | self._this))

    def _each(self, matches: Iterable[str], action: str) -> None:
        self.bodies.extend(f"{match} {action}" for match in matches)
