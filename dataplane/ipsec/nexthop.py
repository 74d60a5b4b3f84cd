"""By which way packets get from this node to others: as the main tables say, of one family.

    in   desire              addresses of nodes
         interface_changed   which interfaces there are
         notice, lost        what others do to routes, as it happens
    out  ways                address -> device, gateway, MTU
         look, check         ask the kernel

The kernel is asked for all of them at once, and again when a route or an interface has changed, for
what it says of one depends on all.  It is asked for packets without a mark, so what it says is not
what table 200 says.
Source: section 4.5 of the IPsec reference.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Mapping

from dataplane import rtnetlink
from dataplane.families import Family
from dataplane.interfaces import Interface, life_of
from dataplane.ipsec.values import PROTOCOL
from dataplane.netlink import ROUTE, Message, Socket
from dataplane.rtnetlink import NextHop, RouteKey


class NextHops:
    """`refresh_seconds` is the time between looks, 0 for never; it may be changed at any time."""

    def __init__(self, family: Family, refresh_seconds: float = 90.0) -> None:
        self.refresh_seconds = refresh_seconds
        self.ways: Mapping[str, NextHop] = {}  # of those that can be reached
        self.unreachable: Mapping[str, str] = {}  # why, of those that cannot
        self._family: Family = family
        self._socket = Socket(ROUTE)
        self._wanted: dict[str, bytes] = {}  # as text, and packed
        self._numbers: list[int] = []  # the same
        self._interfaces: dict[str, tuple[object, frozenset[str]]] = {}
        self._stale = True
        self._asked_at: float | None = None

    def desire(self, addresses: frozenset[str]) -> None:
        if addresses != self._wanted.keys():
            self._stale = True
            self._wanted = {a: rtnetlink.parse_address(a)[1] for a in sorted(addresses)}
            self._numbers = [int.from_bytes(packed, "big") for packed in self._wanted.values()]

    def interface_changed(self, name: str, interface: Interface | None) -> None:
        """It came, went, changed, or is another one by the same name; None: it is gone."""
        before = self._interfaces.pop(name, None)
        if interface is not None:
            self._interfaces[name] = (life_of(interface), interface.addresses)
        self._stale |= before != self._interfaces.get(name)

    def notice(self, message: Message) -> bool:
        """A notification of the kernel: true if the ways may be others now."""
        found = rtnetlink.parse_route(message.body)
        if found is None or found.family != self._family or found.route.protocol == PROTOCOL:
            return False
        if self._stale or not self._leads_to_some(found.route.key):
            return False
        self._stale = True
        return True

    def _leads_to_some(self, key: RouteKey) -> bool:
        """Most routes are of nets behind nodes, and say nothing of the nodes."""
        host_bits = rtnetlink.BITS[self._family] - key.length
        net = int.from_bytes(key.destination, "big") >> host_bits
        return any(number >> host_bits == net for number in self._numbers)

    def lost(self) -> None:
        """Notifications were lost."""
        self._stale = True

    @property
    def pending(self) -> bool:
        return self._stale and bool(self._wanted)

    def next_check(self) -> float:
        """When `check` is due, in the event loop's time; infinity for never."""
        if self._asked_at is None or self.refresh_seconds <= 0 or not self._wanted:
            return float("inf")
        return self._asked_at + self.refresh_seconds

    async def check(self) -> bool:
        """Ask anew.  Whether a way is another one than before."""
        before, self._stale = self.ways, True
        await self.look()
        return self.ways != before

    async def look(self) -> None:
        """Ask if anything may have changed.  Raises NetlinkError."""
        if not self._stale:
            return
        self._asked_at = asyncio.get_running_loop().time()  # also if it fails
        self._stale = False
        wanted = list(self._wanted)
        requests = [rtnetlink.find_route(packed) for packed in self._wanted.values()]
        ways: dict[str, NextHop] = {}
        unreachable: dict[str, str] = {}
        for address, answer in zip(wanted, await self._socket.ask(requests), strict=True):
            if isinstance(answer, int):
                unreachable[address] = os.strerror(answer)
                continue
            way = rtnetlink.parse_next_hop(answer.body)
            if way is None:
                unreachable[address] = "its gateway is of the other family"
            elif way.type != rtnetlink.UNICAST:
                unreachable[address] = os.strerror(errno.ENETUNREACH)
            else:
                ways[address] = way
        self.ways, self.unreachable = ways, unreachable

    def close(self) -> None:
        self._socket.close()
