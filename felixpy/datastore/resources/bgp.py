"""BGP: the node's sessions, what goes over them, and what is let through."""

# ruff: noqa: RUF012 - msgspec makes a new empty list or dict for each object

from __future__ import annotations

from typing import Annotated

from msgspec import field

from felixpy.datastore.resources import names
from felixpy.datastore.resources.addresses import (
    is_address,
    is_cidr,
    is_masked_ipv4,
    is_masked_ipv6,
)
from felixpy.datastore.resources.fields import (
    Address,
    AsNumber,
    BoundedName,
    BoundedSelector,
    Duration,
    Ipv4,
    Ipv6,
    Name,
    Net,
    Switch,
)
from felixpy.datastore.resources.marks import (
    Check,
    any_case,
    check,
    items_between,
    max_items,
    max_length,
    one_of,
    one_of_always,
    pattern,
    within,
)
from felixpy.datastore.resources.meta import Block, Document

_WITH_LENGTH = Check(is_cidr, "a CIDR with a length", schema=True)
_COMMUNITY = r"[0-9]+:[0-9]+(:[0-9]+)?"


def _is_peer(text: str) -> bool:
    peer = names.split_peer(text)
    return peer is not None and is_address(peer[0])


def is_community(text: str) -> bool:
    parts = text.split(":")
    bits = {2: 16, 3: 32}.get(len(parts), 0)
    return all(part.isascii() and part.isdigit() and len(part) <= 10 for part in parts) and (
        all(int(part) < 1 << bits for part in parts)
    )


ServiceCidr = Annotated[Net, _WITH_LENGTH]
RoutePriority = Annotated[int, within(1, 2_147_483_646, schema=False)]
CommunityValue = Annotated[
    str, max_length(32), check(is_community, "a community: 16-bit aa:nn or 32-bit aa:nn:mm")
]
ProgramClusterRoutes = Annotated[
    str, one_of("Enabled", "Disabled", "EnabledIPIPOnly", "EnabledNoEncapOnly")
]


class SecretKeySelector(Block, frozen=True):
    key: str
    name: str = ""
    optional: bool | None = None


class BgpPassword(Block, frozen=True):
    secret_key_ref: SecretKeySelector | None = None


class ServiceIpBlock(Block, frozen=True):
    cidr: ServiceCidr = ""


class Community(Block, frozen=True):
    name: BoundedName
    value: Annotated[
        str,
        max_length(40),
        pattern(_COMMUNITY, "a community"),
        check(is_community, "a community: 16-bit aa:nn or 32-bit aa:nn:mm"),
    ]


class PrefixAdvertisement(Block, frozen=True):
    cidr: ServiceCidr
    communities: Annotated[list[str], max_items(50)]


class BgpConfigurationSpec(Block, frozen=True):
    log_severity_screen: Annotated[
        str, any_case("Trace", "Debug", "Info", "Warning", "Error", "Fatal")
    ] = ""
    node_to_node_mesh_enabled: bool | None = None
    as_number: AsNumber | None = None
    service_load_balancer_ips: list[ServiceIpBlock] = field(
        default_factory=list, name="serviceLoadBalancerIPs"
    )
    service_external_ips: list[ServiceIpBlock] = field(
        default_factory=list, name="serviceExternalIPs"
    )
    service_cluster_ips: list[ServiceIpBlock] = field(
        default_factory=list, name="serviceClusterIPs"
    )
    service_load_balancer_aggregation: Switch | None = None
    communities: Annotated[list[Community], max_items(500)] = []
    prefix_advertisements: Annotated[list[PrefixAdvertisement], max_items(500)] = []
    listen_port: Annotated[int, within(1, 65535)] = 0
    node_mesh_password: BgpPassword | None = None
    node_mesh_max_restart_time: Duration | None = None
    bind_mode: Annotated[str, one_of("None", "NodeIP")] | None = None
    ignored_interfaces: list[
        Annotated[str, check(names.is_ignored_interface, "an interface name or pattern, not '*'")]
    ] = []
    local_workload_peering_ipv4: Ipv4 = field(default="", name="localWorkloadPeeringIPV4")
    local_workload_peering_ipv6: Ipv6 = field(default="", name="localWorkloadPeeringIPV6")
    program_cluster_routes: ProgramClusterRoutes | None = None
    ipv4_normal_route_priority: RoutePriority | None = field(
        default=None, name="ipv4NormalRoutePriority"
    )
    ipv6_normal_route_priority: RoutePriority | None = field(
        default=None, name="ipv6NormalRoutePriority"
    )


class BgpConfiguration(Document, frozen=True):
    spec: BgpConfigurationSpec = BgpConfigurationSpec()


class BgpPeerSpec(Block, frozen=True):
    node: BoundedName = ""
    node_selector: BoundedSelector = ""
    peer_ip: Annotated[
        str,
        max_length(64),
        check(_is_peer, "an IP address, <IPv4>:<port> or [<IPv6>]:<port>"),
    ] = field(default="", name="peerIP")
    as_number: AsNumber = 0
    local_as_number: AsNumber | None = field(default=None, name="localASNumber")
    peer_selector: BoundedSelector = ""
    keep_original_next_hop: bool = False
    next_hop_mode: Annotated[str, one_of("Auto", "Self", "Keep")] | None = None
    password: BgpPassword | None = None
    source_address: Annotated[str, one_of("UseNodeIP", "None")] = ""
    max_restart_time: Duration | None = None
    keepalive_time: Duration | None = None
    num_allowed_local_as_numbers: int | None = field(default=None, name="numAllowedLocalASNumbers")
    ttl_security: Annotated[int, within(0, 255, schema=False)] | None = None
    reachable_by: Annotated[Address, max_length(64)] = ""
    filters: list[Name] = []
    local_workload_selector: BoundedSelector = ""
    reverse_peering: Annotated[str, one_of("Auto", "Manual")] | None = None


class BgpPeer(Document, frozen=True):
    spec: BgpPeerSpec = BgpPeerSpec()


class PrefixLengthV4(Block, frozen=True):
    min: Annotated[int, within(0, 32, schema=False)] | None = None
    max: Annotated[int, within(0, 32, schema=False)] | None = None


class PrefixLengthV6(Block, frozen=True):
    min: Annotated[int, within(0, 128, schema=False)] | None = None
    max: Annotated[int, within(0, 128, schema=False)] | None = None


class CommunityMatch(Block, frozen=True):
    values: Annotated[list[CommunityValue], items_between(1, 1)]


class AddCommunity(Block, frozen=True):
    value: CommunityValue


class PrependAsPath(Block, frozen=True):
    prefix: Annotated[list[AsNumber], items_between(1, 10)]


class SetPriority(Block, frozen=True):
    value: RoutePriority


class FilterOperation(Block, frozen=True):
    add_community: AddCommunity | None = None
    prepend_as_path: PrependAsPath | None = field(default=None, name="prependASPath")
    set_priority: SetPriority | None = None


class FilterRule(Block, frozen=True):
    action: Annotated[str, one_of("Accept", "Reject")]
    source: Annotated[str, one_of_always("RemotePeers")] = ""
    interface: Annotated[
        str, max_length(15), check(names.is_interface_pattern, "an interface name or pattern")
    ] = ""
    match_operator: Annotated[str, one_of("Equal", "NotEqual", "In", "NotIn")] = ""
    peer_type: Annotated[str, one_of_always("eBGP", "iBGP")] = ""
    communities: CommunityMatch | None = None
    as_path_prefix: list[AsNumber] = []
    priority: RoutePriority | None = None
    operations: Annotated[list[FilterOperation], items_between(1, 10)] = []


class FilterRuleV4(FilterRule, frozen=True):
    cidr: Annotated[
        str,
        _WITH_LENGTH,
        max_length(18),
        check(is_masked_ipv4, "an IPv4 CIDR without host bits"),
    ] = ""
    prefix_length: PrefixLengthV4 | None = None


class FilterRuleV6(FilterRule, frozen=True):
    cidr: Annotated[
        str,
        _WITH_LENGTH,
        max_length(43),
        check(is_masked_ipv6, "an IPv6 CIDR without host bits"),
    ] = ""
    prefix_length: PrefixLengthV6 | None = None


class BgpFilterSpec(Block, frozen=True):
    export_v4: list[FilterRuleV4] = []
    import_v4: list[FilterRuleV4] = []
    export_v6: list[FilterRuleV6] = []
    import_v6: list[FilterRuleV6] = []


class BgpFilter(Document, frozen=True):
    spec: BgpFilterSpec = BgpFilterSpec()
