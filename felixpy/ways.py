"""By which interface packets leave for an address beyond this machine, as the kernel's routes say.

    in   addresses, as bytes
    out  the interface's name

The judge cares for the names of the host's interfaces only where an endpoint of the host stands at
one of them; elsewhere the kernel need not be asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Final

from dataplane.netlink import ROUTE, NetlinkError, Socket
from dataplane.rtnetlink import UNICAST
from felixpy.lockout import wire

SOMEWHERE: Final = "-"  # an interface of nobody: no name of ours, nor of an endpoint
_TYPE_AT: Final = 7  # in a route message


class Ways:
    """`names`: interfaces by index.  `needed`: whether it matters; where not, all is SOMEWHERE."""

    def __init__(self, names: Mapping[int, str], *, needed: bool) -> None:
        self._names = names
        self._needed = needed
        self._known: dict[bytes, str | None] = {}
        self._socket = Socket(ROUTE)

    async def learn(self, addresses: Iterable[bytes]) -> None:
        """Raises NetlinkError if the kernel does not answer at all."""
        for address in addresses if self._needed else ():
            if address not in self._known:
                self._known[address] = await self._ask(address)

    def to(self, address: bytes) -> str | None:
        """None: no way, one into this machine, or a broadcast's."""
        return self._known.get(address) if self._needed else SOMEWHERE

    def close(self) -> None:
        self._socket.close()

    async def _ask(self, address: bytes) -> str | None:
        request = wire.look_up(ip_address(address))
        try:
            answers = await self._socket.query(request, "looking up a route")
        except NetlinkError:
            return None
        if not answers or answers[0].body[_TYPE_AT] != UNICAST:
            return None
        return self._names.get(wire.parse_way(answers[0].body).device)
