"""What the kernel has of states and policies against what is wished for, one family: no I/O.

    in   desire      wishes that have changed
         found       all that was listed
    out  additions, removals     what is to be written (plan.py)
         adopted                 states of ours, with their source
         take_observed           what has come to be there as wished, or has gone
         doubtful, in_the_way    what is left alone, and what of it stands where ours should be

Of states: held_states.py.  Of policies: held_policies.py.  These are told what was surely written
since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from dataplane.ipsec import plan
from dataplane.ipsec.held_policies import HeldPolicies
from dataplane.ipsec.held_states import HeldStates
from dataplane.ipsec.kernel import KernelPolicy, KernelState
from dataplane.ipsec.plan import Puts, Removals
from dataplane.ipsec.values import PolicyId, PolicyWish, StateId, StateWish


class Present:
    def __init__(self, reqid: int) -> None:
        self.states = HeldStates(reqid)
        self.policies = HeldPolicies(reqid)
        self.doubtful: tuple[str, ...] = ()  # in words

    def desire(
        self,
        states: Mapping[StateId, StateWish | None],
        policies: Mapping[PolicyId, PolicyWish | None],
    ) -> None:
        """What has changed; None: no longer wished for."""
        self.states.desire(states)
        self.policies.desire(policies)

    def found(self, states: Iterable[KernelState], policies: Iterable[KernelPolicy]) -> None:
        """Everything of the family, whoever made it."""
        self.doubtful = tuple(sorted([*self.states.found(states), *self.policies.found(policies)]))

    def keep(
        self, state_stays: Callable[[StateWish], bool], policy_stays: Callable[[PolicyWish], bool]
    ) -> None:
        """Of what is there of ours that is wished for, and nothing else."""
        states, policies = self.states.actual, self.policies.actual
        kept = {name: s if state_stays(s) else None for name, s in states.items()}
        kept_policies = {name: p if policy_stays(p) else None for name, p in policies.items()}
        self.desire(
            dict.fromkeys(self.states.desired) | kept,
            dict.fromkeys(self.policies.desired) | kept_policies,
        )

    # ---------------------------------------------------------------- out

    @property
    def sizes(self) -> tuple[int, int]:
        """How many states and policies of ours are there."""
        return len(self.states.actual), len(self.policies.actual)

    @property
    def settled(self) -> bool:
        return self.states.settled and self.policies.settled

    def additions(self, *, only_new: bool = False) -> list[Puts]:
        """Without what cannot be: in the place of others, or under a key that was used up.

        `only_new`: without what is exchanged.
        """
        if self.settled:
            return []
        states, policies = self.states.wanting(), self.policies.wanting()
        if only_new:
            states = [state for state in states if state.id not in self.states.actual]
            policies = [policy for policy in policies if policy.id not in self.policies.actual]
        return plan.additions(states, policies, present_policies=self.policies.actual)

    def removals(self) -> list[Removals]:
        return [] if self.settled else plan.removals(self.states.going(), self.policies.going())

    @property
    def adopted(self) -> dict[StateId, str]:
        """States of ours, with their source."""
        return {name: state.source for name, state in self.states.actual.items()}

    @property
    def lost_ways(self) -> bool:
        """Whether a policy leads out by a state that is not there: somebody has taken it away."""
        templates = [p.template for p in self.policies.actual.values() if p.template is not None]
        ways = {StateId(each.destination, each.spi) for each in templates if each.spi}
        return not ways <= self.states.actual.keys()

    def take_observed(
        self,
    ) -> tuple[dict[StateId, StateWish | None], dict[PolicyId, PolicyWish | None]]:
        """What has changed since the last time; of states, those count that are as wished."""
        return self.states.take_observed(), self.policies.take_observed()

    @property
    def in_the_way(self) -> list[str]:
        """Of what is wished for, in words."""
        return sorted([*self.states.in_the_way, *self.policies.in_the_way])
