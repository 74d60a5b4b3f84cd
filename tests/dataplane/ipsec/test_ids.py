"""IDs on a circle: of two that differ one is the newer, and 1 comes after 15."""

from __future__ import annotations

import pytest

from dataplane.ipsec.ids import (
    LAST_ID,
    MAX_ALIVE,
    goes_around,
    newer,
    newest,
    newest_first,
    next_id,
)

ALL = range(1, LAST_ID + 1)


def test_after_the_last_comes_the_first():
    assert [next_id(key) for key in (0, 1, 14, 15)] == [1, 2, 15, 1]


def test_of_two_that_differ_just_one_is_newer():
    for one in ALL:
        for other in ALL:
            assert newer(one, other) + newer(other, one) == (one != other)


@pytest.mark.parametrize(
    ("one", "other", "is_newer"),
    [(4, 3, True), (1, 15, True), (2, 14, True), (8, 1, True), (9, 1, False)],
)
def test_less_than_half_a_circle_ahead(one, other, is_newer):
    assert newer(one, other) is is_newer


def test_a_run_of_rotations_is_in_order_wherever_it_begins():
    for first in ALL:
        run = [first]
        while len(run) < MAX_ALIVE:
            run.append(next_id(run[-1]))
        assert newest(run) == newest(run[::-1]) == run[-1]
        assert newest_first(sorted(run)) == run[::-1]
        assert not goes_around(run)


def test_where_they_go_around_the_last_one_counts():
    assert goes_around([1, 6, 11])
    assert newest([1, 6, 11]) == 11
    assert newest([11, 6, 1]) == 1
    assert not goes_around([])


def test_none_is_newest_of_none():
    with pytest.raises(ValueError, match="no key IDs"):
        newest([])
