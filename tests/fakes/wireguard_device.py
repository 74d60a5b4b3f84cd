"""A WireGuard device without a kernel; refuses what the kernel refuses.

in   set_peers, set_device, make_key, read   as the driver calls them
out  sent       each message: port and mark, "key", or the PeerChanges
     state      what the device holds; tests change it as others would
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import Any, TypeAlias

from msgspec import structs

from dataplane.netlink import NetlinkError
from dataplane.wireguard import codec
from dataplane.wireguard.codec import REMOVE_ME, UPDATE_ONLY, PeerChange
from dataplane.wireguard.kernel import NoWireguardError
from dataplane.wireguard.state import DeviceState, PeerState

OWN_KEY = b"o" * 32

Sent: TypeAlias = tuple[int | None, int | None] | str | list[PeerChange]


class FakeDevice:
    """`removes_nets`: as Linux 6.16.  `failing`: method -> error number, once."""

    def __init__(self, state: DeviceState | None = None, *, removes_nets: bool = True) -> None:
        self.state = state or DeviceState(7, None, 0, 0, {})
        self.removes_nets = removes_nets
        self.failing: dict[str, int] = {}
        self.sent: list[Sent] = []
        self.reads = 0
        self.closed = 0
        self.supported = True

    def take(self) -> list[Sent]:
        sent, self.sent = self.sent, []
        return sent

    def change(self, key: bytes, **changes: Any) -> None:
        """As somebody else would, or as time goes by."""
        peer = structs.replace(self.state.peers.get(key, PeerState()), **changes)
        self._hold({**self.state.peers, key: peer})

    async def read(self, index: int) -> DeviceState:
        self._check("read", index)
        self.reads += 1
        return structs.replace(self.state, peers=dict(self.state.peers))

    async def make_key(self, index: int) -> None:
        self.sent.append("key")
        self._check("make_key", index)
        self.state = structs.replace(self.state, public_key=OWN_KEY)

    async def set_device(self, index: int, port: int | None, mark: int | None) -> int:
        self.sent.append((port, mark))
        self._check("set_device", index)
        self.state = structs.replace(
            self.state,
            port=self.state.port if port is None else port,
            mark=self.state.mark if mark is None else mark,
        )
        return 1

    async def set_peers(self, index: int, changes: Iterable[PeerChange]) -> int:
        changes = list(changes)
        self.sent.append(changes)
        self._check("set_peers", index)
        for change in changes:
            self._set_peer(change)
        return len(codec.set_peers(1, index, changes))

    def close(self) -> None:
        self.closed += 1

    def _check(self, method: str, index: int) -> None:
        if not self.supported:
            raise NoWireguardError
        if index != self.state.index:
            raise NetlinkError(method, errno.ENODEV)
        if method in self.failing:
            raise NetlinkError(method, self.failing.pop(method))

    def _set_peer(self, change: PeerChange) -> None:
        peers = dict(self.state.peers)
        unknown = change.key not in peers
        if change.flags & REMOVE_ME:
            peers.pop(change.key, None)
            self._hold(peers)
            return
        if change.key == self.state.public_key or (unknown and change.flags & UPDATE_ONLY):
            return
        if change.nets_removed and not self.removes_nets:
            raise NetlinkError("set_peers", errno.EINVAL)
        for key, peer in peers.items():
            peers[key] = structs.replace(peer, nets=peer.nets - set(change.nets))
        peer = peers.get(change.key, PeerState())
        peers[change.key] = structs.replace(
            peer,
            endpoint=change.endpoint or peer.endpoint,
            keepalive=peer.keepalive if change.keepalive is None else change.keepalive,
            nets=(peer.nets | set(change.nets)) - set(change.nets_removed),
        )
        self._hold(peers)

    def _hold(self, peers: dict[bytes, PeerState]) -> None:
        self.state = structs.replace(self.state, peers=peers)
