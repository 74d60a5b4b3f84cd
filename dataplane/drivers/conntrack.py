"""Make the kernel forget the flows of an address: they are judged anew behind its next owner.

    in   forget   addresses, as bytes
Every entry goes whose original or reply source is the address: what it began, what came to it.

The kernel filters (ctnetlink, Linux 5.8); an older one answers "invalid" to such a filter, and then
nothing is removed and that is said once.
Source: linux net/netfilter/nf_conntrack_netlink.c; section 6.3 of the rules reference.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Sequence

import structlog

from dataplane.netlink import NETFILTER, NetlinkError, Request, Socket, attribute, nested

log = structlog.get_logger(__name__)

_DELETE = 1 << 8 | 2
_ORIGINAL, _REPLY, _FILTER = 1, 2, 25
_IP = 1
_SOURCE = {4: (socket.AF_INET, 1), 16: (socket.AF_INET6, 3)}  # family, attribute, by width
_BY_SOURCE, _BY_ANYTHING = struct.pack("=I", 1), struct.pack("=I", 0)


class Conntrack:
    def __init__(self) -> None:
        self._socket = Socket(NETFILTER)
        self._warned = False

    async def forget(self, addresses: Sequence[bytes]) -> bool:
        """Whether all their flows are forgotten.  Where the kernel cannot, it is said once."""
        requests = [request for address in addresses for request in _requests(address)]
        if not requests:
            return True
        try:
            results = await self._socket.execute(requests)
        except NetlinkError as error:
            results = [error.code]
        refused = next((code for code in results if code not in (0, errno.ENOENT)), 0)
        if refused and not self._warned:
            self._warned = True
            log.warning("conntrack.kept", reason=str(NetlinkError("forgetting flows", refused)))
        return not refused

    def close(self) -> None:
        self._socket.close()


def _requests(address: bytes) -> list[Request]:
    family, source = _SOURCE[len(address)]
    tuple_ = nested(_IP, attribute(source, address))
    head = struct.pack(">BBH", family, 1, 0)
    both = ((_ORIGINAL, _BY_SOURCE, _BY_ANYTHING), (_REPLY, _BY_ANYTHING, _BY_SOURCE))
    return [
        Request(
            _DELETE,
            0,
            head
            + nested(direction, tuple_)
            + nested(_FILTER, attribute(1, original), attribute(2, reply)),
        )
        for direction, original, reply in both
    ]
