"""Which changes to hold back so that every essential flow still passes: as few as can be found.

    ask(held) -> the flows that would be cut if all went on but these
    find_culprits(candidates, ask, known) -> Found

    0  begin with what was held so far
    1  hold the likeliest suspect of a cut, ask again, until nothing is cut or no suspect is left
    2  hold all the others too, if that was not enough
    3  let go what need not be held: the others first and in halves, so that one culprit among a
       thousand harmless changes takes ten to twenty questions; what was held so far last

What is still cut with everything held has another cause, and holding anything for it would be of
no use: it is told as `beyond`, and not asked about in step 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

from calc_graph.judge import Step
from felixpy.lockout.flows import Essential
from felixpy.lockout.resources import GuardedKey, suspects


class Cut(NamedTuple):
    """An essential flow, and the step that stops it."""

    essential: Essential
    step: Step


Ask: TypeAlias = Callable[[frozenset[GuardedKey]], Sequence[Cut]]


class Found(NamedTuple):
    """`held`: what to hold back, each with what would be cut without it."""

    held: dict[GuardedKey, Cut]
    beyond: tuple[Cut, ...]


def find_culprits(
    candidates: Sequence[GuardedKey], ask: Ask, known: Iterable[GuardedKey] = ()
) -> Found:
    """What is asked last is asked with exactly `held`; `known` were held so far."""
    return _Search(candidates, ask).find([key for key in known if key in candidates])


class _Search:
    def __init__(self, candidates: Sequence[GuardedKey], ask: Ask) -> None:
        self._candidates = candidates
        self._ask = ask
        self._held: list[GuardedKey] = []
        self._asked: frozenset[GuardedKey] = frozenset()
        self._beyond: dict[Essential, Cut] = {}
        self._reasons: dict[GuardedKey, Cut] = {}

    def find(self, known: list[GuardedKey]) -> Found:
        self._held = list(known)
        cuts = self._cut(self._held)
        while cuts and (suspect := self._suspect(cuts)) is not None:
            self._held.append(suspect)
            cuts = self._cut(self._held)
        named, rest = [key for key in self._held if key not in known], []
        if cuts:
            rest = [key for key in self._candidates if key not in self._held]
            self._held += rest
            cuts = self._cut(self._held) if rest else cuts
        self._beyond = {cut.essential: cut for cut in cuts}
        self._release(rest)
        self._release(named)
        self._release(known)
        if self._asked != frozenset(self._held):
            self._cut(self._held)
        held = {key: self._reasons[key] for key in self._held}
        return Found(held, tuple(self._beyond.values()))

    def _cut(self, held: Sequence[GuardedKey]) -> list[Cut]:
        self._asked = frozenset(held)
        return [cut for cut in self._ask(self._asked) if cut.essential not in self._beyond]

    def _suspect(self, cuts: Sequence[Cut]) -> GuardedKey | None:
        possible = set(self._candidates).difference(self._held)
        for cut in cuts:
            for key in suspects(cut.step):
                if key in possible:
                    return key
        return None

    def _release(self, group: Sequence[GuardedKey]) -> None:
        """Let go as many as possible; of the others remember why not."""
        if not group:
            return
        going = set(group)
        without = [key for key in self._held if key not in going]
        cuts = self._cut(without)
        if not cuts:
            self._held = without
        elif len(group) == 1:
            self._reasons[group[0]] = cuts[0]
        else:
            half = len(group) // 2
            self._release(group[:half])
            self._release(group[half:])
