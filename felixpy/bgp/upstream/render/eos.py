"""Arista EOS.  Source: section 7.3 of the BGP reference; loaded by no device."""

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

_DIALECT: Final = (
    "paste it after: configure session calico; then: commit (it takes effect as a whole)",
)


def render(upstream: Upstream) -> str:
    lines = list(policy_lines(upstream, Dialect(_prefixes, _paths, "   ", ("exit",))))
    if upstream.router_as:
        lines += _bgp(upstream)
    return document(upstream, lines, MARK, _DIALECT)


def _prefixes(name: str, family: Family, entries: list[str]) -> list[str]:
    start = f"{WORD[family]} prefix-list {name}"
    return [f"no {start}", start, *(f"   {entry}" for entry in numbered(entries)), "exit"]


def _paths(path: PathSet) -> list[str]:
    start = f"ip as-path access-list {path.name}"
    return [f"no {start}", f"{start} permit {regular_expression(path)} any"]


def _bgp(upstream: Upstream) -> Iterator[str]:
    yield f"router bgp {upstream.router_as}"
    yield "   bgp missing-policy direction in action deny"
    yield "   bgp missing-policy direction out action deny"
    for session in upstream.sessions:
        yield from _neighbor(session)
    for group in upstream.groups:
        yield comment(f"   {MARK}", f"neighbor ADDRESS peer group {group.name}")
        yield f"   neighbor {group.name} peer group"
    for family in FAMILIES:
        yield f"   address-family ipv{family}"
        yield from (f"      {line}" for line in _family(upstream, family))
        yield "   exit"
    yield "exit"


def _neighbor(session: Session) -> Iterator[str]:
    peering = session.peering
    start = f"   neighbor {peering.node_address}"
    yield comment(f"   {MARK}", f"node {session.node}")
    yield f"{start} remote-as {peering.node_as}"
    if note := password_note(session):
        yield comment(f"   {MARK}", note)
        yield f"{start} password 0 {PLACEHOLDER}"
    if peering.ttl_security:
        yield f"{start} ttl maximum-hops {peering.ttl_security}"
    elif not peering.direct and peering.node_as != peering.router_as:
        yield f"{start} ebgp-multihop"
    yield f"{start} maximum-routes {session.most}"


def _family(upstream: Upstream, family: Family) -> Iterator[str]:
    for session in upstream.sessions:
        whom = session.peering.node_address
        if session.peering.family == family:
            yield from _activated(whom, session.inward, session.outward)
        elif family == 4:  # where all neighbours are active by default
            yield f"no neighbor {whom} activate"
    for group in upstream.groups:
        if group.family == family:
            yield from _activated(group.name, group.inward, group.outward)
        elif family == 4:
            yield f"no neighbor {group.name} activate"


def _activated(whom: str, inward: str, outward: str) -> Iterator[str]:
    yield f"neighbor {whom} activate"
    yield f"neighbor {whom} route-map {inward} in"
    yield f"neighbor {whom} route-map {outward} out"
