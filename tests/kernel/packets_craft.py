"""The bytes of a packet that can begin a flow, with a token in it; see packets_prober.py.

Connection tracking looks closely: checksums are right, TCP begins with SYN, SCTP with INIT.
"""

from __future__ import annotations

import struct

from tests.oracle.packet import SCTP, TCP, UDP, Packet

_SYN = 0x02


def craft(packet: Packet, token: str) -> bytes:
    """Network byte order, from the IP header on."""
    body = _body(packet, token.encode())
    source, destination = packet.source.packed, packet.destination.packed
    if packet.family == 4:
        # the kernel fills in the header's checksum and, where it is 0, the identification
        head = struct.pack(
            "!BBHHHBBH4s4s",
            0x45,
            0,
            20 + len(body),
            0,
            0,
            64,
            packet.protocol,
            0,
            source,
            destination,
        )
    else:
        head = struct.pack(
            "!IHBB16s16s", 6 << 28, len(body), packet.protocol, 64, source, destination
        )
    return head + body


def _body(packet: Packet, token: bytes) -> bytes:
    ports = struct.pack("!HH", packet.source_port, packet.destination_port)
    if packet.protocol == TCP:
        rest = struct.pack("!IIBBHHH", 1, 0, 5 << 4, _SYN, 1024, 0, 0) + token
        return _with_checksum(packet, ports + rest, at=16)
    if packet.protocol == UDP:
        return _with_checksum(packet, ports + struct.pack("!HH", 8 + len(token), 0) + token, at=6)
    if packet.protocol == SCTP:
        return _sctp_init(ports, token)
    if packet.is_icmp:
        # each its own identifier, so each its own flow
        identifier = int(token[-4:], 16)
        head = struct.pack("!BBHHH", packet.icmp_type, packet.icmp_code, 0, identifier, 1)
        return _with_checksum(packet, head + token.ljust(24, b"."), at=2)
    return token


def _with_checksum(packet: Packet, data: bytes, at: int) -> bytes:
    """The checksum of the Internet, which covers the addresses too, but for ICMP of IPv4."""
    pseudo = b""
    if not (packet.family == 4 and packet.is_icmp):
        pseudo = packet.source.packed + packet.destination.packed
        pseudo += struct.pack("!II", len(data), packet.protocol)
    words = pseudo + data + b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(words) // 2}H", words))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    checksum = ~total & 0xFFFF or 0xFFFF  # 0 would say that there is none
    return data[:at] + struct.pack("!H", checksum) + data[at + 2 :]


def _sctp_init(ports: bytes, token: bytes) -> bytes:
    parameter = struct.pack("!HH", 0x8005, 4 + len(token)) + token  # of a type to be skipped
    parameter += b"\0" * (-len(parameter) % 4)
    chunk = struct.pack("!BBHIIHHI", 1, 0, 20 + len(parameter), 1, 65536, 1, 1, 1) + parameter
    head = ports + struct.pack("!I", 0)  # INIT has no verification tag
    checksum = _crc32c(head + b"\0\0\0\0" + chunk)
    return head + struct.pack("<I", checksum) + chunk


def _crc32c(data: bytes) -> int:
    """Castagnoli's, as RFC 9260, appendix A."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
