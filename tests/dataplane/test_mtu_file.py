"""The file for the CNI plugin."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataplane.mtu_file import MtuFile, MtuFileError


async def test_it_is_written_with_its_directory_and_only_when_it_differs(tmp_path: Path) -> None:
    path = tmp_path / "lib" / "mtu"
    file = MtuFile(str(path), required=True)
    file.desire(1450)
    await file.apply()
    assert path.read_text() == "1450"
    assert path.stat().st_mode & 0o777 == 0o644
    before = path.stat().st_ino
    await file.apply()
    again = MtuFile(str(path), required=True)
    again.desire(1450)
    await again.apply()
    assert path.stat().st_ino == before
    file.desire(1400)
    await file.apply()
    assert path.read_text() == "1400"
    assert [each.name for each in path.parent.iterdir()] == ["mtu"]


async def test_where_it_is_required_it_is_tried_until_it_is_there(tmp_path: Path) -> None:
    (tmp_path / "lib").write_text("not a directory")
    file = MtuFile(str(tmp_path / "lib" / "mtu"), required=True)
    file.desire(1450)
    for _ in range(2):
        with pytest.raises(MtuFileError, match=r"lib/mtu: "):
            await file.apply()
    (tmp_path / "lib").unlink()
    await file.apply()
    assert (tmp_path / "lib" / "mtu").read_text() == "1450"


async def test_where_it_is_not_required_one_attempt_is_enough(tmp_path: Path) -> None:
    (tmp_path / "lib").write_text("not a directory")
    file = MtuFile(str(tmp_path / "lib" / "mtu"), required=False)
    file.desire(1450)
    await file.apply()
    (tmp_path / "lib").unlink()
    await file.apply()
    assert not (tmp_path / "lib").exists()
    file.desire(1400)
    await file.apply()
    assert (tmp_path / "lib" / "mtu").read_text() == "1400"


async def test_none_is_wanted() -> None:
    file = MtuFile("", required=True)
    file.desire(1450)
    await file.apply()
