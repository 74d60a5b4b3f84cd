"""The life of this node's states, over restarts, reboots and whatever stands in the file."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataplane.ipsec.life import Life, tag_of
from felixpy.ipsec import life as module
from felixpy.ipsec.life import NAME, History, LifeFile, is_kept

CHECK = "0123456789abcdef"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def opened(
    path: Path, node: str = "n1", kernel: str = "k1", clock: Clock | None = None
) -> LifeFile:
    return LifeFile(path, node, clock or Clock(), kernel)


def begun(path: Path, **other: Any) -> Life:
    life = opened(path, **other).begin()
    assert life is not None
    return life


def test_it_goes_on_over_a_restart_and_ends_with_the_kernel(tmp_path: Path) -> None:
    first = begun(tmp_path)
    assert first.tag == tag_of("n1", first.boot)
    assert begun(tmp_path) == first
    second = begun(tmp_path, kernel="k2")
    assert second.boot != first.boot
    assert begun(tmp_path, kernel="k2") == second


def test_the_kernel_is_asked_which_boot_it_is(tmp_path: Path) -> None:
    first = LifeFile(tmp_path, "n1", Clock()).begin()
    assert first is not None
    assert LifeFile(tmp_path, "n1", Clock()).begin() == first


def test_another_node_has_another_life(tmp_path: Path) -> None:
    assert begun(tmp_path).boot != begun(tmp_path, node="n2").boot


def test_nothing_is_there_before_it_is_asked_for_and_after_it_is_forgotten(tmp_path: Path) -> None:
    file = opened(tmp_path)
    assert (file.life, file.history, is_kept(tmp_path)) == (None, History(), False)
    file.know({1: CHECK})
    assert not file.note_ring([1], 1, {})
    assert not is_kept(tmp_path)
    first = file.begin()
    assert is_kept(tmp_path)
    assert first == file.begin()
    file.forget()
    assert (file.life, is_kept(tmp_path)) == (None, False)
    assert file.begin() != first


def test_what_is_left_of_one_is_resumed_and_no_other_begins(tmp_path: Path) -> None:
    assert opened(tmp_path).resume() is None
    assert not is_kept(tmp_path)
    first = begun(tmp_path)
    assert opened(tmp_path).resume() == first
    file = opened(tmp_path)
    assert file.begin() == file.resume() == first
    assert opened(tmp_path, kernel="k2").resume() is None
    assert not is_kept(tmp_path)
    (tmp_path / NAME).write_text("junk")
    assert opened(tmp_path).resume() is None
    assert not is_kept(tmp_path)


def test_a_renewed_one_knows_the_same_keys(tmp_path: Path) -> None:
    file = opened(tmp_path)
    first = file.begin()
    file.know({3: CHECK})
    second = file.renew("somebody has flushed the states")
    assert first is not None
    assert second is not None
    assert (second.boot != first.boot, second.known) == (True, {3: CHECK})
    assert begun(tmp_path) == second


def test_check_values_are_kept_until_others_are(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.begin()
    file.know({3: CHECK, 2: CHECK})
    assert dict(begun(tmp_path).known) == {2: CHECK, 3: CHECK}
    file.know({3: CHECK})
    assert dict(begun(tmp_path).known) == {3: CHECK}


def test_no_write_where_nothing_is_new(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.begin()
    file.know({3: CHECK})
    file.note_ring([3], 3, {})
    before = (tmp_path / NAME).stat()
    file.know({3: CHECK})
    file.note_ring([3], 3, {"XfrmInError": 1})
    assert (tmp_path / NAME).stat() == before


def test_age_and_rotation(tmp_path: Path) -> None:
    clock = Clock()
    file = opened(tmp_path, clock=clock)
    file.begin()
    assert not file.note_ring([3], 3, {"XfrmInNoStates": 1})
    clock.now = 2000.0
    assert not file.note_ring([3, 4], 3, {})  # it is there, and not preferred yet
    assert file.note_ring([4, 3], 4, {"XfrmInNoStates": 7})
    clock.now = 3000.0
    assert not file.note_ring([4], 4, {"XfrmInNoStates": 9})
    expected = History({4: 2000.0}, 4, 2000.0, {"XfrmInNoStates": 7})
    assert file.history == expected
    again = opened(tmp_path)
    again.begin()
    assert again.history == expected
    rebooted = opened(tmp_path, kernel="k2")
    rebooted.begin()
    assert rebooted.history == History({4: 2000.0}, 4, 2000.0, {})


def test_an_empty_ring_is_no_rotation(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.begin()
    file.note_ring([3], 3, {})
    assert not file.note_ring([], 0, {})
    assert not file.note_ring([3], 3, {})


GOOD = {
    "node": "n1",
    "kernel": "k1",
    "life": {"boot": "00" * 16, "tag": tag_of("n1", "00" * 16), "known": {"3": CHECK}},
    "history": {"seen": {"3": 1.0}, "newest": 3, "rotated": 2.0, "errors": {"XfrmInError": 1}},
}
HOSTILE: list[dict[str, Any]] = [
    {"node": "n2"},
    {"node": 1},
    {"more": 1},
    {"life": {"boot": "00" * 16, "tag": 1}},
    {"life": {"boot": "00" * 15, "tag": tag_of("n1", "00" * 15)}},
    {"life": {"boot": "0O" * 16, "tag": tag_of("n1", "0O" * 16)}},
    {"life": GOOD["life"] | {"known": {"16": CHECK}}},  # type: ignore[operator]
    {"life": GOOD["life"] | {"known": {"0": CHECK}}},  # type: ignore[operator]
    {"life": GOOD["life"] | {"known": {"3": "key"}}},  # type: ignore[operator]
    {"history": {"seen": {"77": 1.0}}},
    {"history": {"seen": {"3": -1.0}}},
    {"history": {"rotated": 1e999}},
    {"history": {"newest": 16}},
]


def test_what_was_written_is_read(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(json.dumps(GOOD))
    assert begun(tmp_path).boot == "00" * 16


@pytest.mark.parametrize("other", HOSTILE)
def test_what_makes_no_sense_is_no_life_of_ours(tmp_path: Path, other: dict[str, Any]) -> None:
    (tmp_path / NAME).write_text(json.dumps(GOOD | other))
    assert begun(tmp_path).boot != "00" * 16


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.binary(max_size=200))
def test_nor_is_what_is_no_json(tmp_path: Path, octets: bytes) -> None:
    (tmp_path / NAME).write_bytes(octets)
    file = opened(tmp_path)
    assert file.begin() is not None
    assert file.problem == ""


def test_nor_are_large_files_links_and_pipes(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.json"
    elsewhere.write_text(json.dumps(GOOD))
    path = tmp_path / NAME
    path.symlink_to(elsewhere)
    assert begun(tmp_path).boot != "00" * 16
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    assert begun(tmp_path).boot != "00" * 16
    path.unlink()
    path.write_text(json.dumps(GOOD) + " " * 1_100_000)
    assert begun(tmp_path).boot != "00" * 16
    path.write_text("[" * 60_000)
    assert begun(tmp_path).boot != "00" * 16
    assert json.loads(elsewhere.read_text()) == GOOD


def test_what_cannot_be_kept_begins_anew_with_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = opened(tmp_path)
    first = file.begin()

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(module, "write_atomically", full)
    second = file.renew("it must be")
    assert second not in (None, first)
    assert "no space left" in file.problem
    assert not is_kept(tmp_path)  # what stood there must not be taken up again
    monkeypatch.undo()
    file.know({3: CHECK})
    assert file.problem == ""
    assert begun(tmp_path) == file.life


def test_where_the_earlier_one_cannot_be_taken_away_there_is_none(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.mkdir()
    file = opened(tmp_path)
    assert file.begin() is None
    assert str(path) in file.problem
    file.forget()
    assert is_kept(tmp_path)
