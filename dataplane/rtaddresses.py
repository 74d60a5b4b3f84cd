"""Addresses of interfaces as rtnetlink messages, with whose they are: pure bytes, no socket.

    in   a family                     -> Request that lists the addresses of all interfaces
         device and address           -> Requests that make and delete one of ours
         body of a message            -> HeldAddress
Source: linux include/uapi/linux/if_addr.h.
"""

from __future__ import annotations

import socket
import struct
from typing import Final, NamedTuple

from dataplane.families import Family
from dataplane.netlink import CREATE, DUMP, EXCL, Request, attribute, attributes
from dataplane.rtnetlink import BITS, BY_CALICO, SOCKET_FAMILY
from dataplane.rttunnels import DELADDR, GETADDR, NEWADDR

_ADDR: Final = struct.Struct("=BBBBI")  # family, length, flags, scope, device
_ADDRESS, _LOCAL, _PROTOCOL = 1, 2, 11
_NODAD: Final = 0x02
_LINK_SCOPE: Final = 253


class HeldAddress(NamedTuple):
    """`ours`: made by an agent of Calico, as far as the kernel can tell."""

    device: int
    address: bytes
    length: int
    ours: bool


def list_addresses(family: Family) -> Request:
    return Request(GETADDR, DUMP, _ADDR.pack(SOCKET_FAMILY[family], 0, 0, 0, 0))


def parse_address(body: bytes) -> HeldAddress | None:
    """None for what is no address of this host.

    Since 5.18 the kernel keeps who has made an address.  Before, and for those that Felix has made,
    the scope tells it in IPv4; in IPv6 the kernel has a scope of its own.
    """
    family, length, _, scope, device = _ADDR.unpack_from(body)
    found = dict(attributes(body, _ADDR.size))
    packed = found.get(_LOCAL) or found.get(_ADDRESS)
    if packed is None:
        return None
    by_calico = found.get(_PROTOCOL, b"") == bytes([BY_CALICO])
    ours = by_calico or (family == socket.AF_INET and scope == _LINK_SCOPE)
    return HeldAddress(device, packed, length, ours and length == len(packed) * 8)


def make_address(device: int, address: bytes) -> Request:
    """Of full length.  In IPv6 without looking for duplicates: there is only the workload."""
    body = _body(device, address) + attribute(_PROTOCOL, bytes([BY_CALICO]))
    return Request(NEWADDR, CREATE | EXCL, body)


def delete_address(device: int, address: bytes) -> Request:
    return Request(DELADDR, 0, _body(device, address))


def _body(device: int, address: bytes) -> bytes:
    family: Family = 4 if len(address) == 4 else 6
    flags, scope = (0, _LINK_SCOPE) if family == 4 else (_NODAD, 0)
    head = _ADDR.pack(SOCKET_FAMILY[family], BITS[family], flags, scope, device)
    return head + attribute(_LOCAL, address) + attribute(_ADDRESS, address)
