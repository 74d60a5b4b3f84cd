"""One family of WireGuard that is on, over a kernel that only remembers."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from dataplane.errors import DataplaneError
from dataplane.interfaces import Interface
from dataplane.settings import Settings, WireguardSettings
from dataplane.wireguard.driver import WireguardDriver
from dataplane.wireguard.on import On
from tests.dataplane.wireguard.builders import HERE, key
from tests.fakes.wireguard import FakeFormer, FakeKernel, FakeTable

ALL = ("a", "b", "c", "d")


class Node:
    """One family of WireGuard over a kernel; another one over the same kernel is a restart."""

    def __init__(self, kernel: FakeKernel | None = None, **settings: Any) -> None:
        self.kernel = kernel or FakeKernel()
        self.kernel.names = {key(name): name for name in (*ALL, "x")}
        given = WireguardSettings(families=frozenset({4}), **settings)
        self.peers = WireguardDriver(4, given, kernel=self.kernel)
        self.table = FakeTable(self.kernel)
        self.unavailable = ""
        self.on = On(
            4,
            Settings(HERE, wireguard=given),
            self.peers,
            self.table,
            FakeFormer(self.kernel),
            lambda: self.unavailable,
        )
        self.failed: list[str] = []
        self.main: list[str] = []  # what is told to the journal where the main table is written

    def has_device(
        self, *, up: bool = True, index: int = 7, addresses: tuple[str, ...] = ("10.0.9.1",)
    ) -> None:
        self.kernel.index = index
        device = Interface("wireguard.cali", index, up, frozenset(addresses), index + up)
        self.on.interface_changed("wireguard.cali", device)

    def told(self, *updates: Any) -> None:
        for update in updates:
            self.on.update(update)

    async def step(self, name: str, work: Coroutine[Any, Any, None]) -> bool:
        try:
            await work
        except DataplaneError:
            self.failed.append(name)
            return False
        return True

    async def apply(self, *, routed: bool = True) -> list[str]:
        self.failed = []
        await self.on.before(self.step)
        self.kernel.journal.append("main")
        if routed:
            await self.on.after(self.step)
        lines = self.kernel.take()
        return [line for line in lines if line not in ("main", "key", "rule")] if lines else []

    async def settle(self, *answering: str) -> list[str]:
        """Apply until there is nothing to do; nodes answer as soon as they can."""
        lines: list[str] = []
        for _ in range(6):
            lines += await self.apply()
            for k, peer in self.kernel.peers.items():
                if self.kernel.names[k] in answering and not peer.handshake:
                    self.kernel.answers(k)
            await self.peers.look()
        return lines


async def settled(*updates: Any, ready: tuple[str, ...] = ("a", "b"), **settings: Any) -> Node:
    found = Node(**settings)
    found.has_device()
    found.told(*updates)
    await found.settle(*ready)
    assert await found.apply() == []
    return found
