"""IP sets as netlink messages: pure text and bytes, no socket.

    in   member text ("10.65.0.2/32", "10.65.0.2,tcp:8080", "10.65.0.2"), names, types
    out  Request     one command; many members travel in one
         Header      what a listing says of a set
         members     bytes: address, then length of the prefix, or protocol and port
         Counted     a member as text, and what the kernel has counted of it, where a set counts

Members are kept as those bytes: equal members are equal whatever their spelling, and a listing is
compared without making text of it.
Source: linux include/uapi/linux/netfilter/ipset/ip_set.h; layout of elements as kernel 6.18 has it.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeAlias

from msgspec import Struct

from calc_graph.updates import IpsetType
from dataplane.families import Family
from dataplane.netlink import (
    ACK,
    CREATE,
    DUMP,
    EXCL,
    NESTED,
    NET_ORDER,
    Request,
    attribute,
    attributes,
    nested,
)

Member: TypeAlias = bytes

NOT_FOUND, BUSY = 2, 4100  # error numbers: ENOENT; still referred to by a rule or a set
UNKNOWN_TYPE, FULL = 4098, 4352
ERRORS = {
    4097: "protocol error",
    UNKNOWN_TYPE: "the kernel does not have this type of set",
    4099: "the kernel has reached its limit of sets",
    BUSY: "still in use",
    4101: "a set of the new name exists",
    4102: "sets of different types cannot be swapped",
    4103: "the member exists",
    4104: "bad length of a prefix",
    4105: "bad netmask",
    4106: "bad address family",
    4108: "still referred to",
    FULL: "the set is full (MaxIpsetSize)",
    4353: "bad element",
    4354: "bad protocol",
    4355: "protocol missing",
}

_SUBSYSTEM = 6 << 8
_CREATE, _DESTROY, _SWAP, _LIST, _ADD, _DEL, _TYPE = 2, 3, 6, 7, 9, 10, 13
_PROTOCOL, _NAME, _NAME_2, _REVISION, _FAMILY, _FLAGS, _DATA, _ADT, _LINE = (
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
)
_TYPE_NAME, _REVISION_MIN = 3, 10
_IP, _CIDR, _PORT, _PROTO, _SET_FLAGS, _MAXELEM = 1, 3, 4, 7, 8, 19
_BYTES, _PACKETS = 24, 25  # of a member; the same numbers mean other things of a set
_COUNTS = frozenset((_BYTES, _PACKETS))
_WITH_COUNTERS = struct.pack(">I", 1 << 3)
_HARMLESS = frozenset(
    {17, 18, 19, 21, 24, 25, 26}
)  # sizes, counts, hash seed: no meaning of their own
_HEADERS_ONLY = struct.pack(">I", 1 << 2)
_VERSION = attribute(_PROTOCOL, b"\6")  # every kernel since 2.6.39
_NUMBER = struct.Struct(">I")
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_SOCKET_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
_WIDTH = {4: 4, 6: 16}
_ADDRESS = {4: 1, 6: 2}  # the attribute that holds one
_MEMBERS_PER_REQUEST = 1000  # an attribute holds 65,535 bytes

# A set of a revision newer than somebody's ipset tool is unreadable for it (projectcalico/calico
# issue 10873), so ours are of those that tools know since 6.21 (2014).
_REVISIONS = {IpsetType.NET: 6, IpsetType.IP: 4, IpsetType.IP_PORT: 5}

_PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58, "sctp": 132, "udplite": 136}


class Header(Struct, frozen=True):
    """`plain` is false for a set with options that ours never have: timeouts, comments, …"""

    name: str
    type: str
    maxelem: int
    family: Family
    plain: bool = True
    counters: bool = False


class Counted(NamedTuple):
    """Since the member came into the set; `member` is spelled as the driver is told it."""

    member: str
    packets: int
    bytes: int


class Codec:
    """How members of one type and family are written: an address, and a tail of the type's own.

    Where the set counts, counters follow; they are no part of the member.
    """

    def __init__(self, type: IpsetType, family: Family, *, counters: bool = False) -> None:  # noqa: A002
        self._family: Family = family
        self._counters = counters
        self._width = _WIDTH[family]
        self._tail = _TAILS[type]
        element = 12 + self._width + self._tail.width
        self._start, self._end = 12, 12 + self._width  # of the address, after three headers
        self._head = (
            _ATTRIBUTE.pack(element, _DATA | NESTED)
            + _ATTRIBUTE.pack(8 + self._width, _IP | NESTED)
            + _ATTRIBUTE.pack(4 + self._width, _ADDRESS[family] | NET_ORDER)
        )
        self._length = element

    def parse(self, text: str) -> Member:
        """Raises ValueError for what this set cannot hold."""
        address, tail = self._tail.parse(text, self._width * 8)
        try:
            return socket.inet_pton(_SOCKET_FAMILY[self._family], address) + tail
        except OSError:
            raise ValueError(f"{address!r} is not an IPv{self._family} address") from None

    def pack(self, member: Member) -> bytes:
        return self._head + member[: self._width] + self._tail.pack(member[self._width :])

    def unpack(self, element: bytes) -> Member | None:
        """None for an element with flags or a life of its own, which ours never have."""
        end = self._length
        if len(element) != end and not (self._counters and _counts(element[end:]) is not None):
            return None
        return element[self._start : self._end] + self._tail.unpack(element[self._end : end])

    def unpack_counted(self, element: bytes) -> Counted | None:
        """None as in `unpack`, and where nothing is counted."""
        member, counts = self.unpack(element), _counts(element[self._length :])
        if member is None or counts is None:
            return None
        address = socket.inet_ntop(_SOCKET_FAMILY[self._family], member[: self._width])
        return Counted(self._tail.show(address, member[self._width :]), *counts)


class _Tail(NamedTuple):
    width: int
    parse: Callable[[str, int], tuple[str, bytes]]  # text, bits of an address -> address, tail
    pack: Callable[[bytes], bytes]
    unpack: Callable[[bytes], bytes]
    show: Callable[[str, bytes], str]  # address, tail -> text


def _counts(extensions: bytes) -> tuple[int, int] | None:
    """Packets and bytes; None where an element has something else."""
    found = dict(attributes(extensions))
    if found.keys() != _COUNTS:
        return None
    return int.from_bytes(found[_PACKETS], "big"), int.from_bytes(found[_BYTES], "big")


def _parse_net(text: str, bits: int) -> tuple[str, bytes]:
    address, _, length = text.partition("/")
    if not length.isdecimal() or not 0 < int(length) <= bits:
        raise ValueError(f"{text!r} is not a net of a length that a set can hold")
    return address, bytes([int(length)])


def _parse_ip_port(text: str, _: int) -> tuple[str, bytes]:
    address, _comma, rest = text.partition(",")
    protocol, _colon, port = rest.partition(":")
    number = _PROTOCOLS.get(protocol) or (int(protocol) if protocol.isdecimal() else 0)
    if not 0 < number < 256 or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{text!r} is not an address with protocol and port")
    return address, struct.pack(">HB", int(port), number)


def _show_ip_port(address: str, tail: bytes) -> str:
    port, number = struct.unpack(">HB", tail)
    names = {number: name for name, number in _PROTOCOLS.items()}
    return f"{address},{names.get(number, number)}:{port}"


_CIDR_HEAD = _ATTRIBUTE.pack(5, _CIDR)
_PORT_HEAD = _ATTRIBUTE.pack(6, _PORT | NET_ORDER)
_PROTO_HEAD = b"\0\0" + _ATTRIBUTE.pack(5, _PROTO)
_TAILS = {
    IpsetType.NET: _Tail(
        8,
        _parse_net,
        lambda tail: _CIDR_HEAD + tail + b"\0\0\0",
        lambda data: data[4:5],
        lambda address, tail: f"{address}/{tail[0]}",
    ),
    IpsetType.IP: _Tail(
        0, lambda text, _: (text, b""), lambda _: b"", lambda _: b"", lambda address, _: address
    ),
    IpsetType.IP_PORT: _Tail(
        16,
        _parse_ip_port,
        lambda tail: _PORT_HEAD + tail[:2] + _PROTO_HEAD + tail[2:] + b"\0\0\0",
        lambda data: data[4:6] + data[12:13],
        _show_ip_port,
    ),
}


def probe(type: IpsetType, family: Family) -> Request:  # noqa: A002
    """Ask which revisions of a type the kernel has; loads its module."""
    return _request(
        _TYPE,
        attribute(_TYPE_NAME, _text(type.value)),
        attribute(_FAMILY, bytes([_SOCKET_FAMILY[family]])),
        flags=ACK,
    )


def revision(type: IpsetType, answer: bytes) -> int:  # noqa: A002
    """The revision to create sets of, from the answer to `probe`."""
    found = dict(attributes(answer, 4))
    newest, oldest = found[_REVISION][0], found.get(_REVISION_MIN, b"\0")[0]
    return max(oldest, min(newest, _REVISIONS[type]))


def create(
    name: str,
    type: IpsetType,  # noqa: A002
    family: Family,
    revision: int,
    maxelem: int,
    *,
    counters: bool = False,
) -> Request:
    flags = attribute(_SET_FLAGS | NET_ORDER, _WITH_COUNTERS) if counters else b""
    return _request(
        _CREATE,
        attribute(_NAME, _text(name)),
        attribute(_TYPE_NAME, _text(type.value)),
        attribute(_REVISION, bytes([revision])),
        attribute(_FAMILY, bytes([_SOCKET_FAMILY[family]])),
        nested(_DATA, attribute(_MAXELEM | NET_ORDER, _NUMBER.pack(maxelem)), flags),
        flags=CREATE | EXCL,
    )


def destroy(name: str) -> Request:
    return _request(_DESTROY, attribute(_NAME, _text(name)))


def swap(one: str, other: str) -> Request:
    return _request(_SWAP, attribute(_NAME, _text(one)), attribute(_NAME_2, _text(other)))


def add(name: str, codec: Codec, members: Iterable[Member]) -> list[Request]:
    """A member that is there already is no error."""
    return _edit(_ADD, name, codec, members)


def delete(name: str, codec: Codec, members: Iterable[Member]) -> list[Request]:
    """A member that is not there is no error."""
    return _edit(_DEL, name, codec, members)


def list_headers() -> Request:
    return _request(_LIST, attribute(_FLAGS | NET_ORDER, _HEADERS_ONLY), flags=DUMP)


def list_members(name: str) -> Request:
    return _request(_LIST, attribute(_NAME, _text(name)), flags=DUMP)


def parse_header(body: bytes) -> Header:
    found = dict(attributes(body, 4))
    options = dict(attributes(found[_DATA]))
    return Header(
        name=found[_NAME].rstrip(b"\0").decode(errors="replace"),
        type=found[_TYPE_NAME].rstrip(b"\0").decode(errors="replace"),
        maxelem=_NUMBER.unpack(options[_MAXELEM])[0] if _MAXELEM in options else 0,
        family=6 if found[_FAMILY][0] == socket.AF_INET6 else 4,
        plain=options.keys() - {_SET_FLAGS} <= _HARMLESS
        and options.get(_SET_FLAGS, _WITH_COUNTERS) == _WITH_COUNTERS,
        counters=options.get(_SET_FLAGS) == _WITH_COUNTERS,
    )


def parse_members(body: bytes, codec: Codec) -> list[Member | None]:
    """The members that one message of a listing holds."""
    return [codec.unpack(element) for element in _elements(body)]


def parse_counted(body: bytes, codec: Codec) -> list[Counted]:
    """The same with what was counted; members that count nothing are left out."""
    found = (codec.unpack_counted(element) for element in _elements(body))
    return [counted for counted in found if counted is not None]


def _elements(body: bytes) -> Iterator[bytes]:
    for kind, value in attributes(body, 4):
        if kind == _ADT:
            start = 0
            while start < len(value):
                length = _ATTRIBUTE.unpack_from(value, start)[0]
                length += -length % 4
                yield value[start : start + length]
                start += max(length, 4)


def _edit(command: int, name: str, codec: Codec, members: Iterable[Member]) -> list[Request]:
    elements = [codec.pack(member) for member in members]
    if len(elements) == 1:
        return [_request(command, attribute(_NAME, _text(name)), elements[0])]
    return [
        _request(
            command,
            attribute(_NAME, _text(name)),
            attribute(_LINE, b"\0\0\0\0"),  # asked for where there are several
            nested(_ADT, *elements[start : start + _MEMBERS_PER_REQUEST]),
        )
        for start in range(0, len(elements), _MEMBERS_PER_REQUEST)
    ]


def _request(command: int, *parts: bytes, flags: int = 0) -> Request:
    return Request(_SUBSYSTEM | command, flags, b"\2\0\0\0" + _VERSION + b"".join(parts))


def _text(name: str) -> bytes:
    return name.encode() + b"\0"
