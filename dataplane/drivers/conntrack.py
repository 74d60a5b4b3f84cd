"""Make the kernel forget flows, so that their next packets are judged anew.

    in   forget   addresses, as bytes: who was behind them has gone
         end      single flows, as `flows` listed them

Of an address every entry goes whose original or reply source it is: what it began, what came to it.

A few IPv4 addresses are left to the kernel's own filter (Linux 5.8).  Its filter for IPv6 addresses
is the wrong way round: it removes all flows but those asked for (measured with 6.18; in the source
since 5.8).  So these, many addresses, and older kernels are served by listing and removing singly.
Source: linux net/netfilter/nf_conntrack_netlink.c; section 6.3 of the rules reference.
"""

from __future__ import annotations

import asyncio
import errno
import struct
from collections.abc import Collection, Iterable, Iterator

import structlog

from dataplane import ctnetlink
from dataplane.ctnetlink import ADDRESSES, DELETE, FILTER, ORIGINAL, REPLY, SOURCE
from dataplane.families import Family
from dataplane.netlink import (
    NETFILTER,
    NetlinkError,
    Request,
    Socket,
    attribute,
    attributes,
    nested,
)
from dataplane.rtnetlink import SOCKET_FAMILY

log = structlog.get_logger(__name__)

_FAMILY: dict[int, Family] = {4: 4, 16: 6}  # by the width of an address
_BY_SOURCE, _BY_NOTHING = struct.pack("=I", 1), struct.pack("=I", 0)
_FEW = 16


class Conntrack:
    def __init__(self) -> None:
        self._socket = Socket(NETFILTER)
        self._warned = False

    async def forget(self, addresses: Collection[bytes]) -> bool:
        """Whether all their flows are forgotten.  Where the kernel cannot, it is said once."""
        try:
            for width in SOURCE:
                some = {address for address in addresses if len(address) == width}
                if some and not await self._filtered(some):
                    await self._singly(some, width)
        except NetlinkError as error:
            if not self._warned:
                self._warned = True
                log.warning("conntrack.kept", reason=str(error))
            return False
        return True

    async def flows(self, family: Family) -> list[bytes]:
        """All flows of a family, for `ctnetlink` to take apart.  Raises NetlinkError."""
        answers = await self._socket.query(ctnetlink.list_flows(family), "listing flows")
        return [answer.body for answer in answers]

    async def end(self, family: Family, identities: Iterable[bytes]) -> int:
        """Delete exactly these; how many were still there.  Raises NetlinkError."""
        requests = [ctnetlink.delete_flow(family, each) for each in identities]
        codes = await self._socket.execute(requests)
        for code in codes:
            if code not in (0, errno.ENOENT):
                raise NetlinkError("forgetting flows", code)
        return codes.count(0)

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
        family = _FAMILY[width]
        bodies = await self.flows(family)
        wanted = [body for body in bodies if not addresses.isdisjoint(_sources(body, width))]
        await self.end(family, map(ctnetlink.identity, wanted))


def _filters(address: bytes) -> Iterator[Request]:
    width = len(address)
    source = nested(ADDRESSES, attribute(SOURCE[width], address))
    head = struct.pack(">BBH", SOCKET_FAMILY[_FAMILY[width]], 1, 0)  # version 1: with a filter
    for direction, original, reply in (
        (ORIGINAL, _BY_SOURCE, _BY_NOTHING),
        (REPLY, _BY_NOTHING, _BY_SOURCE),
    ):
        flags = nested(FILTER, attribute(1, original), attribute(2, reply))
        yield Request(DELETE, 0, head + nested(direction, source) + flags)


def _sources(body: bytes, width: int) -> Iterable[bytes]:
    """The original and the reply source of a listed flow."""
    for direction, value in attributes(body, 4):
        if direction in (ORIGINAL, REPLY):
            yield ctnetlink.source_of(value, width)
