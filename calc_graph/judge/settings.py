"""What the judge must be told besides the updates: the configuration, and the machine.

The meaning of each field is that of the parameter that it is named after.  What is not here does
not change a verdict: whether denied packets are dropped or rejected, mark bits, log prefixes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct


class FailsafePort(Struct, frozen=True):
    """`net` is a canonical CIDR of the peer; "" means any peer."""

    protocol: Literal["tcp", "udp"]
    port: int
    net: str = ""


class JudgeSettings(Struct, frozen=True):
    """Fixed for the life of a judge, as they are for the life of a dataplane."""

    ipv6: bool = True
    interface_prefixes: tuple[str, ...] = ("cali",)
    filter_allow_action: Literal["ACCEPT", "RETURN"] = "ACCEPT"
    endpoint_to_host_action: Literal["DROP", "RETURN", "ACCEPT"] = "DROP"
    failsafe_inbound: tuple[FailsafePort, ...] = ()
    failsafe_outbound: tuple[FailsafePort, ...] = ()
    service_loop_prevention: bool = True
    allow_vxlan_from_workloads: bool = False
    allow_ipip_from_workloads: bool = False
    vxlan_port: int = 4789
    wireguard_devices: tuple[str, str] = ("wireguard.cali", "wg-v6.cali")  # IPv4, IPv6; on or off
    # in which IPsec lets nothing pass in clear that workloads of other nodes say or are told
    ipsec: frozenset[Literal[4, 6]] = frozenset()
    openstack: bool = False
    metadata_addr: str = "127.0.0.1"  # IPv4 address; "" means no metadata service
    metadata_port: int = 8775
    floating_ips: bool = False
    source_spoofing: bool = False  # honour the sources that an endpoint may forge
    # where others keep the routes, nobody here knows which sources are forged
    route_sync: bool = True


class HostInterface(Struct, frozen=True):
    """`index` is the kernel's number, higher for newer interfaces.  Only the addresses of
    interfaces that are no workload's count.
    """

    index: int = 0
    addresses: frozenset[str] = frozenset()


class HostView(Struct, frozen=True):
    """The interfaces of the machine, by name.  A view is not changed: what is different is a new
    one.
    """

    interfaces: Mapping[str, HostInterface] = {}
