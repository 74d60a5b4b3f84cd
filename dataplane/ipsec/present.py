"""What the kernel has of states and policies against what is wished for, one family: no I/O.

    in   desire      wishes that have changed
         found       all that was listed
         done, gone  what was surely written since
    out  additions, removals     what is to be written (plan.py)
         adopted                 states of ours, with their source
         take_observed           what has come to be there as wished, or has gone
         doubtful, in_the_way    what is left alone, and what of it stands where ours should be
         spent                   why another life has to begin

Whether a state is the one that was wished for is asked when both are known, whichever comes first.
A key that is in no ring any more cannot be compared: then all but the key has to agree.

A sending state with a life counts packets under a key that nobody else has, so it is never made
twice, or two packets would be encrypted alike: one that was there and is to be made again says so
(`spent`), and waits.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, TypeVar

from dataplane.delta_tracker import DeltaTracker
from dataplane.families import family_of
from dataplane.ipsec import plan
from dataplane.ipsec.kernel import KernelPolicy, KernelState
from dataplane.ipsec.keys import KeyRing
from dataplane.ipsec.ours import (
    LAST_PRIORITY,
    Numbers,
    claim_of_policy,
    claim_of_state,
    index_of,
    number_of,
)
from dataplane.ipsec.plan import Put, Remove
from dataplane.ipsec.rivals import ahead_of
from dataplane.ipsec.values import (
    PolicyId,
    PolicyWish,
    StateId,
    StateWish,
    Template,
)

_OTHER: Final = "?"  # stands for what is not as it was wished for, in a life or a template
_ID_BITS: Final = 4

K = TypeVar("K")
V = TypeVar("V")


class Present:
    def __init__(self, reqid: int) -> None:
        self._reqid = reqid
        self._own: frozenset[str] = frozenset()
        self._ring = KeyRing()
        self._states: DeltaTracker[StateId, StateWish] = DeltaTracker()
        self._policies: DeltaTracker[PolicyId, PolicyWish] = DeltaTracker()
        self._listed: dict[StateId, KernelState] = {}  # of ours, and not written since
        self._foreign_states: set[StateId] = set()
        self._foreign_policies: set[PolicyId] = set()
        self._early: list[KernelPolicy] = []  # of others, and before the last of ours
        self._ahead: list[str] | None = None  # of these, before ours that are about the same
        self._mine: set[StateId] = set()  # states that were ours once, and are still there
        self._sent: set[StateWish] = set()  # that there has been once
        self._compared: dict[StateWish, bytes] = {}  # -> fingerprint, by the keys in use
        self._numbers = Numbers()
        self._touched_states: dict[StateId, None] = {}  # since it was last told
        self._touched_policies: dict[PolicyId, None] = {}
        self._told_states: dict[StateId, StateWish] = {}
        self._told_policies: dict[PolicyId, PolicyWish] = {}
        self.doubtful: tuple[str, ...] = ()  # in words

    # ---------------------------------------------------------------- what should be

    def own(self, addresses: frozenset[str]) -> bool:
        """Addresses of this node.  Whether they are others than before."""
        before, self._own = self._own, addresses
        return before != addresses

    def offer_keys(self, ring: KeyRing) -> None:
        """States are compared with the keys of this one from now on."""
        self._ring = ring
        self._compared.clear()
        for name in list(self._listed):
            self._judge(name)

    def begin_life(self) -> None:
        """From now on no key is one that was used before."""
        self._sent.clear()

    def desire(
        self,
        states: Mapping[StateId, StateWish | None],
        policies: Mapping[PolicyId, PolicyWish | None],
    ) -> None:
        """What has changed; None: no longer wished for."""
        for state, wish in states.items():
            self._states.desire(state, wish)
            self._judge(state)
        for policy, policy_wish in policies.items():
            self._policies.desire(policy, policy_wish)
            self._ahead = None

    # ---------------------------------------------------------------- what is there

    def found(self, states: Iterable[KernelState], policies: Iterable[KernelPolicy]) -> None:
        """Everything of the family, whoever made it."""
        doubtful: list[str] = []
        before = set(self._states.actual)
        self._listed.clear()
        self._foreign_states.clear()
        for state in states:
            doubtful += self._find_state(state)
        for name in before - self._listed.keys():
            self._note_state(name, None)
        there: dict[PolicyId, PolicyWish] = {}
        self._numbers = Numbers()
        self._foreign_policies.clear()
        self._early, self._ahead = [], None
        for policy in policies:
            doubtful += self._find_policy(policy, there)
        self._touched_policies.update(dict.fromkeys([*self._policies.actual, *there]))
        self._policies.observe_all(there)
        self.doubtful = tuple(sorted(doubtful))

    def _find_state(self, state: KernelState) -> Iterator[str]:
        """In words if it is doubtful."""
        name = state.id
        wished = name in self._states.desired and name.spi >> _ID_BITS
        # The SPI of a pair cannot be anybody else's by chance: with another reqid it is of before.
        reqid = state.reqid if wished or name in self._mine else self._reqid
        claim = claim_of_state(state, reqid, self._own)
        if claim == "ours" or (claim == "doubtful" and name in self._mine):
            self._listed[name] = state
            self._judge(name)
            return
        self._foreign_states.add(name)
        if claim == "doubtful":
            yield f"state {_told(name)}"

    def _judge(self, name: StateId) -> None:
        """Compare what was listed with what is wished for."""
        state, wish = self._listed.get(name), self._states.desired.get(name)
        self._touched_states[name] = None
        if state is None:
            return
        same_key = wish is not None and self._has_key(state, wish)
        if wish is not None and same_key and state.fits(wish, self._reqid):
            self._note_state(name, wish)
            return
        if wish is not None and same_key and _counts(wish):
            self._sent.add(wish)  # it is that one in all but a detail
        receives, key = state.set_mark != 0, name.spi % (1 << _ID_BITS)
        self._note_state(name, StateWish(name, state.source, key, receives, life=_OTHER))

    def _has_key(self, state: KernelState, wish: StateWish) -> bool:
        key = self._ring.get(wish.key)
        if key is None:
            return True
        if state.algorithm != key.algorithm:
            return False
        if not state.fingerprint:
            return True
        known = self._compared.get(wish, b"")
        if not known:
            with key.material(wish) as material:
                known = self._compared[wish] = material.fingerprint
        return hmac.compare_digest(known, state.fingerprint)

    def _find_policy(
        self, policy: KernelPolicy, there: dict[PolicyId, PolicyWish]
    ) -> Iterator[str]:
        """In words if it is doubtful."""
        name, number = policy.id, number_of(policy.index)
        claim = claim_of_policy(policy, self._reqid)
        if claim == "ours" and name is not None and number is not None:
            # One of another reqid is of before, and is like none that can be wished for.
            other = Template(_OTHER, _OTHER) if policy.templates else None
            wish = policy.wish(self._reqid)
            there[name] = wish or PolicyWish(name, policy.priority, policy.action, other)
            self._numbers.note(number)
            return
        if name is not None:
            self._foreign_policies.add(name)
        if policy.priority < LAST_PRIORITY:
            self._early.append(policy)
        if claim == "doubtful":
            selector = policy.selector
            yield f"policy {policy.direction} {selector.source} to {selector.destination}"

    def done(self, put: Put) -> None:
        """The kernel has taken it."""
        wish = put.wish
        if isinstance(wish, StateWish):
            self._listed.pop(wish.id, None)
            self._note_state(wish.id, wish)
        else:
            self._note_policy(wish.id, wish)

    def gone(self, name: StateId | PolicyId) -> None:
        if isinstance(name, StateId):
            self._listed.pop(name, None)
            self._note_state(name, None)
            return
        self._note_policy(name, None)

    def _note_state(self, name: StateId, state: StateWish | None) -> None:
        self._states.observe(name, state)
        self._touched_states[name] = None
        if state is None:
            self._mine.discard(name)
            return
        self._mine.add(name)
        if _counts(state) and state.life != _OTHER:
            self._sent.add(state)

    def _note_policy(self, name: PolicyId, policy: PolicyWish | None) -> None:
        self._policies.observe(name, policy)
        self._touched_policies[name] = None

    # ---------------------------------------------------------------- out

    def keep(
        self, state_stays: Callable[[StateWish], bool], policy_stays: Callable[[PolicyWish], bool]
    ) -> None:
        """Of what is there of ours that is wished for, and nothing else."""
        states, policies = self._states.actual, self._policies.actual
        kept = {name: s if state_stays(s) else None for name, s in states.items()}
        kept_policies = {name: p if policy_stays(p) else None for name, p in policies.items()}
        self.desire(
            dict.fromkeys(self._states.desired) | kept,
            dict.fromkeys(self._policies.desired) | kept_policies,
        )

    @property
    def closed(self) -> bool:
        """Whether nothing that is to be blocked goes in clear: a tunnel in its place will do."""
        wanting = (put.wish.id for put in self.additions() if put.stage == "close")
        there = (self._policies.actual.get(n) for n in wanting if isinstance(n, PolicyId))
        return all(p is not None and (p.template or p.action == "block") for p in there)

    @property
    def sizes(self) -> tuple[int, int]:
        """How many states and policies of ours are there."""
        return len(self._states.actual), len(self._policies.actual)

    @property
    def settled(self) -> bool:
        return self._states.in_sync and self._policies.in_sync

    def additions(self) -> list[Put]:
        """Without what cannot be: in the place of others, or under a key that was used up."""
        states = [w for w in self._states.updates().values() if w.id not in self._foreign_states]
        policies = self._policies.updates().values()
        return plan.additions(
            [wish for wish in states if wish not in self._sent and wish.key in self._ring],
            [wish for wish in policies if wish.id not in self._foreign_policies],
            present_states=self._states.actual,
            present_policies=self._policies.actual,
        )

    def removals(self) -> list[Remove]:
        return plan.removals(
            self._states.deletions(),
            self._policies.deletions(),
            present_states=self._states.actual,
            present_policies=self._policies.actual,
        )

    def new_index(self, policy: PolicyId) -> int:
        """For one that is to be made: what no other has."""
        family = family_of(policy.selector.destination)
        return index_of(self._numbers.take(), family, policy.direction)

    @property
    def spent(self) -> str:
        again = [w for w in self._states.updates().values() if w in self._sent]
        return f"{len(again)} sending states are not there as they were made" if again else ""

    @property
    def adopted(self) -> dict[StateId, str]:
        """States of ours, with their source."""
        return {name: state.source for name, state in self._states.actual.items()}

    def has(self, state: StateId) -> bool:
        """Whether it is there, and ours."""
        return state in self._states.actual

    @property
    def ways_out(self) -> list[PolicyId]:
        """Policies that lead out through a tunnel."""
        policies = self._policies.actual.values()
        return [p.id for p in policies if p.template is not None and p.id.direction == "out"]

    @property
    def lost_ways(self) -> list[PolicyId]:
        """Policies that lead out by a state that is not there: somebody has taken it away."""
        states = self._states.actual
        return [
            policy.id
            for policy in self._policies.actual.values()
            if (template := policy.template) is not None
            and template.spi
            and StateId(template.destination, template.spi) not in states
        ]

    @property
    def sending(self) -> int:
        """How many states of ours are for sending."""
        return sum(not state.receives for state in self._states.actual.values())

    def take_observed(
        self,
    ) -> tuple[dict[StateId, StateWish | None], dict[PolicyId, PolicyWish | None]]:
        """What has changed since the last time; of states, those count that are as wished."""
        states, policies = self._states, self._policies
        found: dict[StateId, StateWish | None] = {}
        for name in self._touched_states:
            state = states.actual.get(name)
            found[name] = state if state == states.desired.get(name) else None
        found_policies = {name: policies.actual.get(name) for name in self._touched_policies}
        self._touched_states.clear()
        self._touched_policies.clear()
        return _news(self._told_states, found), _news(self._told_policies, found_policies)

    @property
    def ahead(self) -> list[str]:
        """Policies of others that the kernel asks before ours, in words."""
        if self._ahead is None:
            wishes = self._policies.desired.values() if self._early else ()
            self._ahead = sorted(ahead_of(self._early, wishes))
        return self._ahead

    @property
    def in_the_way(self) -> list[str]:
        """Of what is wished for, in words."""
        states = self._states.desired.keys() & self._foreign_states
        policies = self._policies.desired.keys() & self._foreign_policies
        return sorted(
            [
                *(f"state {_told(name)}" for name in states),
                *(
                    f"policy {p.direction} {p.selector.source} to {p.selector.destination}"
                    for p in policies
                ),
            ]
        )


def _counts(state: StateWish) -> bool:
    """Whether its key is nobody else's, and it uses that up."""
    return bool(state.life) and not state.receives


def _told(name: StateId) -> str:
    return f"to {name.destination} SPI {name.spi:#x}"


def _news(told: dict[K, V], found: Mapping[K, V | None]) -> dict[K, V | None]:
    """Of `found`, what is another than was told before."""
    news = {name: value for name, value in found.items() if told.get(name) != value}
    for name, value in news.items():
        if value is None:
            told.pop(name, None)
        else:
            told[name] = value
    return news
