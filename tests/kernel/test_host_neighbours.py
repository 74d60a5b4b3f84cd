"""A workload that says that another one's address is its own."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import AsyncIterator, Callable

import pytest

from tests.kernel.conftest import Namespace
from tests.kernel.host_lab import ADDRESSES, HostLab
from tests.kernel.host_traffic import within
from tests.kernel.test_dataplane import MAC

pytestmark = pytest.mark.kernel

HOST_MAC, BROADCAST, ALL_NODES = "ee:ee:ee:ee:ee:ee", "ff:ff:ff:ff:ff:ff", "33:33:00:00:00:01"
OTHER_MAC = "02:66:66:66:66:66"
ARP_REQUEST, ARP_REPLY = 1, 2
OVERRIDE, SOLICITED = 0x20000000, 0x40000000
FLOWS = "x1 -> w1 tcp 80, w2 -> w1 tcp 80, w2 -> w1 udp 80, node -> w1 tcp 80, node -> w1 icmp"


@pytest.fixture
async def lab(inside: Namespace, netns: Callable[[str], Namespace]) -> AsyncIterator[HostLab]:
    lab = HostLab(inside, netns)
    await lab.have()
    await lab.configure()
    yield lab
    await lab.close()


def arp(kind: int, address: str, mac: str, to_mac: str) -> bytes:
    """Says that the address is at the MAC, as announcements do."""
    packed = socket.inet_aton(address)
    sender = _mac(mac) + packed
    head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, kind)
    return _mac(to_mac) + _mac(mac) + b"\x08\x06" + head + sender + _mac(to_mac) + packed


def advertisement(address: str, mac: str, to_mac: str, to: str, flags: int) -> bytes:
    own, target = (ipaddress.ip_address(each).packed for each in (address, to))
    body = struct.pack("!BBHI", 136, 0, 0, flags) + own + b"\x02\x01" + _mac(mac)
    words = own + target + struct.pack("!II", len(body), 58) + body
    total = sum(struct.unpack(f"!{len(words) // 2}H", words))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    body = body[:2] + struct.pack("!H", ~total & 0xFFFF) + body[4:]
    head = struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + own + target
    return _mac(to_mac) + _mac(mac) + b"\x86\xdd" + head + body


def announcements(address4: str, address6: str, mac: str) -> list[bytes]:
    return [
        arp(ARP_REQUEST, address4, mac, BROADCAST),
        arp(ARP_REPLY, address4, mac, BROADCAST),
        arp(ARP_REPLY, address4, mac, HOST_MAC),
        advertisement(address6, mac, ALL_NODES, "ff02::1", OVERRIDE),
        advertisement(address6, mac, HOST_MAC, ADDRESSES["node"][1], OVERRIDE | SOLICITED),
        advertisement(address6, mac, HOST_MAC, "fe80::ecee:eeff:feee:eeee", OVERRIDE | SOLICITED),
    ]


def say(space: Namespace, frames: list[bytes]) -> None:
    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
            wire.bind(("eth0", 0))
            for frame in frames:
                wire.send(frame)

    within(space, send)


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


async def test_nobody_answers_for_another(lab: HostLab) -> None:
    """With the address as its own, on its own cable, whatever the host would learn from others."""
    lab.node.run(
        "cd /proc/sys/net; echo 2 > ipv4/conf/all/arp_accept; echo 1 > ipv4/conf/cali2/arp_accept;"
        "echo 1 > ipv6/conf/cali2/accept_untracked_na"
    )
    own, neighbour = ADDRESSES["w1"], lab.workloads[2]
    neighbour.run(f"ip addr add {own[0]}/32 dev lo; ip addr add {own[1]}/128 dev lo nodad")
    lab.check("before", open=FLOWS.replace("w2 -> w1", "x2 -> w1"))
    neighbour.run(f"ip addr del {own[0]}/32 dev lo; ip addr del {own[1]}/128 dev lo")
    say(neighbour, announcements(*own, MAC.format(2)))
    neighbour.run(f"ip addr add {own[0]}/32 dev lo; ip addr add {own[1]}/128 dev lo nodad")
    lab.check("others still reach the right one", open=FLOWS.replace("w2 -> w1", "x2 -> w1"))
    neighbour.run(f"ip addr del {own[0]}/32 dev lo; ip addr del {own[1]}/128 dev lo")
    lab.check("and so does itself", open=FLOWS)


async def test_a_place_on_a_cable_is_not_to_be_moved(lab: HostLab) -> None:
    """Of IPv4, as in Felix: of IPv6 a workload can lead astray what is sent to itself alone."""
    say(lab.workloads[1], announcements(*ADDRESSES["w1"], OTHER_MAC)[:3])
    lab.check("the right place", open=FLOWS)
    entries = lab.node.run("ip neigh show")
    assert f"{ADDRESSES['w1'][0]} dev cali1 lladdr {MAC.format(1)} PERMANENT" in entries
    assert OTHER_MAC not in entries


async def test_workloads_on_other_cables_are_not_asked(lab: HostLab) -> None:
    """The host answers for all of them; no question of one cable is heard on another."""
    question = arp(ARP_REQUEST, ADDRESSES["w1"][0], MAC.format(2), BROADCAST)

    def listen() -> socket.socket:
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
        made.bind(("eth0", 0x0806))
        made.setblocking(False)
        return made

    with within(lab.workloads[1], listen) as heard:
        say(lab.workloads[2], [question] * 3)
        lab.check("meanwhile", open=FLOWS)
        with pytest.raises(BlockingIOError):
            heard.recv(100)
