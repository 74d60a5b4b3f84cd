"""Policies and profiles into their chains: one policy rule becomes one or more table rules.

    allow   match -> set accept; accept set -> return
    pass    match -> set pass;   pass set   -> return
    deny    match -> set drop;   drop set   -> the deny action
    log     match -> LOG

Where a policy requires encryption, what it allows goes to a fixed chain instead of returning: see
`encryption`.
In a profile there is no next tier: pass only ends the profile.  Felix marks the packet there too,
and a pass mark that a policy has left ends the profile for every packet.
Returns at the end of a chain are left out.  The first rule says whose chain it is; a chain
without rules is that comment. Differences from Felix: annotations are sorted (its map order
changes the ids from run to run, defect D10), and the rate limit of a log rule comes after its
match, so that only what would be logged counts (defect D14). Source: projectcalico/calico
felix/rules/policy.go; sections 3.4 and 3.5 of the rules reference.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from calc_graph.model import PolicyKey, ProfileKey
from calc_graph.updates import ActivePolicy, ActiveProfile, ActiveRule
from dataplane.chains import Chain
from dataplane.families import Family
from dataplane.render import text
from dataplane.render.actions import deny_action
from dataplane.render.encryption import ENCRYPTED
from dataplane.render.errors import RenderError, UnrenderableError
from dataplane.render.matches import match_rule
from dataplane.render.names import Direction, Table, policy_chain, profile_chain, short_kind
from dataplane.settings import RenderSettings

_SPECIFIER = re.compile(r"%[tknp]")


def policy_chains(
    key: PolicyKey,
    policy: ActivePolicy,
    family: Family,
    settings: RenderSettings,
    table: Table = "filter",
) -> tuple[Chain, Chain]:
    """The ingress and the egress chain; a direction without rules is a comment.

    The text is the same for every table unless the deny action is REJECT.  A staged policy is
    never enforced: do not ask. Raises RenderError, naming the key, for a rule that has no text.
    """
    full_name = f"{key.namespace}/{key.name}" if key.namespace else key.name
    specifiers = {
        "%t": policy.tier,
        "%k": short_kind(key.kind),
        "%n": key.name,
        "%p": full_name,
    }
    title, prefix = f"{key.kind} {full_name}", log_prefix(settings, specifiers)
    owner = _Owner(key, title, prefix, encrypted=policy.encrypted)
    chains = _Chains(owner, family, settings, table)
    return (
        Chain(policy_chain(key, "ingress"), chains.rules("ingress", policy.ingress)),
        Chain(policy_chain(key, "egress"), chains.rules("egress", policy.egress)),
    )


def profile_chains(
    name: str,
    profile: ActiveProfile,
    family: Family,
    settings: RenderSettings,
    table: Table = "filter",
) -> tuple[Chain, Chain]:
    """As `policy_chains`; the egress chain is needed in mangle too."""
    specifiers = {"%t": "", "%k": "pro", "%n": name, "%p": name}
    owner = _Owner(ProfileKey(name), f"Profile {name}", log_prefix(settings, specifiers))
    chains = _Chains(owner, family, settings, table)
    return (
        Chain(profile_chain(name, "ingress"), chains.rules("ingress", profile.ingress)),
        Chain(profile_chain(name, "egress"), chains.rules("egress", profile.egress)),
    )


class _Owner(NamedTuple):
    key: PolicyKey | ProfileKey
    title: str
    log_prefix: str
    encrypted: bool = False


class _Chains:
    """What the two chains of one owner have in common."""

    def __init__(
        self, owner: _Owner, family: Family, settings: RenderSettings, table: Table
    ) -> None:
        self._owner = owner
        self._family = family
        self._settings = settings
        self._deny = text.verdict(deny_action(settings, table))

    def rules(self, direction: Direction, rules: tuple[ActiveRule, ...]) -> tuple[str, ...]:
        notes: list[str] = []
        bodies: list[str] = []
        for index, rule in enumerate(rules):
            try:
                more = self._rule(direction, rule)
            except UnrenderableError as error:
                where = f"{direction} rule {index}: {error}"
                raise RenderError(self._owner.key, where) from error
            bodies += more
            notes += [_annotations(rule)] * len(more)
        # Felix reaches the end of the chain in the same way, so a return there says nothing.
        while bodies and bodies[-1].endswith(text.RETURN):
            bodies.pop()
        title = text.comment(f"{self._owner.title} {direction}")
        if not bodies:
            return (title,)
        bodies[0] = text.body(title, bodies[0])
        return tuple(map(text.body, notes, bodies))

    def _rule(self, direction: Direction, rule: ActiveRule) -> tuple[str, ...]:
        matched = match_rule(rule, self._family, self._settings.marks)
        if matched is None:
            return ()
        return *matched.before, *self._actions(direction, rule, matched.match)

    def _actions(self, direction: Direction, rule: ActiveRule, match: str) -> tuple[str, ...]:
        marks = self._settings.marks
        match rule.action:
            case "allow" if self._owner.encrypted:
                return _mark_then(match, marks.accept, text.goto(ENCRYPTED[direction]))
            case "allow":
                return _mark_then(match, marks.accept, text.RETURN)
            case "pass" if isinstance(self._owner.key, ProfileKey):
                return (text.body(match, text.RETURN),)
            case "pass":
                return _mark_then(match, marks.passed, text.RETURN)
            case "deny":
                return _mark_then(match, marks.drop, self._deny)
            case "log":
                return (text.body(match, self._log_limit(), text.log(self._owner.log_prefix)),)
            case unknown:
                raise UnrenderableError(f"bad action {unknown!r}")

    def _log_limit(self) -> str:
        rate = self._settings.log_rate_limit
        return text.limit(rate, self._settings.log_rate_limit_burst) if rate else ""


def _mark_then(match: str, mark: int, action: str) -> tuple[str, str]:
    return text.body(match, text.set_mark(mark)), f"{text.mark_set(mark)} {action}"


def _annotations(rule: ActiveRule) -> str:
    return text.body(*(text.comment(f"{key}={value}") for key, value in sorted(rule.annotations)))


def log_prefix(settings: RenderSettings, specifiers: dict[str, str]) -> str:
    """LogPrefix with a text in the place of each of "%t", "%k", "%n", "%p"."""
    prefix = settings.log_prefix or "calico-packet"
    return _SPECIFIER.sub(lambda found: specifiers[found[0]], prefix)
