"""BIRD 2, as ToR, spine or border: part of a configuration file, or a file that it includes.

A refused route says in `calico_why` why, by the numbers of dataplane.bird.reasons:
`show route filtered all`.  Each filter holds a checksum of its sets: BIRD 2.0.12 does not notice
every change of a set (see dataplane.bird.render.sets), and would keep what the new one refuses.
Source: section 7.1 of the BGP reference.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Final

from dataplane.bird import reasons
from felixpy.bgp.upstream import names
from felixpy.bgp.upstream.model import (
    WIDTH,
    Family,
    Group,
    Policy,
    PrefixSet,
    Session,
    Span,
    Term,
    Upstream,
)
from felixpy.bgp.upstream.render.common import PLACEHOLDER, comment, document, password_note

_MARK: Final = "#"
_DIALECT: Final = ("show route filtered all: calico_why is the reason of a refusal",)
_GROUP_LIMIT: Final = 100_000  # routes of one neighbour that the datastore does not know
_FUNCTIONS: Final = f"""\
attribute int calico_why;
function calico_sealed(int checksum) {{ }}
function calico_refuse(int reason) {{ calico_why = reason; reject; }}
function calico_not_below(prefix set inside; prefix set allowed) {{
  if net.len = 0 then calico_refuse({reasons.DEFAULT_ROUTE});
  if net !~ inside then calico_refuse({reasons.NOT_IN_POOLS});
  if net !~ allowed then calico_refuse({reasons.NOT_OWNED});
  calico_refuse({reasons.TRANSIT});
}}"""


def render(upstream: Upstream) -> str:
    paths = {path.name: path.origin for path in upstream.paths}
    sets = {prefixes.name: _set(prefixes) for prefixes in upstream.sets}
    lines = [*sets.values(), *_FUNCTIONS.splitlines()]
    for policy in upstream.policies:
        lines += _filter(policy, sets, paths)
    for group in upstream.groups:
        lines += _template(group, upstream.router_as)
    for session in upstream.sessions:
        lines += _protocol(session)
    return document(upstream, lines, _MARK, _DIALECT)


def _set(prefixes: PrefixSet) -> str:
    spans = [_span(span, prefixes.family) for span in prefixes.spans]
    if len(spans) < 2:
        return f"define '{prefixes.name}' = [ {''.join(spans)} ];"
    return "\n".join((f"define '{prefixes.name}' = [", *_separated(spans), "];"))


def _separated(spans: list[str]) -> list[str]:
    """One on each line: what changes between two versions is then seen by `diff`."""
    return [*(f"  {span}," for span in spans[:-1]), f"  {spans[-1]}"]


def _span(span: Span, family: Family) -> str:
    length = int(span.net.partition("/")[2])
    if span.low == span.high == length:
        return span.net
    if (span.low, span.high) == (length, WIDTH[family]):
        return f"{span.net}+"
    return f"{span.net}{{{span.low},{span.high}}}"


def _filter(policy: Policy, sets: Mapping[str, str], paths: dict[str, int]) -> list[str]:
    used = "\n".join(sets[name] for name in _used(policy))
    return [
        comment(_MARK, policy.about),
        f"filter '{policy.name}' {{",
        f"  calico_sealed({zlib.crc32(used.encode())});",
        *(f"  {_term(term, paths)}" for term in policy.terms[:-1]),
        f"  {_refusal(policy)}",
        "}",
    ]


def _term(term: Term, paths: dict[str, int]) -> str:
    condition = f"net {'~' if term.inside else '!~'} '{term.prefixes}'"
    if term.path:
        origin = paths[term.path]
        condition += f" && bgp_path ~ [= {f'{origin} +' if origin else ''} =]"
    action = "accept" if term.permit else f"calico_refuse({reasons.FROM_OUTSIDE})"
    return f"if {condition} then {action};"


def _refusal(policy: Policy) -> str:
    if policy.refuses == "above":
        return f"calico_refuse({reasons.FROM_OUTSIDE});"
    return f"calico_not_below('{_cluster(policy)}', '{policy.terms[0].prefixes}');"


def _used(policy: Policy) -> list[str]:
    """The names of the sets that its filter asks."""
    found = [term.prefixes for term in policy.terms if term.prefixes]
    return found if policy.refuses == "above" else [*found, _cluster(policy)]


def _cluster(policy: Policy) -> str:
    return names.set_name("CLUSTER", policy.family)


def _template(group: Group, router_as: int) -> list[str]:
    return [
        comment(_MARK, f"protocol bgp NAME from '{_own(group)}' {{ neighbor ADDRESS as NUMBER; }}"),
        f"template bgp '{_own(group)}' {{",
        f"  local as {router_as};",
        *_channel(group.family, group.inward, group.outward, _GROUP_LIMIT),
        "}",
    ]


def _protocol(session: Session) -> list[str]:
    peering = session.peering
    note = password_note(session)
    reach = "direct" if peering.direct else f"multihop {peering.ttl_security or ''}".rstrip()
    return [
        comment(_MARK, f"node {session.node}"),
        f"protocol bgp '{_own(session)}' {{",
        f"  local {peering.router_address} as {peering.router_as};",
        f"  neighbor {peering.node_address} as {peering.node_as};",
        f"  {reach};",
        *(["  ttl security on;"] if peering.ttl_security else []),
        *([f'  password "{PLACEHOLDER}"; {comment(_MARK, note)}'] if note else []),
        *_channel(peering.family, session.inward, session.outward, session.most),
        "}",
    ]


def _own(named: Group | Session) -> str:
    """BIRD has one space of names for sets, filters and protocols."""
    return f"{named.name}-BGP"


def _channel(family: Family, inward: str, outward: str, most: int) -> list[str]:
    return [
        f"  ipv{family} {{",
        "    import keep filtered;",
        f"    import limit {most} action block;",
        f"    import filter '{inward}';",
        f"    export filter '{outward}';",
        "  };",
    ]
