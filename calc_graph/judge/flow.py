"""The question: one packet, as the filter table sees it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Final, Literal, TypeAlias

from msgspec import Struct

Address: TypeAlias = IPv4Address | IPv6Address
Family: TypeAlias = Literal[4, 6]

IPIP: Final = 4
TCP: Final = 6
UDP: Final = 17
ICMPV6: Final = 58


class Flow(Struct, frozen=True):
    """The first packet of a flow, or, `established`, one of a flow that connection tracking knows.

    `in_interface` is None for what this host sends itself, `out_interface` for what is for this
    host; both are None for what it sends to itself.  Ports are of TCP, UDP, SCTP and UDP-Lite, type
    and code of ICMP and ICMPv6; None elsewhere.

    Addresses are those that the filter table sees: translated where the destination is, not yet
    where the source is.  Where the destination was another one on arrival (a floating address, a
    service), `original_destination` and `original_port` name it: untracked and pre-DNAT policy are
    about that one.  Translation of what this host sends may also change where it leaves by;
    `original_out_interface` is where it was going before.
    """

    source: Address
    destination: Address
    protocol: int
    source_port: int | None = None
    destination_port: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None
    in_interface: str | None = None
    out_interface: str | None = None
    established: bool = False
    original_destination: Address | None = None
    original_port: int | None = None
    original_out_interface: str | None = None

    @property
    def family(self) -> Family:
        return 4 if type(self.source) is IPv4Address else 6

    @property
    def translated(self) -> bool:
        return self.original_destination is not None or self.original_port is not None
