"""What passes a wire, counted: a program that runs in the namespace of a laboratory's bridge.

    in   a line, any                        on standard input
    out  {"wireguard4": 7, "02:31:00:00:00:01 UDP-53 10.65.1.2 > 10.65.2.2": 1, …}
         since the line before; first who has sent the frame, then what the packet says

UDP to 51820 over IPv4 and to 51821 over IPv6 is counted by the kernel, however fast it comes; ARP
is left out, and so is what IPv6 says to neighbours.  Everything else is told by its ends.

`watch_netlink` counts what is asked of the kernel, through an nlmon device: {"wireguard": 1}, the
messages that change a WireGuard device.
"""

from __future__ import annotations

import ctypes
import json
import select
import socket
import struct
import sys
from collections import Counter
from collections.abc import Iterator

_ALL = 3  # ETH_P_ALL
_PACKET, _STATISTICS, _IGNORE_OUTGOING = 263, 6, 23
_ATTACH_FILTER, _FORCED_BUFFER = 26, 33
_IPV4, _IPV6, _ARP = 0x0800, 0x86DD, 0x0806
_PORTS = {4: 51820, 6: 51821}
_WHOLE = 0xFFFF
_SAYS_TO_NEIGHBOURS = range(130, 138)  # ICMPv6: listeners, routers, neighbours
_NAMES = {1: "ICMP", 4: "IPIP", 6: "TCP", 17: "UDP", 58: "ICMPv6"}
_GENERIC, _REQUEST, _SET_DEVICE = 16, 1, 1  # generic netlink


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def instructions(ipv4: int, ipv6: int, rest: int) -> bytes:
    """How many bytes to take of WireGuard over IPv4, over IPv6, and of all else; never of ARP."""
    load_half, load_byte, load_indexed, header = 0x28, 0x30, 0x48, 0xB1
    equal, any_bit, give = 0x15, 0x45, 0x06
    return b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in (
            (load_half, 0, 0, 12),
            (equal, 0, 7, _IPV4),
            (load_byte, 0, 0, 23),
            (equal, 0, 13, 17),  # UDP
            (load_half, 0, 0, 20),
            (any_bit, 11, 0, 0x1FFF),  # a fragment after the first
            (header, 0, 0, 14),
            (load_indexed, 0, 0, 16),
            (equal, 6, 8, _PORTS[4]),
            (equal, 0, 4, _IPV6),
            (load_byte, 0, 0, 20),
            (equal, 0, 5, 17),
            (load_half, 0, 0, 56),
            (equal, 2, 3, _PORTS[6]),
            (equal, 3, 2, _ARP),
            (give, 0, 0, ipv4),
            (give, 0, 0, ipv6),
            (give, 0, 0, rest),
            (give, 0, 0, 0),
        )
    )


def taps(program: bytes = b"", device: str = "") -> socket.socket:
    """What comes in at any device of the namespace, or goes either way at one."""
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL))
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, _FORCED_BUFFER, 1 << 23)
    if device:
        made.bind((device, _ALL))
    if program:
        made.setsockopt(_PACKET, _IGNORE_OUTGOING, 1)
        text = ctypes.create_string_buffer(program)
        filled = _Program(len(program) // 8, ctypes.cast(text, ctypes.c_char_p))
        made.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, bytes(filled))
    received(made)  # what came before that
    counted(made)
    return made


def counted(tap: socket.socket) -> int:
    """Frames since the last time, whether they were read or not."""
    packets, _dropped = struct.unpack("=II", tap.getsockopt(_PACKET, _STATISTICS, 8))
    return int(packets)


def describe(frame: bytes) -> str | None:
    """None for what nobody has to know."""
    kind = int.from_bytes(frame[12:14], "big")
    if kind == _IPV4:
        protocol, ends = frame[23], (frame[26:30], frame[30:34])
        family, payload = socket.AF_INET, frame[14 + (frame[14] & 15) * 4 :]
    elif kind == _IPV6:
        protocol, ends = frame[20], (frame[22:38], frame[38:54])
        family, payload = socket.AF_INET6, frame[54:]
        if protocol == 0 or (protocol == 58 and payload[0] in _SAYS_TO_NEIGHBOURS):
            return None  # 0: before the report of a listener
    else:
        return f"{frame[6:12].hex(':')} frame-{kind:#06x} ? > ?"
    source, target = (socket.inet_ntop(family, end) for end in ends)
    name = _NAMES.get(protocol, f"protocol-{protocol}")
    if protocol in (6, 17):
        name += f"-{int.from_bytes(payload[2:4], 'big')}"
    return f"{frame[6:12].hex(':')} {name} {source} > {target}"


def watch_wire() -> None:
    quiet = {4: taps(instructions(14, 0, 0)), 6: taps(instructions(0, 14, 0))}
    rest = taps(instructions(0, 0, _WHOLE))
    counts: Counter[str] = Counter()
    for asked in lines(rest):
        counts.update(what for what in map(describe, received(rest)) if what is not None)
        if asked:
            counts.update({f"wireguard{family}": counted(tap) for family, tap in quiet.items()})
            print(json.dumps(+counts), flush=True)
            counts.clear()


def watch_netlink(device: str) -> None:
    tap = taps(device=device)
    family = wireguard_family()
    count = 0
    for asked in lines(tap):
        count += sum(changes_a_device(message, family) for message in received(tap))
        if asked:
            print(json.dumps({"wireguard": count}), flush=True)
            count = 0


def changes_a_device(message: bytes, family: int) -> bool:
    if len(message) <= 16:
        return False
    kind, flags = struct.unpack_from("=HH", message, 4)
    return kind == family and bool(flags & _REQUEST) and message[16] == _SET_DEVICE


def wireguard_family() -> int:
    """The number of the generic netlink family."""
    body = struct.pack("=BBHHH", 3, 1, 0, 4 + 10, 2) + b"wireguard\0" + bytes(2)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _GENERIC) as asking:
        asking.send(struct.pack("=IHHII", 16 + len(body), 16, _REQUEST, 1, 0) + body)
        answer = asking.recv(_WHOLE)
    position = 20
    while position < len(answer):
        length, kind = struct.unpack_from("=HH", answer, position)
        if kind == 1:
            return int(struct.unpack_from("=H", answer, position + 4)[0])
        position += length + (-length % 4)
    raise OSError("this kernel has no WireGuard")


def received(tap: socket.socket) -> list[bytes]:
    found: list[bytes] = []
    while True:
        try:
            found.append(tap.recv(_WHOLE))
        except BlockingIOError:
            return found


def lines(tap: socket.socket) -> Iterator[bool]:
    """True for each line of standard input, False whenever the tap has something."""
    print("ready", flush=True)
    while True:
        ready = select.select([tap, sys.stdin], [], [])[0]
        if sys.stdin in ready:
            if not sys.stdin.readline():
                return
            yield True
        else:
            yield False
