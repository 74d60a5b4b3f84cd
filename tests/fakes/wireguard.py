"""WireGuard that only remembers: a kernel's, looked at after each single write, and drivers.

FakePeers, SilentTable                of a whole node: what was asked of them, and in which order
ToldWireguard                         all of it, as the shell asks it

kernel = FakeKernel()                 a device, as WireguardDriver is given one
table = FakeTable(kernel)             its routing table and rule
kernel.answers(key)                   a handshake

Whatever is written, in `check`:
    no net belongs to two peers       the kernel sees to that: who is named last has it
    no route leads to the device unless a peer that has answered has its net
    no net that was encrypted has another way than "unreachable", unless `may_be_clear` has it
"""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterable, Mapping

from dataplane.drivers.routes import RouteError
from dataplane.families import Family
from dataplane.interfaces import Interface, InterfaceMonitor
from dataplane.netlink import NetlinkError
from dataplane.settings import Settings, WireguardSettings
from dataplane.wireguard.codec import REMOVE_ME, PeerChange
from dataplane.wireguard.state import Asking, DeviceState, PeerState, PeerWish, RouteKind
from dataplane.wireguard.status import FamilyStatus
from tests.fakes.drivers import Journal, Looking


class ToldWireguard:
    """Says what it was told to say."""

    def __init__(self, keys: Mapping[Family, str] | None = None) -> None:
        self.published: Mapping[Family, str] = keys or {}
        self.statuses: tuple[FamilyStatus, ...] = ()

    def keys(self) -> dict[Family, str]:
        return dict(self.published)

    def known(self) -> tuple[FamilyStatus, ...]:
        return self.statuses


# what the journal is told of the rule that leads to the table
RULES: dict[Asking, str] = {
    "nobody": "no rule",
    "forwarded": "rule, not for the host",
    "everything": "rule",
}


class FakePeer:
    def __init__(self) -> None:
        self.endpoint: tuple[str, int] | None = None
        self.nets: set[str] = set()
        self.keepalive = 0
        self.handshake = 0.0
        self.received = 0


class FakeKernel:
    def __init__(self, index: int = 7) -> None:
        self.index = index
        self.key: bytes | None = None
        self.port = self.mark = 0
        self.peers: dict[bytes, FakePeer] = {}
        self.journal: list[str] = []
        self.routes: dict[str, RouteKind] = {}
        self.asking: Asking = "nobody"
        self.former = False  # a device by another name has the port
        self.encrypted: set[str] = set()
        self.may_be_clear: set[str] = set()
        self.names: dict[bytes, str] = {}
        self.fails: list[str] = []  # beginnings of lines that the journal is not to get
        self._now = 1000.0

    @property
    def rule(self) -> bool:
        """Whether packets of others ask the table."""
        return self.asking != "nobody"

    # ------------------------------------------------------------ Device

    async def read(self, index: int) -> DeviceState:
        if index != self.index:
            raise NetlinkError("reading a WireGuard device", errno.ENODEV)
        peers = {
            key: PeerState(
                p.endpoint, frozenset(p.nets), p.keepalive, p.handshake, received=p.received
            )
            for key, p in self.peers.items()
        }
        return DeviceState(index, self.key, self.port, self.mark, peers)

    async def make_key(self, index: int) -> None:
        assert index == self.index
        self.note("key")
        self.key = b"\1" * 32

    async def set_device(self, index: int, port: int | None, mark: int | None) -> int:
        assert index == self.index
        if self.former and port:
            raise NetlinkError("setting up a WireGuard device", errno.EADDRINUSE)
        self.port, self.mark = port or self.port, mark or self.mark
        return 1

    async def set_peers(self, index: int, changes: Iterable[PeerChange]) -> int:
        assert index == self.index
        for change in changes:
            self._change(change)
        return 1

    def close(self) -> None:
        """There is nothing to close."""

    def _change(self, change: PeerChange) -> None:
        name = self.names.get(change.key, "?")
        if change.flags & REMOVE_ME:
            self.note(f"- {name}")
            self.peers.pop(change.key, None)
            self.check()
            return
        if change.key not in self.peers:
            self.note(f"+ {name}")
            self.peers[change.key] = FakePeer()
        peer = self.peers[change.key]
        if change.endpoint is not None:
            peer.endpoint = change.endpoint
        if change.keepalive is not None:
            peer.keepalive = change.keepalive
        for net in change.nets:
            self.note(f"+ {name} {net}")
            for other in self.peers.values():
                other.nets.discard(net)
            peer.nets.add(net)
            self.check()
        for net in change.nets_removed:
            self.note(f"- {name} {net}")
            peer.nets.discard(net)
            self.check()

    # ------------------------------------------------------------ the world

    def answers(self, key: bytes) -> None:
        self._now += 1
        self.peers[key].handshake = self._now

    def receives(self, key: bytes, count: int) -> None:
        self.peers[key].received += count

    def note(self, line: str) -> None:
        if any(line.startswith(start) for start in self.fails):
            raise NetlinkError(line, errno.EIO)
        self.journal.append(line)

    def take(self) -> list[str]:
        journal, self.journal = self.journal, []
        return journal

    def check(self) -> None:
        ready = [net for p in self.peers.values() if p.handshake for net in p.nets]
        nets = [net for p in self.peers.values() for net in p.nets]
        assert len(nets) == len(set(nets))
        led = {net for net, kind in self.routes.items() if kind == "device"}
        assert led <= set(ready), f"{led - set(ready)}: to nobody"
        clear = {net for net in self.encrypted if self.routes.get(net, "throw") == "throw"}
        assert clear <= self.may_be_clear, f"{clear - self.may_be_clear}: in clear"
        self.encrypted |= led


class FakeTable:
    """One route is written at a time: what comes, the longest first; then what goes."""

    def __init__(self, kernel: FakeKernel) -> None:
        self.kernel = kernel
        self.written = 0
        self.wanted: dict[str, RouteKind] = {}

    def desire(self, net: str, kind: RouteKind | None) -> None:
        self.wanted.pop(net, None)
        if kind is not None:
            self.wanted[net] = kind

    def interface_changed(self, name: str, interface: Interface | None) -> None:
        """Routes over the device are gone with it; below each of them is one that refuses."""
        if name == "wireguard.cali" and (interface is None or not interface.up):
            routes = self.kernel.routes
            for net in [net for net, kind in routes.items() if kind == "device"]:
                routes[net] = "unreachable"

    def set_refresh(self, seconds: float) -> None:
        """Nothing is looked at in between."""

    def next_check(self) -> float:
        return float("inf")

    async def check(self) -> bool:
        return False

    async def read(self) -> dict[str, RouteKind]:
        return dict(self.kernel.routes)

    async def write_routes(self) -> None:
        routes = self.kernel.routes
        try:
            for net, kind in sorted(self.wanted.items(), key=lambda each: -_length(each[0])):
                if routes.get(net) != kind:
                    self.kernel.note(f"{net} {kind}")
                    routes[net] = kind
                    self._done()
            for net in sorted((net for net in routes if net not in self.wanted), key=_length):
                self.kernel.note(f"{net} gone")
                del routes[net]
                self._done()
        except NetlinkError as error:
            raise RouteError(str(error)) from error

    def _done(self) -> None:
        self.written += 1
        self.kernel.check()

    async def ask(self, asking: Asking) -> None:
        if self.kernel.asking != asking:
            self.kernel.note(RULES[asking])
            self.kernel.asking = asking
            self.written += 1

    async def asking(self) -> Asking:
        return self.kernel.asking

    def close(self) -> None:
        """There is nothing to close."""


def _length(net: str) -> int:
    return int(net.partition("/")[2])


class FakePeers(Looking):
    """The device has at once what it is wished; `state` is for tests to change."""

    def __init__(
        self, journal: Journal, family: Family, settings: WireguardSettings, refresh: float
    ) -> None:
        super().__init__(journal, f"IPv{family} WireGuard peers")
        self.refresh_seconds = refresh
        self.unavailable = ""
        self.state: DeviceState | None = None
        self.wished: Mapping[bytes, PeerWish] = {}
        self.waiting: frozenset[bytes] = frozenset()

    def desire(self, peers: Mapping[bytes, PeerWish]) -> None:
        self.wished = dict(peers)

    def watch(self, waiting: Collection[bytes]) -> None:
        self.waiting = frozenset(waiting)

    def interface_changed(self, name: str, interface: Interface | None) -> None:
        """It is not looked at here."""

    def problems(self) -> dict[str, str]:
        return {}

    async def look(self) -> DeviceState | None:
        return self.state

    async def apply_additions(self) -> None:
        await self.journal.step(f"{self.name} added")

    async def apply_removals(self) -> None:
        await self.journal.step(f"{self.name} removed")


class NoFormer:
    def __init__(self, family: Family, settings: WireguardSettings) -> None:
        """There never was another device."""

    async def remove(self) -> None:
        """Nothing to take away."""


class FakeFormer:
    """A device by another name, which has the port."""

    def __init__(self, kernel: FakeKernel) -> None:
        self.kernel = kernel

    async def remove(self) -> None:
        if self.kernel.former:
            self.kernel.note("former gone")
            self.kernel.former = False


class SilentTable(Looking):
    """Of a whole node: routes are there as soon as they are written."""

    def __init__(self, journal: Journal, family: Family, settings: Settings) -> None:
        super().__init__(journal, f"IPv{family} WireGuard routes")
        self.routes: dict[str, RouteKind] = {}
        self.asked_by: Asking = "nobody"

    def desire(self, net: str, kind: RouteKind | None) -> None:
        self.routes.pop(net, None)
        if kind is not None:
            self.routes[net] = kind

    def watch(self, monitor: InterfaceMonitor) -> None:
        """Nobody has anything to tell it."""

    def interface_changed(self, name: str, interface: Interface | None) -> None:
        """It is not looked at here."""

    def set_refresh(self, seconds: float) -> None:
        self.refresh_seconds = seconds

    async def read(self) -> dict[str, RouteKind]:
        return {}

    async def write_routes(self) -> None:
        await self.journal.step(f"{self.name} written")

    async def ask(self, asking: Asking) -> None:
        self.asked_by = asking

    async def asking(self) -> Asking:
        return self.asked_by
