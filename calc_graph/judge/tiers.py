"""The tiers of one endpoint in one direction, then its profiles: what they say of a packet.

    each tier       its policies in order, staged ones left out; the first rule that matches
                    decides: allow, deny, or pass, which goes on with the next tier
    end of a tier   deny, where a policy was asked and both the stage and the tier's default deny
    each profile    the same, but pass only ends the profile
    end             deny

Source: projectcalico/calico felix/rules/endpoints.go; sections 1.7 and 3.4 of the rules reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from calc_graph.judge.known import Known
from calc_graph.judge.programs import Program, of_profiles, of_tiers
from calc_graph.judge.rules import Facts
from calc_graph.judge.verdict import Direction, Hook, Outcome, Reason, Step
from calc_graph.model import EndpointKey
from calc_graph.updates import TierPolicies


class Site(NamedTuple):
    """Where a step is taken.  A hook is about one list of tiers of an endpoint."""

    hook: Hook
    interface: str
    direction: Direction
    endpoint: EndpointKey | None = None

    def step(self, outcome: Outcome, reason: Reason) -> Step:
        return Step(self.hook, self.interface, self.direction, outcome, reason, self.endpoint)


class Asked(NamedTuple):
    """`step` is None where nothing decided; `enforced` tells whether any policy was there to."""

    step: Step | None
    enforced: bool


def ask_tiers(
    known: Known,
    site: Site,
    facts: Facts,
    tiers: Iterable[TierPolicies],
    *,
    defaults: bool = True,
) -> Asked:
    """Without `defaults` a tier ends in nothing, whatever its default action."""
    key = (site.endpoint, site.hook, site.direction, facts.family, facts.protocol)
    program = known.tier_programs.get(key)
    if program is None:
        program = of_tiers(tiers, known.policies, *key[2:])
        known.tier_programs[key] = program
    return Asked(_first(program, site, facts, defaults=defaults), program.enforced)


def ask_profiles(known: Known, site: Site, facts: Facts, profiles: Sequence[str]) -> Step:
    key = (site.endpoint, site.direction, facts.family, facts.protocol)
    program = known.profile_programs.get(key)
    if program is None:
        program = of_profiles(profiles, known.profiles, *key[1:])
        known.profile_programs[key] = program
    step = _first(program, site, facts, defaults=False)
    return step or site.step("deny", Reason.NO_PROFILE)


def _first(program: Program, site: Site, facts: Facts, *, defaults: bool) -> Step | None:
    hook, interface, direction, endpoint = site
    for tier, profile, denies, entries in program.at(facts.destination_port):
        for test, policy, ready in entries:
            if not test(facts):
                continue
            if ready.action == "pass":
                break
            outcome: Outcome = "allow" if ready.action == "allow" else "deny"
            if ready.rule is None:
                reason = Reason.UNENFORCEABLE
            else:
                reason = Reason.POLICY if policy else Reason.PROFILE
            return Step(
                hook,
                interface,
                direction,
                outcome,
                reason,
                endpoint,
                tier,
                policy,
                profile,
                ready.number,
                ready.rule,
            )
        else:
            if denies and defaults:
                return Step(hook, interface, direction, "deny", Reason.TIER_END, endpoint, tier)
    return None
