"""What the routers above have to know, out of everything that the datastore says.

    in   what a snapshot tells the graph
    out  Cluster

Who may announce what is the same whichever node asks; with whom a node peers is that node's own.
So one graph is told everything, and each node's own graph only what sessions rest on.
Workloads that peer with their node do so inside the node, and are nothing to the routers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from ipaddress import ip_address, ip_interface, ip_network
from typing import Final, NamedTuple, TypeAlias

from msgspec import structs

from calc_graph.bgp.graph import BgpGraph
from calc_graph.bgp.resources import BgpConfiguration, BgpConfigurationKey, BgpPeer, BgpPeerKey
from calc_graph.bgp.updates import BgpOrigins, BgpSession, BgpSpeaker, BgpUpdate
from calc_graph.model import IpPool, IpPoolKey, Key, Node, NodeKey, Value
from felixpy.bgp.upstream.model import WIDTH, Cluster, Family, Member, Peering, Pool

_DEFAULT: Final = BgpConfigurationKey("default")
_SESSIONS: Final = (BgpConfigurationKey, BgpPeerKey, IpPoolKey, NodeKey)
_BLOCK: Final[dict[Family, int]] = {4: 26, 6: 122}
_Values: TypeAlias = Mapping[Key, Value]


class _All(NamedTuple):
    """What every node's graph would say."""

    speaker: BgpSpeaker
    origins: dict[str, BgpOrigins]


class _Own(NamedTuple):
    """What a node's own graph says."""

    speaker: BgpSpeaker
    sessions: list[BgpSession]


def read_cluster(values: _Values, only: Collection[str] = ()) -> Cluster:
    """`only`: nodes whose peers are wanted, for each of them costs time; none: all."""
    nodes = sorted(
        (key.name, value)
        for key, value in values.items()
        if isinstance(key, NodeKey) and isinstance(value, Node)
    )
    everybody = _read_all(values)
    of_sessions = _of_sessions(values)
    if not _has_peers_inside(values):  # then a node's sessions rest on no other node
        of_sessions = {k: v for k, v in of_sessions.items() if not isinstance(k, NodeKey)}
    mesh = _configuration(values).mesh is not False
    members = []
    for name, node in nodes:
        origins = everybody.origins.get(name, BgpOrigins(name))
        own = _Own(everybody.speaker, [])
        if not only or name in only:
            own = _own(name, {**of_sessions, NodeKey(name): node})
        fabric = own.speaker.fabric and not mesh
        members.append(_member(name, node, own, origins, fabric=fabric))
    services = {*everybody.speaker.service_cidrs, *everybody.speaker.advertised_cidrs}
    return Cluster(_pools(values), _in_order(services), tuple(members))


def _of_sessions(values: _Values) -> _Values:
    """What sessions with the outside rest on.

    A mesh makes a session for each pair of nodes, all of them inside: it is left out.
    """
    found: dict[Key, Value] = {
        key: value for key, value in values.items() if isinstance(key, _SESSIONS)
    }
    found[_DEFAULT] = structs.replace(_configuration(values), mesh=False)
    return found


def _has_peers_inside(values: _Values) -> bool:
    """Whether a BGPPeer means, or may mean, a node of the cluster as the other end."""
    inside = {
        interface.partition("/")[0]
        for node in values.values()
        if isinstance(node, Node)
        for interface in (node.bgp_ipv4, node.bgp_ipv6)
    }
    return any(
        peer.peer_selector or peer.address in inside
        for peer in values.values()
        if isinstance(peer, BgpPeer)
    )


def _configuration(values: _Values) -> BgpConfiguration:
    found = values.get(_DEFAULT)
    return found if isinstance(found, BgpConfiguration) else BgpConfiguration()


def _tell(hostname: str, values: _Values) -> list[BgpUpdate]:
    graph = BgpGraph(hostname)
    for key, value in values.items():
        graph.update(key, value)
    graph.in_sync()
    return graph.flush()


def _read_all(values: _Values) -> _All:
    told = _tell("", values)  # "" is no node: all of them are others
    [speaker] = (each for each in told if isinstance(each, BgpSpeaker))
    return _All(speaker, {each.node: each for each in told if isinstance(each, BgpOrigins)})


def _own(name: str, values: _Values) -> _Own:
    speaker = BgpSpeaker(name)
    sessions: list[BgpSession] = []
    for update in _tell(name, values):
        match update:
            case BgpSpeaker():
                speaker = update
            case BgpSession(trust="outside"):
                sessions.append(update)
            case _:
                pass
    return _Own(speaker, sessions)


def _member(name: str, node: Node, own: _Own, origins: BgpOrigins, *, fabric: bool) -> Member:
    peerings = (_peering(session, node, own.speaker) for session in own.sessions)
    return Member(
        name=name,
        nets=_in_order({*origins.nets, *origins.retiring}),
        services=_in_order(own.speaker.advertised_cidrs if origins.services else ()),
        reflector=bool(node.cluster_id),
        fabric=fabric,
        peerings=tuple(sorted(peerings, key=lambda each: (each.family, each.router_address))),
    )


def _peering(session: BgpSession, node: Node, speaker: BgpSpeaker) -> Peering:
    four = session.family == 4
    address = session.local_address or (speaker.address_v4 if four else speaker.address_v6)
    return Peering(
        family=session.family,
        node_address=address,
        node_as=session.local_as,
        router_address=session.address,
        router_as=session.remote_as,
        ttl_security=session.ttl_security,
        direct=_is_near(session.address, node.bgp_ipv4 if four else node.bgp_ipv6),
        password=session.password,
    )


def _is_near(address: str, interface: str) -> bool:
    return bool(interface) and ip_address(address) in ip_interface(interface).network


def _pools(values: _Values) -> tuple[Pool, ...]:
    """Of pools with the same CIDR, as it may happen, every length, and exported only if all are."""
    found: dict[str, list[IpPool]] = {}
    for value in values.values():
        if isinstance(value, IpPool):
            found.setdefault(value.cidr, []).append(value)
    return tuple(
        Pool(
            cidr,
            tuple(sorted({_block_length(pool) for pool in found[cidr]})),
            all(pool.bgp_export for pool in found[cidr]),
        )
        for cidr in _in_order(found)
    )


def _block_length(pool: IpPool) -> int:
    net = ip_network(pool.cidr)
    family: Family = 4 if net.version == 4 else 6
    if net.prefixlen <= pool.block_size <= WIDTH[family]:
        return pool.block_size
    return max(_BLOCK[family], net.prefixlen)


def _in_order(nets: Iterable[str]) -> tuple[str, ...]:
    """By family, address and length."""
    parsed = sorted((ip_network(net).version, ip_network(net)) for net in nets)
    return tuple(str(net) for _, net in parsed)
