"""FRR: lines for `vtysh`, or for a file that frr-reload.py or `vtysh -f` reads.

Route-maps are written over: within the five seconds after a `no route-map` of one that a neighbour
has, bgpd 8.4.4 crashes when the removed map is next applied (seen with `show ... filtered-routes`:
it applies what it has freed).  A term written again has the one list that it names last.

Source: section 7.2 of the BGP reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from felixpy.bgp.upstream.model import FAMILIES, Family, PathSet, Session, Upstream
from felixpy.bgp.upstream.render.common import PLACEHOLDER, comment, document, password_note
from felixpy.bgp.upstream.render.route_maps import (
    MARK,
    WORD,
    Dialect,
    numbered,
    policy_lines,
    regular_expression,
)

_DIALECT: Final = ("paste it into vtysh, after: configure terminal",)


def render(upstream: Upstream) -> str:
    lines = list(
        policy_lines(upstream, Dialect(_prefixes, _paths, " ", ("exit",), forgets_maps=False))
    )
    if upstream.router_as:
        lines += _bgp(upstream)
    return document(upstream, lines, MARK, _DIALECT)


def _prefixes(name: str, family: Family, entries: list[str]) -> list[str]:
    start = f"{WORD[family]} prefix-list {name}"
    return [f"no {start}", *(f"{start} {entry}" for entry in numbered(entries))]


def _paths(path: PathSet) -> list[str]:
    start = f"bgp as-path access-list {path.name}"
    return [f"no {start}", f"{start} seq 5 permit {regular_expression(path)}"]


def _bgp(upstream: Upstream) -> Iterator[str]:
    yield f"router bgp {upstream.router_as}"
    yield " bgp ebgp-requires-policy"
    for session in upstream.sessions:
        yield from _neighbor(session)
    for group in upstream.groups:
        yield comment(f" {MARK}", f"neighbor ADDRESS peer-group {group.name}")
        yield f" neighbor {group.name} peer-group"
    for family in FAMILIES:
        yield f" address-family ipv{family} unicast"
        yield from (f"  {line}" for line in _family(upstream, family))
        yield " exit-address-family"
    yield "exit"


def _neighbor(session: Session) -> Iterator[str]:
    peering = session.peering
    start = f" neighbor {peering.node_address}"
    yield comment(f" {MARK}", f"node {session.node}")
    yield f"{start} remote-as {peering.node_as}"  # first: what precedes it has no effect
    if note := password_note(session):
        yield comment(f" {MARK}", note)
        yield f"{start} password {PLACEHOLDER}"
    if peering.ttl_security:
        yield f"{start} ttl-security hops {peering.ttl_security}"
    elif not peering.direct and peering.node_as != peering.router_as:
        yield f"{start} ebgp-multihop"


def _family(upstream: Upstream, family: Family) -> Iterator[str]:
    for session in upstream.sessions:
        whom = session.peering.node_address
        if session.peering.family == family:
            yield from _activated(whom, session.inward, session.outward)
            yield f"neighbor {whom} maximum-prefix {session.most} 90"
        elif family == 4:  # where all neighbours are active by default
            yield f"no neighbor {whom} activate"
    for group in upstream.groups:
        if group.family == family:
            yield from _activated(group.name, group.inward, group.outward)
        elif family == 4:
            yield f"no neighbor {group.name} activate"


def _activated(whom: str, inward: str, outward: str) -> Iterator[str]:
    yield f"neighbor {whom} activate"
    yield f"neighbor {whom} soft-reconfiguration inbound"
    yield f"neighbor {whom} route-map {inward} in"
    yield f"neighbor {whom} route-map {outward} out"
