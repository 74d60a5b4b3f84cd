"""What the kernel has of one family, as it was told, and what of it is missing.  Pure.

in   adopt    states that were found at the start
     states   those that are there as wished, or are not
     policies those that are there, or are not
     expect   receiving states that are to be there
out  what is there; which keys the ways out to an address have; keys that a receiving state is
     missing of
"""

from __future__ import annotations

from collections.abc import Mapping

from calc_graph.multimap import Multimap
from dataplane.ipsec.states import key_of
from dataplane.ipsec.values import PolicyId, PolicyWish, StateId, StateWish, Template

_NO_SPIS: Mapping[PolicyId, int] = {}
_NO_KEYS: frozenset[int] = frozenset()


class Seen:
    """`with_nodes`: ways in between nodes are of interest, too."""

    def __init__(self, *, with_nodes: bool) -> None:
        self._with_nodes = with_nodes
        self.present: dict[StateId, StateWish] = {}  # to be read: as they are wished for
        self._adopted: dict[StateId, str] = {}
        self._expected: dict[StateId, StateWish] = {}
        self._missing: Multimap[int, StateId] = Multimap()
        self._out: dict[PolicyId, Template] = {}  # ways out
        self._spis: dict[str, dict[PolicyId, int]] = {}  # what they name, by the other end
        self._strict: set[PolicyId] = set()  # ways in that nothing clear passes

    # ---------------------------------------------------------------- told

    def adopt(self, found: Mapping[StateId, str]) -> None:
        """`found`: with their source."""
        self._adopted.update(found)

    def states(self, states: Mapping[StateId, StateWish | None]) -> dict[StateId, StateWish]:
        """Out: of those that are gone, what was there before."""
        gone: dict[StateId, StateWish] = {}
        present, expected = self.present, self._expected
        for name, state in states.items():
            if state is not None:
                present[name] = state
            else:
                if name in present:
                    gone[name] = present.pop(name)
                if self._adopted:
                    self._adopted.pop(name, None)
            if name in expected:
                self._note_missing(expected[name])
        return gone

    def policies(self, policies: Mapping[PolicyId, PolicyWish | None]) -> dict[str, None]:
        """Out: the other ends of tunnels of which there is something new to know."""
        ends: dict[str, None] = {}
        for name, policy in policies.items():
            template = None if policy is None else policy.template
            if name.direction == "out":
                before = self._out.get(name)
                if before == template:
                    continue
                if before is not None and (
                    template is None or template.destination != before.destination
                ):
                    self._end_way(name, before.destination)
                    ends[before.destination] = None
                if template is not None:
                    there = template.destination
                    self._out[name] = template
                    spis = self._spis.get(there)
                    if spis is None:
                        spis = self._spis[there] = {}
                    spis[name] = template.spi
                    ends[there] = None
            elif self._with_nodes and name.direction == "in":
                if template is None or template.optional:
                    self._strict.discard(name)
                elif name not in self._strict:
                    self._strict.add(name)
                    ends[name.selector.source.partition("/")[0]] = None
        return ends

    def _end_way(self, policy: PolicyId, there: str) -> None:
        del self._out[policy]
        spis = self._spis[there]
        del spis[policy]
        if not spis:
            del self._spis[there]

    def expect(
        self, before: Mapping[StateId, StateWish], after: Mapping[StateId, StateWish]
    ) -> None:
        """Receiving states: those that an owner has wished for, and those that it does now."""
        expected = self._expected
        for name, wish in before.items():
            if name not in after and expected.get(name) == wish:
                del expected[name]
                self._missing.discard(wish.key, name)
        for name, wish in after.items():
            if expected.get(name) is not wish:
                expected[name] = wish
                self._note_missing(wish)

    def _note_missing(self, wish: StateWish) -> None:
        if self.present.get(wish.id) == wish:
            self._missing.discard(wish.key, wish.id)
        else:
            self._missing.add(wish.key, wish.id)

    # ---------------------------------------------------------------- asked

    def has(self, wish: StateWish) -> bool:
        """Whether it is there as it is wished for."""
        return self.present.get(wish.id) == wish

    def was_made(self, wish: StateWish) -> bool:
        """Whether one of its ID is there, or was found at the start with its source."""
        return wish.id in self.present or self._adopted.get(wish.id) == wish.source

    def can_stay(self, wish: StateWish) -> bool:
        """Whether it is there without being made."""
        return self.has(wish) or self._adopted.get(wish.id) == wish.source

    def is_missing(self, key: int) -> bool:
        """Whether a receiving state of that key that is to be there is not."""
        return key in self._missing

    def is_used(self, state: StateId) -> bool:
        """Whether a way out leads through it."""
        return state.spi in self._spis.get(state.destination, _NO_SPIS).values()

    def keys_to(self, there: str) -> frozenset[int]:
        """Key IDs that ways out to an address have."""
        spis = self._spis.get(there)
        return _NO_KEYS if spis is None else frozenset(map(key_of, {*spis.values()}))

    def leads_out(self, policy: PolicyId) -> bool:
        """Whether it is a way out through a tunnel that is there."""
        return policy in self._out

    def is_strict(self, policy: PolicyId) -> bool:
        """Whether it is a way in that is there and that nothing clear passes."""
        return policy in self._strict
