"""A cluster as the routers above see it, and their policy in nobody's dialect.

Nets are canonical text, families are 4 and 6.  A Policy is a list of terms of which the first that
matches decides; the last one matches everything, so nothing is ever left to a vendor's default.  A
term about what is outside of a set comes last but one, as not all dialects can negate.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from msgspec import Struct

from calc_graph.bgp.resources import SecretRef

Family: TypeAlias = Literal[4, 6]
Role: TypeAlias = Literal["tor", "spine", "border"]
Side: TypeAlias = Literal["below", "above"]

FAMILIES: Final[tuple[Family, ...]] = (4, 6)
WIDTH: Final[dict[Family, int]] = {4: 32, 6: 128}

# ---------------------------------------------------------------- the cluster


class Peering(Struct, frozen=True, order=True):
    """A session of a node with somebody outside; `ttl_security` in hops, 0 without.

    `direct`: the router's address is in the node's own subnet.
    """

    family: Family
    node_address: str
    node_as: int
    router_address: str
    router_as: int
    ttl_security: int = 0
    direct: bool = False
    password: SecretRef | None = None


class Member(Struct, frozen=True):
    """A node.  `nets` may be accepted from it, `services` it announces; a reflector passes on what
    its clients announce.  `fabric`: other nodes' blocks reach it only through the routers above.
    """

    name: str
    nets: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    reflector: bool = False
    fabric: bool = False
    peerings: tuple[Peering, ...] = ()


class Pool(Struct, frozen=True, order=True):
    """`lengths` are those of its blocks, or would be; `exported`: the cluster tells of it."""

    cidr: str
    lengths: tuple[int, ...]
    exported: bool = True


class Cluster(Struct, frozen=True):
    """`services` are all ranges of service addresses, announced or not.  All sorted."""

    pools: tuple[Pool, ...]
    services: tuple[str, ...] = ()
    members: tuple[Member, ...] = ()


# ---------------------------------------------------------------- the policy


class Wish(Struct, frozen=True):
    """`nodes` and `routers`, addresses, choose what is below the router; none of them: all.

    `exact` None: as is best for the role.  `router_as` 0: as the nodes say.
    """

    role: Role
    exact: bool | None = None
    sessions: bool = False
    nodes: tuple[str, ...] = ()
    routers: tuple[str, ...] = ()
    router_as: int = 0


class Span(Struct, frozen=True):
    """Every net inside `net` whose length is from `low` to `high`, both included."""

    net: str
    low: int
    high: int


class PrefixSet(Struct, frozen=True):
    """Empty, it matches nothing."""

    name: str
    family: Family
    spans: tuple[Span, ...]


class PathSet(Struct, frozen=True):
    """AS paths that consist of `origin` alone, once or repeated; 0: the empty path."""

    name: str
    origin: int


class Term(Struct, frozen=True):
    """Matches what is inside the set (or outside, with `inside` False) and has such a path.

    "" as `prefixes`: every net; "" as `path`: every path.
    """

    permit: bool
    prefixes: str = ""
    inside: bool = True
    path: str = ""


class Policy(Struct, frozen=True):
    """`refuses`: what the last term means, for dialects that can name the reason.

    below   it is not what the cluster, or that part of it, may announce
    above   it is the cluster's, and comes from elsewhere
    """

    name: str
    family: Family
    refuses: Side
    terms: tuple[Term, ...]
    about: str


class Session(Struct, frozen=True):
    """A neighbour of the router; `name` is the node's, made safe, with the family."""

    name: str
    node: str
    peering: Peering
    inward: str
    outward: str
    most: int  # routes that it may send


class Group(Struct, frozen=True):
    """Neighbours that the datastore does not know: whoever runs the router puts them into it."""

    name: str
    side: Side
    family: Family
    inward: str
    outward: str


class Upstream(Struct, frozen=True):
    """`pools` and `services` as text for people; `router_as` 0 where no session is rendered."""

    role: Role
    exact: bool
    fabric: bool
    nodes: tuple[str, ...]
    pools: tuple[str, ...]
    services: tuple[str, ...]
    sets: tuple[PrefixSet, ...]
    paths: tuple[PathSet, ...]
    policies: tuple[Policy, ...]
    sessions: tuple[Session, ...] = ()
    groups: tuple[Group, ...] = ()
    router_as: int = 0


class UpstreamError(Exception):
    """No policy can be made of this; the text says why, for people."""
