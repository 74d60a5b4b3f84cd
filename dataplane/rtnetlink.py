"""Links, routes and neighbours as rtnetlink messages: pure bytes, no socket.

    in   KernelRoute, Neighbour    -> Request
         body of a message         -> LinkState, KernelRoute, Neighbour
What tunnels need besides is in `rttunnels`.
Addresses are bytes of 4 or 16; a device is the index of an interface.
Source: linux include/uapi/linux/rtnetlink.h, if_link.h, neighbour.h; section 5.2 of the routes
reference.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from functools import lru_cache

from msgspec import Struct

from dataplane.families import Family
from dataplane.netlink import CREATE, DUMP, EXCL, REPLACE, Request, attribute, attributes

NEWLINK, DELLINK, GETLINK = 16, 17, 18
NEWROUTE, DELROUTE, GETROUTE = 24, 25, 26
NEWNEIGH, DELNEIGH, GETNEIGH = 28, 29, 30
GROUP_LINK, GROUP_ROUTE_V4, GROUP_ROUTE_V6 = 1, 7, 11

FAMILIES: tuple[Family, ...] = (4, 6)
SOCKET_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
FAMILY: dict[int, Family] = {socket.AF_INET: 4, socket.AF_INET6: 6}
BITS = {4: 32, 6: 128}

MAIN, LOCAL = 254, 255  # tables
UNICAST, LOCAL_TYPE, BLACKHOLE, UNREACHABLE, PROHIBIT, THROW = 1, 2, 6, 7, 8, 9  # types of a route
NOWHERE = (BLACKHOLE, UNREACHABLE, PROHIBIT, THROW)  # without a device; IPv6 tells them on lo
LINK_SCOPE, HOST_SCOPE, ANY_SCOPE = 253, 254, 255
BY_KERNEL, BY_BOOT, BY_BIRD, BY_CALICO = 2, 3, 12, 80  # protocols: who made a route

_UP, _LOWER_UP = 0x1, 0x10000
_MAC, _IFNAME, _LINK_MTU, _EXT_MASK, _SKIP_STATISTICS = 1, 3, 4, 29, 1 << 3
_DST, _OIF, _GATEWAY, _PRIORITY, _PREFSRC, _METRICS, _TABLE = 1, 4, 5, 6, 7, 8, 15
_VIA, _MULTIPATH, _NEXTHOP = 18, 9, 30
_ROUTE_MTU = 2
_ONLINK = 4
_COMPAT = 252  # in a head that has no room for the number of a table
_NEIGH_DST, _NEIGH_MAC, _NEIGH_DEVICE = 1, 2, 8
_PERMANENT = 0x80
_CLONED = 0x200

_LINK = struct.Struct("=BxHiII")  # family, device type, index, flags, changed flags
_ROUTE = struct.Struct("=BBBBBBBBI")
_NEIGH = struct.Struct("=B3xiHBB")  # family, index, state, flags, type
_U32 = struct.Struct("=I")
# Attributes of routes, which come by the thousand: packed at once.
_NUMBER = struct.Struct("=HHI")  # length, type, number
_ONE_METRIC = struct.Struct("=HHHHI")  # length and type of metrics, and of one of them; number
_HEADS = {  # of addresses, by their size and the type
    (size, kind): struct.pack("=HH", 4 + size, kind)
    for size in (4, 16)
    for kind in (_DST, _GATEWAY, _PREFSRC)
}


class LinkState(Struct, frozen=True, gc=False):
    device: int
    name: str
    admin_up: bool
    carrier: bool
    mtu: int = 0
    mac: bytes = b""


class RouteKey(Struct, frozen=True, cache_hash=True, gc=False):
    """What the kernel tells routes of one table apart by."""

    destination: bytes
    length: int
    metric: int
    tos: int = 0


class KernelRoute(Struct, frozen=True, gc=False):
    """`gateway` is b"" for none; `on_link` takes it to be behind the device, whatever the addresses
    there.  `simple` is false for several next hops and metrics other than the MTU: ours have none.
    """

    key: RouteKey
    device: int
    protocol: int
    scope: int
    source: bytes = b""
    type: int = UNICAST
    gateway: bytes = b""
    on_link: bool = False
    mtu: int = 0  # 0: that of the device
    simple: bool = True


class NextHop(Struct, frozen=True, gc=False):
    """Where the kernel sends packets to an address.

    `gateway` is b"" for what is on the link; `mtu` 0: that of the device.  `type` is that of a
    route: only UNICAST leads anywhere else.
    """

    device: int
    gateway: bytes = b""
    mtu: int = 0
    type: int = UNICAST


class RouteMessage(Struct, frozen=True, gc=False):
    family: Family
    table: int
    route: KernelRoute


class Neighbour(Struct, frozen=True, gc=False):
    device: int
    address: bytes
    mac: bytes


def list_links() -> Request:
    body = _LINK.pack(0, 0, 0, 0, 0) + attribute(_EXT_MASK, _U32.pack(_SKIP_STATISTICS))
    return Request(GETLINK, DUMP, body)


def parse_link(body: bytes) -> LinkState | None:
    """None for what bridges and IPv6 say of a link: their farewell does not mean its end."""
    family, _, device, flags, _ = _LINK.unpack_from(body)
    if family != 0:
        return None
    found = dict(attributes(body, _LINK.size))
    if _IFNAME not in found:
        return None
    name = found[_IFNAME].rstrip(b"\0").decode(errors="backslashreplace")
    mtu = _U32.unpack(found[_LINK_MTU])[0] if _LINK_MTU in found else 0
    return LinkState(
        device, name, bool(flags & _UP), bool(flags & _LOWER_UP), mtu, found.get(_MAC, b"")
    )


def list_routes(family: Family, table: int, device: int = 0, protocol: int = 0) -> Request:
    """All routes of a table, or those of one device, or those that one protocol made."""
    short = table if table < 256 else _COMPAT
    body = _ROUTE.pack(SOCKET_FAMILY[family], 0, 0, 0, short, protocol, 0, 0, 0)
    if short != table:
        body += attribute(_TABLE, _U32.pack(table))
    return Request(GETROUTE, DUMP, body + (attribute(_OIF, _U32.pack(device)) if device else b""))


def parse_route(body: bytes) -> RouteMessage | None:
    """None for families and clones that do not concern us."""
    family_number, length, _, tos, table, protocol, scope, kind, flags = _ROUTE.unpack_from(body)
    family = FAMILY.get(family_number)
    if family is None or flags & _CLONED:
        return None
    destination, source, gateway = bytes(BITS[family] // 8), b"", b""
    device = metric = mtu = 0
    simple = True
    for name, value in attributes(body, _ROUTE.size):
        if name == _DST:
            destination = value
        elif name == _OIF:
            device = _U32.unpack(value)[0]
        elif name == _PRIORITY:
            metric = _U32.unpack(value)[0]
        elif name == _PREFSRC:
            source = value
        elif name == _TABLE:
            table = _U32.unpack(value)[0]
        elif name == _GATEWAY:
            gateway = value
        elif name == _METRICS:
            found = dict(attributes(value))
            mtu = _U32.unpack(found.pop(_ROUTE_MTU, bytes(4)))[0]
            simple &= not found
        elif name in (_VIA, _MULTIPATH, _NEXTHOP):
            simple = False
    if kind in NOWHERE:
        device = 0
    key = RouteKey(destination, length, metric, tos)
    on_link = bool(flags & _ONLINK)
    route = KernelRoute(key, device, protocol, scope, source, kind, gateway, on_link, mtu, simple)
    return RouteMessage(family, table, route)


def find_route(address: bytes) -> Request:
    """Ask where a packet to an address would go that carries no mark; one message is the answer."""
    size = len(address)
    body = _ROUTE.pack(SOCKET_FAMILY[4 if size == 4 else 6], 8 * size, 0, 0, 0, 0, 0, 0, 0)
    return Request(GETROUTE, 0, body + _HEADS[size, _DST] + address)


def parse_next_hop(body: bytes) -> NextHop | None:
    """None for a gateway of the other family."""
    kind = body[7]
    device = mtu = 0
    gateway = b""
    for name, value in attributes(body, _ROUTE.size):
        if name == _OIF:
            device = _U32.unpack(value)[0]
        elif name == _GATEWAY:
            gateway = value
        elif name == _METRICS:
            mtu = _U32.unpack(dict(attributes(value)).get(_ROUTE_MTU, bytes(4)))[0]
        elif name == _VIA:
            return None
    return NextHop(device, gateway, mtu, kind)


def is_of(body: bytes, family: Family, table: int) -> bool:
    """Whether a route message is of a family and a table below 256, without taking it apart."""
    return body[0] == SOCKET_FAMILY[family] and body[4] == table


def replace_route(family: Family, table: int, route: KernelRoute, *, new: bool = False) -> Request:
    """In place of any route of the same key; a `new` one is refused where there is any."""
    scope = route.scope if family == 4 else 0
    flags = _ONLINK if route.on_link else 0
    body = _route_head(family, table, route.key, route.protocol, scope, route.type, flags)
    size = BITS[family] // 8
    if route.device:
        body += _NUMBER.pack(_NUMBER.size, _OIF, route.device)
    if route.gateway:
        body += _HEADS[size, _GATEWAY] + route.gateway
    if route.source:
        body += _HEADS[size, _PREFSRC] + route.source
    if route.mtu:
        body += _ONE_METRIC.pack(_ONE_METRIC.size, _METRICS, _NUMBER.size, _ROUTE_MTU, route.mtu)
    return Request(NEWROUTE, CREATE | (EXCL if new else REPLACE), body)


def delete_route(
    family: Family, table: int, key: RouteKey, device: int, protocol: int = 0, kind: int = 0
) -> Request:
    """Whatever its scope, which in IPv4 would have to be exact; with 0 whatever its protocol or
    type.

    To IPv4 metric 0 means any, and the lowest goes; IPv6 does not ask for the type.
    """
    body = _route_head(family, table, key, protocol, ANY_SCOPE, kind)
    return Request(DELROUTE, 0, body + (attribute(_OIF, _U32.pack(device)) if device else b""))


def list_neighbours(family: Family, device: int = 0) -> Request:
    """All entries of a family, or those of one device."""
    head = _NEIGH.pack(SOCKET_FAMILY[family], 0, 0, 0, 0)
    only = attribute(_NEIGH_DEVICE, _U32.pack(device)) if device else b""
    return Request(GETNEIGH, DUMP, head + only)


def parse_neighbour(body: bytes) -> Neighbour | None:
    """None for an entry that is not permanent."""
    _, device, state, _, _ = _NEIGH.unpack_from(body)
    found = dict(attributes(body, _NEIGH.size))
    if not state & _PERMANENT or _NEIGH_DST not in found:
        return None
    return Neighbour(device, found[_NEIGH_DST], found.get(_NEIGH_MAC, b""))


def replace_neighbour(entry: Neighbour) -> Request:
    family = socket.AF_INET if len(entry.address) == 4 else socket.AF_INET6
    body = _NEIGH.pack(family, entry.device, _PERMANENT, 0, 0)
    body += attribute(_NEIGH_DST, entry.address) + attribute(_NEIGH_MAC, entry.mac)
    return Request(NEWNEIGH, CREATE | REPLACE, body)


def delete_neighbour(device: int, address: bytes) -> Request:
    family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
    body = _NEIGH.pack(family, device, 0, 0, 0)
    return Request(DELNEIGH, 0, body + attribute(_NEIGH_DST, address))


def parse_net(text: str) -> tuple[Family, bytes, int]:
    """Family, address and length of a CIDR.  Raises ValueError."""
    address, _, length = text.partition("/")
    family, packed = parse_address(address)
    if not length.isdecimal() or int(length) > BITS[family]:
        raise ValueError(f"{text!r} is not a net")
    return family, packed, int(length)


@lru_cache(4096)  # each node's is asked for many times
def parse_address(text: str) -> tuple[Family, bytes]:
    """Raises ValueError."""
    family: Family = 6 if ":" in text else 4
    try:
        return family, socket.inet_pton(SOCKET_FAMILY[family], text)
    except OSError:
        raise ValueError(f"{text!r} is not an address") from None


def render_address(address: bytes) -> str:
    """The canonical text; the C library's own differs for addresses that embed IPv4 ones."""
    if len(address) == 4:
        return socket.inet_ntop(socket.AF_INET, address)
    return str(ipaddress.IPv6Address(address))


def _route_head(
    family: Family,
    table: int,
    key: RouteKey,
    protocol: int,
    scope: int,
    kind: int,
    flags: int = 0,
) -> bytes:
    short = table if table < 256 else _COMPAT
    head = _ROUTE.pack(
        SOCKET_FAMILY[family], key.length, 0, key.tos, short, protocol, scope, kind, flags
    )
    body = head + _HEADS[BITS[family] // 8, _DST] + key.destination
    if short != table:
        body += _NUMBER.pack(_NUMBER.size, _TABLE, table)
    return body + _NUMBER.pack(_NUMBER.size, _PRIORITY, key.metric) if key.metric else body
