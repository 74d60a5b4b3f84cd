"""Make the kernel forget the flows of an address: they are judged anew behind its next owner.

    in   forget   addresses, as bytes
Every entry goes whose original or reply source is the address: what it began, what came to it.

A few IPv4 addresses are left to the kernel's own filter (Linux 5.8).  Its filter for IPv6 addresses
is the wrong way round: it removes all flows but those asked for (measured with 6.18; in the source
since 5.8).  So these, many addresses, and older kernels are served by listing and removing singly.
Source: linux net/netfilter/nf_conntrack_netlink.c; section 6.3 of the rules reference.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections.abc import Collection, Iterable, Iterator

import structlog

from dataplane.netlink import (
    DUMP,
    NETFILTER,
    NetlinkError,
    Request,
    Socket,
    attribute,
    attributes,
    nested,
)

log = structlog.get_logger(__name__)

_GET, _DELETE = 1 << 8 | 1, 1 << 8 | 2
_ORIGINAL, _REPLY, _ID, _ZONE, _FILTER = 1, 2, 12, 18, 25
_ADDRESSES = 1  # within a direction
_SOURCE = {4: 1, 16: 3}  # the attribute of a source, by the width of an address
_FAMILY = {4: socket.AF_INET, 16: socket.AF_INET6}
_BY_SOURCE, _BY_NOTHING = struct.pack("=I", 1), struct.pack("=I", 0)
_FEW = 16


class Conntrack:
    def __init__(self) -> None:
        self._socket = Socket(NETFILTER)
        self._warned = False

    async def forget(self, addresses: Collection[bytes]) -> bool:
        """Whether all their flows are forgotten.  Where the kernel cannot, it is said once."""
        try:
            for width in _SOURCE:
                some = {address for address in addresses if len(address) == width}
                if some and not await self._filtered(some):
                    await self._singly(some, width)
        except NetlinkError as error:
            if not self._warned:
                self._warned = True
                log.warning("conntrack.kept", reason=str(error))
            return False
        return True

    def close(self) -> None:
        self._socket.close()

    async def _filtered(self, addresses: set[bytes]) -> bool:
        """False if this is not for the kernel's filter."""
        if len(addresses) > _FEW or any(len(address) != 4 for address in addresses):
            return False
        for address in addresses:
            codes = await self._socket.execute(list(_filters(address)))
            if any(code not in (0, errno.ENOENT) for code in codes):
                return False
            await asyncio.sleep(0)  # for each the kernel walks through all flows
        return True

    async def _singly(self, addresses: set[bytes], width: int) -> None:
        head = struct.pack(">BBH", _FAMILY[width], 0, 0)
        answers = await self._socket.query(Request(_GET, DUMP, head), "listing flows")
        wanted = [
            Request(_DELETE, 0, head + b"".join(_identity(answer.body)))
            for answer in answers
            if not addresses.isdisjoint(_sources(answer.body, width))
        ]
        for code in await self._socket.execute(wanted):
            if code not in (0, errno.ENOENT):
                raise NetlinkError("forgetting flows", code)


def _filters(address: bytes) -> Iterator[Request]:
    source = nested(_ADDRESSES, attribute(_SOURCE[len(address)], address))
    head = struct.pack(">BBH", _FAMILY[len(address)], 1, 0)
    for direction, original, reply in (
        (_ORIGINAL, _BY_SOURCE, _BY_NOTHING),
        (_REPLY, _BY_NOTHING, _BY_SOURCE),
    ):
        flags = nested(_FILTER, attribute(1, original), attribute(2, reply))
        yield Request(_DELETE, 0, head + nested(direction, source) + flags)


def _sources(body: bytes, width: int) -> Iterable[bytes]:
    """The original and the reply source of a listed flow."""
    for direction, value in attributes(body, 4):
        if direction in (_ORIGINAL, _REPLY):
            addresses = dict(attributes(dict(attributes(value)).get(_ADDRESSES, b"")))
            yield addresses.get(_SOURCE[width], b"")


def _identity(body: bytes) -> Iterable[bytes]:
    """What tells a listed flow from all others."""
    for kind, value in attributes(body, 4):
        if kind == _ORIGINAL:
            yield nested(kind, value)
        elif kind in (_ID, _ZONE):
            yield attribute(kind, value)
