"""A node with two ways to a destination, in namespaces: by WireGuard's device, and in clear.

    inside --- wireguard.cali (wg-v6.cali) --- peer      both have FAR, and count what comes
           --- eth0 --------------------------- clear

Both cables are veths without ARP whose ends share a MAC, as a WireGuard device needs no neighbours.
The main table leads FAR's net to eth0; what WireGuard's table says is the test's.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from dataplane.families import Family
from tests.kernel.conftest import Namespace, enter

NET: dict[Family, str] = {4: "10.0.2.0/26", 6: "fd00:2::/64"}
FAR: dict[Family, str] = {4: "10.0.2.5", 6: "fd00:2::5"}
NEAR: dict[Family, str] = {4: "192.0.2.1", 6: "fd00:1::1"}
DEVICE: dict[Family, str] = {4: "wireguard.cali", 6: "wg-v6.cali"}
MAC = "02:00:00:00:00:07"
PORT = 4000


class Sent(NamedTuple):
    """Packets: attempts, those refused here, those that came by either cable."""

    attempts: int
    refused: int
    encrypted: int
    clear: int

    @property
    def lost(self) -> int:
        return self.attempts - self.refused - self.encrypted - self.clear


class Cables:
    def __init__(
        self, family: Family, inside: Namespace, peer: Namespace, clear: Namespace
    ) -> None:
        self.family: Family = family
        self.inside = inside
        self.far = {"encrypted": peer, "clear": clear}
        self._peer = peer
        host = f"{128 if family == 6 else 32} dev lo {'nodad' if family == 6 else ''}"
        for far, name in ((peer, DEVICE[family]), (clear, "eth0")):
            self.plug(far, name, f"ip addr add {FAR[family]}/{host}")
        inside.run(
            f"ip addr add {NEAR[family]}/{host}; ip -{family} route add {NET[family]} dev eth0"
        )

    def plug(self, far: Namespace, name: str, besides: str = ":") -> None:
        """A cable, up; with a way back, so that nothing is refused for want of one."""
        near = self.inside
        near.run(
            f"ip link add {name} address {MAC} type veth"
            f" peer name {name} address {MAC} netns {far.name}; ip link set {name} arp off up"
        )
        far.run(
            f"{besides}; ip link set {name} arp off up;"
            f"ip -{self.family} route replace {NEAR[self.family]} dev {name};"
            f"for name in all {name}; do echo 0 > /proc/sys/net/ipv4/conf/$name/rp_filter; done"
        )
        near.await_carrier(name)

    def plug_again(self) -> None:
        """The device of WireGuard, made anew."""
        self.plug(self._peer, DEVICE[self.family])


class Traffic:
    """Packets to FAR as long as it is entered; where they came, once it is left."""

    def __init__(self, cables: Cables) -> None:
        kind = socket.AF_INET if cables.family == 4 else socket.AF_INET6
        address = FAR[cables.family]
        receivers = []
        for name in ("encrypted", "clear"):
            enter(cables.far[name].path)
            receivers.append(_receiver(kind, (address, PORT)))
        enter(cables.inside.path)
        self._sockets = [socket.socket(kind, socket.SOCK_DGRAM), *receivers]
        sender, *others = (each.fileno() for each in self._sockets)
        program = Path(__file__).with_name("wireguard_sender.py")
        self._command = [
            *(sys.executable, str(program), str(sender), ",".join(map(str, others))),
            *(address, str(PORT)),
        ]
        self.sent = Sent(0, 0, 0, 0)

    def __enter__(self) -> Traffic:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=[each.fileno() for each in self._sockets],
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *_: object) -> None:
        told = self._process.communicate(timeout=10)[0]
        self.sent = Sent(*map(int, told.split()))
        for each in self._sockets:
            each.close()


def _receiver(kind: int, address: tuple[str, int]) -> socket.socket:
    made = socket.socket(kind, socket.SOCK_DGRAM)
    made.setblocking(False)
    made.bind(address)
    return made
