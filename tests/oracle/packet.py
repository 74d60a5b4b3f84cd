"""The packet that is asked about."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

HOST = "host"  # a process of the node itself
OUTSIDE = "outside"  # another machine, beyond an interface that no policy is about

TCP, UDP, SCTP = 6, 17, 132
ICMP = {4: 1, 6: 58}  # by family

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Packet(NamedTuple):
    """`enters` is the workload interface it comes from, or HOST, or OUTSIDE.

    Ports are 0 where the protocol has none; type and code are 0 where it is no ICMP.
    """

    enters: str
    source: Address
    destination: Address
    protocol: int
    source_port: int = 0
    destination_port: int = 0
    icmp_type: int = 0
    icmp_code: int = 0

    @property
    def family(self) -> int:
        return self.source.version

    @property
    def has_ports(self) -> bool:
        return self.protocol in (TCP, UDP, SCTP)

    @property
    def is_icmp(self) -> bool:
        return self.protocol == ICMP[self.family]

    def __str__(self) -> str:
        text = f"{self.enters}: {self.source} -> {self.destination} protocol {self.protocol}"
        if self.has_ports:
            text += f" ports {self.source_port} -> {self.destination_port}"
        if self.is_icmp:
            text += f" type {self.icmp_type} code {self.icmp_code}"
        return text
