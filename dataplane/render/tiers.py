"""The tiers of one endpoint chain: tiers in order in, the rules that walk through them out.

    start of a tier     pass is cleared
    each group          unless something passed: jump; accepted: return
    end of the tier     nothing passed: deny, where both the chain and the tier's default deny

A tier without a policy in the chain's direction is not there; one with only staged policies
denies nothing. Source: projectcalico/calico felix/rules/endpoints.go; section 1.7 of the rules
reference.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from calc_graph.model import PolicyKey
from calc_graph.updates import TierPolicies
from dataplane.chains import Chain
from dataplane.render import text
from dataplane.render.actions import spoken
from dataplane.render.groups import SelectorOf, group_policies
from dataplane.render.names import Direction
from dataplane.settings import MarkBits


class TierRules(NamedTuple):
    """`enforced` tells whether any policy is jumped to."""

    bodies: tuple[str, ...]
    groups: tuple[Chain, ...]
    enforced: bool


def tier_rules(
    tiers: Iterable[TierPolicies],
    direction: Direction,
    selector_of: SelectorOf,
    marks: MarkBits,
    *,
    deny: Literal["DROP", "REJECT"] | None,
    untracked: bool = False,
) -> TierRules:
    """`deny` is the action at the end of a tier, None where tiers do not end in one.

    `untracked` takes accepted packets out of connection tracking.
    """
    accepted = text.mark_set(marks.accept)
    after_jump = [f"{accepted} {text.NOTRACK}"] if untracked else []
    after_jump.append(text.body(text.comment("Return if policy accepted"), accepted, text.RETURN))
    not_passed = text.mark_clear(marks.passed)
    bodies: list[str] = []
    groups: list[Chain] = []
    enforced_anywhere = False
    for tier in tiers:
        policies = _policies(tier, direction)
        if not policies:
            continue
        start = text.comment(f"Start of tier {tier.name}")
        bodies.append(f"{start} {text.clear_mark(marks.passed)}")
        enforced = any(not key.staged for key in policies)
        enforced_anywhere |= enforced
        for group in group_policies(policies, direction, selector_of):
            for target in group.jump_targets():
                bodies += [f"{not_passed} {text.jump(target)}", *after_jump]
            chain = group.chain(marks)
            if chain is not None:
                groups.append(chain)
        if deny is not None and enforced and tier.default_action != "Pass":
            end = f"End of tier {tier.name}. {spoken(deny)} if no policies passed packet"
            bodies.append(text.body(text.comment(end), not_passed, text.verdict(deny)))
    return TierRules(tuple(bodies), tuple(groups), enforced_anywhere)


def _policies(tier: TierPolicies, direction: Direction) -> tuple[PolicyKey, ...]:
    return tier.ingress if direction == "ingress" else tier.egress
