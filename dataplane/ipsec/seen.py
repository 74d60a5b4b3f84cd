"""What the kernel has of one family, as it was told, and what of it is missing.  Pure.

in   adopt    states that were found at the start
     state    one that is there as wished, or is not
     policy   one that is there, or is not
     expect   receiving states that are to be there
out  what is there; which keys the ways out to an address have; keys that a receiving state is
     missing of
"""

from __future__ import annotations

from collections.abc import Mapping

from calc_graph.multimap import Multimap
from dataplane.ipsec.states import key_of
from dataplane.ipsec.values import PolicyId, PolicyWish, StateId, StateWish

_NOT_USED: Mapping[StateId, int] = {}
_NO_KEYS: frozenset[int] = frozenset()


class Seen:
    """`with_nodes`: ways in between nodes are of interest, too."""

    def __init__(self, *, with_nodes: bool) -> None:
        self._with_nodes = with_nodes
        self._present: dict[StateId, StateWish] = {}
        self._adopted: dict[StateId, str] = {}
        self._expected: dict[StateId, StateWish] = {}
        self._missing: Multimap[int, StateId] = Multimap()
        self._named: dict[PolicyId, StateId] = {}  # of ways out
        self._users: dict[str, dict[StateId, int]] = {}  # how many of those, by the other end
        self._keys_to: dict[str, frozenset[int]] = {}  # by the other end, until it is another
        self._strict: set[PolicyId] = set()  # ways in that nothing clear passes

    # ---------------------------------------------------------------- told

    def adopt(self, found: Mapping[StateId, str]) -> None:
        """`found`: with their source."""
        self._adopted.update(found)

    def state(self, name: StateId, state: StateWish | None) -> StateWish | None:
        """Out: what was there before."""
        before = self._present.pop(name, None)
        if state is not None:
            self._present[name] = state
        else:
            self._adopted.pop(name, None)
        expected = self._expected.get(name)
        if expected is not None:
            self._note_missing(expected)
        return before

    def policies(self, policies: Mapping[PolicyId, PolicyWish | None]) -> dict[str, None]:
        """Out: the other ends of tunnels of which there is something new to know."""
        ends: dict[str, None] = {}
        for name, policy in policies.items():
            template = None if policy is None else policy.template
            if name.direction == "out":
                after = None if template is None else StateId(template.destination, template.spi)
                before = self._named.get(name)
                if before != after:
                    self._name(name, before, after)
                    ends.update({s.destination: None for s in (before, after) if s is not None})
            elif self._with_nodes and name.direction == "in":
                if template is None or template.optional:
                    self._strict.discard(name)
                elif name not in self._strict:
                    self._strict.add(name)
                    ends[name.selector.source.partition("/")[0]] = None
        return ends

    def _name(self, policy: PolicyId, before: StateId | None, after: StateId | None) -> None:
        if before is not None:
            del self._named[policy]
            self._count(before, -1)
        if after is not None:
            self._named[policy] = after
            self._count(after, 1)

    def _count(self, state: StateId, by: int) -> None:
        there = state.destination
        users = self._users.setdefault(there, {})
        before = users.get(state, 0)
        users[state] = before + by
        if not users[state]:
            del users[state]
            if not users:
                del self._users[there]
        elif before:
            return
        self._keys_to.pop(there, None)

    def expect(
        self, before: Mapping[StateId, StateWish], after: Mapping[StateId, StateWish]
    ) -> None:
        """Receiving states: those that an owner has wished for, and those that it does now."""
        for name, wish in before.items():
            if self._expected.get(name) == wish:
                del self._expected[name]
                self._missing.discard(wish.key, name)
        for name, wish in after.items():
            self._expected[name] = wish
            self._note_missing(wish)

    def _note_missing(self, wish: StateWish) -> None:
        if self._present.get(wish.id) == wish:
            self._missing.discard(wish.key, wish.id)
        else:
            self._missing.add(wish.key, wish.id)

    # ---------------------------------------------------------------- asked

    def has(self, wish: StateWish) -> bool:
        """Whether it is there as it is wished for."""
        return self._present.get(wish.id) == wish

    def was_made(self, wish: StateWish) -> bool:
        """Whether one of its ID is there, or was found at the start with its source."""
        return wish.id in self._present or self._adopted.get(wish.id) == wish.source

    def can_stay(self, wish: StateWish) -> bool:
        """Whether it is there without being made."""
        return self.has(wish) or self._adopted.get(wish.id) == wish.source

    def is_missing(self, key: int) -> bool:
        """Whether a receiving state of that key that is to be there is not."""
        return key in self._missing

    def is_used(self, state: StateId) -> bool:
        """Whether a way out leads through it."""
        return state in self._users.get(state.destination, _NOT_USED)

    def keys_to(self, there: str) -> frozenset[int]:
        """Key IDs that ways out to an address have."""
        keys = self._keys_to.get(there)
        if keys is None:
            users = self._users.get(there)
            if users is None:
                return _NO_KEYS
            keys = self._keys_to[there] = frozenset([key_of(state.spi) for state in users])
        return keys

    def leads_out(self, policy: PolicyId) -> bool:
        """Whether it is a way out through a tunnel that is there."""
        return policy in self._named

    def is_strict(self, policy: PolicyId) -> bool:
        """Whether it is a way in that is there and that nothing clear passes."""
        return policy in self._strict
