"""Policy, tables, IP sets, NAT."""

# ruff: noqa: RUF009  `param` is a dataclasses.field that knows more
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dataplane.settings import FailsafePort
from felixpy.config.network_types import (
    FAILSAFE_PORTS,
    HOSTNAME,
    INTERFACE,
    IPV4,
    IPV4_NETS,
    MASK,
    PORT,
    PORT_RANGE,
    PORT_RANGES,
    RATE,
    Range,
)
from felixpy.config.parameter import param
from felixpy.config.types import BOOL, MILLIS, REGEXP, SECONDS, TEXT, Type, integer, one_of

Allow = Literal["ACCEPT", "RETURN"]
Deny = Literal["DROP", "REJECT"]
Switch = Literal["Enabled", "Disabled"]
_ALLOW: Type[Allow] = one_of("ACCEPT", "RETURN", none="ACCEPT")
_DENY: Type[Deny] = one_of("DROP", "REJECT", none="DROP")
_MASK = 0xFFFF0000
# Both lists keep a machine reachable while its policy is being written: the ways in and out of
# ssh, DHCP, DNS, BGP, etcd, Typha and the Kubernetes API.
_BOTH_WAYS = tuple(FailsafePort("tcp", port) for port in (179, 2379, 2380, 5473, 6443, 6666, 6667))
_INBOUND = (FailsafePort("tcp", 22), FailsafePort("udp", 68), *_BOTH_WAYS)
_OUTBOUND = (FailsafePort("udp", 53), FailsafePort("udp", 67), *_BOTH_WAYS)


@dataclass(frozen=True)
class Rules:
    """Policy, tables, IP sets, NAT"""

    default_endpoint_to_host_action: Literal["DROP", "RETURN", "ACCEPT"] = param(
        "DefaultEndpointToHostAction",
        one_of("DROP", "RETURN", "ACCEPT", none="DROP"),
        "DROP",
        "What becomes of packets of a workload to its own host that its policy allows.",
        flags="DZ",
    )
    chain_insert_mode: Literal["insert", "append"] = param(
        "ChainInsertMode",
        one_of("insert", "append", none="insert"),
        "insert",
        "Whether our one rule comes first or last in the kernel's own chains.",
        flags="DZ",
    )
    iptables_backend: Literal["legacy", "nft", "auto"] = param(
        "IptablesBackend",
        one_of("legacy", "nft", "auto", none="auto"),
        "auto",
        "Which of the two iptables programs the rules of; auto: the one in use already.",
    )
    nftables_mode: Literal["Enabled", "Disabled", "Auto"] = param(
        "NFTablesMode",
        one_of("Enabled", "Disabled", "Auto", none="Disabled"),
        "Auto",
        "Use nftables itself instead of iptables.",
        effect="later",
    )
    nftables_flow_table_offload: Literal["All", "Disabled"] = param(
        "NFTablesFlowTableOffload",
        one_of("All", "Disabled", none="Disabled"),
        "Disabled",
        "Let the kernel forward established flows past the chains (nftables).",
        effect="later",
    )
    nftables_flow_table_data_iface_pattern: str = param(
        "NFTablesFlowTableDataIfacePattern",
        REGEXP,
        "",
        "Interfaces of the host that take part in NFTablesFlowTableOffload.",
        effect="later",
    )
    iptables_filter_allow_action: Allow = param(
        "IptablesFilterAllowAction",
        _ALLOW,
        "ACCEPT",
        "What becomes of packets that policy allows; RETURN lets later rules of the host decide.",
        flags="DZ",
    )
    iptables_mangle_allow_action: Allow = param(
        "IptablesMangleAllowAction",
        _ALLOW,
        "ACCEPT",
        "The same in table mangle, for policy before DNAT.",
        flags="DZ",
    )
    iptables_filter_deny_action: Deny = param(
        "IptablesFilterDenyAction",
        _DENY,
        "DROP",
        "What becomes of packets that policy denies.",
        flags="DZ",
    )
    iptables_mark_mask: int = param(
        "IptablesMarkMask",
        MASK,
        _MASK,
        "Bits of a packet's mark that are ours alone; at least 6, with WireGuard 7.",
        flags="DZ",
    )
    nftables_filter_allow_action: Allow = param(
        "NftablesFilterAllowAction",
        _ALLOW,
        "ACCEPT",
        "IptablesFilterAllowAction for nftables.",
        flags="DZ",
        effect="later",
    )
    nftables_mangle_allow_action: Allow = param(
        "NftablesMangleAllowAction",
        _ALLOW,
        "ACCEPT",
        "IptablesMangleAllowAction for nftables.",
        flags="DZ",
        effect="later",
    )
    nftables_filter_deny_action: Deny = param(
        "NftablesFilterDenyAction",
        _DENY,
        "DROP",
        "IptablesFilterDenyAction for nftables.",
        flags="DZ",
        effect="later",
    )
    nftables_mark_mask: int = param(
        "NftablesMarkMask",
        MASK,
        _MASK,
        "IptablesMarkMask for nftables.",
        flags="DZ",
        effect="later",
    )
    iptables_refresh_interval: float = param(
        "IptablesRefreshInterval",
        SECONDS,
        180.0,
        "Time between two looks at what others did to the tables; 0: never.",
        live=True,
    )
    nftables_refresh_interval: float = param(
        "NftablesRefreshInterval",
        SECONDS,
        180.0,
        "IptablesRefreshInterval for nftables.",
        live=True,
        effect="later",
    )
    iptables_post_write_check_interval_secs: float = param(
        "IptablesPostWriteCheckIntervalSecs",
        SECONDS,
        5.0,
        "Time from a write of ours to the first look whether another program undid it.",
        live=True,
    )
    iptables_lock_probe_interval_millis: float = param(
        "IptablesLockProbeIntervalMillis",
        MILLIS,
        50.0,
        "Time between two tries to take the lock of legacy iptables.",
    )
    ipsets_refresh_interval: float = param(
        "IpsetsRefreshInterval",
        SECONDS,
        90.0,
        "Time between two looks at what others did to our IP sets; 0: never.",
        live=True,
    )
    max_ipset_size: int = param(
        "MaxIpsetSize",
        integer(1, 0xFFFFFFFF),
        1048576,
        "How many members one IP set may have.",
        flags="Z",
        unit="members",
    )
    log_prefix: str = param(
        "LogPrefix",
        TEXT,
        "calico-packet",
        "How the kernel's lines about packets begin that a rule's Log action matched; "
        "%t, %k, %n, %p stand for its tier, kind, name, namespace and name.",
    )
    log_action_rate_limit: str = param(
        "LogActionRateLimit",
        RATE,
        "",
        "How many such lines a rule may write; unset: any number.",
    )
    log_action_rate_limit_burst: int = param(
        "LogActionRateLimitBurst",
        integer(0, 9999),
        5,
        "How many such lines may come at once before LogActionRateLimit counts.",
        unit="lines",
    )
    disable_conntrack_invalid_check: bool = param(
        "DisableConntrackInvalidCheck",
        BOOL,
        False,
        "Let packets through to policy that belong to no flow the kernel knows.",
    )
    service_loop_prevention: Literal["Drop", "Reject", "Disabled"] = param(
        "ServiceLoopPrevention",
        one_of("Drop", "Reject", "Disabled", none="Disabled"),
        "Drop",
        "What becomes of packets to service addresses that no service took.",
    )
    workload_source_spoofing: Literal["Disabled", "Any"] = param(
        "WorkloadSourceSpoofing",
        one_of("Disabled", "Any", none="Disabled"),
        "Disabled",
        "Whether workloads may be allowed to send from addresses that are not theirs.",
    )
    fabric_spoof_protection: Literal["Off", "Warn", "Drop"] = param(
        "FabricSpoofProtection",
        one_of("Off", "Warn", "Drop", none="Off"),
        "Off",
        "What becomes of packets that come from the fabric with the address of a local workload, "
        "or with that of another one by an interface where it cannot live; Warn: a line in the "
        "kernel's log, by LogActionRateLimit or 10/minute.",
        flags="LD",
    )
    workload_to_host_packet_rate: int = param(
        "WorkloadToHostPacketRate",
        integer(0, 10_000),
        0,
        "How many packets a second each workload may send its host of what policy cannot close to "
        "it: neighbour discovery, and with OpenStack DHCP, DNS and metadata; 0: any number.",
        flags="LD",
        unit="packets/s",
    )
    workload_to_host_packet_burst: int = param(
        "WorkloadToHostPacketBurst",
        integer(1, 10_000),
        50,
        "How many such packets may come at once before WorkloadToHostPacketRate counts; a name "
        "looked up takes two, and one that is lost five seconds.",
        flags="LDZ",
        unit="packets",
    )
    allow_vxlan_packets_from_workloads: bool = param(
        "AllowVXLANPacketsFromWorkloads",
        BOOL,
        False,
        "Let workloads send VXLAN packets; policy still applies.",
    )
    allow_ipip_packets_from_workloads: bool = param(
        "AllowIPIPPacketsFromWorkloads",
        BOOL,
        False,
        "Let workloads send IPIP packets; policy still applies.",
    )
    conntrack_flush_on_policy_change: bool = param(
        "ConntrackFlushOnPolicyChange",
        BOOL,
        False,
        "End established flows that a new policy would refuse, instead of letting them finish.",
        flags="L",
    )
    failsafe_inbound_host_ports: tuple[FailsafePort, ...] = param(
        "FailsafeInboundHostPorts",
        FAILSAFE_PORTS,
        _INBOUND,
        "Ports of this machine that no host endpoint's policy can close; none: no such port.",
        flags="D",
    )
    failsafe_outbound_host_ports: tuple[FailsafePort, ...] = param(
        "FailsafeOutboundHostPorts",
        FAILSAFE_PORTS,
        _OUTBOUND,
        "Ports of others that no host endpoint's policy keeps this machine from; none: no such "
        "port.",
        flags="D",
    )
    kube_node_port_ranges: tuple[Range, ...] = param(
        "KubeNodePortRanges",
        PORT_RANGES,
        ((30000, 32767),),
        "Ports of Kubernetes services on this machine, where kube-proxy uses IPVS.",
        effect="later",
    )
    nat_port_range: Range | None = param(
        "NATPortRange",
        PORT_RANGE,
        None,
        "Source ports of masqueraded flows; unset: the kernel's choice.",
    )
    nat_outgoing_address: str = param(
        "NATOutgoingAddress",
        IPV4,
        "",
        "Source address of flows from natOutgoing pools; unset: their interface's.",
    )
    nat_outgoing_exclusions: Literal["IPPoolsOnly", "IPPoolsAndHostIPs"] = param(
        "NATOutgoingExclusions",
        one_of("IPPoolsOnly", "IPPoolsAndHostIPs", none="IPPoolsOnly"),
        "IPPoolsOnly",
        "Destinations to which workloads keep their own address.",
    )
    iptables_nat_outgoing_interface_filter: str = param(
        "IptablesNATOutgoingInterfaceFilter",
        INTERFACE,
        "",
        "Masquerade only what leaves by this interface; unset: by any.",
    )
    floating_ips: Switch = param(
        "FloatingIPs",
        one_of("Enabled", "Disabled", none="Disabled"),
        "Disabled",
        "Program the floating addresses of workloads; those of OpenStack are in any case.",
    )
    metadata_addr: str = param(
        "MetadataAddr",
        HOSTNAME,
        "127.0.0.1",
        "Host name or IPv4 address of OpenStack's metadata service, which workloads may reach; "
        "none: no such service.",
        flags="D",
    )
    metadata_port: int = param(
        "MetadataPort", PORT, 8775, "Port of OpenStack's metadata service.", flags="D"
    )
    external_nodes_cidr_list: tuple[str, ...] = param(
        "ExternalNodesCIDRList",
        IPV4_NETS,
        (),
        "Machines outside the cluster from which tunnelled packets are taken.",
        flags="D",
    )
