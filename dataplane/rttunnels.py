"""Tunnel devices, their addresses and forwarding entries as rtnetlink messages: bytes, no socket.

    in   Vxlan, names, numbers   -> Request
         body of a message       -> Device, Address, (MAC, node address) of a forwarding entry
Source: linux include/uapi/linux/if_link.h, if_addr.h, neighbour.h.
"""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

from dataplane.families import Family
from dataplane.netlink import (
    ACK,
    CREATE,
    DUMP,
    EXCL,
    REPLACE,
    Request,
    attribute,
    attributes,
    nested,
)
from dataplane.rtnetlink import (
    DELLINK,
    DELNEIGH,
    GETLINK,
    GETNEIGH,
    NEWLINK,
    NEWNEIGH,
    SOCKET_FAMILY,
)

NEWADDR, DELADDR, GETADDR = 20, 21, 22

_UP = 0x1
_LINK_MAC, _LINK_NAME, _LINK_MTU, _LINK_INFO = 1, 3, 4, 18
_INFO_KIND, _INFO_DATA = 1, 2
_ID, _GROUP, _LOWER, _LOCAL, _LEARNING = 1, 2, 3, 4, 7
_L2MISS, _L3MISS, _PORT, _GROUP6, _LOCAL6 = 13, 14, 15, 16, 17
_GBP, _METADATA = 23, 25
_ODD = (_GROUP, _GROUP6, _GBP, _METADATA)  # present: not a device that we would make
_ODD_IF_SET = (_L2MISS, _L3MISS, _METADATA, _LEARNING)
_ADDRESS, _ADDRESS_LOCAL = 1, 2
_NODAD, _LINK_SCOPE = 0x02, 253
_NEIGH_DST, _NEIGH_MAC, _NEIGH_DEVICE = 1, 2, 8
_BRIDGE, _SELF, _PERMANENT = 7, 0x02, 0x80

_LINK = struct.Struct("=BxHiII")  # family, device type, index, flags, changed flags
_ADDR = struct.Struct("=BBBBI")  # family, length, flags, scope, device
_NEIGH = struct.Struct("=B3xiHBB")  # family, index, state, flags, type
_U32 = struct.Struct("=I")
_PORT_NUMBER = struct.Struct(">H")


class Vxlan(NamedTuple):
    """`local` is the node's address; `lower` the device that has it; `plain` is false for a device
    that learns, reports misses, or has a group: ours do nothing of that.
    """

    vni: int
    port: int
    local: bytes
    lower: int
    plain: bool = True


class Device(NamedTuple):
    """`kind` is "" for what is no virtual device; `vxlan` is None for other kinds."""

    number: int
    name: str
    kind: str
    up: bool
    mtu: int
    mac: bytes
    vxlan: Vxlan | None = None


class Address(NamedTuple):
    address: bytes
    length: int


# ---------------------------------------------------------------- devices


def find_device(name: str) -> Request:
    """Answered with an error if there is none."""
    return Request(GETLINK, ACK, _LINK.pack(0, 0, 0, 0, 0) + _named(name))


def parse_device(body: bytes) -> Device:
    _, _, index, flags, _ = _LINK.unpack_from(body)
    found = dict(attributes(body, _LINK.size))
    info = dict(attributes(found.get(_LINK_INFO, b"")))
    kind = info.get(_INFO_KIND, b"").rstrip(b"\0").decode(errors="backslashreplace")
    return Device(
        index,
        found.get(_LINK_NAME, b"").rstrip(b"\0").decode(errors="backslashreplace"),
        kind,
        bool(flags & _UP),
        _number(found.get(_LINK_MTU, b"")),
        found.get(_LINK_MAC, b""),
        _parse_vxlan(info.get(_INFO_DATA, b"")) if kind == "vxlan" else None,
    )


def _parse_vxlan(data: bytes) -> Vxlan:
    found = dict(attributes(data))
    port = _PORT_NUMBER.unpack(found[_PORT])[0] if _PORT in found else 0
    odd = any(any(found.get(kind, b"")) for kind in _ODD_IF_SET)
    odd |= any(kind in found and kind != _METADATA for kind in _ODD)
    return Vxlan(
        _number(found.get(_ID, b"")),
        port,
        found.get(_LOCAL) or found.get(_LOCAL6) or b"",
        _number(found.get(_LOWER, b"")),
        plain=not odd,
    )


def make_vxlan(name: str, mac: bytes, mtu: int, vxlan: Vxlan) -> Request:
    """As `ip link add NAME type vxlan id … nolearning` makes it; it is down."""
    data = (
        attribute(_ID, _U32.pack(vxlan.vni)),
        *_carried(vxlan),
        attribute(_LEARNING, b"\0"),
        attribute(_PORT, _PORT_NUMBER.pack(vxlan.port)),
    )
    body = _named(name) + attribute(_LINK_MTU, _U32.pack(mtu)) + attribute(_LINK_MAC, mac)
    return Request(NEWLINK, CREATE | EXCL, _LINK.pack(0, 0, 0, 0, 0) + body + _info("vxlan", *data))


def carry_vxlan(index: int, vxlan: Vxlan) -> Request:
    """Move it to another address and lower device; its routes and entries stay."""
    return Request(NEWLINK, 0, _LINK.pack(0, 0, index, 0, 0) + _info("vxlan", *_carried(vxlan)))


def make_ipip(name: str) -> Request:
    """Loads the module, which brings its own tunl0: then it is there already."""
    return Request(NEWLINK, CREATE | EXCL, _LINK.pack(0, 0, 0, 0, 0) + _named(name) + _info("ipip"))


def make_wireguard(name: str, mtu: int) -> Request:
    """Without a key, and down."""
    body = _named(name) + attribute(_LINK_MTU, _U32.pack(mtu)) + _info("wireguard")
    return Request(NEWLINK, CREATE | EXCL, _LINK.pack(0, 0, 0, 0, 0) + body)


def set_mtu(index: int, mtu: int) -> Request:
    body = _LINK.pack(0, 0, index, 0, 0) + attribute(_LINK_MTU, _U32.pack(mtu))
    return Request(NEWLINK, 0, body)


def set_mac(index: int, mac: bytes) -> Request:
    return Request(NEWLINK, 0, _LINK.pack(0, 0, index, 0, 0) + attribute(_LINK_MAC, mac))


def set_up(index: int, *, up: bool) -> Request:
    return Request(NEWLINK, 0, _LINK.pack(0, 0, index, _UP if up else 0, _UP))


def delete_device(index: int) -> Request:
    return Request(DELLINK, 0, _LINK.pack(0, 0, index, 0, 0))


# ---------------------------------------------------------------- addresses


def list_addresses(family: Family, device: int) -> Request:
    return Request(GETADDR, DUMP, _ADDR.pack(SOCKET_FAMILY[family], 0, 0, 0, device))


def parse_address(body: bytes, device: int) -> Address | None:
    """None for one of another device, as old kernels list them, and for link-local ones."""
    _, length, _, scope, index = _ADDR.unpack_from(body)
    found = dict(attributes(body, _ADDR.size))
    packed = found.get(_ADDRESS_LOCAL) or found.get(_ADDRESS)
    if index != device or packed is None or (scope == _LINK_SCOPE and len(packed) == 16):
        return None
    return Address(packed, length)


def add_address(device: int, address: Address) -> Request:
    """Without looking for duplicates, which would take a second: nobody else is there."""
    flags = _NODAD if len(address.address) == 16 else 0
    return Request(NEWADDR, CREATE | REPLACE, _address(device, address, flags))


def delete_address(device: int, address: Address) -> Request:
    return Request(DELADDR, 0, _address(device, address))


# ---------------------------------------------------------------- forwarding entries


def list_forwarding(device: int) -> Request:
    head = _NEIGH.pack(_BRIDGE, 0, 0, 0, 0)
    return Request(GETNEIGH, DUMP, head + attribute(_NEIGH_DEVICE, _U32.pack(device)))


def parse_forwarding(body: bytes, device: int) -> tuple[bytes, bytes] | None:
    """MAC and node address; None for another device's entry, or one that is not permanent."""
    _, index, state, _, _ = _NEIGH.unpack_from(body)
    found = dict(attributes(body, _NEIGH.size))
    if index != device or not state & _PERMANENT or _NEIGH_MAC not in found:
        return None
    return found[_NEIGH_MAC], found.get(_NEIGH_DST, b"")


def replace_forwarding(device: int, mac: bytes, node: bytes) -> Request:
    body = _forwarding(device, mac) + attribute(_NEIGH_DST, node)
    return Request(NEWNEIGH, CREATE | REPLACE, body)


def delete_forwarding(device: int, mac: bytes) -> Request:
    return Request(DELNEIGH, 0, _forwarding(device, mac))


# ---------------------------------------------------------------- parts


def _named(name: str) -> bytes:
    return attribute(_LINK_NAME, name.encode() + b"\0")


def _info(kind: str, *data: bytes) -> bytes:
    parts = [attribute(_INFO_KIND, kind.encode() + b"\0")]
    return nested(_LINK_INFO, *parts, *([nested(_INFO_DATA, *data)] if data else ()))


def _carried(vxlan: Vxlan) -> tuple[bytes, bytes]:
    local = _LOCAL if len(vxlan.local) == 4 else _LOCAL6
    return attribute(_LOWER, _U32.pack(vxlan.lower)), attribute(local, vxlan.local)


def _address(device: int, address: Address, flags: int = 0) -> bytes:
    family = socket.AF_INET if len(address.address) == 4 else socket.AF_INET6
    head = _ADDR.pack(family, address.length, flags, 0, device)
    local = attribute(_ADDRESS_LOCAL, address.address)
    return head + local + attribute(_ADDRESS, address.address)


def _forwarding(device: int, mac: bytes) -> bytes:
    return _NEIGH.pack(_BRIDGE, device, _PERMANENT, _SELF, 0) + attribute(_NEIGH_MAC, mac)


def _number(packed: bytes) -> int:
    return int(_U32.unpack(packed)[0]) if len(packed) == 4 else 0
