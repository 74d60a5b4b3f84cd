"""Which routing table is WireGuard's."""

from __future__ import annotations

import pytest

from felixpy.config.network_types import Range
from felixpy.config.tables import lowest, usable

TABLES: list[tuple[tuple[Range, ...], Range | None, int | None]] = [
    ((), None, 1),
    ((), (10, 250), 10),
    (((30, 40), (20, 25)), (10, 250), 20),
    (((253, 300),), None, 256),
    (((253, 255), (1000, 1000)), None, 1000),
    (((250, 255),), None, 250),
    (((254, 255), (253, 253)), None, None),
    (((4_000_000_000, 4_000_060_000),), None, 4_000_000_000),
]


@pytest.mark.parametrize(("ranges", "older", "expected"), TABLES)
def test_the_lowest_that_is_not_the_kernels(
    ranges: tuple[Range, ...], older: Range | None, expected: int | None
) -> None:
    assert lowest(usable(ranges, older)) == expected
