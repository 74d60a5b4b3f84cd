"""What the next start finds of the kernel's state, and how seldom it is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from felixpy.last_state import NAME, LastState, State, forget

CASES = [
    # case, noted, noted then, written again
    ("the same", State(10, 5), State(10, 5), False),
    ("about as many", State(10, 5), State(19, 3), False),
    ("twice as many", State(10, 5), State(21, 5), True),
    ("half as many", State(10, 5), State(10, 2), True),
    ("none", State(1, 5), State(0, 5), True),
    ("the first one", State(0, 5), State(1, 5), True),
    ("empty", State(10, 5), State(10, 5, 7.5), True),
    ("empty no more", State(10, 5, 7.5), State(10, 5), True),
]


@pytest.mark.parametrize(
    ("first", "then", "written"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_when_it_is_written(tmp_path: Path, first: State, then: State, written: bool) -> None:
    last = LastState(tmp_path, "boot")
    last.note(first)
    assert LastState(tmp_path, "boot").state == first
    last.note(then)
    assert LastState(tmp_path, "boot").state == last.state == (then if written else first)


def test_another_boot_has_lost_the_kernel_s_rules(tmp_path: Path) -> None:
    LastState(tmp_path, "one").note(State(10, 5))
    assert LastState(tmp_path, "other").state == State()


def test_this_boot_is_known(tmp_path: Path) -> None:
    LastState(tmp_path).note(State(10, 5))
    assert LastState(tmp_path).state.full


def test_nothing_is_known_of_a_clean_kernel(tmp_path: Path) -> None:
    LastState(tmp_path, "boot").note(State(10, 5))
    forget(tmp_path)
    forget(tmp_path)
    assert not LastState(tmp_path, "boot").state.full


@pytest.mark.parametrize("text", ["", "{}", '{"boot": "boot", "state": {"endpoints": "x"}}'])
def test_a_damaged_file_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / NAME).write_text(text)
    with capture_logs() as events:
        assert LastState(tmp_path, "boot").state == State()
    assert [event["event"] for event in events] == ["last_state.unreadable"]


def test_a_file_that_cannot_be_written_is_said_once(tmp_path: Path) -> None:
    last = LastState(tmp_path / "missing", "boot")
    with capture_logs() as events:
        last.note(State(10, 5))
        last.note(State(10, 5))
    assert [event["event"] for event in events] == ["last_state.not_written"]
    assert last.state == State()
