"""What the dataplane can be told to do differently: parameters by Felix's meaning, checked and
typed by the shell.

Everything is fixed for the life of a dataplane except `Intervals`, which may be exchanged while it
runs.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from dataplane.families import Family

IPIP_DEVICE = "tunl0"
VXLAN_DEVICES: dict[Family, str] = {4: "vxlan.calico", 6: "vxlan-v6.calico"}
WIREGUARD_DEVICES = ("wireguard.cali", "wg-v6.cali")  # Calico's own names; others may be chosen


class FailsafePort(Struct, frozen=True):
    protocol: Literal["tcp", "udp"]
    port: int
    net: str = ""  # canonical CIDR; "" means any peer


class MarkBits(Struct, frozen=True):
    """Bits of the packet mark; the first five are one bit each.  Rules reference, section 2."""

    accept: int = 0x10000
    passed: int = 0x20000
    drop: int = 0x40000
    scratch0: int = 0x80000
    scratch1: int = 0x100000
    endpoint: int = 0xFFE00000

    @property
    def wiped(self) -> int:
        """The bits cleared when a packet enters a hook."""
        return self.accept | self.passed | self.scratch0 | self.scratch1

    @property
    def encrypted(self) -> int:
        """A bit of the connection's mark, of a flow that must not go on in clear.

        Felix has none.  The endpoint field is about packets, so the two never meet.
        """
        return 1 << (self.endpoint.bit_length() - 1)


class RenderSettings(Struct, frozen=True):
    """All that the text of a rule can depend on."""

    marks: MarkBits = MarkBits()
    interface_prefixes: tuple[str, ...] = ("cali",)
    filter_allow_action: Literal["ACCEPT", "RETURN"] = "ACCEPT"
    mangle_allow_action: Literal["ACCEPT", "RETURN"] = "ACCEPT"
    filter_deny_action: Literal["DROP", "REJECT"] = "DROP"
    endpoint_to_host_action: Literal["DROP", "RETURN", "ACCEPT"] = "DROP"
    conntrack_invalid_check: bool = True
    failsafe_inbound: tuple[FailsafePort, ...] = ()
    failsafe_outbound: tuple[FailsafePort, ...] = ()
    service_loop_prevention: Literal["Drop", "Reject", "Disabled"] = "Drop"
    log_prefix: str = "calico-packet"
    log_rate_limit: str = ""  # "10/second"; "" means unlimited
    log_rate_limit_burst: int = 5
    allow_vxlan_from_workloads: bool = False
    allow_ipip_from_workloads: bool = False
    vxlan_port: int = 4789
    openstack: bool = False
    metadata_addr: str = "127.0.0.1"  # IPv4 address; "" means no metadata service
    metadata_port: int = 8775
    workload_to_host_rate: int = 0  # packets a second of each workload; 0 means unlimited
    workload_to_host_burst: int = 50
    fabric_spoof_protection: Literal["Off", "Warn", "Drop"] = "Off"
    nat_port_range: tuple[int, int] | None = None
    nat_outgoing_address: str = ""
    nat_outgoing_exclude_hosts: bool = False
    nat_outgoing_interface: str = ""
    random_fully: bool = True


class Intervals(Struct, frozen=True):
    """Seconds between looks at what others may have changed; 0 means never."""

    tables: float = 180.0
    tables_after_write: float = 5.0
    ipsets: float = 90.0
    routes: float = 90.0
    interfaces: float = 90.0


class TunnelSettings(Struct, frozen=True):
    """Routes to other nodes, and the tunnels that they lead through.

    `…_enabled` None: where a pool asks for it.  An MTU of 0 is worked out.  Addresses and MACs of
    "" are those that the node's own resource tells.
    """

    ipip_enabled: bool | None = None
    ipip_mtu: int = 0
    ipip_address: str = ""
    vxlan_enabled: bool | None = None  # IPv4; IPv6 goes by the pools alone
    vxlan_vni: int = 4096
    vxlan_mtu: int = 0
    vxlan_mtu_v6: int = 0
    vxlan_address: str = ""
    vxlan_address_v6: str = ""
    vxlan_mac: str = ""
    vxlan_mac_v6: str = ""
    program_ipip: bool = True  # the routes over IPIP are ours to write, not BIRD's
    program_no_encap: bool = False
    mtu_interfaces: str = r"^((en|wl|ww|sl|ib)[Pcopsvx].*|(eth|wlan|wwan).*)"
    mtu_file: str = ""  # where the CNI plugin looks for the MTU of workloads; "" means nowhere
    mtu_file_required: bool = False


class WireguardSettings(Struct, frozen=True):
    """`families` are those it is on for.  Of each family: UDP port here and on every other node,
    device, and MTU (0: worked out).

    held             of these families, those that must not begin yet: no device is made for them,
                     as if this kernel had no WireGuard
    mark             the bit on what the device has encrypted, so that it takes the other tables
    table            routing table that all else asks first, by a rule of `rule_priority`
    keepalive        seconds, 0: only while a peer has not answered yet
    strict           nothing goes in clear to a node that it cannot be encrypted for
    host_encryption  what nodes themselves say to each other is encrypted too, except to
                     `clear_hosts`: addresses of nodes that must be reached before any key is known
    """

    families: frozenset[Family] = frozenset()
    held: frozenset[Family] = frozenset()
    ports: tuple[int, int] = (51820, 51821)  # IPv4, IPv6
    devices: tuple[str, str] = WIREGUARD_DEVICES
    mtus: tuple[int, int] = (0, 0)
    mark: int = 0x200000
    table: int = 1
    rule_priority: int = 99
    keepalive: int = 0
    threading: bool = False
    strict: bool = False
    host_encryption: bool = False
    clear_hosts: tuple[str, ...] = ()

    def device_of(self, family: Family) -> str:
        """On or off."""
        return self.devices[0 if family == 4 else 1]


class Settings(Struct, frozen=True):
    hostname: str
    render: RenderSettings = RenderSettings()
    intervals: Intervals = Intervals()
    ipv6: bool = True
    iptables_backend: Literal["legacy", "nft", "auto"] = "auto"
    insert_mode: Literal["insert", "append"] = "insert"
    lock_probe_micros: int = 50_000
    max_ipset_size: int = 1_048_576
    ip_forwarding: bool = True
    floating_ips: bool = False
    source_spoofing: bool = False  # honour the sources that an endpoint may forge
    interface_exclude: tuple[str, ...] = ("kube-ipvs0",)  # names, or /regular expression/
    device_route_protocol: int = 3
    device_route_source_v4: str = ""
    device_route_source_v6: str = ""
    route_priority_v4: int = 1024
    route_priority_v6: int = 1024
    remove_external_routes: bool = True
    route_sync: bool = True
    tunnels: TunnelSettings = TunnelSettings()
    wireguard: WireguardSettings = WireguardSettings()
    external_node_cidrs: tuple[str, ...] = ()
