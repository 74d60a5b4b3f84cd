"""This node's own side of BGP: what all its sessions share, and what contradicts itself in it.

    in   the cluster's nodes and configurations, the standing pools, Felix's parameters
    out  speaker(…) -> BgpSpeaker       speaker_faults(…)

Who writes routes of a pool into the kernel: BIRD only those of pools without encapsulation, as
BIRD 2 knows no tunnels, and only where BGPConfiguration says so and FelixConfiguration does not say
that Felix does it too: two writers of one route would take turns.
Sources: sections 1.1, 2.3, 2.6 and 3.9 of the BGP reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from calc_graph.bgp.cluster import BGP_PORT, DEFAULT, FAMILIES, NODE_PREFIX, Cluster, address_of
from calc_graph.bgp.faults import Fault
from calc_graph.bgp.felix import FelixSettings
from calc_graph.bgp.resources import BgpConfiguration, ProgramRoutes
from calc_graph.bgp.updates import BgpPool, BgpSpeaker
from calc_graph.model import IpPool
from calc_graph.net_table import parse_net

_PRIORITY: Final = 1024
_DEFAULT_ROUTES: Final[ProgramRoutes] = "EnabledNoEncapOnly"
_KIND: Final = "BGPConfiguration"
_ABOUT_DEFAULT: Final = "BGPConfiguration default"
_NO_ENCAP: Final = frozenset({"Enabled", "EnabledNoEncapOnly"})
_IPIP: Final = frozenset({"Enabled", "EnabledIPIPOnly"})
_COMPLEMENT: Final[dict[ProgramRoutes, ProgramRoutes]] = {
    "Enabled": "Disabled",
    "Disabled": "Enabled",
    "EnabledIPIPOnly": "EnabledNoEncapOnly",
    "EnabledNoEncapOnly": "EnabledIPIPOnly",
}

# What counts in the cluster's configuration alone, by the name that its author gave it.
_CLUSTER_WIDE: Final = (
    ("service_cidrs", "service addresses"),
    ("as_number", "asNumber"),
    ("mesh", "nodeToNodeMeshEnabled"),
    ("bind_node_address", "bindMode"),
    ("ignored_interfaces", "ignoredInterfaces"),
    ("mesh_password", "nodeMeshPassword"),
    ("mesh_restart_seconds", "nodeMeshMaxRestartTime"),
    ("program_routes", "programClusterRoutes"),
    ("normal_priority_v4", "ipv4NormalRoutePriority"),
    ("normal_priority_v6", "ipv6NormalRoutePriority"),
    ("workload_peering_v4", "localWorkloadPeeringIPV4"),
    ("workload_peering_v6", "localWorkloadPeeringIPV6"),
)
_NOTHING: Final = BgpConfiguration()


def speaker(
    cluster: Cluster, pools: Iterable[IpPool], felix: FelixSettings, *, fabric: bool
) -> BgpSpeaker:
    """Also for a node that is not known: it has no address then, and no sessions."""
    node, default, own = cluster.own, cluster.default, cluster.of_node(cluster.hostname)
    in_kernel = _bird_writes_no_encap(default, felix.program_routes)
    return BgpSpeaker(
        node=cluster.hostname,
        as_number=cluster.as_number(cluster.hostname),
        address_v4=address_of(node, 4),
        address_v6=address_of(node, 6),
        cluster_id=node.cluster_id if node else "",
        listen_port=own.listen_port or default.listen_port or BGP_PORT,
        bind_node_address=bool(default.bind_node_address),
        log=own.log or default.log or "states",
        ignored_interfaces=default.ignored_interfaces,
        priority_v4=default.normal_priority_v4 or _PRIORITY,
        priority_v6=default.normal_priority_v6 or _PRIORITY,
        pools=tuple(
            BgpPool(pool.cidr, pool.bgp_export, in_kernel and not _tunnelled(pool))
            for pool in sorted(pools, key=lambda pool: parse_net(pool.cidr))
        ),
        service_cidrs=default.service_cidrs,
        advertised_cidrs=default.advertised_cidrs,
        communities=own.prefix_communities or default.prefix_communities,
        fabric=fabric,
    )


def _tunnelled(pool: IpPool) -> bool:
    return pool.ipip_mode != "never" or pool.vxlan_mode != "never"


def _bird_writes_no_encap(default: BgpConfiguration, felix: ProgramRoutes) -> bool:
    return (default.program_routes or _DEFAULT_ROUTES) in _NO_ENCAP and felix not in _NO_ENCAP


def speaker_faults(
    cluster: Cluster, pools: Iterable[IpPool], felix: FelixSettings
) -> Iterator[Fault]:
    default = cluster.default
    yield from _configurations(cluster)
    yield from _unusable(cluster)
    bird = default.program_routes or _DEFAULT_ROUTES
    if bird in _IPIP and any(pool.ipip_mode != "never" for pool in pools):
        yield _no_ipip(bird)
    else:
        yield from _writers(bird, felix.program_routes)
    for family in FAMILIES:
        told = default.normal_priority_v4 if family == 4 else default.normal_priority_v6
        other = felix.priority_v4 if family == 4 else felix.priority_v6
        if (told or _PRIORITY) != other:
            yield (
                _ABOUT_DEFAULT,
                f"ipv{family}NormalRoutePriority is {told or _PRIORITY} here and {other} in "
                "FelixConfiguration: they have to be the same",
            )


def _configurations(cluster: Cluster) -> Iterator[Fault]:
    for name in cluster.configurations:
        if name != DEFAULT and not name.startswith(NODE_PREFIX):
            yield f"{_KIND} {name}", 'is ignored: its name is not "default" or "node.NAME"'
    own = cluster.of_node(cluster.hostname)
    ignored = [
        text for name, text in _CLUSTER_WIDE if getattr(own, name) != getattr(_NOTHING, name)
    ]
    if ignored:
        yield (
            f"{_KIND} {NODE_PREFIX}{cluster.hostname}",
            f"ignored, as it counts in BGPConfiguration default alone: {', '.join(ignored)}",
        )


def _unusable(cluster: Cluster) -> Iterator[Fault]:
    """What the conversion from the resource could make nothing of."""
    for name in (DEFAULT, f"{NODE_PREFIX}{cluster.hostname}"):
        found = cluster.configurations.get(name, _NOTHING)
        yield from ((f"{_KIND} {name}", text) for text in found.faults)


def _writers(bird: ProgramRoutes, felix: ProgramRoutes) -> Iterator[Fault]:
    """Of each kind of pool exactly one of BIRD and Felix has to write the routes."""
    for kind, choices in (("without encapsulation", _NO_ENCAP), ("with IPIP", _IPIP)):
        if (bird in choices) == (felix in choices):
            yield (
                _ABOUT_DEFAULT,
                f"programClusterRoutes is {bird} here and {felix} in FelixConfiguration, which "
                f"leaves routes of pools {kind} to {'both' if bird in choices else 'nobody'}: "
                f"FelixConfiguration has to say {_COMPLEMENT[bird]}",
            )


def _no_ipip(told: ProgramRoutes) -> Fault:
    ours, felix = ("Disabled", "Enabled")
    if told == "Enabled":
        ours, felix = ("EnabledNoEncapOnly", "EnabledIPIPOnly")
    return (
        _ABOUT_DEFAULT,
        f"programClusterRoutes is {told}, but BIRD 2 cannot write routes into IPIP tunnels: say "
        f"{ours} here and {felix} in FelixConfiguration",
    )
