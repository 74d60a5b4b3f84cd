"""Times and sizes as `wg` prints them."""

from __future__ import annotations

import pytest

from felixpy.units import age, size

AGES = [
    (-1, "0 seconds"),
    (0.9, "0 seconds"),
    (1, "1 second"),
    (3725, "1 hour, 2 minutes, 5 seconds"),
    (2 * 86400 + 60, "2 days, 1 minute"),
]
SIZES = [
    (0, "0 B"),
    (1023, "1023 B"),
    (2048, "2.00 KiB"),
    (3 << 30, "3.00 GiB"),
    (5 << 40, "5.00 TiB"),
]


@pytest.mark.parametrize(("seconds", "text"), AGES)
def test_ages(seconds: float, text: str) -> None:
    assert age(seconds) == text


@pytest.mark.parametrize(("count", "text"), SIZES)
def test_sizes(count: float, text: str) -> None:
    assert size(count) == text
