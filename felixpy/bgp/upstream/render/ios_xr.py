"""Cisco IOS-XR: sets and policies are replaced as wholes, all at once with `commit`.

Source: section 7.3 of the BGP reference; loaded by no device.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from felixpy.bgp.upstream.model import (
    Family,
    Group,
    PathSet,
    Policy,
    PrefixSet,
    Session,
    Span,
    Term,
    Upstream,
)
from felixpy.bgp.upstream.render.common import PLACEHOLDER, comment, document, password_note
from felixpy.bgp.upstream.render.route_maps import regular_expression

_MARK: Final = "!"
_DIALECT: Final = ("paste it after: configure; then: commit (it takes effect as a whole)",)
# an empty set is refused: one address that is nobody's, and never announced
_NOTHING: Final[dict[Family, str]] = {4: "0.0.0.0/32", 6: "::/128"}


def render(upstream: Upstream) -> str:
    lines: list[str] = []
    for prefixes in upstream.sets:
        lines += _set(prefixes)
    for path in upstream.paths:
        lines += _paths(path)
    for policy in upstream.policies:
        lines += _policy(policy)
    if upstream.router_as:
        lines += _bgp(upstream)
    return document(upstream, lines, _MARK, _DIALECT)


def _set(prefixes: PrefixSet) -> list[str]:
    entries = [_span(span) for span in prefixes.spans] or [_NOTHING[prefixes.family]]
    commas = [*(f"  {entry}," for entry in entries[:-1]), f"  {entries[-1]}"]
    return [f"prefix-set {prefixes.name}", *commas, "end-set"]


def _span(span: Span) -> str:
    length = int(span.net.partition("/")[2])
    if span.low == span.high:
        return span.net if span.low == length else f"{span.net} eq {span.low}"
    lower = f" ge {span.low}" if span.low > length else ""
    return f"{span.net}{lower} le {span.high}"


def _paths(path: PathSet) -> list[str]:
    expression = regular_expression(path)
    return [f"as-path-set {path.name}", f"  ios-regex '{expression}'", "end-set"]


def _policy(policy: Policy) -> Iterator[str]:
    yield comment(_MARK, policy.about)
    yield f"route-policy {policy.name}"
    for number, term in enumerate(policy.terms[:-1]):
        yield f"  {'elseif' if number else 'if'} {_condition(term)} then"
        yield f"    {_verb(term)}"
    yield "  else"
    yield f"    {_verb(policy.terms[-1])}"
    yield "  endif"
    yield "end-policy"


def _condition(term: Term) -> str:
    inside = f"{'' if term.inside else 'not '}destination in {term.prefixes}"
    return f"{inside} and as-path in {term.path}" if term.path else inside


def _verb(term: Term) -> str:
    return "pass" if term.permit else "drop"


def _bgp(upstream: Upstream) -> Iterator[str]:
    yield f"router bgp {upstream.router_as}"
    for group in upstream.groups:
        yield from _group(group)
    for session in upstream.sessions:
        yield from _neighbor(session)


def _group(group: Group) -> Iterator[str]:
    yield comment(f" {_MARK}", f"neighbor ADDRESS / use neighbor-group {group.name}")
    yield f" neighbor-group {group.name}"
    yield from _family(group.family, group.inward, group.outward)
    yield " exit"


def _neighbor(session: Session) -> Iterator[str]:
    peering = session.peering
    yield comment(f" {_MARK}", f"node {session.node}")
    yield f" neighbor {peering.node_address}"
    yield f"  remote-as {peering.node_as}"
    if note := password_note(session):
        yield comment(f"  {_MARK}", note)
        yield f"  password clear {PLACEHOLDER}"
    if peering.ttl_security:
        yield "  ttl-security"
    if peering.ttl_security > 1 or (not peering.direct and peering.node_as != peering.router_as):
        yield f"  ebgp-multihop {peering.ttl_security or 255}"
    limit = f"   maximum-prefix {session.most} 90"
    yield from _family(peering.family, session.inward, session.outward, limit)
    yield " exit"


def _family(family: Family, inward: str, outward: str, *more: str) -> Iterator[str]:
    yield f"  address-family ipv{family} unicast"
    yield f"   route-policy {inward} in"
    yield f"   route-policy {outward} out"
    yield "   soft-reconfiguration inbound"
    yield from more
    yield "  exit"
