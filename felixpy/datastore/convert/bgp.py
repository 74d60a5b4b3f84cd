"""Whom this cluster's nodes speak BGP with, and what holds for all of it.

    in   BGPConfiguration, BGPPeer
    out  calc_graph.bgp.resources: the same in few words, canonical, or refused by name

What Calico's schema would have refused is refused here as well: it can have been stored before the
schema knew better, and a session must not mean more than what was written.
Source: section 1 of the BGP reference; projectcalico/calico confd/pkg/backends/calico/client.go.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final, get_args

from calc_graph.bgp.resources import (
    BgpConfiguration,
    BgpConfigurationKey,
    BgpPeer,
    BgpPeerKey,
    LogLevel,
    NextHop,
    PrefixCommunities,
    ProgramRoutes,
)
from felixpy.datastore.convert.bgp_values import (
    choose,
    to_as_number,
    to_community,
    to_keepalive_seconds,
    to_restart_seconds,
    to_secret,
)
from felixpy.datastore.convert.subject import Changes, Subject, at
from felixpy.datastore.convert.values import to_address, to_net, to_selector
from felixpy.datastore.errors import InvalidResourceError
from felixpy.datastore.resources import bgp
from felixpy.datastore.resources.names import is_ignored_interface, is_name, split_peer
from felixpy.datastore.validation import bgp_rules

# confd's words for BIRD's debugging; it has no others
_LOGS: Final[dict[str, LogLevel]] = {"debug": "debug", "info": "states"}
_BIND_MODES: Final = {"None": False, "NodeIP": True}
_NEXT_HOPS: Final[dict[str, NextHop]] = {"Auto": "auto", "Self": "self", "Keep": "keep"}
_SOURCE_ADDRESSES: Final = {"": True, "UseNodeIP": True, "None": False}
_REVERSE_PEERINGS: Final = {"Auto": True, "Manual": False}
_PROGRAM_ROUTES: Final[dict[str, ProgramRoutes]] = {name: name for name in get_args(ProgramRoutes)}
_MOST_LOCAL_AS: Final = 2**31 - 1  # an int32, as the API has it
_MOST_HOPS: Final = 255


# ---------------------------------------------------------------- BGPConfiguration


def convert_bgp_configuration(subject: Subject) -> Changes:
    spec: bgp.BgpConfigurationSpec = subject.spec
    faults: list[str] = []
    with at("spec"):
        service, advertised = _services(spec, faults)
        value = BgpConfiguration(
            service_cidrs=service,
            advertised_cidrs=advertised,
            as_number=to_as_number(spec.as_number, "asNumber"),
            mesh=spec.node_to_node_mesh_enabled,
            log=_log(spec.log_severity_screen),
            listen_port=_port(spec.listen_port),
            bind_node_address=_bind_mode(spec.bind_mode),
            ignored_interfaces=_ignored(spec.ignored_interfaces),
            mesh_password=to_secret(spec.node_mesh_password, "nodeMeshPassword"),
            mesh_restart_seconds=to_restart_seconds(
                spec.node_mesh_max_restart_time, "nodeMeshMaxRestartTime"
            ),
            prefix_communities=_prefix_communities(spec),
            program_routes=_program_routes(spec.program_cluster_routes, faults),
            normal_priority_v4=spec.ipv4_normal_route_priority or 0,
            normal_priority_v6=spec.ipv6_normal_route_priority or 0,
            workload_peering_v4=_optional_address(
                spec.local_workload_peering_ipv4, "localWorkloadPeeringIPV4"
            ),
            workload_peering_v6=_optional_address(
                spec.local_workload_peering_ipv6, "localWorkloadPeeringIPV6"
            ),
            faults=tuple(faults),
        )
    return ((BgpConfigurationKey(subject.name), value),)


def _services(
    spec: bgp.BgpConfigurationSpec, faults: list[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """All of them, and those that nodes announce: ranges, no single addresses, never everything."""
    everything: set[str] = set()
    advertised: set[str] = set()
    single_addresses = spec.service_load_balancer_aggregation == "Disabled"
    for name, blocks, ranges in (
        ("serviceClusterIPs", spec.service_cluster_ips, True),
        ("serviceExternalIPs", spec.service_external_ips, True),
        ("serviceLoadBalancerIPs", spec.service_load_balancer_ips, not single_addresses),
    ):
        nets = [
            to_net(block.cidr, name, index, "cidr")
            for index, block in enumerate(blocks)
            if block.cidr
        ]
        everything.update(nets)
        for net in nets:
            if net.endswith("/0"):
                faults.append(f"{name}: {net} is every address there is, and is not announced")
            elif ranges and not net.endswith("/128" if ":" in net else "/32"):
                advertised.add(net)
    return tuple(sorted(everything)), tuple(sorted(advertised))


def _log(text: str) -> LogLevel | None:
    return _LOGS.get(text.lower(), "none") if text else None


def _port(port: int) -> int:
    """0: not given."""
    if not 0 <= port <= 65535:
        raise InvalidResourceError(f"must be a number from 1 to 65535, not {port}", ("listenPort",))
    return port


def _bind_mode(text: str | None) -> bool | None:
    return choose(_BIND_MODES, text, "bindMode") if text else None


def _ignored(patterns: Iterable[str]) -> tuple[str, ...]:
    for index, pattern in enumerate(patterns):
        if not is_ignored_interface(pattern):
            raise InvalidResourceError(
                f"must be an interface name or pattern, not {pattern!r}",
                ("ignoredInterfaces", index),
            )
    return tuple(sorted(set(patterns)))


def _prefix_communities(spec: bgp.BgpConfigurationSpec) -> tuple[PrefixCommunities, ...]:
    """By net, which may be written several times; names count in the same resource only."""
    known = _communities(spec.communities)
    found: dict[str, set[str]] = {}
    for index, prefix in enumerate(spec.prefix_advertisements):
        path = ("prefixAdvertisements", index)
        net = to_net(prefix.cidr, *path, "cidr")
        found.setdefault(net, set()).update(
            known.get(text) or to_community(text, *path, "communities", number)
            for number, text in enumerate(prefix.communities)
        )
    return tuple(sorted(PrefixCommunities(net, tuple(sorted(found[net]))) for net in found))


def _communities(named: Iterable[bgp.Community]) -> dict[str, str]:
    known: dict[str, str] = {}
    for index, community in enumerate(named):
        value = to_community(community.value, "communities", index, "value")
        if known.setdefault(community.name, value) != value:
            raise InvalidResourceError(
                f"{community.name!r} is defined twice, with different values",
                ("communities", index, "name"),
            )
    return known


def _program_routes(text: str | None, faults: list[str]) -> ProgramRoutes | None:
    """A later version may know more words; Calico goes on as if none were given."""
    if text and text not in _PROGRAM_ROUTES:
        faults.append(f"programClusterRoutes: {text!r} is not known, and counts as not given")
    return _PROGRAM_ROUTES.get(text or "")


def _optional_address(text: str, name: str) -> str:
    return to_address(text, name) if text else ""


# ---------------------------------------------------------------- BGPPeer


def convert_bgp_peer(subject: Subject) -> Changes:
    spec: bgp.BgpPeerSpec = subject.spec
    with at("spec"):
        bgp_rules.check_peer(spec)
        bgp_rules.check_reachable_by(spec)
        address, port = _remote(spec.peer_ip)
        value = BgpPeer(
            node=spec.node,
            node_selector=_selector(spec.node_selector, "nodeSelector"),
            address=address,
            port=port,
            peer_selector=_selector(spec.peer_selector, "peerSelector"),
            workload_selector=_selector(spec.local_workload_selector, "localWorkloadSelector"),
            as_number=to_as_number(spec.as_number, "asNumber"),
            local_as=to_as_number(spec.local_as_number, "localASNumber"),
            next_hop=_next_hop(spec),
            password=to_secret(spec.password, "password"),
            use_node_address=choose(_SOURCE_ADDRESSES, spec.source_address, "sourceAddress"),
            restart_seconds=to_restart_seconds(spec.max_restart_time, "maxRestartTime"),
            keepalive_seconds=to_keepalive_seconds(spec.keepalive_time, "keepaliveTime"),
            allow_local_as=_local_as_count(spec.num_allowed_local_as_numbers),
            ttl_security=_hops(spec.ttl_security),
            reachable_by=_optional_address(spec.reachable_by, "reachableBy"),
            filters=_filters(spec.filters),
            mirrored=choose(_REVERSE_PEERINGS, spec.reverse_peering or "Auto", "reversePeering"),
        )
    return ((BgpPeerKey(subject.name), value),)


def _remote(text: str) -> tuple[str, int]:
    """From "10.0.0.1", "10.0.0.1:179", "fd00::1" or "[fd00::1]:179"; port 0 where none is given."""
    if not text:
        return "", 0
    peer = split_peer(text)
    if peer is None:
        raise InvalidResourceError(
            f"must be an IP address, <IPv4>:<port> or [<IPv6>]:<port>, not {text!r}", ("peerIP",)
        )
    address, port = to_address(peer[0], "peerIP"), peer[1]
    parsed = ip_address(address)
    if parsed.version == 6 and parsed.is_link_local:
        raise InvalidResourceError(
            f"{address}: BIRD needs an interface for a link-local address, and none can be given",
            ("peerIP",),
        )
    if parsed.is_unspecified or parsed.is_multicast or address == "255.255.255.255":
        raise InvalidResourceError(f"must be the address of one host, not {address}", ("peerIP",))
    return address, port


def _selector(text: str, name: str) -> str:
    return to_selector(text, name) if text else ""


def _next_hop(spec: bgp.BgpPeerSpec) -> NextHop:
    mode = spec.next_hop_mode
    if mode:
        return choose(_NEXT_HOPS, mode, "nextHopMode")
    return "keep-ebgp" if spec.keep_original_next_hop else "auto"


def _local_as_count(count: int | None) -> int:
    count = count or 0
    if not 0 <= count <= _MOST_LOCAL_AS:
        raise InvalidResourceError(
            f"must be a number from 0 to {_MOST_LOCAL_AS}, not {count}",
            ("numAllowedLocalASNumbers",),
        )
    return count


def _hops(hops: int | None) -> int:
    """A peer at no distance cannot be meant, and to leave the protection off even less."""
    if hops is not None and not 1 <= hops <= _MOST_HOPS:
        raise InvalidResourceError(
            f"must be a number of hops from 1 to {_MOST_HOPS}, not {hops}", ("ttlSecurity",)
        )
    return hops or 0


def _filters(names: Iterable[str]) -> tuple[str, ...]:
    for index, name in enumerate(names):
        if not is_name(name):
            raise InvalidResourceError(
                f"must be the name of a BGPFilter, not {name!r}", ("filters", index)
            )
    return tuple(names)
