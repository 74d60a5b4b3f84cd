"""Whether UDP reaches other nodes, and how large its packets may be on the way.

    in   Targets: address and WireGuard's port there, size of the packets to be carried
    out  Reached: what came back, and how much got there in one piece

WireGuard answers nobody whom it does not know, so silence proves nothing.  A port that nobody
listens on is answered by the kernel there, with an ICMP error: that proves the way, and the size of
what was sent.  A router on the way that cannot carry so much says how much it can.  Where the
network swallows these errors nothing is proved.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Iterable
from typing import Final, NamedTuple

from dataplane.families import Family

# What traceroute sends to: commonly let through, and commonly nobody's.
NOBODYS_PORT: Final = 33434
_SECONDS: Final = 0.7  # for an answer
_SILENT: Final = 2  # so often nothing comes back before it is believed: one packet may be lost
_ROUNDS: Final = 5  # so many packets: each router may carry less than the one before
_AT_ONCE: Final = 100  # two sockets each
_SO_MARK: Final = 36
_DISCOVER: Final = {4: (socket.IPPROTO_IP, 10), 6: (socket.IPPROTO_IPV6, 23)}  # …_MTU_DISCOVER
_MTU: Final = {4: (socket.IPPROTO_IP, 14), 6: (socket.IPPROTO_IPV6, 24)}  # …_MTU
_PROBE: Final = 3  # never in pieces, whatever was learnt of the way before
_HEADERS: Final = {4: 28, 6: 48}  # of IP and UDP


class Target(NamedTuple):
    """`size` in bytes is that of the whole packet."""

    node: str
    family: Family
    address: str
    port: int
    size: int


class Reached(NamedTuple):
    """`refused`: the port was reached, and nobody listens there.

    `proved` is the size of the largest packet that has been answered, `mtu` what the way is said to
    carry, both 0 for unknown.  `error`: the packets cannot even leave, or a router says so.
    """

    refused: bool = False
    proved: int = 0
    mtu: int = 0
    error: str = ""


async def probe_all(
    targets: Iterable[Target], mark: int = 0, seconds: float = _SECONDS
) -> dict[str, Reached]:
    """By node.  `mark` is put on what is sent, so that it does not go through WireGuard itself;
    that takes a right, without which it goes unmarked.
    """
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(target: Target) -> tuple[str, Reached]:
        async with gate:
            return target.node, await _probe(target, mark, seconds)

    return dict(await asyncio.gather(*(one(target) for target in targets)))


async def _probe(target: Target, mark: int, seconds: float) -> Reached:
    own, nobodys = await asyncio.gather(
        _ask(target, mark, seconds), _ask(target._replace(port=NOBODYS_PORT), mark, seconds)
    )
    said = [mtu for mtu in (own.mtu, nobodys.mtu) if mtu]
    return Reached(own.refused, max(own.proved, nobodys.proved), min(said, default=0), own.error)


class _Answers(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.errors: asyncio.Queue[OSError] = asyncio.Queue()

    def error_received(self, exc: Exception) -> None:
        if isinstance(exc, OSError):
            self.errors.put_nowait(exc)


async def _ask(target: Target, mark: int, seconds: float) -> Reached:
    try:
        link = _connected(target, mark)
    except OSError as error:
        return Reached(error=_text(error))
    transport, answers = await asyncio.get_running_loop().create_datagram_endpoint(
        _Answers, sock=link
    )
    try:
        return await _listen(target, link, transport, answers, seconds)
    finally:
        transport.close()


async def _listen(
    target: Target,
    link: socket.socket,
    transport: asyncio.DatagramTransport,
    answers: _Answers,
    seconds: float,
) -> Reached:
    size = min(target.size, link.getsockopt(*_MTU[target.family]))
    silent = 0
    for _ in range(_ROUNDS):
        transport.sendto(bytes(size - _HEADERS[target.family]))
        try:
            async with asyncio.timeout(seconds):
                error = await answers.errors.get()
        except TimeoutError:
            silent += 1
            if silent == _SILENT:
                break
            continue
        if error.errno == errno.ECONNREFUSED:
            return Reached(refused=True, proved=size, mtu=_smaller(link, target))
        mtu = link.getsockopt(*_MTU[target.family])
        if error.errno != errno.EMSGSIZE or mtu >= size:
            return Reached(error=_text(error))
        size = mtu
    return Reached(mtu=_smaller(link, target))


def _connected(target: Target, mark: int) -> socket.socket:
    """Raises OSError."""
    kind = socket.AF_INET if target.family == 4 else socket.AF_INET6
    link = socket.socket(kind, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if mark:
            with contextlib.suppress(PermissionError):
                link.setsockopt(socket.SOL_SOCKET, _SO_MARK, mark)
        link.setsockopt(*_DISCOVER[target.family], _PROBE)
        link.connect((target.address, target.port))
    except OSError:
        link.close()
        raise
    return link


def _smaller(link: socket.socket, target: Target) -> int:
    """What the way carries, if that is less than was asked for; else 0."""
    mtu = link.getsockopt(*_MTU[target.family])
    return mtu if mtu < target.size else 0


def _text(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)
