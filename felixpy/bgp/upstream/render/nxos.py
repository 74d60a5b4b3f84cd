"""Cisco NX-OS.  Source: section 7.3 of the BGP reference; loaded by no device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from felixpy.bgp.upstream.model import Family, Group, PathSet, Session, Upstream
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
    "paste it after: configure terminal (feature bgp must be on)",
    "while it is pasted, lists are gone for a moment: do it whole, and in a quiet hour",
)


def render(upstream: Upstream) -> str:
    lines = list(policy_lines(upstream, Dialect(_prefixes, _paths, "  ")))
    if upstream.router_as:
        lines += _bgp(upstream)
    return document(upstream, lines, MARK, _DIALECT)


def _prefixes(name: str, family: Family, entries: list[str]) -> list[str]:
    start = f"{WORD[family]} prefix-list {name}"
    return [f"no {start}", *(f"{start} {entry}" for entry in numbered(entries))]


def _paths(path: PathSet) -> list[str]:
    start = f"ip as-path access-list {path.name}"
    return [f"no {start}", f'{start} permit "{regular_expression(path)}"']


def _bgp(upstream: Upstream) -> Iterator[str]:
    yield f"router bgp {upstream.router_as}"
    for session in upstream.sessions:
        yield from _neighbor(session)
    for group in upstream.groups:
        yield from _template(group)


def _neighbor(session: Session) -> Iterator[str]:
    peering = session.peering
    yield comment(f"  {MARK}", f"node {session.node}")
    yield f"  neighbor {peering.node_address}"
    yield f"    remote-as {peering.node_as}"
    if note := password_note(session):
        yield comment(f"    {MARK}", note)
        yield f"    password 0 {PLACEHOLDER}"
    if peering.ttl_security:
        yield f"    ttl-security hops {peering.ttl_security}"
    elif not peering.direct and peering.node_as != peering.router_as:
        yield "    ebgp-multihop 255"
    yield from _family(peering.family, session.inward, session.outward)
    yield f"      maximum-prefix {session.most} 90"


def _template(group: Group) -> Iterator[str]:
    yield comment(f"  {MARK}", f"neighbor ADDRESS / inherit peer {group.name}")
    yield f"  template peer {group.name}"
    yield from _family(group.family, group.inward, group.outward)


def _family(family: Family, inward: str, outward: str) -> Iterator[str]:
    yield f"    address-family ipv{family} unicast"
    yield f"      route-map {inward} in"
    yield f"      route-map {outward} out"
    yield "      soft-reconfiguration inbound"
