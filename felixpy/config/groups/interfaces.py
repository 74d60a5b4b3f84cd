"""Interfaces and routes."""

# ruff: noqa: RUF009  `param` is a dataclasses.field that knows more
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from felixpy.config.network_types import (
    INTERFACES,
    INTERFACES_OR_REGEXPS,
    IPV4,
    IPV6,
    TABLE_RANGE,
    TABLE_RANGES,
    Range,
)
from felixpy.config.parameter import param
from felixpy.config.types import BOOL, FILE, REGEXP, SECONDS, integer, one_of

_PRIORITY = integer(1, 2147483646)


@dataclass(frozen=True)
class Interfaces:
    """Interfaces and routes"""

    interface_prefix: tuple[str, ...] = param(
        "InterfacePrefix",
        INTERFACES,
        ("cali",),
        "How the names of workloads' interfaces begin; no interface of the host may begin so.",
        flags="DZ",
    )
    interface_exclude: tuple[str, ...] = param(
        "InterfaceExclude",
        INTERFACES_OR_REGEXPS,
        ("kube-ipvs0",),
        "Interfaces of the host whose addresses are not looked at.",
    )
    mtu_iface_pattern: str = param(
        "MTUIfacePattern",
        REGEXP,
        r"^((en|wl|ww|sl|ib)[Pcopsvx].*|(eth|wlan|wwan).*)",
        "Interfaces of the host from which the MTU of tunnels is worked out.",
    )
    mtu_file: str = param(
        "MTUFile",
        FILE,
        "/var/lib/calico/mtu",
        "Where the CNI plugin is told the MTU of new workloads; none: nowhere.",
        flags="L",
    )
    require_mtu_file: bool = param(
        "RequireMTUFile",
        BOOL,
        False,
        "Take an MTU file that cannot be written for a failure.",
    )
    ipv6_support: bool = param("Ipv6Support", BOOL, True, "Program IPv6 as well as IPv4.")
    ip_forwarding: Literal["Enabled", "Disabled"] = param(
        "IPForwarding",
        one_of("Enabled", "Disabled", none="Disabled"),
        "Enabled",
        "Switch on forwarding in the kernel; Disabled leaves it as it is.",
    )
    interface_refresh_interval: float = param(
        "InterfaceRefreshInterval",
        SECONDS,
        90.0,
        "Time between two looks at all interfaces, besides the kernel's own news; 0: never.",
        live=True,
    )
    route_refresh_interval: float = param(
        "RouteRefreshInterval",
        SECONDS,
        90.0,
        "Time between two looks at what others did to our routes; 0: never.",
        live=True,
    )
    netlink_timeout_secs: float = param(
        "NetlinkTimeoutSecs",
        SECONDS,
        10.0,
        "How long an answer of the kernel is waited for.",
        effect="later",
    )
    device_route_source_address: str = param(
        "DeviceRouteSourceAddress",
        IPV4,
        "",
        "Source address of our IPv4 routes; unset: the kernel's choice.",
    )
    device_route_source_address_ipv6: str = param(
        "DeviceRouteSourceAddressIPv6",
        IPV6,
        "",
        "The same for IPv6.",
    )
    device_route_protocol: int = param(
        "DeviceRouteProtocol",
        integer(0, 255),
        3,
        "Protocol number by which our routes are known.",
    )
    remove_external_routes: bool = param(
        "RemoveExternalRoutes",
        BOOL,
        True,
        "Remove routes over workloads' interfaces that the agent did not make.",
    )
    route_sync_disabled: bool = param(
        "RouteSyncDisabled", BOOL, False, "Leave routes alone: somebody else programs them."
    )
    route_source: Literal["WorkloadIPs", "CalicoIPAM"] = param(
        "RouteSource",
        one_of("WorkloadIPs", "CalicoIPAM", none="CalicoIPAM"),
        "CalicoIPAM",
        "What routes to other nodes follow: the blocks of addresses, or each workload's own.",
    )
    route_table_range: Range | None = param(
        "RouteTableRange",
        TABLE_RANGE,
        None,
        "Routing tables that the agent may use; RouteTableRanges is the newer form.",
        flags="D",
    )
    route_table_ranges: tuple[Range, ...] = param(
        "RouteTableRanges",
        TABLE_RANGES,
        (),
        "Routing tables that the agent may use; neither set: 1-250.",
        flags="D",
    )
    program_cluster_routes: Literal[
        "Enabled", "Disabled", "EnabledIPIPOnly", "EnabledNoEncapOnly"
    ] = param(
        "ProgramClusterRoutes",
        one_of(
            "Enabled", "Disabled", "EnabledIPIPOnly", "EnabledNoEncapOnly", none="EnabledIPIPOnly"
        ),
        "EnabledIPIPOnly",
        "Which routes to other nodes the agent programs itself; BIRD has the rest.",
    )
    ipv4_normal_route_priority: int = param(
        "IPv4NormalRoutePriority", _PRIORITY, 1024, "Metric of our IPv4 routes to local workloads."
    )
    ipv6_normal_route_priority: int = param(
        "IPv6NormalRoutePriority", _PRIORITY, 1024, "Metric of our IPv6 routes to local workloads."
    )
    ipv4_elevated_route_priority: int = param(
        "IPv4ElevatedRoutePriority",
        _PRIORITY,
        512,
        "Metric of the IPv4 routes to a virtual machine that is just moving in.",
        effect="later",
    )
    ipv6_elevated_route_priority: int = param(
        "IPv6ElevatedRoutePriority",
        _PRIORITY,
        512,
        "Metric of the IPv6 routes to a virtual machine that is just moving in.",
        effect="later",
    )
    local_subnet_l2_reachability: Literal["Disabled", "PodsAndLoadBalancers"] = param(
        "LocalSubnetL2Reachability",
        one_of("Disabled", "PodsAndLoadBalancers", none="Disabled"),
        "Disabled",
        "Answer the local subnet's address resolution for workloads and load balancers.",
        effect="later",
    )
    local_subnet_l2_reachability_refresh_interval: float = param(
        "LocalSubnetL2ReachabilityRefreshInterval",
        SECONDS,
        120.0,
        "Time between two looks at what LocalSubnetL2Reachability set up.",
        live=True,
        effect="later",
    )
