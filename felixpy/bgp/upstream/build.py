"""What a router above has to accept from the cluster, and may tell it.

    in   Cluster, and what was asked for
    out  Upstream, or UpstreamError

    role    towards       accepts                          tells
    tor     each node     what that node may announce      all but the cluster's; with no mesh
                                                           between nodes, others' blocks as well
            the spine     all but what is below it         what is below it
    spine   the ToR       what is below it                 all but what is below it
            the border    all but the cluster's            the cluster's
    border  the spine     the cluster's                    all but the cluster's

Exact, "may announce" is a list of nets; coarse, it is a length inside a pool.
Source: sections 6.3 and 6.4 of the BGP reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from felixpy.bgp.upstream import below, names
from felixpy.bgp.upstream.choice import Choice, choose
from felixpy.bgp.upstream.model import (
    FAMILIES,
    Cluster,
    Family,
    Group,
    Member,
    PathSet,
    Peering,
    Policy,
    PrefixSet,
    Session,
    Side,
    Span,
    Term,
    Upstream,
    Wish,
)

_LEAST_LIMIT: Final = 1000  # routes of one neighbour
_DENY: Final = Term(permit=False)


def build(cluster: Cluster, wish: Wish) -> Upstream:
    """Raises UpstreamError: no pools, nobody peers with the outside, an unknown node, and, where
    sessions are asked for, more than one router that they could be of.
    """
    return _Builder(cluster, wish, choose(cluster, wish)).build()


class _Builder:
    """Sets and path sets come into being by being referred to."""

    def __init__(self, cluster: Cluster, wish: Wish, choice: Choice) -> None:
        self._cluster = cluster
        self._wish = wish
        self._choice = choice
        self._exact = wish.role == "tor" if wish.exact is None else wish.exact
        # only a part of the nodes is below: what is theirs must not come back from above
        self._part = bool(wish.nodes or wish.routers)
        every = below.nets_of_all(cluster.members)
        self._all = {family: below.exactly(every, family) for family in FAMILIES}
        self._may = {family: below.blocks(cluster, family) for family in FAMILIES}
        self._cluster_nets = below.cluster_nets(cluster)
        self._sets: dict[str, PrefixSet] = {}
        self._paths: dict[str, PathSet] = {}
        self._policies: dict[str, Policy] = {}
        self._sessions: list[Session] = []
        self._groups: list[Group] = []

    def build(self) -> Upstream:
        for family in FAMILIES:
            match self._wish.role:
                case "tor":
                    self._tor(family)
                case "spine":
                    self._spine(family)
                case "border":
                    self._border(family)
        return Upstream(
            role=self._wish.role,
            exact=self._exact,
            fabric=any(member.fabric for member in self._choice.members),
            nodes=tuple(member.name for member in self._choice.members),
            pools=tuple(pool.cidr for pool in self._cluster.pools),
            services=self._cluster.services,
            sets=tuple(sorted(self._sets.values(), key=lambda each: (each.family, each.name))),
            paths=tuple(self._paths[name] for name in sorted(self._paths)),
            policies=tuple(self._policies.values()),
            sessions=tuple(self._sessions) if self._wish.sessions else (),
            groups=tuple(self._groups) if self._wish.sessions else (),
            router_as=self._choice.router_as if self._wish.sessions else 0,
        )

    # ------------------------------------------------------------ roles

    def _tor(self, family: Family) -> None:
        for member in self._choice.members:
            inward = self._from_node(member, family)
            outward = self._to_node(member, family)
            for peering in member.peerings:
                if peering.family == family:
                    self._sessions.append(self._session(member, peering, inward, outward))
        accepts = (*self._not_below(family), _DENY)
        tells = (Term(permit=True, prefixes=self._below(family)), _DENY)
        self._group(family, "above", accepts, tells)

    def _spine(self, family: Family) -> None:
        accepts = (Term(permit=True, prefixes=self._below(family)), _DENY)
        tells = (*self._not_below(family), _DENY)
        self._group(family, "below", accepts, tells)
        rest = (self._outside(family), _DENY)
        told = (Term(permit=True, prefixes=self._told(family)), _DENY)
        self._group(family, "above", rest, told)

    def _border(self, family: Family) -> None:
        told = (Term(permit=True, prefixes=self._told(family)), _DENY)
        self._group(family, "below", told, (self._outside(family), _DENY))

    # ------------------------------------------------------------ policies

    def _from_node(self, member: Member, family: Family) -> str:
        what = names.node_name(member.name) if self._exact else "NODES"
        allowed = self._nets_of(member, family) if self._exact else self._blocks(family)
        about = f"from node {member.name}" if self._exact else "from any node"
        whose = (member,) if self._exact else self._choice.members
        terms = [
            Term(permit=True, prefixes=allowed, path=self._path(origin))
            for origin in _origins(whose)
        ]
        return self._policy(what, family, "IN", "below", (*terms, _DENY), about)

    def _to_node(self, member: Member, family: Family) -> str:
        if not member.fabric:
            terms: tuple[Term, ...] = (self._outside(family), _DENY)
            return self._policy("NODES", family, "OUT", "above", terms, "to any node")
        # nothing but this router connects the nodes: it tells each the blocks of the others
        others = Term(permit=True, prefixes=self._anybodys(family))
        if not self._exact:
            terms = (others, self._outside(family), _DENY)
            return self._policy("BLOCKS", family, "OUT", "above", terms, "to any node")
        own = Term(permit=False, prefixes=self._nets_of(member, family))
        terms = (own, others, self._outside(family), _DENY)
        what = names.node_name(member.name)
        return self._policy(what, family, "OUT", "above", terms, f"to node {member.name}")

    def _not_below(self, family: Family) -> list[Term]:
        """The same terms in every mode, as a pasted text takes the place of one of another mode."""
        known = self._exact and self._part
        own = below.exactly(self._nets_below() if known else (), family)
        return [
            Term(permit=False, prefixes=self._set("OWN", family, own)),
            Term(permit=True, prefixes=self._anybodys(family)),
            self._outside(family),
        ]

    def _outside(self, family: Family) -> Term:
        spans = below.and_beneath(self._cluster_nets, family)
        return Term(permit=True, prefixes=self._set("CLUSTER", family, spans), inside=False)

    def _policy(
        self,
        what: str,
        family: Family,
        direction: str,
        refuses: Side,
        terms: Sequence[Term],
        about: str,
    ) -> str:
        name = names.policy_name(what, family, direction)
        self._policies[name] = Policy(name, family, refuses, tuple(terms), about)
        return name

    # ------------------------------------------------------------ sets

    def _nets_of(self, member: Member, family: Family) -> str:
        spans = below.exactly(below.nets_of(member, self._cluster), family)
        return self._set(names.node_name(member.name), family, spans)

    def _below(self, family: Family) -> str:
        """What may come from this part of the cluster."""
        if not self._exact:
            return self._blocks(family)
        return self._set("BELOW", family, below.exactly(self._nets_below(), family))

    def _nets_below(self) -> list[str]:
        return [net for m in self._choice.members for net in below.nets_of(m, self._cluster)]

    def _anybodys(self, family: Family) -> str:
        if not self._exact:
            return self._blocks(family)
        return self._set("ALL", family, self._all[family])

    def _told(self, family: Family) -> str:
        """What the rest of the network may hear of."""
        if self._exact:
            return self._anybodys(family)
        spans = below.and_beneath(below.told_nets(self._cluster), family)
        return self._set("ANNOUNCED", family, spans)

    def _blocks(self, family: Family) -> str:
        return self._set("BLOCKS", family, self._may[family])

    def _set(self, what: str, family: Family, spans: tuple[Span, ...]) -> str:
        name = names.set_name(what, family)
        self._sets[name] = PrefixSet(name, family, spans)
        return name

    def _path(self, origin: int) -> str:
        name = names.path_name(origin)
        self._paths[name] = PathSet(name, origin)
        return name

    # ------------------------------------------------------------ neighbours

    def _session(self, member: Member, peering: Peering, inward: str, outward: str) -> Session:
        name = names.set_name(names.node_name(member.name), peering.family)
        count = len(below.exactly(below.nets_of(member, self._cluster), peering.family))
        # twice what it has today, in whole limits: a new block does not change the text
        most = _LEAST_LIMIT * max(1, -(-2 * count // _LEAST_LIMIT))
        return Session(name, member.name, peering, inward, outward, most)

    def _group(
        self, family: Family, side: Side, accepts: Sequence[Term], tells: Sequence[Term]
    ) -> None:
        what = side.upper()
        other: Side = "above" if side == "below" else "below"
        inward = self._policy(what, family, "IN", side, accepts, f"from {side}")
        outward = self._policy(what, family, "OUT", other, tells, f"to {side}")
        self._groups.append(Group(f"{names.PREFIX}{what}-V{family}", side, family, inward, outward))


def _origins(members: Iterable[Member]) -> list[int]:
    """What AS paths from these nodes consist of; 0: sessions are internal, paths empty."""
    return sorted(
        {
            0 if peering.node_as == peering.router_as else peering.node_as
            for member in members
            for peering in member.peerings
        }
    )
