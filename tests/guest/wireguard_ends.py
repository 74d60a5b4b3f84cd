"""Ends of WireGuard in namespaces of their own, for what runs in the guest.

End      device and peers of one node, by the real drivers
Flow     packets from one end to an address that one or several others have, counted
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

from dataplane.drivers.links import LinkDriver
from dataplane.families import Family
from dataplane.interfaces import InterfaceMonitor
from dataplane.overlay.devices import Tunnel
from dataplane.settings import Settings, WireguardSettings
from dataplane.wireguard.driver import WireguardDriver
from dataplane.wireguard.state import DeviceState, PeerState, PeerWish
from tests.kernel.conftest import Namespace, enter

PATIENCE = 60.0  # a machine without KVM takes its time

# A packet every half a millisecond; what the kernel refuses is counted, too.
SENDER = """
import errno, json, select, socket, sys, time
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sent, refused = 0, {}
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    try:
        out.sendto(b"probe", (sys.argv[1], 9999))
    except OSError as error:
        name = errno.errorcode[error.errno]
        refused[name] = refused.get(name, 0) + 1
    sent += 1
    time.sleep(0.0005)
print(json.dumps([sent, refused]))
"""
# What has come when nothing has come for half a second after the sender's end.
RECEIVER = """
import select, socket, sys
into = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
into.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
into.bind((sys.argv[1], 9999))
print("ready", flush=True)
count, watched, wait = 0, [into, sys.stdin], None
while (found := select.select(watched, [], [], wait)[0]):
    if sys.stdin in found:
        watched, wait = [into], 0.5
    if into in found:
        into.recv(100)
        count += 1
print(count)
"""


class End:
    """`family` is that of what goes through the device, and of the addresses of endpoints."""

    def __init__(
        self, node: Namespace, address: str, family: Family = 4, *, threading: bool = False
    ) -> None:
        self.node = node
        self.settings = WireguardSettings(families=frozenset((family,)), threading=threading)
        self.device = self.settings.devices[0 if family == 4 else 1]
        self._family: Family = family
        self._tunnel = Tunnel(self.device, "wireguard", family, address, 1440)
        self.links = LinkDriver()
        self.driver = WireguardDriver(family, self.settings)

    async def start(self) -> None:
        """Make the device, and its key."""
        enter(self.node.path)
        self.links.desire(self._tunnel)
        await self.links.apply(self._family)
        monitor = InterfaceMonitor(Settings("end"))
        interface = (await monitor.start())[self.device]
        monitor.close()
        self.driver.interface_changed(self.device, interface)
        await self.apply()

    async def restart(self, peers: dict[bytes, PeerWish]) -> None:
        self.stop()
        self.links, self.driver = LinkDriver(), WireguardDriver(self._family, self.settings)
        self.driver.desire(peers)
        await self.start()

    async def apply(self) -> int:
        """Returns the number of messages."""
        before = self.driver.written
        await self.driver.apply_additions()
        await self.driver.apply_removals()
        assert not self.driver.pending
        return self.driver.written - before

    async def desire(self, peers: dict[bytes, PeerWish]) -> int:
        self.driver.desire(peers)
        return await self.apply()

    @property
    def key(self) -> bytes:
        assert self.driver.public_key is not None
        return self.driver.public_key

    async def look(self) -> DeviceState:
        found = await self.driver.look()
        assert found is not None
        return found

    async def peer(self, key: bytes) -> PeerState:
        return (await self.look()).peers[key]

    async def handshake(self, key: bytes) -> None:
        for _ in range(int(PATIENCE * 10)):
            if (await self.peer(key)).handshake:
                return
            await asyncio.sleep(0.1)
        raise AssertionError("no handshake")

    def stop(self) -> None:
        self.links.close()
        self.driver.close()


class Flow:
    """From `source` to `address` at each of `targets`, until `end` tells what has become of it."""

    def __init__(self, source: Namespace, targets: list[Namespace], address: str) -> None:
        self._receivers = [node.start(sys.executable, "-c", RECEIVER, address) for node in targets]
        for receiver in self._receivers:
            _await(receiver)
        self._sender = source.start(sys.executable, "-c", SENDER, address)
        _await(self._sender)

    def end(self) -> tuple[int, dict[str, int], list[int]]:
        """Packets sent, those that the kernel refused, those received by each target."""
        sent, refused = json.loads(self._sender.communicate("end\n", timeout=PATIENCE)[0])
        received = [int(r.communicate("end\n", timeout=PATIENCE)[0]) for r in self._receivers]
        return sent, refused, received


def _await(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
