"""Flows as the kernel lists them, out of texts."""

from __future__ import annotations

import ipaddress
import struct

from dataplane import ctnetlink
from dataplane.netlink import attribute, nested


def listed(
    source: str,
    destination: str,
    *,
    protocol: int = 6,
    ports: tuple[int, int] = (40000, 80),
    reply_source: str = "",
    reply_port: int = 0,
    reply_destination: str = "",
    icmp: tuple[int, int] | None = None,
    zone: int = 0,
    expected: bool = False,
) -> bytes:
    """What is not said of the replies is as if nothing were translated."""
    width = 4 if "." in source else 16
    there = _direction(1, source, destination, protocol, ports, icmp)
    back_ports = (reply_port or ports[1], ports[0])
    back = _direction(
        2, reply_source or destination, reply_destination or source, protocol, back_ports, icmp
    )
    return b"".join(
        (
            ctnetlink.head(4 if width == 4 else 6),
            there,
            back,
            attribute(3, struct.pack("!I", 0xE | expected)),
            attribute(7, struct.pack("!I", 300)),
            attribute(12, struct.pack("!I", abs(hash((source, destination, ports))) % 2**32)),
            attribute(18, struct.pack("!H", zone)) if zone else b"",
        )
    )


def parsed(*args: object, **named: object) -> ctnetlink.TrackedFlow:
    body = listed(*args, **named)  # type: ignore[arg-type]
    ends = ctnetlink.ends(body)
    assert ends is not None
    return ctnetlink.parse_flow(body, ends)


def _direction(
    kind: int,
    source: str,
    destination: str,
    protocol: int,
    ports: tuple[int, int],
    icmp: tuple[int, int] | None,
) -> bytes:
    addresses = [ipaddress.ip_address(text).packed for text in (source, destination)]
    first = 1 if len(addresses[0]) == 4 else 3
    parts = [attribute(1, bytes((protocol,)))]
    if icmp is not None:
        number = 5 if len(addresses[0]) == 4 else 8
        parts += [attribute(number + i, bytes((value,))) for i, value in enumerate(icmp)]
    else:
        parts += [attribute(2 + i, struct.pack("!H", port)) for i, port in enumerate(ports)]
    pairs = [attribute(first + i, address) for i, address in enumerate(addresses)]
    return nested(kind, nested(1, *pairs), nested(2, *parts))
