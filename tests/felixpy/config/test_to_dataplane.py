"""Parameters in the dataplane's words."""

from typing import Any

import msgspec
import pytest

from dataplane.settings import (
    FailsafePort,
    Intervals,
    MarkBits,
    RenderSettings,
    Settings,
    TunnelSettings,
)
from felixpy.config.parameters import Config
from felixpy.config.to_dataplane import look_up, to_intervals, to_settings

BOTH_WAYS = tuple(FailsafePort("tcp", port) for port in (179, 2379, 2380, 5473, 6443, 6666, 6667))
DEFAULT = Settings(
    hostname="n1",
    render=RenderSettings(
        failsafe_inbound=(FailsafePort("tcp", 22), FailsafePort("udp", 68), *BOTH_WAYS),
        failsafe_outbound=(FailsafePort("udp", 53), FailsafePort("udp", 67), *BOTH_WAYS),
        metadata_addr="",
    ),
    tunnels=TunnelSettings(mtu_file="/var/lib/calico/mtu"),
)


def nobody(name: str) -> str:
    raise OSError(f"no address of {name}")


def flat(settings: Settings) -> dict[str, Any]:
    top = msgspec.structs.asdict(settings)
    return {
        **msgspec.structs.asdict(top.pop("render")),
        **msgspec.structs.asdict(top.pop("intervals")),
        **msgspec.structs.asdict(top.pop("tunnels")),
        **top,
    }


def test_defaults_are_the_dataplane_s_own() -> None:
    assert to_settings(Config(felix_hostname="n1"), nobody) == DEFAULT
    assert to_intervals(Config()) == Intervals()


MAPPED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    # configuration, what differs from the default settings
    ({"iptables_filter_deny_action": "REJECT"}, {"filter_deny_action": "REJECT"}),
    ({"iptables_filter_allow_action": "RETURN"}, {"filter_allow_action": "RETURN"}),
    ({"iptables_mangle_allow_action": "RETURN"}, {"mangle_allow_action": "RETURN"}),
    ({"default_endpoint_to_host_action": "ACCEPT"}, {"endpoint_to_host_action": "ACCEPT"}),
    ({"disable_conntrack_invalid_check": True}, {"conntrack_invalid_check": False}),
    ({"failsafe_inbound_host_ports": ()}, {"failsafe_inbound": ()}),
    ({"failsafe_outbound_host_ports": ()}, {"failsafe_outbound": ()}),
    ({"service_loop_prevention": "Reject"}, {"service_loop_prevention": "Reject"}),
    ({"log_prefix": "x"}, {"log_prefix": "x"}),
    ({"log_action_rate_limit": "1/day"}, {"log_rate_limit": "1/day"}),
    ({"log_action_rate_limit_burst": 1}, {"log_rate_limit_burst": 1}),
    ({"allow_vxlan_packets_from_workloads": True}, {"allow_vxlan_from_workloads": True}),
    ({"allow_ipip_packets_from_workloads": True}, {"allow_ipip_from_workloads": True}),
    ({"vxlan_port": 1}, {"vxlan_port": 1}),
    ({"workload_to_host_packet_rate": 7}, {"workload_to_host_rate": 7}),
    ({"workload_to_host_packet_burst": 7}, {"workload_to_host_burst": 7}),
    ({"fabric_spoof_protection": "Warn"}, {"fabric_spoof_protection": "Warn"}),
    ({"nat_port_range": (1, 2)}, {"nat_port_range": (1, 2)}),
    ({"nat_outgoing_address": "10.0.0.1"}, {"nat_outgoing_address": "10.0.0.1"}),
    ({"nat_outgoing_exclusions": "IPPoolsAndHostIPs"}, {"nat_outgoing_exclude_hosts": True}),
    ({"iptables_nat_outgoing_interface_filter": "e"}, {"nat_outgoing_interface": "e"}),
    ({"iptables_backend": "nft"}, {"iptables_backend": "nft"}),
    ({"chain_insert_mode": "append"}, {"insert_mode": "append"}),
    ({"iptables_lock_probe_interval_millis": 1.5}, {"lock_probe_micros": 1500}),
    ({"max_ipset_size": 7}, {"max_ipset_size": 7}),
    ({"ip_forwarding": "Disabled"}, {"ip_forwarding": False}),
    ({"ipv6_support": False}, {"ipv6": False}),
    ({"floating_ips": "Enabled"}, {"floating_ips": True}),
    ({"interface_prefix": ("a", "b")}, {"interface_prefixes": ("a", "b")}),
    ({"interface_exclude": ("/x/",)}, {"interface_exclude": ("/x/",)}),
    ({"device_route_protocol": 80}, {"device_route_protocol": 80}),
    ({"device_route_source_address": "10.0.0.1"}, {"device_route_source_v4": "10.0.0.1"}),
    ({"device_route_source_address_ipv6": "fd00::1"}, {"device_route_source_v6": "fd00::1"}),
    ({"ipv4_normal_route_priority": 1}, {"route_priority_v4": 1}),
    ({"ipv6_normal_route_priority": 1}, {"route_priority_v6": 1}),
    ({"remove_external_routes": False}, {"remove_external_routes": False}),
    ({"route_sync_disabled": True}, {"route_sync": False}),
    ({"external_nodes_cidr_list": ("10.0.0.0/8",)}, {"external_node_cidrs": ("10.0.0.0/8",)}),
    ({"ip_in_ip_enabled": False}, {"ipip_enabled": False}),
    ({"ip_in_ip_mtu": 1400}, {"ipip_mtu": 1400}),
    ({"ip_in_ip_tunnel_addr": "10.0.0.1"}, {"ipip_address": "10.0.0.1"}),
    ({"vxlan_enabled": True}, {"vxlan_enabled": True}),
    ({"vxlan_vni": 7}, {"vxlan_vni": 7}),
    ({"vxlan_mtu": 1400}, {"vxlan_mtu": 1400}),
    ({"vxlan_mtu_v6": 1400}, {"vxlan_mtu_v6": 1400}),
    ({"ipv4_vxlan_tunnel_addr": "10.0.0.1"}, {"vxlan_address": "10.0.0.1"}),
    ({"ipv6_vxlan_tunnel_addr": "fd00::1"}, {"vxlan_address_v6": "fd00::1"}),
    ({"vxlan_tunnel_mac_addr": "x"}, {"vxlan_mac": "x"}),
    ({"vxlan_tunnel_mac_addr_v6": "x"}, {"vxlan_mac_v6": "x"}),
    ({"program_cluster_routes": "Enabled"}, {"program_no_encap": True}),
    ({"program_cluster_routes": "Disabled"}, {"program_ipip": False}),
    (
        {"program_cluster_routes": "EnabledNoEncapOnly"},
        {"program_ipip": False, "program_no_encap": True},
    ),
    ({"mtu_iface_pattern": "^x"}, {"mtu_interfaces": "^x"}),
    ({"mtu_file": ""}, {"mtu_file": ""}),
    ({"require_mtu_file": True}, {"mtu_file_required": True}),
    ({"iptables_mark_mask": 0xFF0000}, {"marks": MarkBits(endpoint=0xE00000)}),
    ({"iptables_refresh_interval": 1.0}, {"tables": 1.0}),
    ({"iptables_post_write_check_interval_secs": 1.0}, {"tables_after_write": 1.0}),
    ({"ipsets_refresh_interval": 1.0}, {"ipsets": 1.0}),
    ({"route_refresh_interval": 1.0}, {"routes": 1.0}),
    ({"interface_refresh_interval": 1.0}, {"interfaces": 1.0}),
    ({"feature_detect_override": (("MASQFullyRandom", "false"),)}, {"random_fully": False}),
    ({"feature_detect_override": (("SNATFullyRandom", "0"),)}, {"random_fully": False}),
    ({"feature_detect_override": (("MASQFullyRandom", "yes"), ("Other", "false"))}, {}),
    ({"feature_detect_override": (("MASQFullyRandom", "perhaps"),)}, {}),
]


@pytest.mark.parametrize(("values", "differs"), MAPPED)
def test_each_parameter(values: dict[str, Any], differs: dict[str, Any]) -> None:
    settings = to_settings(Config(felix_hostname="n1", **values), nobody)
    assert flat(settings) == {**flat(DEFAULT), **differs}


METADATA = [
    # MetadataAddr, MetadataPort, ClusterType, address in the rules
    ("10.0.0.1", 8775, "", "10.0.0.1"),
    ("10.0.0.1", 0, "", ""),
    ("metadata.example", 8775, "", "192.0.2.1"),
    ("unknown.example", 8775, "", ""),
    ("", 8775, "openstack", ""),
    ("127.0.0.1", 8775, "openstack", "127.0.0.1"),
    ("127.0.0.1", 8775, "k8s", ""),
]


@pytest.mark.parametrize(("name", "port", "cluster_type", "address"), METADATA)
def test_metadata_address(name: str, port: int, cluster_type: str, address: str) -> None:
    def resolver(asked: str) -> str:
        return {"metadata.example": "192.0.2.1"}.get(asked) or nobody(asked)

    config = Config(metadata_addr=name, metadata_port=port, cluster_type=cluster_type)
    render = to_settings(config, resolver).render
    assert render.metadata_addr == address
    assert render.openstack is (cluster_type != "k8s")


def test_look_up() -> None:
    assert look_up("127.0.0.1") == "127.0.0.1"


def test_a_name_that_cannot_be_one() -> None:
    settings = to_settings(Config(metadata_addr="a..b"))
    assert settings.render.metadata_addr == ""
