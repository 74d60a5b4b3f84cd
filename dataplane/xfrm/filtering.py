"""A classic BPF program, so that whoever makes thousands of changes is not told of each.

Source: linux Documentation/networking/filter.rst; include/uapi/linux/netlink.h.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from typing import Final

_SO_ATTACH_FILTER: Final = 26
_STEP: Final = struct.Struct("=HBBI")  # operation, steps to go on by if so and if not, operand
_LOAD_WORD: Final = 0x20
_IF_EQUAL: Final = 0x15
_RETURN: Final = 0x06
_PORT_OFFSET: Final = 12  # in a message's header
_ALL: Final = 0xFFFFFFFF


def drop_caused_by(port: int, opened: socket.socket) -> None:
    """Of notifications, each of which is a datagram, those that requests of that port cause.

    Raises OSError.
    """
    # What is loaded is taken for big-endian, and is in the order of this machine.
    swapped = int.from_bytes(struct.pack("=I", port), "big")
    steps = (
        (_LOAD_WORD, 0, 0, _PORT_OFFSET),
        (_IF_EQUAL, 1, 0, swapped),
        (_RETURN, 0, 0, _ALL),
        (_RETURN, 0, 0, 0),
    )
    program = ctypes.create_string_buffer(b"".join(_STEP.pack(*step) for step in steps))
    told = struct.pack("@HP", len(steps), ctypes.addressof(program))
    opened.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, told)
