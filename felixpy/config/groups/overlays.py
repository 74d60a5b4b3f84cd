"""Tunnels between nodes."""

from __future__ import annotations

from dataclasses import dataclass

from felixpy.config.network_types import INTERFACE, IPV4, IPV6, NETS, PORT
from felixpy.config.parameter import param
from felixpy.config.types import BOOL, OPTIONAL_BOOL, SECONDS, TEXT, integer

_MTU = integer(0, 65535)
_VNI = integer(0, 0xFFFFFF)
_RULE_PRIORITY = integer(0, 0x7FFFFFFF)


@dataclass(frozen=True)
class Overlays:
    """Tunnels between nodes"""

    ip_in_ip_enabled: bool | None = param(
        "IpInIpEnabled",
        OPTIONAL_BOOL,
        None,
        "Have an IPIP tunnel; unset: where a pool asks for one.",
    )
    ip_in_ip_mtu: int = param(
        "IpInIpMtu", _MTU, 0, "MTU of the IPIP tunnel; 0: worked out.", unit="bytes"
    )
    ip_in_ip_tunnel_addr: str = param(
        "IpInIpTunnelAddr",
        IPV4,
        "",
        "Address of this node's IPIP tunnel, as its Node resource has it.",
    )
    vxlan_enabled: bool | None = param(
        "VXLANEnabled",
        OPTIONAL_BOOL,
        None,
        "Have an IPv4 VXLAN tunnel; unset: where a pool asks for one.",
    )
    vxlan_port: int = param("VXLANPort", PORT, 4789, "UDP port of VXLAN.")
    vxlan_vni: int = param("VXLANVNI", _VNI, 4096, "Network identifier of VXLAN.")
    vxlan_mtu: int = param(
        "VXLANMTU",
        _MTU,
        0,
        "MTU of the IPv4 VXLAN tunnel; 0: worked out.",
        unit="bytes",
    )
    vxlan_mtu_v6: int = param(
        "VXLANMTUV6",
        _MTU,
        0,
        "MTU of the IPv6 VXLAN tunnel; 0: worked out.",
        unit="bytes",
    )
    ipv4_vxlan_tunnel_addr: str = param(
        "IPv4VXLANTunnelAddr",
        IPV4,
        "",
        "Address of this node's IPv4 VXLAN tunnel, as its Node resource has it.",
    )
    ipv6_vxlan_tunnel_addr: str = param(
        "IPv6VXLANTunnelAddr",
        IPV6,
        "",
        "Address of this node's IPv6 VXLAN tunnel, as its Node resource has it.",
    )
    vxlan_tunnel_mac_addr: str = param(
        "VXLANTunnelMACAddr",
        TEXT,
        "",
        "Hardware address of this node's IPv4 VXLAN tunnel, as its Node resource has it.",
    )
    vxlan_tunnel_mac_addr_v6: str = param(
        "VXLANTunnelMACAddrV6",
        TEXT,
        "",
        "Hardware address of this node's IPv6 VXLAN tunnel, as its Node resource has it.",
    )
    # Flag D, which Felix does not have here: a mistake would leave all traffic in clear.
    wireguard_enabled: bool = param(
        "WireguardEnabled",
        BOOL,
        False,
        "Encrypt IPv4 traffic between workloads of different nodes.",
        flags="D",
    )
    wireguard_enabled_v6: bool = param(
        "WireguardEnabledV6",
        BOOL,
        False,
        "Encrypt IPv6 traffic between workloads of different nodes.",
        flags="D",
    )
    wireguard_listening_port: int = param(
        "WireguardListeningPort", PORT, 51820, "UDP port of WireGuard over IPv4."
    )
    wireguard_listening_port_v6: int = param(
        "WireguardListeningPortV6", PORT, 51821, "UDP port of WireGuard over IPv6."
    )
    wireguard_routing_rule_priority: int = param(
        "WireguardRoutingRulePriority",
        _RULE_PRIORITY,
        99,
        "Priority of the routing rule that leads to WireGuard's table.",
    )
    wireguard_interface_name: str = param(
        "WireguardInterfaceName",
        INTERFACE,
        "wireguard.cali",
        "Name of the WireGuard interface for IPv4.",
        flags="Z",
    )
    wireguard_interface_name_v6: str = param(
        "WireguardInterfaceNameV6",
        INTERFACE,
        "wg-v6.cali",
        "Name of the WireGuard interface for IPv6.",
        flags="Z",
    )
    wireguard_mtu: int = param(
        "WireguardMTU",
        _MTU,
        0,
        "MTU of the WireGuard interface for IPv4; 0: worked out.",
        unit="bytes",
    )
    wireguard_mtu_v6: int = param(
        "WireguardMTUV6",
        _MTU,
        0,
        "MTU of the WireGuard interface for IPv6; 0: worked out.",
        unit="bytes",
    )
    wireguard_host_encryption_enabled: bool = param(
        "WireguardHostEncryptionEnabled",
        BOOL,
        False,
        "Encrypt traffic between the nodes themselves too.",
    )
    wireguard_persistent_keep_alive: float = param(
        "WireguardPersistentKeepAlive",
        SECONDS,
        0.0,
        "Time between two keepalives to a silent peer; 0: none.",
    )
    wireguard_threading_enabled: bool = param(
        "WireguardThreadingEnabled",
        BOOL,
        False,
        "Spread WireGuard's work over threads of the kernel.",
    )
    # Flag D on what a mistake in would open, or cut off: neither falls back to its default.
    wireguard_strict: bool = param(
        "WireguardStrict",
        BOOL,
        False,
        "Send nothing in clear to workloads of a node that it cannot be encrypted for.",
        flags="LD",
    )
    wireguard_clear_hosts: tuple[str, ...] = param(
        "WireguardClearHosts",
        NETS,
        (),
        "Addresses of nodes that are reached in clear, with WireguardHostEncryptionEnabled too: "
        "those of the datastore, the same on all nodes.",
        flags="LD",
    )
