"""Who else could have read a file, or have put it there."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from felixpy.bgp import secret_files
from felixpy.bgp.secret_files import read_safe
from felixpy.datastore.manifest_files import UnreadableError


@pytest.fixture
def file(tmp_path):
    directory = tmp_path / "secrets"
    directory.mkdir(mode=0o700)
    path = directory / "s.yaml"
    path.write_bytes(b"x")
    path.chmod(0o600)
    return path


MODES = [
    (0o600, True), (0o400, True), (0o700, True), (0o640, False), (0o604, False), (0o644, False),
    (0o620, False), (0o602, False), (0o610, False), (0o666, False),
]  # fmt: skip


@pytest.mark.parametrize(("mode", "well"), MODES)
def test_nobody_else_has_any_access(file, mode, well):
    file.chmod(mode)
    found = read_safe(str(file))
    assert found.data == b"x"
    assert found.exposed == (
        "" if well else f"others than root have access to it: mode {mode:04o}, not 0600"
    )


DIRECTORY_MODES = [
    # a directory may be read by all, for names are no secret
    (0o700, True), (0o755, True), (0o775, False), (0o757, False), (0o777, False), (0o1777, True),
]  # fmt: skip


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize(("mode", "well"), DIRECTORY_MODES)
def test_nobody_else_can_put_a_file_in_its_place(file, mode, well, level):
    directory = file.parents[level]
    directory.chmod(mode)
    exposed = f"lies below {directory}, into which others than root can write"
    assert read_safe(str(file)).exposed == ("" if well else exposed)
    directory.chmod(0o700)


def test_the_ways_of_symbolic_links_count_too(file, tmp_path):
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    (open_to_all / "link").symlink_to(file.parent)
    link = tmp_path / "l.yaml"
    link.symlink_to(open_to_all / "link" / "s.yaml")
    assert str(open_to_all) in read_safe(str(link)).exposed
    open_to_all.chmod(0o755)
    assert read_safe(str(link)).exposed == ""


def other(info: os.stat_result) -> SimpleNamespace:
    """The same with another owner; only root could make a real one."""
    fields = {name: getattr(info, name) for name in dir(info) if name.startswith("st_")}
    return SimpleNamespace(**fields | {"st_uid": 12345})


def test_a_file_of_somebody_else(file, monkeypatch):
    fstat = os.fstat
    monkeypatch.setattr(secret_files.os, "fstat", lambda fd: other(fstat(fd)))
    assert read_safe(str(file)).exposed == "belongs to another user than root"


def test_a_directory_of_somebody_else(file, monkeypatch):
    stat = type(file).stat

    def pretend(path, *, follow_symlinks=True):
        info = stat(path, follow_symlinks=follow_symlinks)
        return other(info) if path == file.parent else info

    monkeypatch.setattr(secret_files.Path, "stat", pretend)
    exposed = f"lies below {file.parent}, which belongs to another user than root"
    assert read_safe(str(file)).exposed == exposed


def test_a_link_of_somebody_else(file, tmp_path, monkeypatch):
    link = tmp_path / "l.yaml"
    link.symlink_to(file)
    lstat = type(file).lstat
    monkeypatch.setattr(
        secret_files.Path, "lstat", lambda path: other(lstat(path)) if path == link else lstat(path)
    )
    expected = f"is reached by a symbolic link of another user than root, {link}"
    assert read_safe(str(link)).exposed == expected


def test_what_is_no_file_is_unreadable_and_holds_nothing_up(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "dir.yaml").mkdir()
    (tmp_path / "dangling.yaml").symlink_to("nowhere")
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    with (tmp_path / "large.yaml").open("wb") as large:
        large.truncate(secret_files.MAX_BYTES + 1)
    for name in ("pipe", "dir", "dangling", "loop", "large"):
        with pytest.raises(UnreadableError):
            read_safe(str(tmp_path / f"{name}.yaml"))
    with pytest.raises(FileNotFoundError):
        read_safe(str(tmp_path / "none.yaml"))
