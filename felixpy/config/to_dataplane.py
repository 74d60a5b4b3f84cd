"""The parameters in the dataplane's own words."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from contextlib import suppress

import structlog

from dataplane.settings import Intervals, RenderSettings, Settings, TunnelSettings
from felixpy.config import marks
from felixpy.config.parameters import Config, openstack_mode
from felixpy.config.to_wireguard import to_wireguard
from felixpy.config.types import BOOL

log = structlog.get_logger(__name__)

_FULLY_RANDOM = ("MASQFullyRandom", "SNATFullyRandom")


def look_up(name: str) -> str:
    """The first IPv4 address of a host; raises OSError."""
    answers = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
    return str(answers[0][4][0])


def to_settings(config: Config, resolver: Callable[[str], str] = look_up) -> Settings:
    """Everything the dataplane is to know; `resolver` may be asked for MetadataAddr, and block."""
    return Settings(
        hostname=config.felix_hostname,
        render=_render_settings(config, resolver),
        intervals=to_intervals(config),
        ipv6=config.ipv6_support,
        iptables_backend=config.iptables_backend,
        insert_mode=config.chain_insert_mode,
        lock_probe_micros=round(config.iptables_lock_probe_interval_millis * 1000),
        max_ipset_size=config.max_ipset_size,
        ip_forwarding=config.ip_forwarding == "Enabled",
        floating_ips=config.floating_ips == "Enabled",
        source_spoofing=config.workload_source_spoofing == "Any",
        interface_exclude=config.interface_exclude,
        device_route_protocol=config.device_route_protocol,
        device_route_source_v4=config.device_route_source_address,
        device_route_source_v6=config.device_route_source_address_ipv6,
        route_priority_v4=config.ipv4_normal_route_priority,
        route_priority_v6=config.ipv6_normal_route_priority,
        remove_external_routes=config.remove_external_routes,
        route_sync=not config.route_sync_disabled,
        external_node_cidrs=config.external_nodes_cidr_list,
        tunnels=_tunnel_settings(config),
        wireguard=to_wireguard(config),
    )


def to_intervals(config: Config) -> Intervals:
    """The part that may be exchanged while the dataplane runs."""
    return Intervals(
        tables=config.iptables_refresh_interval,
        tables_after_write=config.iptables_post_write_check_interval_secs,
        ipsets=config.ipsets_refresh_interval,
        routes=config.route_refresh_interval,
        interfaces=config.interface_refresh_interval,
    )


def _tunnel_settings(config: Config) -> TunnelSettings:
    programmed = config.program_cluster_routes
    return TunnelSettings(
        ipip_enabled=config.ip_in_ip_enabled,
        ipip_mtu=config.ip_in_ip_mtu,
        ipip_address=config.ip_in_ip_tunnel_addr,
        vxlan_enabled=config.vxlan_enabled,
        vxlan_vni=config.vxlan_vni,
        vxlan_mtu=config.vxlan_mtu,
        vxlan_mtu_v6=config.vxlan_mtu_v6,
        vxlan_address=config.ipv4_vxlan_tunnel_addr,
        vxlan_address_v6=config.ipv6_vxlan_tunnel_addr,
        vxlan_mac=config.vxlan_tunnel_mac_addr,
        vxlan_mac_v6=config.vxlan_tunnel_mac_addr_v6,
        program_ipip=programmed in ("Enabled", "EnabledIPIPOnly"),
        program_no_encap=programmed in ("Enabled", "EnabledNoEncapOnly"),
        mtu_interfaces=config.mtu_iface_pattern,
        mtu_file=config.mtu_file,
        mtu_file_required=config.require_mtu_file,
    )


def _render_settings(config: Config, resolver: Callable[[str], str]) -> RenderSettings:
    openstack = openstack_mode(config)
    wireguard = config.wireguard_enabled or config.wireguard_enabled_v6
    return RenderSettings(
        marks=marks.allocate(config.iptables_mark_mask, wireguard=wireguard).marks,
        interface_prefixes=config.interface_prefix,
        filter_allow_action=config.iptables_filter_allow_action,
        mangle_allow_action=config.iptables_mangle_allow_action,
        filter_deny_action=config.iptables_filter_deny_action,
        endpoint_to_host_action=config.default_endpoint_to_host_action,
        conntrack_invalid_check=not config.disable_conntrack_invalid_check,
        failsafe_inbound=config.failsafe_inbound_host_ports,
        failsafe_outbound=config.failsafe_outbound_host_ports,
        service_loop_prevention=config.service_loop_prevention,
        log_prefix=config.log_prefix,
        log_rate_limit=config.log_action_rate_limit,
        log_rate_limit_burst=config.log_action_rate_limit_burst,
        allow_vxlan_from_workloads=config.allow_vxlan_packets_from_workloads,
        allow_ipip_from_workloads=config.allow_ipip_packets_from_workloads,
        vxlan_port=config.vxlan_port,
        openstack=openstack,
        metadata_addr=_metadata_address(config, resolver) if openstack else "",
        metadata_port=config.metadata_port,
        workload_to_host_rate=config.workload_to_host_packet_rate,
        workload_to_host_burst=config.workload_to_host_packet_burst,
        fabric_spoof_protection=config.fabric_spoof_protection,
        nat_port_range=config.nat_port_range,
        nat_outgoing_address=config.nat_outgoing_address,
        nat_outgoing_exclude_hosts=config.nat_outgoing_exclusions == "IPPoolsAndHostIPs",
        nat_outgoing_interface=config.iptables_nat_outgoing_interface_filter,
        random_fully=_fully_random(config),
    )


def _metadata_address(config: Config, resolver: Callable[[str], str]) -> str:
    """An IPv4 address; "" when there is no service or its name has none: nothing is opened."""
    name = config.metadata_addr
    if not name or not config.metadata_port:
        return ""
    with suppress(ValueError):
        return str(ipaddress.IPv4Address(name))
    try:
        return resolver(name)
    except (OSError, UnicodeError) as reason:  # the latter from labels that are empty or too long
        log.warning("config.metadata_address_unknown", name=name, reason=str(reason))
        return ""


def _fully_random(config: Config) -> bool:
    """Whether ports of masqueraded flows are drawn at random: not when either feature is denied."""
    denied = []
    for name, text in config.feature_detect_override:
        if name in _FULLY_RANDOM:
            with suppress(ValueError):
                denied.append(not BOOL.parse(text))
    return not any(denied)
