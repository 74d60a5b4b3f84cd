"""Juniper Junos: braces, with `replace:` before each thing that takes an earlier one's place.

Sets are policy-statements that others ask (`from policy`): one that accepts nothing matches
nothing.  Within one term the longest net that covers a route decides alone whether the term
matches, whatever its range; so nets with different ranges stand in different terms.
Source: section 7.3 of the BGP reference; loaded by no device.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from felixpy.bgp.upstream.model import (
    WIDTH,
    Family,
    Group,
    PathSet,
    Policy,
    PrefixSet,
    Session,
    Span,
    Upstream,
)
from felixpy.bgp.upstream.render.common import PLACEHOLDER, comment, document, password_note

_MARK: Final = "#"
_DIALECT: Final = (
    "paste it after: load replace terminal; then: commit (it takes effect as a whole)",
    "only routes of BGP are told: put a term of your own first for a default route from elsewhere",
)
_INET: Final[dict[Family, str]] = {4: "inet", 6: "inet6"}


def render(upstream: Upstream) -> str:
    lines = ["policy-options {"]
    for prefixes in upstream.sets:
        lines += _indented(_set(prefixes))
    lines += _indented(_path(path) for path in upstream.paths)
    for policy in upstream.policies:
        lines += _indented(_policy(policy))
    lines.append("}")
    if upstream.router_as:
        lines += _protocols(upstream)
    return document(upstream, lines, _MARK, _DIALECT)


def _set(prefixes: PrefixSet) -> Iterator[str]:
    yield f"replace: policy-statement {prefixes.name} {{"
    by_range: dict[str, list[Span]] = {}
    for span in prefixes.spans:
        by_range.setdefault(_range(span, prefixes.family), []).append(span)
    for number, (range_, spans) in enumerate(by_range.items(), 1):
        yield f"    term nets{number} {{"
        yield "        from {"
        yield f"            family {_INET[prefixes.family]};"
        yield from (f"            route-filter {span.net} {range_};" for span in spans)
        yield "        }"
        yield "        then accept;"
        yield "    }"
    yield "    term rest {"
    yield "        then reject;"
    yield "    }"
    yield "}"


def _range(span: Span, family: Family) -> str:
    length = int(span.net.partition("/")[2])
    if span.low == span.high == length:
        return "exact"
    if (span.low, span.high) == (length, WIDTH[family]):
        return "orlonger"
    return f"prefix-length-range /{span.low}-/{span.high}"


def _path(path: PathSet) -> str:
    return f'replace: as-path {path.name} "{f"{path.origin}+" if path.origin else "()"}";'


def _policy(policy: Policy) -> Iterator[str]:
    yield comment(_MARK, policy.about)
    yield f"replace: policy-statement {policy.name} {{"
    outward = policy.name.endswith("-OUT")
    for number, term in enumerate(policy.terms[:-1], 1):
        if term.inside:
            matches = [f"policy {term.prefixes};"]
            if term.path:
                matches.append(f"as-path {term.path};")
            yield from _term(f"set{number}", matches, permit=term.permit)
        else:
            # what the set has goes first, and by the next term the rest is what it has not
            yield from _term("cluster", [f"policy {term.prefixes};"], permit=not term.permit)
            own = [f"family {_INET[policy.family]};", *(["protocol bgp;"] if outward else [])]
            yield from _term("others", own, permit=term.permit)
    yield from _term("rest", [], permit=policy.terms[-1].permit)
    yield "}"


def _term(name: str, matches: Iterable[str], *, permit: bool) -> Iterator[str]:
    yield f"    term {name} {{"
    if matches:
        yield "        from {"
        yield from (f"            {match}" for match in matches)
        yield "        }"
    yield f"        then {'accept' if permit else 'reject'};"
    yield "    }"


def _protocols(upstream: Upstream) -> Iterator[str]:
    yield comment(_MARK, f"routing-options autonomous-system has to be {upstream.router_as}")
    yield "protocols {"
    yield "    bgp {"
    for group in upstream.groups:
        yield from _indented(_group(group), 2)
    if upstream.sessions:
        yield "        group CALICO-NODES {"
        for session in upstream.sessions:
            yield from _indented(_neighbor(session), 3)
        yield "        }"
    yield "    }"
    yield "}"


def _group(group: Group) -> Iterator[str]:
    yield comment(_MARK, f"set protocols bgp group {group.name} neighbor ADDRESS peer-as NUMBER")
    yield f"group {group.name} {{"
    yield f"    import {group.inward};"
    yield f"    export {group.outward};"
    yield f"    family {_INET[group.family]} {{"
    yield "        unicast;"
    yield "    }"
    yield "}"


def _neighbor(session: Session) -> Iterator[str]:
    peering = session.peering
    yield comment(_MARK, f"node {session.node}")
    yield f"replace: neighbor {peering.node_address} {{"
    yield f"    peer-as {peering.node_as};"
    if note := password_note(session):
        yield f"    {comment(_MARK, note)}"
        yield f'    authentication-key "{PLACEHOLDER}";'
    if peering.ttl_security:
        # what Junos has of TTL security is a firewall filter; that end sends what the node expects
        yield "    multihop {"
        yield "        ttl 255;"
        yield "    }"
    elif not peering.direct and peering.node_as != peering.router_as:
        yield "    multihop;"
    yield f"    import {session.inward};"
    yield f"    export {session.outward};"
    yield f"    family {_INET[peering.family]} {{"
    yield "        unicast {"
    yield "            prefix-limit {"
    yield f"                maximum {session.most};"
    yield "            }"
    yield "        }"
    yield "    }"
    yield "}"


def _indented(lines: Iterable[str], depth: int = 1) -> Iterator[str]:
    return (f"{'    ' * depth}{line}" for line in lines)
