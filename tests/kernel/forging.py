"""Packets with whatever source, put on the wire past the sender's own addresses and routes.

send(workload, packets, mac)   whole IP packets, out of eth0 of a namespace, to a machine
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterable, Iterator

from tests.kernel.conftest import Namespace, enter
from tests.kernel.packets_craft import craft
from tests.oracle.packet import ICMP, UDP, Packet

_SENDER = """
import socket, sys
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
wire.bind(("eth0", 0))
for line in sys.stdin:
    wire.send(bytes.fromhex(line))
"""
_TOKEN = re.compile(rb"fxpkt:([0-9a-f]{8})")
_SO_RCVBUFFORCE = 33
_TYPES = {4: b"\x08\x00", 6: b"\x86\xdd"}


def udp(source: str, target: str, port: int, *, source_port: int = 40000, token: int = 0) -> bytes:
    addresses = ipaddress.ip_address(source), ipaddress.ip_address(target)
    packet = Packet("", *addresses, UDP, source_port, port)
    return _checked(craft(packet, f"fxpkt:{token:08x}"))


def icmp(source: str, target: str, kind: int, *, token: int = 0) -> bytes:
    addresses = ipaddress.ip_address(source), ipaddress.ip_address(target)
    packet = Packet("", *addresses, ICMP[addresses[0].version], icmp_type=kind)
    return _checked(craft(packet, f"fxpkt:{token:08x}"))


def send(space: Namespace, packets: Iterable[bytes], mac: str) -> None:
    """To `mac` from the machine's own; raises if one cannot go out."""
    far = bytes.fromhex(mac.replace(":", ""))
    near = bytes.fromhex(space.run("cat /sys/class/net/eth0/address").strip().replace(":", ""))
    lines = (f"{(far + near + _TYPES[p[0] >> 4] + p).hex()}\n" for p in packets)
    space.run(f"{sys.executable} -S -c '{_SENDER}'", stdin="".join(lines))


@contextlib.contextmanager
def ear(space: Namespace, family: int, port: int) -> Iterator[Callable[[], list[int]]]:
    """What has come to a UDP port in a namespace since the last question: tokens, in order.

    Between two cables of one machine all of it happens within the call that sends.
    """
    made: list[socket.socket] = []

    def listen() -> None:
        enter(space.path)  # this thread alone
        kind = socket.AF_INET if family == 4 else socket.AF_INET6
        made.append(socket.socket(kind, socket.SOCK_DGRAM))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    with made[0] as listening:
        listening.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 8 << 20)
        listening.bind(("", port))
        listening.setblocking(False)

        def heard() -> list[int]:
            tokens = []
            with contextlib.suppress(BlockingIOError):
                while True:
                    tokens += [int(token, 16) for token in _TOKEN.findall(listening.recv(2048))]
            return tokens

        yield heard


def _checked(packet: bytes) -> bytes:
    """With the header's checksum, which nobody fills in here."""
    if packet[0] >> 4 == 6:
        return packet
    total = sum(struct.unpack("!10H", packet[:20]))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return packet[:10] + struct.pack("!H", ~total & 0xFFFF) + packet[12:]
