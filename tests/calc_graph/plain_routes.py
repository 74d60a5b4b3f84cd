"""Routes by asking every fact about every destination: slow, and as the rules are written down.

    in   the whole state, as keys and values
    out  every route there is

Written from section 5 of the reference, without the graph's own code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_interface, ip_network
from itertools import groupby
from typing import NamedTuple, TypeAlias

from calc_graph.model import (
    Block,
    BlockKey,
    IpPool,
    IpPoolKey,
    Key,
    Node,
    NodeKey,
    Value,
    WorkloadEndpoint,
    WorkloadEndpointKey,
)
from calc_graph.updates import PoolType, RouteType, RouteUpdate, TunnelKind

Network: TypeAlias = IPv4Network | IPv6Network
UNSET = {"0.0.0.0/32", "::/128"}
TUNNELS: list[TunnelKind | None] = [None, "wireguard", "ipip", "vxlan"]  # None: a workload


class Said(NamedTuple):
    """Somebody's word about one CIDR; of one kind, the smallest counts."""

    cidr: Network
    kind: int  # 0 block, 1 host, 2 reference: the later ones say more
    rank: int
    node: str
    tunnel: int = 0  # index into TUNNELS


def routes(state: Mapping[Key, Value], here: str, source: str) -> dict[str, RouteUpdate]:
    pools = {
        ip_network(value.cidr): value
        for key, value in sorted(
            ((k, v) for k, v in state.items() if isinstance(k, IpPoolKey)),
            key=lambda pair: pair[0],
            reverse=True,  # so that of one CIDR the smallest name is entered last, and stays
        )
        if isinstance(value, IpPool)
    }
    said = [*_blocks(state, source), *_nodes(state), *_workloads(state, here, source)]
    cidrs = {*pools, *(word.cidr for word in said)}
    nodes = {
        key.name: value
        for key, value in state.items()
        if isinstance(key, NodeKey) and isinstance(value, Node)
    }
    found = [_route(cidr, pools, said, nodes, here) for cidr in cidrs]
    return {route.cidr: route for route in found if route.cidr not in UNSET}


def _blocks(state: Mapping[Key, Value], source: str) -> Iterator[Said]:
    for key, value in state.items():
        if source == "CalicoIPAM" and isinstance(key, BlockKey) and isinstance(value, Block):
            cidr = ip_network(key.cidr)
            if value.host:
                yield Said(cidr, 0, -1, value.host)
            for address, node in value.others:
                yield Said(ip_network(address), 0, 128 - cidr.prefixlen, node)


def _workloads(state: Mapping[Key, Value], here: str, source: str) -> Iterator[Said]:
    for key, value in state.items():
        if (
            isinstance(key, WorkloadEndpointKey)
            and isinstance(value, WorkloadEndpoint)
            and (source == "WorkloadIPs" or key.host == here)
        ):
            for net in value.nets:
                yield Said(ip_network(net), 2, 0, key.host)


def _own(node: Node) -> dict[int, str]:
    told = [text for text in (node.bgp_ipv4, node.bgp_ipv6) if text]
    own = told or [text for text in (node.ipv4, node.ipv6) if text]
    return {ip_interface(text).version: text for text in own}


def _nodes(state: Mapping[Key, Value]) -> Iterator[Said]:
    for key, value in state.items():
        if isinstance(key, NodeKey) and isinstance(value, Node) and _own(value):
            own = {str(ip_interface(text).ip) for text in _own(value).values()}
            for address in own | set(value.addresses):
                yield Said(ip_network(address), 1, 0, key.name)
            for tunnel, addresses in (
                ("wireguard", (value.wireguard_address, value.wireguard_address_v6)),
                ("ipip", (value.ipip_address,)),
                ("vxlan", (value.vxlan_address, value.vxlan_address_v6)),
            ):
                for address in filter(None, addresses):
                    yield Said(
                        ip_network(address),
                        2,
                        0,
                        key.name,
                        TUNNELS.index(tunnel),  # type: ignore[arg-type]
                    )


def _covers(outer: Network, inner: Network) -> bool:
    return outer.version == inner.version and outer.supernet_of(inner)  # type: ignore[arg-type]


def _route(
    cidr: Network,
    pools: dict[Network, IpPool],
    said: list[Said],
    nodes: dict[str, Node],
    here: str,
) -> RouteUpdate:
    around = sorted((net for net in pools if _covers(net, cidr)), key=lambda net: net.prefixlen)
    typed = [_pool_type(pools[net]) for net in around if _pool_type(pools[net]) != "none"]
    crosses = any("cross-subnet" in (pools[net].ipip_mode, pools[net].vxlan_mode) for net in around)
    path = sorted(
        (word for word in said if _covers(word.cidr, cidr)),
        key=lambda word: (word.cidr.prefixlen, word[1:]),
    )
    # of each kind at each CIDR the first one; the others matter only for kinds of tunnels
    words = [next(same) for _, same in groupby(path, key=lambda word: (word.cidr, word.kind))]
    node = words[-1].node if words else ""
    blocks = [word for word in words if word.kind == 0]
    references = [word for word in words if word.kind == 2]
    after = words[words.index(blocks[0]) :] if blocks else []
    tunnels = _tunnels(cidr, path)
    own = _own(nodes[node]).get(cidr.version, "") if node in nodes else ""
    ours = _own(nodes[here]).get(cidr.version, "") if here in nodes else ""
    near = bool(own and ours) and ip_interface(own).ip in ip_interface(ours).network
    return RouteUpdate(
        cidr=str(cidr),
        types=_types(cidr, words, here, tunnelled=bool(tunnels)),
        pool=typed[-1] if typed else "none",
        node=node,
        node_ip=str(ip_interface(own).ip) if own else "",
        same_subnet=crosses and near,
        nat_outgoing=any(pools[net].nat_outgoing for net in around),
        local_workload=any(word.node == here and not word.tunnel for word in references),
        borrowed=any(word.kind != 1 and word.node != blocks[0].node for word in after),
        tunnels=tunnels,
    )


def _tunnels(cidr: Network, path: list[Said]) -> tuple[TunnelKind, ...]:
    at = [word for word in path if word.cidr == cidr and word.kind == 2]
    if not at or not at[0].tunnel:
        return ()
    kinds = {TUNNELS[word.tunnel] for word in at if word.node == at[0].node}
    return tuple(sorted(kind for kind in kinds if kind))


def _types(cidr: Network, words: list[Said], here: str, *, tunnelled: bool) -> RouteType:
    types = RouteType(0)
    hosted = any(word.kind == 1 for word in words)
    at = any(word.kind == 0 and word.cidr == cidr for word in words)
    for word in words:
        local = word.node == here
        if word.kind == 1:
            types |= RouteType.LOCAL_HOST if local else RouteType.REMOTE_HOST
        elif word.kind == 2 and word.tunnel:
            types |= RouteType.LOCAL_TUNNEL if local else RouteType.REMOTE_TUNNEL
        elif word.kind == 2 or (not hosted and (at or not tunnelled)):
            types |= RouteType.LOCAL_WORKLOAD if local else RouteType.REMOTE_WORKLOAD
    return types


def _pool_type(pool: IpPool) -> PoolType:
    if pool.allowed_uses == ("LoadBalancer",):
        return "none"
    if pool.vxlan_mode != "never":
        return "vxlan"
    return "no-encap" if pool.ipip_mode == "never" else "ipip"
