"""Protocols by name and number, as far as rules know them by name.

Source: section 2.2 of the data model reference; the numbers are IANA's.
"""

from __future__ import annotations

from typing import Final

from calc_graph.model import Protocol

NUMBERS: Final = {
    "icmp": 1,
    "tcp": 6,
    "udp": 17,
    "icmpv6": 58,
    "ipv6-icmp": 58,
    "sctp": 132,
    "udplite": 136,
}
WITH_PORTS: Final = frozenset(NUMBERS[name] for name in ("tcp", "udp", "sctp"))  # in a rule
ICMP_OF: Final = {4: NUMBERS["icmp"], 6: NUMBERS["icmpv6"]}  # by address family


def protocol_number(protocol: Protocol | None) -> int | None:
    """0 for a name that nobody knows; None stays."""
    return NUMBERS.get(protocol, 0) if isinstance(protocol, str) else protocol
