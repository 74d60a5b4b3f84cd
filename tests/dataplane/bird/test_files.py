import grp
import os
import stat
from pathlib import Path

import pytest

from dataplane.bird.files import MODE, ConfigFiles
from dataplane.bird.settings import BirdSettings

GROUP = grp.getgrgid(os.getgid()).gr_name


@pytest.fixture
def files(tmp_path: Path) -> ConfigFiles:
    return ConfigFiles(BirdSettings(config_file=tmp_path / "f.conf", group=GROUP))


def put(files: ConfigFiles, text: str) -> None:
    files.stage(text)
    files.promote()


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_a_confirmed_trial_leaves_one_file(files: ConfigFiles, tmp_path: Path) -> None:
    put(files, "one")
    files.stage("two")
    files.begin_trial(["b", "a"])
    files.promote()
    assert names(tmp_path) == {"f.conf", "f.conf.previous", "f.conf.trial"}
    assert (files.read(), files.confirmed(), files.awaited()) == ("two", "one", frozenset("ab"))
    files.confirm()
    assert names(tmp_path) == {"f.conf"}
    assert (files.read(), files.confirmed(), files.awaited()) == ("two", "two", frozenset())


def test_within_a_trial_the_last_confirmed_stays(files: ConfigFiles) -> None:
    put(files, "one")
    for text in ("two", "three"):
        files.stage(text)
        files.begin_trial(["a"])
        files.promote()
    assert files.confirmed() == "one"
    assert files.go_back("why")
    assert (files.read(), files.on_trial) == ("one", False)


def test_without_a_version_to_go_back_to(files: ConfigFiles, tmp_path: Path) -> None:
    files.stage("one")
    files.begin_trial([])
    files.promote()
    assert not files.go_back("why\n")
    assert names(tmp_path) == {"f.conf.refused", "f.conf.refused.why"}
    assert (tmp_path / "f.conf.refused.why").read_text() == "why\n"


@pytest.mark.parametrize("umask", [0, 0o777])
def test_mode_and_group_of_every_file(files: ConfigFiles, tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        put(files, "one")
        files.stage("two")
        files.refuse_staged("why")
        files.stage("three")
        files.begin_trial(["a"])
        files.stage("four")
    finally:
        os.umask(before)
    assert len(names(tmp_path)) == 6
    for path in tmp_path.iterdir():
        found = path.stat()
        assert (stat.S_IMODE(found.st_mode), found.st_gid) == (MODE, os.getgid())


def test_a_group_that_does_not_exist(tmp_path: Path) -> None:
    files = ConfigFiles(BirdSettings(config_file=tmp_path / "f.conf", group="no such group"))
    if os.getuid() != 0:
        files._group = os.getgid()
    put(files, "one")
    assert stat.S_IMODE(files.current.stat().st_mode) == MODE


def test_what_somebody_did_to_the_mode_is_undone(files: ConfigFiles) -> None:
    put(files, "one")
    written = files.current.stat().st_mtime_ns
    files.current.chmod(0o666)
    files.secure()
    assert stat.S_IMODE(files.current.stat().st_mode) == MODE
    assert files.current.stat().st_mtime_ns == written


def test_no_link_is_followed(files: ConfigFiles, tmp_path: Path) -> None:
    """The directory may belong to BIRD's user."""
    other = tmp_path / "other"
    other.write_text("other")
    files.fresh.symlink_to(other)
    files.current.symlink_to(other)
    with pytest.raises(OSError, match="symbolic link"):
        files.read()
    put(files, "one")
    assert (files.read(), other.read_text()) == ("one", "other")
    assert not files.current.is_symlink()


def test_a_write_that_fails_leaves_nothing(files: ConfigFiles, tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        files.stage("\udc80")
    assert names(tmp_path) == set()


def test_a_confirmed_file_is_older_than_what_reads_it(files: ConfigFiles) -> None:
    put(files, "one")
    now = files.current.stat().st_mtime
    assert files.age(now) == 0
    files.confirm()
    assert files.age(now) == pytest.approx(2.0)


def test_a_directory_that_is_missing_is_made_for_few(tmp_path: Path) -> None:
    files = ConfigFiles(BirdSettings(config_file=tmp_path / "d" / "f.conf", group=GROUP))
    put(files, "one")
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) & 0o007 == 0


def test_whose_files_they_are(files: ConfigFiles) -> None:
    assert not files.written_by_us("# Ours")
    put(files, "# somebody's")
    assert not files.written_by_us("# Ours")
    put(files, "# Ours, on a line\n")
    assert files.written_by_us("# Ours")
