"""The ends of VXLAN on other nodes, one address family: how its device finds them.

    in   desire              a node, and where its end is
         interface_changed   the device, when it comes, goes or changes
    out  apply_additions     entries written: MAC -> node, then address -> MAC
         apply_removals      entries removed, the other way round
         check               the background look

On its device everything permanent is ours; other entries are the kernel's.  While the device is not
up there is nothing to do, and that is no error.  Of two nodes with one MAC or address the one with
the lower name has it, and that is a problem.
Source: projectcalico/calico felix/vxlanfdb; section 2.5 of the routes reference.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import structlog

from calc_graph.multimap import Multimap
from dataplane import rtnetlink, rttunnels
from dataplane.delta_tracker import DeltaTracker
from dataplane.errors import DataplaneError
from dataplane.families import Family
from dataplane.interfaces import Interface
from dataplane.netlink import ROUTE, Request, Socket
from dataplane.rtnetlink import Neighbour

log = structlog.get_logger(__name__)

_GONE = (errno.ENODEV, errno.ENXIO, errno.ENETDOWN)  # the device, since we were told of it


class VtepError(DataplaneError):
    """The kernel refused entries; they stay pending."""


class Vtep(NamedTuple):
    """`address` is inside the tunnel, `node` the node's own."""

    address: str
    mac: str
    node: str


class VtepDriver:
    """`refresh_seconds` is the time between checks, 0 for never; it may be changed at any time."""

    def __init__(self, family: Family, device: str, refresh_seconds: float = 90.0) -> None:
        self._family: Family = family
        self._name = device
        self.refresh_seconds = refresh_seconds
        self.written = 0  # entries made or deleted, since the start
        self._socket = Socket(ROUTE)
        self._device: Interface | None = None
        self._vteps: dict[str, Vtep] = {}
        self._nodes_of: Multimap[bytes, str] = Multimap()  # MAC or address -> nodes
        self._contested: set[bytes] = set()  # of these, what several nodes have
        self._forwarding: DeltaTracker[bytes, bytes] = DeltaTracker()  # MAC -> node's address
        self._neighbours: DeltaTracker[bytes, bytes] = DeltaTracker()  # address -> MAC
        self._read_at: float | None = None
        self._lock = asyncio.Lock()

    def desire(self, node: str, vtep: Vtep | None) -> None:
        """None takes it away.  Raises ValueError for what is no MAC or address."""
        parsed = None if vtep is None else _packed(vtep)
        before = self._vteps.pop(node, None)
        if before is not None:
            address, mac, _ = _packed(before)
            self._nodes_of.discard(address, node)
            self._nodes_of.discard(mac, node)
        if vtep is not None and parsed is not None:
            self._vteps[node] = vtep
            self._nodes_of.add(parsed[0], node)
            self._nodes_of.add(parsed[1], node)
        for each in (before, vtep):
            if each is not None:
                address, mac, _ = _packed(each)
                self._settle(address, mac)

    def _settle(self, address: bytes, mac: bytes) -> None:
        for key in (address, mac):
            contested = len(self._nodes_of.get(key)) > 1
            (self._contested.add if contested else self._contested.discard)(key)
        self._neighbours.desire(address, self._of(address, 1))
        self._forwarding.desire(mac, self._of(mac, 2))

    def _of(self, key: bytes, part: int) -> bytes | None:
        nodes = self._nodes_of.get(key)
        return _packed(self._vteps[min(nodes)])[part] if nodes else None

    def problems(self) -> dict[str, str]:
        """Nodes that cannot be reached, because another has their address or MAC."""
        found: dict[str, str] = {}
        for key in self._contested:
            nodes = sorted(self._nodes_of.get(key))
            what = key.hex(":") if len(key) == 6 else rtnetlink.render_address(key)
            for node in nodes[1:]:
                found[f"VXLAN to {node}"] = f"{what} is {nodes[0]}'s as well"
        return found

    def interface_changed(self, name: str, interface: Interface | None) -> None:
        """It came, went, changed, or is another one by the same name; None: it is gone."""
        if name != self._name:
            return
        old, self._device = self._device, interface
        if old != interface:
            # The kernel drops entries of what goes down, has another MAC, or loses its address.
            self._read_at = None

    @property
    def pending(self) -> bool:
        """Whether an apply has anything to do."""
        if self._device is None or not self._device.up:
            return False
        return self._read_at is None or not (self._neighbours.in_sync and self._forwarding.in_sync)

    def next_check(self) -> float:
        """When `check` is due, in the event loop's time; infinity for never."""
        if self.refresh_seconds <= 0 or self._read_at is None:
            return float("inf")
        return self._read_at + self.refresh_seconds

    async def check(self) -> bool:
        """Read again.  True if something is not as it should be: the next apply repairs it."""
        async with self._lock:
            if self._device is None or self._read_at is None:
                return False
            self._read_at = asyncio.get_running_loop().time()  # also if it fails
            await self._read(self._device.index)
        if self.pending:
            log.warning("vtep.drifted", device=self._name)
        return self.pending

    async def apply_additions(self) -> None:
        """Raises VtepError for entries that the kernel refuses."""
        async with self._lock:
            device = self._device
            if device is None or not self.pending:
                return
            if self._read_at is None:
                await self._read(device.index)
                self._read_at = asyncio.get_running_loop().time()
            await self._write(
                self._forwarding,
                self._forwarding.updates(),
                lambda mac, node: rttunnels.replace_forwarding(device.index, mac, node),
            )
            await self._write(
                self._neighbours,
                self._neighbours.updates(),
                lambda address, mac: rtnetlink.replace_neighbour(
                    Neighbour(device.index, address, mac)
                ),
            )

    async def apply_removals(self) -> None:
        """Raises VtepError for entries that the kernel will not remove."""
        async with self._lock:
            device = self._device
            if device is None or not self.pending or self._read_at is None:
                return
            await self._remove(
                self._neighbours,
                lambda address: rtnetlink.delete_neighbour(device.index, address),
            )
            await self._remove(
                self._forwarding, lambda mac: rttunnels.delete_forwarding(device.index, mac)
            )

    def close(self) -> None:
        self._socket.close()

    async def _write(
        self,
        tracker: DeltaTracker[bytes, bytes],
        updates: Mapping[bytes, bytes],
        request_for: Callable[[bytes, bytes], Request],
    ) -> None:
        requests = [request_for(key, value) for key, value in updates.items()]
        codes = await self._socket.execute(requests)
        for (key, value), code in zip(updates.items(), codes, strict=True):
            if code == 0:
                tracker.observe(key, value)
        self._note_refusals(codes)

    async def _remove(
        self, tracker: DeltaTracker[bytes, bytes], request_for: Callable[[bytes], Request]
    ) -> None:
        keys = tracker.deletions()
        codes = await self._socket.execute([request_for(key) for key in keys])
        for key, code in zip(keys, codes, strict=True):
            if code in (0, errno.ENOENT, *_GONE):
                tracker.observe(key, None)
        self._note_refusals(code for code in codes if code != errno.ENOENT)

    def _note_refusals(self, codes: Iterable[int]) -> None:
        codes = list(codes)
        refused = [code for code in codes if code not in (0, *_GONE)]
        self.written += codes.count(0)
        if codes:
            log.debug("vtep.written", device=self._name, count=codes.count(0))
        if refused:
            reason = os.strerror(refused[0])
            raise VtepError(f"{self._name}: {len(refused)} entries refused: {reason}")

    async def _read(self, device: int) -> None:
        doing = f"listing the entries of {self._name}"
        neighbours: dict[bytes, bytes] = {}
        for message in await self._socket.query(
            rtnetlink.list_neighbours(self._family, device), doing
        ):
            found = rtnetlink.parse_neighbour(message.body)
            if found is not None and found.device == device:
                neighbours[found.address] = found.mac
        entries = [
            rttunnels.parse_forwarding(message.body, device)
            for message in await self._socket.query(rttunnels.list_forwarding(device), doing)
        ]
        self._neighbours.observe_all(neighbours)
        self._forwarding.observe_all(dict(entry for entry in entries if entry is not None))


def _packed(vtep: Vtep) -> tuple[bytes, bytes, bytes]:
    """Address, MAC, node."""
    mac = bytes.fromhex(vtep.mac.replace(":", ""))
    if len(mac) != 6:
        raise ValueError(f"{vtep.mac!r} is not a MAC address")
    return rtnetlink.parse_address(vtep.address)[1], mac, rtnetlink.parse_address(vtep.node)[1]
