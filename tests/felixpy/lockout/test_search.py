"""Which changes are held back: enough, and none too many."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calc_graph.judge import Flow, Hook, Reason, Step
from calc_graph.model import PolicyKey
from felixpy.lockout.flows import Essential
from felixpy.lockout.resources import GuardedKey
from felixpy.lockout.search import Cut, find_culprits

LOCALHOST = ip_address("127.0.0.1")
FLOWS = [Essential(f"flow {i}", Flow(LOCALHOST, LOCALHOST, 6, i)) for i in range(3)]


def key(number: int) -> PolicyKey:
    return PolicyKey("GlobalNetworkPolicy", "", f"{number:03}")


KEYS: list[GuardedKey] = [key(i) for i in range(200)]


class World:
    """A flow is cut while all changes of any of its groups go on; of an empty group they always do.

    `named`: the verdict points at a member of the group.
    """

    def __init__(self, groups: dict[int, list[set[int]]], *, named: bool) -> None:
        self.groups = groups
        self.named = named
        self.questions = 0
        self.last: Collection[GuardedKey] = ()

    def ask(self, held: frozenset[GuardedKey]) -> list[Cut]:
        self.questions += 1
        self.last = held
        return self.cuts(held)

    def cuts(self, held: Collection[GuardedKey]) -> list[Cut]:
        found = []
        for flow, groups in self.groups.items():
            for group in groups:
                if not any(key(number) in held for number in group):
                    policy = key(min(group)) if self.named and group else None
                    step = Step(Hook.INPUT, "eth0", "ingress", "deny", Reason.POLICY, policy=policy)
                    found.append(Cut(FLOWS[flow], step))
                    break
        return found


GROUPS = st.dictionaries(
    st.integers(0, 2), st.lists(st.sets(st.integers(0, 9), max_size=3), max_size=3)
)


@given(GROUPS, st.integers(0, 10), st.booleans(), st.sets(st.integers(0, 12)))
def test_enough_and_none_too_many(
    groups: dict[int, list[set[int]]], candidates: int, named: bool, known: set[int]
) -> None:
    world = World(groups, named=named)
    found = find_culprits(KEYS[:candidates], world.ask, map(key, known))
    beyond = {cut.essential for cut in found.beyond}
    everything = {cut.essential for cut in world.cuts(KEYS[:candidates])}
    assert beyond == everything, "what no hold can help"
    assert {cut.essential for cut in world.cuts(found.held)} == beyond
    for held, cut in found.held.items():
        without = {cut.essential for cut in world.cuts(found.held.keys() - {held})}
        assert without > beyond, "each is needed"
        assert cut.essential not in beyond
    assert set(world.last) == set(found.held), "what was asked last is what will be"


@pytest.mark.parametrize(("named", "questions"), [(True, 4), (False, 20)])
def test_one_among_many_takes_few_questions(named: bool, questions: int) -> None:
    world = World({0: [{137}]}, named=named)
    assert list(find_culprits(KEYS, world.ask).held) == [key(137)]
    assert world.questions <= questions


def test_nothing_cut_is_one_question() -> None:
    world = World({}, named=True)
    assert find_culprits(KEYS, world.ask) == ({}, ())
    assert world.questions == 1


def test_what_was_held_stays_the_one_that_is() -> None:
    world = World({0: [{3, 5}]}, named=True)
    assert list(find_culprits(KEYS, world.ask, [key(5)]).held) == [key(5)]
    assert list(find_culprits(KEYS, world.ask).held) == [key(3)]
