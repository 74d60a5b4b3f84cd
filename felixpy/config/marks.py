"""The bits of a packet's mark, dealt out of the mask that the host leaves to us.

The lowest bit first, in a fixed order, so that Felix and felixpy read each other's marks.
Source: projectcalico/calico felix/dataplane/driver.go.
"""

from __future__ import annotations

from typing import NamedTuple

from dataplane.settings import MarkBits


class Allocation(NamedTuple):
    """`wireguard` is 0 where WireGuard has no bit."""

    marks: MarkBits
    wireguard: int


def allocate(mask: int, *, wireguard: bool = False) -> Allocation:
    """Raises ValueError when the mask has too few bits: 6 are needed, with WireGuard 7."""
    bits = [1 << position for position in range(32) if mask >> position & 1]
    single = 6 if wireguard else 5
    if len(bits) <= single:
        raise ValueError(f"has {len(bits)} bits set, and at least {single + 1} are needed")
    accept, passed, drop, scratch0, scratch1 = bits[:5]
    marks = MarkBits(
        accept=accept,
        passed=passed,
        drop=drop,
        scratch0=scratch0,
        scratch1=scratch1,
        endpoint=sum(bits[single:]),
    )
    return Allocation(marks, bits[5] if wireguard else 0)
