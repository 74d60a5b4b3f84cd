"""Flows of connection tracking as netlink messages: pure bytes, no socket.

    in   a family                  -> Request that lists its flows
         body of a listed flow     -> Ends, quickly; TrackedFlow, the whole of it
         identity of a flow        -> Request that deletes that one flow
Addresses are bytes of 4 or 16.
Source: linux include/uapi/linux/netfilter/nfnetlink_conntrack.h, nf_conntrack_common.h.
"""

from __future__ import annotations

import struct
from itertools import islice
from typing import NamedTuple

from dataplane.families import Family
from dataplane.netlink import DUMP, NESTED, Request, attribute, attributes, nested
from dataplane.rtnetlink import SOCKET_FAMILY

GET, DELETE = 1 << 8 | 1, 1 << 8 | 2
ORIGINAL, REPLY, STATUS, ID, ZONE, FILTER = 1, 2, 3, 12, 18, 25
ADDRESSES, _PROTOCOL, _DIRECTION_ZONE = 1, 2, 3  # within a direction
SOURCE = {4: 1, 16: 3}  # the attribute of a source, by the width of an address
_DESTINATION = {4: 2, 16: 4}
_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3  # within the protocol
_ICMP_TYPE, _ICMP_CODE = (5, 8), (6, 9)  # of ICMP, of ICMPv6
_EXPECTED = 1  # bit of the status
_HEAD = 4  # bytes before the attributes
_LENGTH = struct.Struct("=H")
# What stands before the source in each direction -> width of an address.
_WIDTHS = {
    struct.pack("=HHHH", 12 + 2 * width, ADDRESSES | NESTED, 4 + width, kind): width
    for width, kind in SOURCE.items()
}
_PORT = struct.Struct("!H")
_STATUS = struct.Struct("!I")


class Ends(NamedTuple):
    """`reply_source` is who answers: the destination, unless that was translated."""

    source: bytes
    destination: bytes
    reply_source: bytes


class TrackedFlow(NamedTuple):
    """Ports are None for protocols that tracking knows without, type and code for all but ICMP.

    What is asked of few flows is looked for when it is asked.
    """

    ends: Ends
    protocol: int
    source_port: int | None
    destination_port: int | None
    reply_source_port: int | None
    icmp_type: int | None
    icmp_code: int | None
    body: bytes

    @property
    def zoned(self) -> bool:
        """In a zone other than that of all flows, in one direction or both."""
        for kind, value in attributes(self.body, _HEAD):
            zone = value if kind == ZONE else b""
            if kind in (ORIGINAL, REPLY):
                zone = dict(attributes(value)).get(_DIRECTION_ZONE, b"")
            if any(zone):
                return True
        return False

    @property
    def expected(self) -> bool:
        """Another flow announced it, and it was let through because of that one."""
        status = dict(attributes(self.body, _HEAD)).get(STATUS, bytes(4))
        return bool(_STATUS.unpack(status)[0] & _EXPECTED)

    @property
    def identity(self) -> bytes:
        return identity(self.body)


def head(family: Family) -> bytes:
    return struct.pack(">BBH", SOCKET_FAMILY[family], 0, 0)


def list_flows(family: Family) -> Request:
    return Request(GET, DUMP, head(family))


def delete_flow(family: Family, identity: bytes) -> Request:
    return Request(DELETE, 0, head(family) + identity)


def ends(body: bytes) -> Ends | None:
    """None for what is not a flow between two addresses.

    As the kernel lays them out, addresses are found without taking anything apart: of 50,000 flows
    that saves half a second.
    """
    width = _WIDTHS.get(body[8:16], 0)
    back = _HEAD + _LENGTH.unpack_from(body, _HEAD)[0] if len(body) > _HEAD else 0
    if not width or _WIDTHS.get(body[back + 4 : back + 12]) != width:
        return _searched_ends(body)
    end = 16 + width
    return Ends(body[16:end], body[end + 4 : end + 4 + width], body[back + 12 : back + 12 + width])


def _searched_ends(body: bytes) -> Ends | None:
    source = destination = reply_source = b""
    for kind, value in attributes(body, _HEAD):
        if kind == ORIGINAL:
            source, destination = _addresses(value)
        elif kind == REPLY:
            reply_source, _ = _addresses(value)
            break  # the original came before it
    found = Ends(source, destination, reply_source)
    return found if all(found) else None


def parse_flow(body: bytes, between: Ends) -> TrackedFlow:
    """`between` is what `ends` said of it."""
    # the kernel puts the two directions first
    directions = dict(islice(attributes(body, _HEAD), 2))
    there, back = _protocol(directions[ORIGINAL]), _protocol(directions[REPLY])
    number = there.get(_NUMBER, b"\0")[0]
    return TrackedFlow(
        between,
        number,
        _port(there.get(_SOURCE_PORT)),
        _port(there.get(_DESTINATION_PORT)),
        _port(back.get(_SOURCE_PORT)),
        _byte(there, _ICMP_TYPE),
        _byte(there, _ICMP_CODE),
        body,
    )


def identity(body: bytes) -> bytes:
    """What tells a listed flow from all others, and from a later one of the same ends as well,
    unless that lies where this one lay: the kernel goes by the place in memory.
    """
    return b"".join(
        nested(kind, value) if kind == ORIGINAL else attribute(kind, value)
        for kind, value in attributes(body, _HEAD)
        if kind in (ORIGINAL, ID, ZONE)
    )


def source_of(direction: bytes, width: int) -> bytes:
    """The source of one direction of a flow; b"" if it has none of that width."""
    addresses = dict(attributes(dict(attributes(direction)).get(ADDRESSES, b"")))
    return addresses.get(SOURCE[width], b"")


def _addresses(direction: bytes) -> tuple[bytes, bytes]:
    source = destination = b""
    for kind, value in attributes(direction):
        if kind == ADDRESSES:
            for which, address in attributes(value):
                if which == SOURCE.get(len(address)):
                    source = address
                elif which == _DESTINATION.get(len(address)):
                    destination = address
            break
    return source, destination


def _protocol(direction: bytes) -> dict[int, bytes]:
    return dict(attributes(dict(attributes(direction)).get(_PROTOCOL, b"")))


def _port(value: bytes | None) -> int | None:
    return None if value is None else int(_PORT.unpack(value)[0])


def _byte(protocol: dict[int, bytes], kinds: tuple[int, int]) -> int | None:
    return next((protocol[kind][0] for kind in kinds if kind in protocol), None)
