"""Static neighbour entries: where a workload's address is, without asking on its cable.

    in   desire              interface, address and MAC
         interface_changed   which interfaces there are
    out  apply               permanent entries written and removed
         check               the background look

Only what was asked for is looked after; other entries are the kernel's or somebody else's.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
from collections.abc import Collection

import structlog

from dataplane import rtnetlink
from dataplane.delta_tracker import DeltaTracker
from dataplane.errors import DataplaneError
from dataplane.interfaces import Interface
from dataplane.netlink import ROUTE, Socket
from dataplane.rtnetlink import Neighbour

log = structlog.get_logger(__name__)

_MAC = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")
_GONE = (errno.ENODEV, errno.ENXIO, errno.ENETDOWN)  # the device, since we were told of it

_Key = tuple[int, bytes]  # device, address


class NeighbourError(DataplaneError):
    """The kernel refused entries; they stay pending."""


class NeighbourDriver:
    """Both address families; `refresh_seconds` is the time between checks, 0 for never."""

    def __init__(self, refresh_seconds: float = 90.0) -> None:
        self.refresh_seconds = refresh_seconds
        self._socket = Socket(ROUTE)
        self._desired: dict[str, dict[bytes, bytes]] = {}  # interface -> address -> MAC
        self._interfaces: dict[str, Interface] = {}
        self._entries: DeltaTracker[_Key, bytes] = DeltaTracker()
        self._read_at: float | None = None
        self._lock = asyncio.Lock()
        self.written = 0  # entries made or deleted, since the start

    def desire(self, interface: str, address: str, mac: str | None) -> None:
        """An entry "aa:bb:cc:dd:ee:ff" for an address; None takes it away.  Raises ValueError."""
        _, packed = rtnetlink.parse_address(address)
        entries = self._desired.setdefault(interface, {})
        if mac is None:
            entries.pop(packed, None)
            if not entries:
                del self._desired[interface]
        elif _MAC.fullmatch(mac):
            entries[packed] = bytes.fromhex(mac.replace(":", ""))
        else:
            raise ValueError(f"{mac!r} is not a MAC address")
        self._resolve(interface, packed)

    def is_written(self, interface: str, address: str) -> bool:
        """Whether what is wanted for an address is in the kernel, while the interface is there."""
        known = self._interfaces.get(interface)
        _, packed = rtnetlink.parse_address(address)
        return known is None or not self._entries.differs((known.index, packed))

    def interface_changed(self, name: str, interface: Interface | None) -> None:
        """It came, went, changed, or is another one by the same name; None: it is gone."""
        old = self._interfaces.pop(name, None)
        if interface is not None:
            self._interfaces[name] = interface
        fresh = old is None or interface is None or interface.generation != old.generation
        for address in self._desired.get(name, ()):
            if old is not None and fresh:  # the kernel drops the entries of what goes down
                self._entries.desire((old.index, address), None)
                self._entries.observe((old.index, address), None)
            self._resolve(name, address)

    def _resolve(self, name: str, address: bytes) -> None:
        interface = self._interfaces.get(name)
        if interface is not None:
            mac = self._desired.get(name, {}).get(address) if interface.up else None
            self._entries.desire((interface.index, address), mac)

    @property
    def pending(self) -> bool:
        """Whether an apply has anything to do."""
        if self._read_at is None:
            return bool(self._entries.desired)
        return not self._entries.in_sync

    def next_check(self) -> float:
        """When `check` is due, in the event loop's time; infinity for never."""
        if self.refresh_seconds <= 0 or self._read_at is None:
            return float("inf")
        return self._read_at + self.refresh_seconds

    async def check(self) -> bool:
        """Read again.  True if something is not as it should be: the next apply repairs it."""
        async with self._lock:
            self._read_at = asyncio.get_running_loop().time()  # also if it fails
            await self._read()
        if not self._entries.in_sync:
            log.warning("neighbour.drifted", count=len(self._entries.updates()))
        return self.pending

    async def apply(self) -> None:
        """Write what differs.  Raises NeighbourError for entries that the kernel refuses."""
        async with self._lock:
            if not self.pending:
                return
            if self._read_at is None:
                await self._read()
            updates = list(self._entries.updates().items())
            deletions = self._entries.deletions()
            requests = [rtnetlink.replace_neighbour(Neighbour(*key, mac)) for key, mac in updates]
            requests += [rtnetlink.delete_neighbour(*key) for key in deletions]
            codes = await self._socket.execute(requests)
            self.written += codes.count(0)
            failures = []
            for (key, mac), code in zip(updates, codes, strict=False):
                self._entries.observe(key, None if code else mac)
                if code and code not in _GONE:
                    failures.append(f"{rtnetlink.render_address(key[1])}: {os.strerror(code)}")
            for key, code in zip(deletions, codes[len(updates) :], strict=True):
                if code in (0, errno.ENOENT, *_GONE):
                    self._entries.observe(key, None)
                else:
                    failures.append(f"{rtnetlink.render_address(key[1])}: {os.strerror(code)}")
        if failures:
            raise NeighbourError(f"neighbours: {', '.join(failures[:5])}")

    async def remove(self, entries: Collection[tuple[int, bytes]], *, dry_run: bool) -> int:
        """Remove those of these (device, address) that are permanent; returns how many there were.

        Raises NeighbourError for entries that the kernel will not remove.
        """
        for key in entries:
            self._entries.observe(key, b"")
        async with self._lock:
            await self._read()
        found = [key for key in entries if self._entries.actual.get(key)]
        if not dry_run:
            await self.apply()
        return len(found)

    def close(self) -> None:
        self._socket.close()

    async def _read(self) -> None:
        actual: dict[_Key, bytes] = {}
        widths = {len(address) for _, address in (*self._entries.desired, *self._entries.actual)}
        for family in rtnetlink.FAMILIES:
            if rtnetlink.BITS[family] // 8 not in widths:
                continue
            request = rtnetlink.list_neighbours(family)
            for message in await self._socket.query(request, "listing neighbours"):
                found = rtnetlink.parse_neighbour(message.body)
                if found is not None:
                    actual[found.device, found.address] = found.mac
        known = {*self._entries.desired, *self._entries.actual}
        self._entries.observe_all({key: mac for key, mac in actual.items() if key in known})
        self._read_at = asyncio.get_running_loop().time()
