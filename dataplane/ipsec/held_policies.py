"""What the kernel has of policies against what is wished for, one family: no I/O.

in   desire      wishes that have changed
     found       all that was listed
     done, gone  what was surely written since
out  wanting, going          the difference
     new_indices             the numbers of those that are to be made
     take_observed           what has come to be there, or has gone
     ahead, in_the_way       what of others keeps ours from being asked, in words
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from dataplane.delta_tracker import DeltaTracker
from dataplane.ipsec.kernel import KernelPolicy
from dataplane.ipsec.news import News
from dataplane.ipsec.ours import LAST_PRIORITY, SIGNATURE, SIGNED, Numbers, claim_of_policy
from dataplane.ipsec.rivals import ahead_of
from dataplane.ipsec.values import Direction, PolicyId, PolicyWish, Selector, Template

_OTHER: Final = Template("?", "?")


class HeldPolicies:
    def __init__(self, reqid: int) -> None:
        self._reqid = reqid
        self._tracker: DeltaTracker[PolicyId, PolicyWish] = DeltaTracker()
        self._foreign: set[PolicyId] = set()
        self._early: list[KernelPolicy] = []  # of others, and before the last of ours
        self._ahead: list[str] | None = None  # of these, before ours that are about the same
        self._numbers = Numbers()
        self._news: News[PolicyId, PolicyWish] = News()

    def desire(self, wishes: Mapping[PolicyId, PolicyWish | None]) -> None:
        """What has changed; None: no longer wished for."""
        if wishes:
            self._ahead = None
            self._tracker.desire_these(wishes)

    def found(self, policies: Iterable[KernelPolicy]) -> list[str]:
        """Everything of the family, whoever made it.  What is doubtful, in words."""
        doubtful: list[str] = []
        there: dict[PolicyId, PolicyWish] = {}
        indices: list[int] = []
        self._foreign.clear()
        self._early, self._ahead = [], None
        for policy in policies:
            signed, claim = policy.index & SIGNED == SIGNATURE, "ours"
            wish = policy.wish(self._reqid) if signed else None
            if wish is None or wish.priority > LAST_PRIORITY:  # hardly any of ours
                claim = claim_of_policy(policy, self._reqid)
                wish = _as_another(policy) if claim == "ours" else None
            if signed and wish is not None:
                there[wish.id] = wish
                indices.append(policy.index)
                continue
            self._note_foreign(policy)
            if claim == "doubtful":
                doubtful.append(_told(policy.direction, policy.selector))
        self._numbers = Numbers(indices)
        self._news.touch(self._tracker.actual)
        self._news.touch(there)
        self._tracker.observe_all(there)
        return doubtful

    def _note_foreign(self, policy: KernelPolicy) -> None:
        name = policy.id
        if name is not None:
            self._foreign.add(name)
        if policy.priority < LAST_PRIORITY:
            self._early.append(policy)

    def done(self, wishes: Iterable[PolicyWish]) -> None:
        """The kernel has taken them."""
        there = {wish.id: wish for wish in wishes}
        self._tracker.observe_these(there)
        self._news.touch(there)

    def gone(self, names: Collection[PolicyId]) -> None:
        self._tracker.observe_gone(names)
        self._news.touch(names)

    # ---------------------------------------------------------------- out

    @property
    def desired(self) -> Mapping[PolicyId, PolicyWish]:
        return self._tracker.desired

    @property
    def actual(self) -> Mapping[PolicyId, PolicyWish]:
        """Of ours, as they were wished for, or as something else."""
        return self._tracker.actual

    @property
    def settled(self) -> bool:
        return self._tracker.in_sync

    def wanting(self) -> list[PolicyWish]:
        """Without those in the place of others."""
        return [w for name, w in self._tracker.updates().items() if name not in self._foreign]

    def going(self) -> dict[PolicyId, PolicyWish]:
        """What is there, and not wished for any more."""
        actual = self.actual
        return {name: actual[name] for name in self._tracker.deletions()}

    @property
    def closed(self) -> bool:
        """Whether nothing that is to be blocked goes in clear: a tunnel in its place will do."""
        blocks = [wish for wish in self.wanting() if wish.action == "block"]
        there = [self.actual.get(wish.id) for wish in blocks]
        return all(p is not None and (p.template or p.action == "block") for p in there)

    def new_indices(self, policies: Sequence[PolicyId]) -> list[int]:
        """For those that are to be made: what no other has."""
        return self._numbers.indices(policies)

    @property
    def ways_out(self) -> list[PolicyWish]:
        """Those that lead out through a tunnel."""
        return [
            policy
            for name, policy in self.actual.items()
            if policy.template is not None and name.direction == "out"
        ]

    def take_observed(self) -> dict[PolicyId, PolicyWish | None]:
        """What has changed since the last time."""
        return self._news.take(self._tracker.actual)

    @property
    def ahead(self) -> list[str]:
        """Policies of others that the kernel asks before ours, in words."""
        if self._ahead is None:
            wishes = self._tracker.desired.values() if self._early else ()
            self._ahead = sorted(ahead_of(self._early, wishes))
        return self._ahead

    @property
    def in_the_way(self) -> list[str]:
        """Of what is wished for, in words."""
        names = self._tracker.desired.keys() & self._foreign
        return [_told(name.direction, name.selector) for name in names]


def _as_another(policy: KernelPolicy) -> PolicyWish | None:
    """One of another reqid is of before, and is like none that can be wished for."""
    name = policy.id
    if name is None:
        return None
    template = _OTHER if policy.templates else None
    return PolicyWish(name, policy.priority, policy.action, template)


def _told(direction: Direction, selector: Selector) -> str:
    return f"policy {direction} {selector.source} to {selector.destination}"
