"""Bits dealt out of a mask."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.settings import MarkBits
from felixpy.config.marks import allocate

CASES = [
    # mask, WireGuard, marks, WireGuard's bit
    (0xFFFF0000, False, MarkBits(), 0),
    (
        0xFFFF0000,
        True,
        MarkBits(0x10000, 0x20000, 0x40000, 0x80000, 0x100000, 0xFFC00000),
        0x200000,
    ),
    (0x00FF0000, False, MarkBits(0x10000, 0x20000, 0x40000, 0x80000, 0x100000, 0xE00000), 0),
    (0b1010_1010_1010, False, MarkBits(2, 8, 32, 128, 512, 2048), 0),
]


@pytest.mark.parametrize(("mask", "wireguard", "marks", "bit"), CASES)
def test_allocation(mask: int, wireguard: bool, marks: MarkBits, bit: int) -> None:
    assert allocate(mask, wireguard=wireguard) == (marks, bit)


def test_bits_wiped_at_a_hook_are_those_that_felix_wipes() -> None:
    assert allocate(0x00FF0000).marks.wiped == 0x1B0000


@pytest.mark.parametrize(("mask", "wireguard"), [(0x1F, False), (0x3F, True), (0, False)])
def test_too_few_bits(mask: int, wireguard: bool) -> None:
    with pytest.raises(ValueError, match="are needed"):
        allocate(mask, wireguard=wireguard)


@given(st.integers(0, 0xFFFFFFFF), st.booleans())
def test_no_bit_twice_and_none_outside_the_mask(mask: int, wireguard: bool) -> None:
    if mask.bit_count() < 6 + wireguard:
        return
    marks, bit = allocate(mask, wireguard=wireguard)
    parts = (
        *(marks.accept, marks.passed, marks.drop, marks.scratch0, marks.scratch1),
        *(marks.endpoint, bit),
    )
    assert sum(parts) == mask
    assert sum(part.bit_count() for part in parts) == mask.bit_count()
