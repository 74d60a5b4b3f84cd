"""Does anybody on the way to other nodes refuse ESP?

    in   Targets: nodes and their addresses
    out  the error that came back, "" where none did

One packet of ESP goes to each, with the SPI 0, which stands for no state anywhere: who takes ESP
drops it without a word, and counts it among XfrmInNoStates.  A firewall that refuses it says so by
ICMP, and so does a kernel that has no ESP at all; one that drops it says nothing, so silence proves
nothing.  Source: RFC 4303, section 2.1.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Iterable
from typing import Final, NamedTuple

from dataplane.families import Family

_ESP: Final = 50
_SECONDS: Final = 0.7  # for an answer
_PACKET: Final = bytes(16)  # SPI 0, number 0, and something to authenticate
_RECVERR: Final = {4: (socket.IPPROTO_IP, 11), 6: (socket.IPPROTO_IPV6, 25)}  # …_RECVERR
_ERROR_QUEUE: Final = 0x2000  # MSG_ERRQUEUE
_ERROR: Final = struct.Struct("=IBBBBII")  # linux/errqueue.h: sock_extended_err


class Target(NamedTuple):
    node: str
    family: Family
    address: str


async def probe_all(targets: Iterable[Target], seconds: float = _SECONDS) -> dict[str, str]:
    """By node.  Raises PermissionError: only root may send ESP."""
    targets = list(targets)
    links = [(target, _sent(target)) for target in targets]
    await asyncio.sleep(seconds)
    try:
        return {target.node: _heard(link) for target, link in links}
    finally:
        for _, link in links:
            if isinstance(link, socket.socket):
                link.close()


def _sent(target: Target) -> socket.socket | OSError:
    kind = socket.AF_INET if target.family == 4 else socket.AF_INET6
    link = socket.socket(kind, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _ESP)
    try:
        link.setsockopt(*_RECVERR[target.family], 1)
        link.connect((target.address, 0))
        link.send(_PACKET)
    except OSError as error:
        link.close()
        return error
    return link


def _heard(link: socket.socket | OSError) -> str:
    if isinstance(link, OSError):
        return _text(link.errno or 0)
    try:
        _, ancillary, _, _ = link.recvmsg(len(_PACKET), 512, _ERROR_QUEUE)
    except BlockingIOError:
        return ""
    for _, _, data in ancillary:
        if len(data) >= _ERROR.size:
            return _text(_ERROR.unpack_from(data)[0])
    return "an error that says nothing"


def _text(number: int) -> str:
    return os.strerror(number)
