"""Which nodes a router above is about, and which AS it is.

in   Cluster, and what was asked for
out  Choice, or UpstreamError that says what is missing or more than one
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from msgspec import structs

from felixpy.bgp.upstream.model import FAMILIES, Cluster, Member, Peering, UpstreamError, Wish


class Choice(NamedTuple):
    """`members` with only those peerings that the router can have; `router_as` 0: not known."""

    members: tuple[Member, ...]
    router_as: int


def choose(cluster: Cluster, wish: Wish) -> Choice:
    if not cluster.pools:
        raise UpstreamError("there is no IPPool: nothing is the cluster's to announce")
    _check_names(cluster, wish)
    members = [
        structs.replace(member, peerings=peerings)
        for member in cluster.members
        if not wish.nodes or member.name in wish.nodes
        if (peerings := tuple(p for p in member.peerings if _fits(p, wish)))
    ]
    if not members:
        raise UpstreamError(_nobody(wish))
    if missing := sorted(set(wish.nodes) - {member.name for member in members}):
        raise UpstreamError(f"{_list(missing)} has no such session with anybody outside")
    return Choice(tuple(members), _router_as(members, wish))


def _check_names(cluster: Cluster, wish: Wish) -> None:
    known = {member.name for member in cluster.members}
    if unknown := sorted(set(wish.nodes) - known):
        raise UpstreamError(f"there is no node {_list(unknown)}")
    routers = {p.router_address for member in cluster.members for p in member.peerings}
    if unknown := sorted(set(wish.routers) - routers):
        raise UpstreamError(f"no node peers with {_list(unknown)}; they do with {_list(routers)}")


def _fits(peering: Peering, wish: Wish) -> bool:
    if wish.routers and peering.router_address not in wish.routers:
        return False
    # above the ToR a router has an AS of its own, which no node's session tells
    return wish.role != "tor" or wish.router_as in (0, peering.router_as)


def _nobody(wish: Wish) -> str:
    asked = [
        *([f"of {_list(wish.nodes)}"] if wish.nodes else []),
        *([f"with AS {wish.router_as}"] if wish.role == "tor" and wish.router_as else []),
        *([f"with {_list(wish.routers)}"] if wish.routers else []),
    ]
    return " ".join(["there is no session", *asked, "with anybody outside the cluster"])


def _router_as(members: Iterable[Member], wish: Wish) -> int:
    if not wish.sessions:
        return wish.router_as
    if wish.role != "tor":
        if not wish.router_as:
            raise UpstreamError(f"no resource tells the AS of the {wish.role}: give --local-as")
        return wish.router_as
    peerings = [peering for member in members for peering in member.peerings]
    if len(numbers := {peering.router_as for peering in peerings}) > 1:
        raise UpstreamError(f"routers of AS {_list(numbers)}: choose one with --local-as")
    for family in FAMILIES:
        addresses = {p.router_address for p in peerings if p.family == family}
        if len(addresses) > 1:
            raise UpstreamError(f"several routers, {_list(addresses)}: choose one with --router")
    return numbers.pop()


def _list(values: Iterable[str | int]) -> str:
    return ", ".join(str(value) for value in sorted(values))
