"""The status file and the problems in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from felixpy import status
from felixpy.status import DataplaneStatus, DatastoreStatus, Problem, Problems, Status, StatusError

WELL = Status(
    node="n1",
    pid=7,
    version="1",
    started="2026-01-01T00:00:00Z",
    datastore=DatastoreStatus("file", "/m", "in sync"),
    dataplane=DataplaneStatus(state="in sync"),
)
CASES = [
    (WELL, "running"),
    (structs.replace(WELL, problems=(Problem("datastore", "a", "b", "c"),)), "degraded"),
    (structs.replace(WELL, datastore=DatastoreStatus("file", "/m", "not ready")), "starting"),
    (structs.replace(WELL, dataplane=DataplaneStatus(state="failing")), "degraded"),
]


@pytest.mark.parametrize(("known", "state"), CASES)
def test_what_is_written_is_read(tmp_path: Path, known: Status, state: str) -> None:
    status.write(tmp_path, known)
    assert status.read(tmp_path) == known
    assert known.state == state


def test_none_and_nonsense(tmp_path: Path) -> None:
    assert status.read(tmp_path) is None
    (tmp_path / status.NAME).write_text("{")
    with pytest.raises(StatusError, match=status.NAME):
        status.read(tmp_path)


def test_a_problem_is_as_old_as_it_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter("123")
    monkeypatch.setattr(status, "now", lambda: next(moments))
    problems = Problems()
    problems.replace("datastore", {"a": "bad"})
    problems.replace("datastore", {"a": "worse", "b": "bad"})
    problems.replace("dataplane", {"a": "stuck"})
    assert problems.all() == (
        Problem("dataplane", "a", "stuck", "3"),
        Problem("datastore", "a", "worse", "1"),
        Problem("datastore", "b", "bad", "2"),
    )
    problems.replace("datastore", {})
    problems.replace("dataplane", {})
    assert problems.all() == ()
