"""The routes of a table, asked of the kernel of the namespace that the calling thread is in.

By netlink, and not by ip(8): half a dozen processes each time are seconds of a machine without KVM,
which the agents need for themselves.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

_DUMP_ROUTES, _DUMP, _DONE = 26, 0x301, 3
_TO, _TABLE = 1, 15
_KINDS = {1: "device", 7: "unreachable", 9: "throw"}


def routes(table: int) -> list[tuple[str, str]]:
    """Nets, as ip(8) writes them, and "device", "unreachable" or "throw", of both families."""
    found = []
    for family in (socket.AF_INET, socket.AF_INET6):
        for body in _dump(family):
            told = dict(_attributes(body, 12))
            if int.from_bytes(told[_TABLE], "little") == table:
                found.append((_net(family, body[1], told.get(_TO)), _KINDS[body[7]]))
    return found


def _net(family: int, length: int, address: bytes | None) -> str:
    size = 4 if family == socket.AF_INET else 16
    text = socket.inet_ntop(family, address or bytes(size))
    return text if length == size * 8 else f"{text}/{length}"


def _dump(family: int) -> Iterator[bytes]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) as asking:
        asking.send(struct.pack("=IHHIIB11x", 28, _DUMP_ROUTES, _DUMP, 1, 0, family))
        while True:
            answer = asking.recv(1 << 16)
            position = 0
            while position < len(answer):
                length, kind = struct.unpack_from("=IH", answer, position)
                if kind == _DONE:
                    return
                yield answer[position + 16 : position + length]
                position += length + (-length % 4)


def _attributes(body: bytes, position: int) -> Iterator[tuple[int, bytes]]:
    while position < len(body):
        length, kind = struct.unpack_from("=HH", body, position)
        yield kind, body[position + 4 : position + length]
        position += length + (-length % 4)
