"""The routing table that WireGuard's routes go to: the lowest number of those we may use.

Source: projectcalico/calico felix/config/config_params.go, felix/idalloc.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from felixpy.config.network_types import Range

DEFAULT: Final[tuple[Range, ...]] = ((1, 250),)
_KERNELS: Final = frozenset({253, 254, 255})  # default, main, local


def usable(ranges: tuple[Range, ...], older: Range | None) -> tuple[Range, ...]:
    """Of RouteTableRanges and RouteTableRange the one that holds."""
    return ranges or ((older,) if older else DEFAULT)


def lowest(ranges: Iterable[Range]) -> int | None:
    """None where there is none but the kernel's own."""
    firsts = (
        next((table for table in range(low, high + 1) if table not in _KERNELS), None)
        for low, high in ranges
    )
    return min((table for table in firsts if table is not None), default=None)
