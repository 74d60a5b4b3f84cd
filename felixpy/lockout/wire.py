"""Sockets and routes as netlink messages: pure bytes, no socket.

    in   what is asked            -> Request
         body of a message        -> TcpSocket, Way, Gateway
Source: linux include/uapi/linux/inet_diag.h, sock_diag.h, rtnetlink.h.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from calc_graph.judge import Address
from dataplane.families import Family
from dataplane.netlink import ACK, DUMP, Request, attribute, attributes
from dataplane.rtnetlink import GETROUTE, LOCAL_TYPE, MAIN, SOCKET_FAMILY, list_routes

SOCK_DIAG: Final = 4  # netlink protocol
ESTABLISHED, LISTEN = 1, 10  # states of TCP

_BY_FAMILY: Final = 20
_DIAG_REQUEST = struct.Struct("=BBxxI")  # family, protocol, states
_DIAG_ID = struct.Struct("!HH16s16s")  # ports and addresses, of this side and of the other
_DIAG_ID_REST: Final = 12  # device, cookie
_DIAG_DEVICE = struct.Struct("=I")
_DIAG_INODE: Final = 4 + _DIAG_ID.size + _DIAG_ID_REST + 16

_ROUTE = struct.Struct("=BBBBBBBBI")
_HOP = struct.Struct("=HBBi")  # length, flags, weight, device
_U32 = struct.Struct("=I")
_DST, _SRC, _OIF, _GATEWAY, _PREFSRC, _MULTIPATH = 1, 2, 4, 5, 7, 9
_LENGTH_AT, _TYPE_AT = 1, 7


class TcpSocket(NamedTuple):
    """`device` is the index of the interface that it is bound to, 0 for none."""

    local: Address
    local_port: int
    remote: Address
    remote_port: int
    device: int
    inode: int


class Way(NamedTuple):
    """What a route lookup says; `source` and `gateway` are None where the kernel names none."""

    device: int
    local: bool
    source: Address | None
    gateway: Address | None


class Gateway(NamedTuple):
    device: int
    address: ipaddress.IPv6Address


def list_tcp(family: Family, state: int, *, local_port: int = 0, remote_port: int = 0) -> Request:
    """TCP sockets in one state; with a port the kernel picks out those that have it."""
    body = _DIAG_REQUEST.pack(SOCKET_FAMILY[family], socket.IPPROTO_TCP, 1 << state)
    body += _DIAG_ID.pack(local_port, remote_port, bytes(16), bytes(16)) + bytes(_DIAG_ID_REST)
    return Request(_BY_FAMILY, DUMP, body)


def parse_tcp(body: bytes) -> TcpSocket:
    """An IPv6 socket that talks IPv4 is one of IPv4 here: so its packets are."""
    local_port, remote_port, local, remote = _DIAG_ID.unpack_from(body, 4)
    device = _DIAG_DEVICE.unpack_from(body, 4 + _DIAG_ID.size)[0]
    inode = _DIAG_DEVICE.unpack_from(body, _DIAG_INODE)[0]
    v4 = body[0] == socket.AF_INET
    return TcpSocket(
        _address(local, v4=v4), local_port, _address(remote, v4=v4), remote_port, device, inode
    )


def _address(raw: bytes, *, v4: bool) -> Address:
    if v4:
        return ipaddress.IPv4Address(raw[:4])
    address = ipaddress.IPv6Address(raw)
    return address.ipv4_mapped or address


def look_up(destination: Address, source: Address | None = None, device: int = 0) -> Request:
    """Where packets to a destination leave; `device` 0: by any interface."""
    bits = destination.max_prefixlen
    family = socket.AF_INET if destination.version == 4 else socket.AF_INET6
    body = _ROUTE.pack(family, bits, bits if source else 0, 0, 0, 0, 0, 0, 0)
    body += attribute(_DST, destination.packed)
    if source is not None:
        body += attribute(_SRC, source.packed)
    if device:
        body += attribute(_OIF, _U32.pack(device))
    return Request(GETROUTE, ACK, body)


def parse_way(body: bytes) -> Way:
    found = dict(attributes(body, _ROUTE.size))
    device = _U32.unpack(found[_OIF])[0] if _OIF in found else 0
    source, gateway = (
        ipaddress.ip_address(found[kind]) if kind in found else None
        for kind in (_PREFSRC, _GATEWAY)
    )
    return Way(device, body[_TYPE_AT] == LOCAL_TYPE, source, gateway)


def list_ipv6_routes() -> Request:
    return list_routes(6, MAIN)


def parse_gateways(body: bytes) -> Iterator[Gateway]:
    """The gateways of a route, if it is a default route."""
    if body[0] != socket.AF_INET6 or body[_LENGTH_AT] != 0:
        return
    found = dict(attributes(body, _ROUTE.size))
    if _GATEWAY in found and _OIF in found:
        yield Gateway(_U32.unpack(found[_OIF])[0], ipaddress.IPv6Address(found[_GATEWAY]))
    hops = found.get(_MULTIPATH, b"")
    while len(hops) >= _HOP.size:
        length, _, _, device = _HOP.unpack_from(hops)
        if length < _HOP.size:
            return
        of_hop = dict(attributes(hops[:length], _HOP.size))
        if _GATEWAY in of_hop:
            yield Gateway(device, ipaddress.IPv6Address(of_hop[_GATEWAY]))
        hops = hops[length + (-length % 4) :]
