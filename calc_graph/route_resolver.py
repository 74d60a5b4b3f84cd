"""Which node each destination is behind, and how its pool wants packets to get there.

    in   put_pool, put_block, put_node, put_workload; None: gone
    out  flush(): the routes that may differ from those told before, and what has none any more

Facts are kept at the CIDR that they are about, its `Place`.  A change marks its places; a flush
resolves these and all places within them, and no others:

    a pool, a block's affinity      the places inside
    one address in a block          that address
    a node's addresses              these, and every route that leads to the node
    the subnet of this node         every route to a node that came into it, or is outside now

So a flush says what a resolver would say that was told everything just now: Felix's own leaves
what is within a block, or all of a node's tunnel addresses, as they were.
Source: section 5 of the reference; projectcalico/calico felix/calc/l3_route_resolver.go.
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeVar

from calc_graph.model import Block, Node, WorkloadEndpointKey
from calc_graph.multimap import Multimap
from calc_graph.net_table import (
    BITS,
    Net,
    NetTable,
    Version,
    parse_address,
    parse_net,
    single_net,
)
from calc_graph.route_facts import (
    Place,
    PoolFacts,
    Usage,
    Use,
    block_facts,
    joined,
    owner,
    parted,
    pool_around,
)
from calc_graph.updates import RouteType, RouteUpdate

_NOBODYS: Final = frozenset({"0.0.0.0/32", "::/128"})  # an address that is not set
_TYPES: Final = tuple(map(RouteType, range(64)))  # because an IntFlag takes its time to be made
_VERSIONS: Final[tuple[Version, ...]] = (4, 6)


class Reach(NamedTuple):
    """One address of a node, with the subnet around it."""

    address: str
    number: int
    subnet: Net


class _NodeFacts(NamedTuple):
    reach: dict[Version, Reach]
    hosts: frozenset[str]  # CIDRs
    tunnels: frozenset[tuple[str, Use]]


_UNKNOWN: Final = _NodeFacts({}, frozenset(), frozenset())
_NO_BLOCK: Final = Block()


class RouteResolver:
    def __init__(self, hostname: str) -> None:
        self._here = hostname
        self._tables: dict[Version, NetTable[Place]] = {v: NetTable(v) for v in _VERSIONS}
        self._dirty: set[Place] = set()
        self._blocks: dict[str, Block] = {}
        self._nodes: dict[str, _NodeFacts] = {}
        self._workloads: dict[WorkloadEndpointKey, tuple[str, ...]] = {}
        self._places_of: Multimap[str, Place] = Multimap()  # of a node: where its routes are

    # ------------------------------------------------------------ in

    def put_pool(self, cidr: str, pool: PoolFacts | None) -> None:
        net = parse_net(cidr)
        place = self._tables[net.version].get(net)
        # What is said again costs nothing: all of a pool's places would have to be looked at.
        if pool != (place.pool if place else None):
            self._touch(cidr).pool = pool

    def put_block(self, cidr: str, block: Block | None) -> None:
        old = set(block_facts(cidr, self._blocks.get(cidr, _NO_BLOCK)))
        new = set(block_facts(cidr, block or _NO_BLOCK))
        for at, fact in old - new:
            place = self._touch(at)
            place.blocks = parted(place.blocks, fact)
        for at, fact in new - old:
            place = self._touch(at)
            place.blocks = joined(place.blocks, fact)
        _put(self._blocks, cidr, block)

    def put_node(self, name: str, node: Node | None) -> None:
        old = self._nodes.get(name, _UNKNOWN)
        new = _UNKNOWN if node is None else _node_facts(node)
        if new == old:
            return
        for cidr in old.hosts - new.hosts:
            place = self._touch(cidr)
            place.hosts = parted(place.hosts, name)
        for cidr in new.hosts - old.hosts:
            place = self._touch(cidr)
            place.hosts = joined(place.hosts, name)
        self._use(name, old.tunnels, new.tunnels)
        _put(self._nodes, name, None if new == _UNKNOWN else new)
        if new.reach != old.reach:
            self._dirty |= self._places_of.get(name)
        if name == self._here:
            for version in _VERSIONS:
                self._note_subnet(version, _subnet(old, version), _subnet(new, version))

    def _note_subnet(self, version: Version, old: Net | None, new: Net | None) -> None:
        """This node's: other nodes may have come into it, or be outside now."""
        if new == old:
            return
        for name, facts in self._nodes.items():
            reach = facts.reach.get(version)
            if reach and _is_inside(reach, old) != _is_inside(reach, new):
                self._dirty |= self._places_of.get(name)

    def put_workload(self, key: WorkloadEndpointKey, nets: tuple[str, ...] | None) -> None:
        old = frozenset((net, Use.WORKLOAD) for net in self._workloads.get(key, ()))
        new = frozenset((net, Use.WORKLOAD) for net in nets or ())
        self._use(key.host, old, new)
        _put(self._workloads, key, nets or None)

    def _use(
        self, node: str, old: frozenset[tuple[str, Use]], new: frozenset[tuple[str, Use]]
    ) -> None:
        for cidr, use in old - new:
            place = self._touch(cidr)
            place.usages = parted(place.usages, Usage(node, use))
        for cidr, use in new - old:
            place = self._touch(cidr)
            place.usages = joined(place.usages, Usage(node, use))

    def _touch(self, cidr: str) -> Place:
        net = parse_net(cidr)
        table = self._tables[net.version]
        place = table.get(net)
        if place is None:
            place = Place(cidr, net)
            table.put(net, place)
        self._dirty.add(place)
        return place

    # ------------------------------------------------------------ out

    def flush(self) -> list[tuple[str, RouteUpdate | None]]:
        """By CIDR; None for what is no destination any more.  In no particular order."""
        dirty = set(self._dirty)
        for place in self._dirty:
            if not place.net.single:
                dirty.update(self._tables[place.net.version].inside(place.net))
        self._dirty.clear()
        gone = [place for place in dirty if not place.known]
        for place in gone:
            self._tables[place.net.version].discard(place.net)
            self._lead(place, "")
        routes = (self._resolve(place) for place in dirty if place.known)
        return [
            *((place.cidr, None) for place in gone),
            *((route.cidr, route) for route in routes if route.cidr not in _NOBODYS),
        ]

    def _resolve(self, place: Place) -> RouteUpdate:
        version = place.net.version
        path = self._tables[version].path(place.net)
        pool = pool_around(path)
        found = owner(path, self._here)
        self._lead(place, found.node)
        reach = self._nodes.get(found.node, _UNKNOWN).reach.get(version)
        subnet = _subnet(self._nodes.get(self._here, _UNKNOWN), version)
        return RouteUpdate(
            cidr=place.cidr,
            types=_TYPES[found.types],
            pool=pool.type,
            node=found.node,
            node_ip=reach.address if reach else "",
            same_subnet=pool.crosses_only and reach is not None and _is_inside(reach, subnet),
            nat_outgoing=pool.nat_outgoing,
            local_workload=found.local_workload,
            borrowed=found.borrowed,
            tunnels=found.tunnels,
        )

    def _lead(self, place: Place, node: str) -> None:
        if place.node != node:
            self._places_of.discard(place.node, place)
            place.node = node
            if node:
                self._places_of.add(node, place)


def _subnet(node: _NodeFacts, version: Version) -> Net | None:
    reach = node.reach.get(version)
    return reach.subnet if reach else None


def _is_inside(reach: Reach, subnet: Net | None) -> bool:
    """Both of one family."""
    if subnet is None:
        return False
    shift = BITS[subnet.version] - subnet.length
    return reach.number >> shift == subnet.first >> shift


def _node_facts(node: Node) -> _NodeFacts:
    """A node that has no address of its own contributes nothing, its tunnels included."""
    told = (node.bgp_ipv4, node.bgp_ipv6)
    reach = dict(map(_reach, filter(None, told if any(told) else (node.ipv4, node.ipv6))))
    if not reach:
        return _UNKNOWN
    hosts = {*node.addresses, *(each.address for each in reach.values())}
    tunnels = frozenset(
        (single_net(address), use)
        for address, use in (
            (node.ipip_address, Use.IPIP),
            (node.vxlan_address, Use.VXLAN),
            (node.vxlan_address_v6, Use.VXLAN),
            (node.wireguard_address, Use.WIREGUARD),
            (node.wireguard_address_v6, Use.WIREGUARD),
        )
        if address
    )
    return _NodeFacts(reach, frozenset(map(single_net, hosts)), tunnels)


def _reach(interface_address: str) -> tuple[Version, Reach]:
    address = interface_address.partition("/")[0]
    version, number = parse_address(address)
    return version, Reach(address, number, parse_net(interface_address))


K = TypeVar("K")
V = TypeVar("V")


def _put(values: dict[K, V], key: K, value: V | None) -> None:
    if value is None:
        values.pop(key, None)
    else:
        values[key] = value
