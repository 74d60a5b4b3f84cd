"""A node, a workload on it, and a workload of another node behind two cables: one stands in for
WireGuard's devices, which this kernel need not have, the other is the wire.

    w1 ══ cali1 node eth0 ════════════════ eth0 far: 10.65.9.9, fd65:0:0:9::9
                     wireguard.cali ══════ mesh4
                     wg-v6.cali ══════════ mesh6

`lead` decides by which of them packets go, and by which the answers come.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Literal

from calc_graph.updates import RouteType, RouteUpdate, Update
from dataplane.dropped import read_dropped
from dataplane.families import Family
from tests.kernel.conftest import Namespace
from tests.kernel.test_dataplane import Lab

Way = Literal["clear", "mesh"]

FAMILIES: tuple[Family, ...] = (4, 6)
FAR: dict[Family, str] = {4: "10.65.9.9", 6: "fd65:0:0:9::9"}
W1: dict[Family, str] = {4: "10.65.0.1", 6: "fd65::1"}
BLOCK: dict[Family, str] = {4: "10.65.9.0/26", 6: "fd65:0:0:9::/64"}
_HOME: dict[Family, str] = {4: "10.65.0.0/26", 6: "fd65::/64"}
_MESH: dict[Family, str] = {4: "wireguard.cali", 6: "wg-v6.cali"}
# of the clear cable and of the other one: the node's address, and the far one
CABLES: dict[Way, dict[Family, tuple[str, str]]] = {
    "clear": {4: ("172.30.0.10", "172.30.0.1"), 6: ("fd30::10", "fd30::1")},
    "mesh": {4: ("172.31.0.10", "172.31.0.1"), 6: ("fd31::10", "fd31::1")},
}

_ECHO = """
import socket
with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as own:
    own.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    own.bind(("::", 9000))
    print("ready", flush=True)
    while True:
        data, peer = own.recvfrom(100)
        own.sendto(data, peer)
"""
_TALK = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
with socket.socket(family, socket.SOCK_DGRAM) as talking:
    talking.connect((sys.argv[1], 9000))
    talking.settimeout(0.25)
    for line in sys.stdin:
        try:
            talking.sendall(line.encode())
            while (answer := talking.recv(100).decode()) != line:
                pass
            print("heard", flush=True)
        except OSError:
            print("nothing", flush=True)
"""


class Talk:
    """One flow of UDP: the same ports as long as it lives."""

    def __init__(self, space: Namespace, target: str) -> None:
        self._process = space.start(sys.executable, "-S", "-c", _TALK, target)
        self._said = 0

    def heard(self) -> bool:
        """Whether what is said now is answered."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        self._said += 1
        process.stdin.write(f"{self._said}\n")
        process.stdin.flush()
        return process.stdout.readline() == "heard\n"


class EncryptionLab(Lab):
    def __init__(self, node: Namespace, netns: Callable[[str], Namespace]) -> None:
        super().__init__(node, netns)
        self.plug(1)
        self.plug(2)
        self.far = netns("far")
        for space in (node, self.far):
            space.run("sysctl -qw net.ipv6.conf.default.accept_dad=0")
        for name, peer in (("eth0", "eth0"), (_MESH[4], "mesh4"), (_MESH[6], "mesh6")):
            node.run(f"ip link add {name} type veth peer name {peer} netns {self.far.name}")
        for space, side, names in (
            (node, 0, ("eth0", _MESH[4], _MESH[6])),
            (self.far, 1, ("eth0", "mesh4", "mesh6")),
        ):
            clear, mesh = CABLES["clear"], CABLES["mesh"]
            places = (clear[4], clear[6], mesh[4], mesh[6])
            devices = (names[0], names[0], names[1], names[2])
            space.run(
                "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1;"
                + "".join(f"ip link set {name} up;" for name in names)
                + "".join(_give(*each, side) for each in zip(places, devices, strict=True))
                + "for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $f; done"
            )
        self.far.run("".join(f"ip addr add {address} dev lo;" for address in FAR.values()))
        for name in ("eth0", _MESH[4], _MESH[6]):
            node.await_carrier(name)

    def lead(self, there: Way, back: Way) -> None:
        for family in FAMILIES:
            ip = f"ip -{family} route replace"
            self.node.run(f"{ip} {BLOCK[family]} via {CABLES[there][family][1]}")
            self.far.run(f"{ip} {_HOME[family]} via {CABLES[back][family][0]} src {FAR[family]}")

    def echo(self, space: Namespace) -> subprocess.Popen[str]:
        process = space.start(sys.executable, "-S", "-c", _ECHO)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    def talks(self, space: Namespace, targets: dict[Family, str]) -> dict[Family, Talk]:
        return {family: Talk(space, target) for family, target in targets.items()}


def _give(pair: tuple[str, str], device: str, side: int) -> str:
    length = "64 nodad" if ":" in pair[side] else "24"
    return f"ip addr add {pair[side]}/{length.split()[0]} dev {device} {length[3:]};"


def heard(talks: dict[Family, Talk]) -> set[Family]:
    return {family for family, talk in talks.items() if talk.heard()}


async def stopped() -> dict[str, set[Family]]:
    """The families in which a rule has dropped something, by which way it went."""
    found: dict[str, set[Family]] = {}
    for (family, way), packets in (await read_dropped(FAMILIES)).clear.items():
        if packets:
            found.setdefault(way, set()).add(family)
    return found


def remote(*extra: str) -> list[Update]:
    """The other node's block, and whatever else it has."""
    nets = (*BLOCK.values(), *extra)
    return [RouteUpdate(net, RouteType.REMOTE_WORKLOAD, "no-encap", "n9") for net in nets]
