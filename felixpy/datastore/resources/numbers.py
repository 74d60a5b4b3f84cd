"""Numbers that may be written as text: protocols, ports, AS numbers, DSCP values, durations."""

from __future__ import annotations

import re
from typing import TypeAlias

from calc_graph.model import PortRange, Protocol

NumberOrText: TypeAlias = int | str

PROTOCOL_NAMES = ("TCP", "UDP", "ICMP", "ICMPv6", "SCTP", "UDPLite")
_LOWER_PROTOCOL_NAMES = frozenset(name.lower() for name in PROTOCOL_NAMES)
_PORT_PROTOCOLS = frozenset({"tcp", "udp", "sctp", 6, 17, 132})
_PORT_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,128}")
_RANGE = re.compile(r"([0-9]+):([0-9]+)")
_AS_DOTTED = re.compile(r"([0-9]{1,5})\.([0-9]{1,5})")
_DURATION = re.compile(r"[-+]?(?:0|(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+)")
_DURATION_PART = re.compile(r"([0-9.]+)(ns|us|µs|μs|ms|s|m|h)")
_NANOSECONDS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9}
_NANOSECONDS |= {"m": 60 * 10**9, "h": 3600 * 10**9}
_MAX_DIGITS = 10  # more than any number here has; int() of a very long text is slow


def _number(text: str) -> int | None:
    digits = text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
    return int(text) if digits else None


def parse_protocol(value: NumberOrText) -> Protocol | None:
    """A number 1 to 255, also as text, or a name in any case, which comes out lower-case."""
    number = value if isinstance(value, int) else _number(value)
    if number is not None:
        return number if 1 <= number <= 255 else None
    name = str(value).lower()
    return name if name in _LOWER_PROTOCOL_NAMES else None


def is_protocol(value: NumberOrText) -> bool:
    """As for `parse_protocol`, but names only in the spelling of `PROTOCOL_NAMES`."""
    parsed = parse_protocol(value)
    return parsed is not None and (isinstance(parsed, int) or value in PROTOCOL_NAMES)


def supports_ports(protocol: Protocol | None) -> bool:
    return protocol in _PORT_PROTOCOLS


def parse_port(value: NumberOrText) -> PortRange | str | None:
    """A port, a range ("1000:2000"), or a port's name; None where it is none of them."""
    if isinstance(value, int):
        return _port_range(value, value)
    if value.isascii() and value.isdigit():
        number = _number(value)
        return None if number is None else _port_range(number, number)
    match = _RANGE.fullmatch(value)
    if match:
        first, last = _number(match[1]), _number(match[2])
        return None if first is None or last is None else _port_range(first, last)
    return value if _PORT_NAME.fullmatch(value) else None


def _port_range(first: int, last: int) -> PortRange | None:
    return PortRange(first, last) if 1 <= first <= last <= 65535 else None


def is_numeric_port_or_range(value: NumberOrText) -> bool:
    return isinstance(parse_port(value), PortRange)


def is_as_number(value: NumberOrText) -> bool:
    return parse_as_number(value) is not None


def parse_as_number(value: NumberOrText) -> int | None:
    """A 32-bit number, or two 16-bit halves with a dot between them."""
    number = value if isinstance(value, int) else _number(value)
    if number is not None:
        return number if 0 <= number < 2**32 else None
    match = _AS_DOTTED.fullmatch(str(value))
    if not match or int(match[1]) > 0xFFFF or int(match[2]) > 0xFFFF:
        return None
    return (int(match[1]) << 16) + int(match[2])


def _dscp_names() -> dict[str, int]:
    names = {"DF": 0, "EF": 46}
    names |= {f"AF{x}{y}": 8 * x + 2 * y for x in range(1, 5) for y in range(1, 4)}
    return names | {f"CS{x}": 8 * x for x in range(7)}


_DSCP = _dscp_names()


def is_dscp(value: NumberOrText) -> bool:
    number = value if isinstance(value, int) else _number(value)
    return value in _DSCP if number is None else 0 <= number <= 63


def parse_duration(text: str) -> int | None:
    """Go's notation, such as "1m30s" or "1.5s", in nanoseconds; None where it is something else."""
    if not _DURATION.fullmatch(text):
        return None
    total = 0
    for amount, unit in _DURATION_PART.findall(text):
        whole, _, fraction = amount.partition(".")
        if len(whole) > 18 or len(fraction) > 18:
            return None
        total += int(whole or "0") * _NANOSECONDS[unit]
        total += int(fraction or "0") * _NANOSECONDS[unit] // 10 ** len(fraction)
    return -total if text.startswith("-") else total


def is_duration(text: str) -> bool:
    nanoseconds = parse_duration(text)
    return nanoseconds is not None and nanoseconds >= 0
