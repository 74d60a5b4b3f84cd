"""The demo's files are what the story says: good where it says so, and refused where not."""

from __future__ import annotations

from pathlib import Path

from felixpy.datastore.snapshot import read_directory
from felixpy.demo.story import ACTS


def test_every_act_but_the_mistake_is_understood(tmp_path: Path) -> None:
    errors = []
    for act in ACTS:
        for name, text in act.files.items():
            if text:
                (tmp_path / name).write_text(text)
            else:
                (tmp_path / name).unlink()
        errors.append([str(error) for error in read_directory(tmp_path).errors])
    assert [len(each) for each in errors] == [0, 0, 0, 1, 0]
    assert "did you mean 'ingress'?" in errors[3][0]
