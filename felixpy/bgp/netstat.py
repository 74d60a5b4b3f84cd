"""What the kernel counts of TCP-MD5: the only sign of passwords that do not agree.

BIRD logs nothing of it, and the kernel counts for the whole network namespace and not for each
peer.  Source: section 4.4 of the BGP reference.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from msgspec import Struct

_NETSTAT: Final = Path("/proc/self/net/netstat")
_TABLE: Final = "TcpExt:"


class SignatureFaults(Struct, frozen=True):
    """Segments that came in: unsigned for a socket with a password, signed for one without, and
    signed with another password.
    """

    missing: int = 0
    unexpected: int = 0
    wrong: int = 0

    def since(self, before: SignatureFaults) -> SignatureFaults:
        return SignatureFaults(
            self.missing - before.missing,
            self.unexpected - before.unexpected,
            self.wrong - before.wrong,
        )


def parse_netstat(text: str) -> SignatureFaults:
    """`/proc/net/netstat` has lines in pairs: names, then values.  What is not there is 0."""
    rows = [line.split()[1:] for line in text.splitlines() if line.startswith(_TABLE)]
    counts: dict[str, int] = {}
    if len(rows) == 2:
        counts = {name: int(value) for name, value in zip(*rows, strict=False)}
    return SignatureFaults(
        counts.get("TCPMD5NotFound", 0),
        counts.get("TCPMD5Unexpected", 0),
        counts.get("TCPMD5Failure", 0),
    )


def read_signature_faults() -> SignatureFaults:
    """Of the network namespace that this process is in."""
    return parse_netstat(_NETSTAT.read_text())
