"""What is known of one destination, and what follows from that and from the nets around it.

    in   facts, each about one CIDR: a pool, a block, a node's own address, somebody's use of it
    out  owner(path)        whose it is, and as what
         pool_around(path)  how its pool wants it to be reached

A path is the places from the widest net to the destination itself.  Facts that contradict each
other do in a rush of changes, or by somebody's mistake: which of them counts is a matter of what
they are, not of which was heard last.
Source: sections 5.1 and 5.2 of the reference; projectcalico/calico felix/calc/l3_route_resolver.go.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Final, NamedTuple, TypeVar

from calc_graph.model import Block, IpPool
from calc_graph.net_table import Net
from calc_graph.updates import PoolType, RouteType, TunnelKind


class Use(IntEnum):
    """Who uses an address; where several do on one node, the lowest decides."""

    WORKLOAD = 0
    WIREGUARD = 1
    IPIP = 2
    VXLAN = 3


_TUNNELS: Final[dict[Use, TunnelKind]] = {
    Use.IPIP: "ipip",
    Use.VXLAN: "vxlan",
    Use.WIREGUARD: "wireguard",
}
_OWN, _OTHERS = 0, 129  # ranks; from the second one goes the length of the block, up to 128


class PoolFacts(NamedTuple):
    type: PoolType
    nat_outgoing: bool
    crosses_only: bool  # a tunnel is for other subnets only


class BlockFact(NamedTuple):
    """Sorted, the first of several counts: a block's own, then those of the longest block."""

    rank: int
    node: str


class Usage(NamedTuple):
    """Sorted, the first of several decides whose the address is."""

    node: str
    use: Use


class Owner(NamedTuple):
    """`node` is "" where nobody has it; `types` are bits of RouteType."""

    node: str
    types: int
    local_workload: bool
    borrowed: bool
    tunnels: tuple[TunnelKind, ...]


class Place:
    """One CIDR with the facts that are about itself.

    `node` is the one of its route as it was last resolved: that node's changes are this place's.
    """

    __slots__ = ("blocks", "cidr", "hosts", "net", "node", "pool", "usages")

    def __init__(self, cidr: str, net: Net) -> None:
        self.cidr = cidr
        self.net = net
        self.node = ""
        self.pool: PoolFacts | None = None
        # Tuples, because nearly all have one element or none, and there are many places.
        self.blocks: tuple[BlockFact, ...] = ()
        self.hosts: tuple[str, ...] = ()
        self.usages: tuple[Usage, ...] = ()  # with repetitions: each must be taken back once

    @property
    def known(self) -> bool:
        return bool(self.pool or self.blocks or self.hosts or self.usages)


F = TypeVar("F", BlockFact, Usage, str)


def joined(facts: tuple[F, ...], fact: F) -> tuple[F, ...]:
    more = list(facts)
    insort(more, fact)
    return tuple(more)


def parted(facts: tuple[F, ...], fact: F) -> tuple[F, ...]:
    """One of those that equal `fact` is left out."""
    left = list(facts)
    left.remove(fact)
    return tuple(left)


def block_facts(cidr: str, block: Block) -> Iterator[tuple[str, BlockFact]]:
    """Of the block at `cidr`; each with the CIDR that it is about."""
    length = int(cidr.rpartition("/")[2])
    if block.host:
        yield cidr, BlockFact(_OWN, block.host)
    for address, node in block.others:
        yield address, BlockFact(_OTHERS - length, node)


def pool_facts(pool: IpPool) -> PoolFacts:
    kind: PoolType = "no-encap"
    if pool.allowed_uses == ("LoadBalancer",):
        kind = "none"
    elif pool.vxlan_mode != "never":
        kind = "vxlan"
    elif pool.ipip_mode != "never":
        kind = "ipip"
    crosses_only = "cross-subnet" in (pool.vxlan_mode, pool.ipip_mode)
    return PoolFacts(kind, pool.nat_outgoing, crosses_only)


def pool_around(path: Sequence[Place]) -> PoolFacts:
    """The innermost type; what any pool on the path says of addresses and subnets."""
    kind: PoolType = "none"
    nat_outgoing = crosses_only = False
    for place in path:
        pool = place.pool
        if pool is not None:
            kind = kind if pool.type == "none" else pool.type
            nat_outgoing |= pool.nat_outgoing
            crosses_only |= pool.crosses_only
    return PoolFacts(kind, nat_outgoing, crosses_only)


def owner(path: Sequence[Place], here: str) -> Owner:
    """Who has the last place of the path; `here` is this node.

    The innermost word counts.  At one CIDR a block says less than that a node has the address
    itself, and that less than that somebody uses it.
    """
    node = block_node = ""
    types = block_types = 0
    hosted = borrowed = local_workload = False
    for place in path:
        if place.blocks:
            node = place.blocks[0].node
            borrowed |= bool(block_node) and node != block_node
            block_node = block_node or node
            block_types |= _LOCAL_WORKLOAD if node == here else _REMOTE_WORKLOAD
        if place.hosts:
            node, hosted = place.hosts[0], True
            types |= _LOCAL_HOST if node == here else _REMOTE_HOST
        if place.usages:
            node, use = place.usages[0]
            borrowed |= bool(block_node) and node != block_node
            types |= _USED_HERE[use] if node == here else _USED_ELSEWHERE[use]
            local_workload |= node == here and use == Use.WORKLOAD
    tunnels = _tunnels(path[-1].usages)
    # A node's own address is reached by its own route, and never becomes a workload's by the block
    # around it; nor does a tunnel's, unless it has a block of its own.
    if not hosted and (path[-1].blocks or not tunnels):
        types |= block_types
    return Owner(node, types, local_workload, borrowed, tunnels)


def _tunnels(usages: tuple[Usage, ...]) -> tuple[TunnelKind, ...]:
    if not usages or usages[0].use == Use.WORKLOAD:
        return ()
    node = usages[0].node
    kinds = {_TUNNELS[usage.use] for usage in usages if usage.node == node}
    return tuple(sorted(kinds))


_REMOTE_WORKLOAD: Final = RouteType.REMOTE_WORKLOAD.value
_LOCAL_WORKLOAD: Final = RouteType.LOCAL_WORKLOAD.value
_REMOTE_HOST: Final = RouteType.REMOTE_HOST.value
_LOCAL_HOST: Final = RouteType.LOCAL_HOST.value
_USED_HERE: Final = dict.fromkeys(_TUNNELS, RouteType.LOCAL_TUNNEL.value) | {
    Use.WORKLOAD: _LOCAL_WORKLOAD
}
_USED_ELSEWHERE: Final = dict.fromkeys(_TUNNELS, RouteType.REMOTE_TUNNEL.value) | {
    Use.WORKLOAD: _REMOTE_WORKLOAD
}
