"""When a device is looked at for a handshake, of which the kernel sends no word.

in   watch     the peers that are waited for
out  seconds   between looks, as long as somebody waits
     is_news   whether what was read is worth telling
"""

from __future__ import annotations

from collections.abc import Collection

from dataplane.wireguard.state import DeviceState, PeerState

POLL_SECONDS = 0.5
PATIENCE_SECONDS = 60.0  # after which looks become rarer: that node may be down for days
SLOW_POLL_SECONDS = 5.0  # the kernel begins a handshake again every five seconds


class Polls:
    def __init__(self) -> None:
        self._waiting: frozenset[bytes] = frozenset()
        self._since = 0.0

    def watch(self, waiting: Collection[bytes], now: float) -> None:
        """Patience begins anew with each peer that is new among them."""
        keys = frozenset(waiting)
        if keys - self._waiting:
            self._since = now
        self._waiting = keys

    def seconds(self, polled_at: float) -> float:
        """From the last look to the next; infinity for no need of one."""
        if not self._waiting:
            return float("inf")
        return SLOW_POLL_SECONDS if polled_at > self._since + PATIENCE_SECONDS else POLL_SECONDS

    def is_news(self, before: DeviceState | None, after: DeviceState | None) -> bool:
        """A device more or less, another key, or a handshake that was waited for."""
        if before is None or after is None:
            return before is not after
        if before.public_key != after.public_key:
            return True
        never = PeerState()
        return any(
            after.peers.get(key, never).handshake > before.peers.get(key, never).handshake
            for key in self._waiting
        )
