"""Addresses of this node on interfaces of workloads, for those that speak BGP with it.

    in   desire              interface and addresses
         interface_changed   which interfaces there are
    out  apply               addresses of full length made and deleted
         check               the background look

Deleted is only what an agent of Calico has made, on interfaces of workloads; an address that
somebody else has put there stays, and does instead of ours.  Nothing is read while nothing has been
asked for, but once at the start: an earlier agent may have left something.
Source: projectcalico/calico felix/linkaddrs/link_addrs.go, which takes all addresses there for its
own.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Collection

import structlog

from dataplane import rtaddresses, rtnetlink
from dataplane.errors import DataplaneError
from dataplane.interfaces import Interface
from dataplane.netlink import ROUTE, Socket
from dataplane.rtaddresses import HeldAddress
from dataplane.settings import Settings

log = structlog.get_logger(__name__)

# the device or the address, since the listing
_GONE = (errno.ENODEV, errno.ENXIO, errno.ENETDOWN, errno.EADDRNOTAVAIL)

_Key = tuple[int, bytes]  # device, address


class PeerAddressError(DataplaneError):
    """The kernel refused addresses; they stay pending."""


class PeerAddressDriver:
    """Both families; `refresh_seconds` is the time between checks, 0 for never."""

    def __init__(self, settings: Settings, refresh_seconds: float = 90.0) -> None:
        self.refresh_seconds = refresh_seconds
        self.written = 0  # addresses made or deleted, since the start
        self._prefixes = settings.render.interface_prefixes
        self._socket = Socket(ROUTE)
        self._desired: dict[str, frozenset[bytes]] = {}  # interface -> addresses
        self._interfaces: dict[str, Interface] = {}
        self._stale = True  # what is there has to be read, and perhaps changed
        self._read_at: float | None = None
        self._lock = asyncio.Lock()

    def desire(self, interface: str, addresses: Collection[str]) -> None:
        """All of an interface; none takes them away.  Raises ValueError."""
        packed = frozenset(rtnetlink.parse_address(address)[1] for address in addresses)
        if packed == self._desired.get(interface, frozenset()):
            return
        self._stale = True
        if packed:
            self._desired[interface] = packed
        else:
            del self._desired[interface]

    def interface_changed(self, name: str, interface: Interface | None) -> None:
        """It came, went, changed, or is another one by the same name; None: it is gone."""
        self._interfaces.pop(name, None)
        if interface is not None:
            self._interfaces[name] = interface
            self._stale |= name in self._desired

    def next_check(self) -> float:
        """When `check` is due, in the event loop's time; infinity for never."""
        if self.refresh_seconds <= 0 or self._read_at is None or not self._desired:
            return float("inf")
        return self._read_at + self.refresh_seconds

    async def check(self) -> bool:
        """Read again.  True if something is not as it should be: the next apply repairs it."""
        async with self._lock:
            self._read_at = asyncio.get_running_loop().time()  # also if it fails
            missing, superfluous = self._compare(await self._read())
        if missing or superfluous:
            log.warning("peer_address.drifted", count=len(missing) + len(superfluous))
            self._stale = True
        return self._stale

    async def apply(self) -> None:
        """Make and delete what differs.  Raises PeerAddressError for what the kernel refuses."""
        async with self._lock:
            if not self._stale:
                return
            missing, superfluous = self._compare(await self._read())
            requests = [rtaddresses.make_address(*key) for key in missing]
            requests += [rtaddresses.delete_address(*key) for key in superfluous]
            codes = await self._socket.execute(requests) if requests else []
            self._stale = False
            self.written += codes.count(0)
            refused = [
                f"{rtnetlink.render_address(address)}: {os.strerror(code)}"
                for (_, address), code in zip(missing + superfluous, codes, strict=True)
                if code not in (0, errno.EEXIST, *_GONE)
            ]
            if refused:
                self._stale = True
                raise PeerAddressError(f"addresses for BGP: {', '.join(refused[:5])}")

    async def remove_everything(self, *, dry_run: bool) -> int:
        """Remove all that an agent of Calico has made; returns how many there were.

        Raises PeerAddressError.
        """
        self._desired.clear()
        async with self._lock:
            _, found = self._compare(await self._read())
        self._stale = bool(found)
        if not dry_run:
            await self.apply()
        return len(found)

    def close(self) -> None:
        self._socket.close()

    def _compare(self, present: Collection[HeldAddress]) -> tuple[list[_Key], list[_Key]]:
        """What is to be made, and what to be deleted; an interface that is down waits."""
        wanted: set[_Key] = set()
        waiting: set[_Key] = set()
        for name, addresses in self._desired.items():
            interface = self._interfaces.get(name)
            if interface is not None:
                keys = {(interface.index, address) for address in addresses}
                (wanted if interface.up else waiting).update(keys)
        ours_to_be = {i.index for n, i in self._interfaces.items() if n.startswith(self._prefixes)}
        full = {(a.device, a.address) for a in present if a.length == len(a.address) * 8}
        made = {(a.device, a.address) for a in present if a.ours and a.device in ours_to_be}
        return sorted(wanted - full), sorted(made - wanted - waiting)

    async def _read(self) -> list[HeldAddress]:
        found: list[HeldAddress] = []
        for family in rtnetlink.FAMILIES:
            request = rtaddresses.list_addresses(family)
            for message in await self._socket.query(request, "listing addresses"):
                held = rtaddresses.parse_address(message.body)
                if held is not None:
                    found.append(held)
        self._read_at = asyncio.get_running_loop().time()
        return found
