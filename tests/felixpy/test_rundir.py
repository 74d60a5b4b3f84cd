"""The lock that refuses a second agent, and what is left for others to read."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from felixpy.rundir import AlreadyRunningError, Lock, owner, run_directory, write_atomically

HOLD = """
import pathlib, sys
from felixpy.rundir import Lock
with Lock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_owner_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"held\n"
        assert owner(tmp_path) == first.pid
        with pytest.raises(AlreadyRunningError, match=f"process {first.pid} is already"):
            Lock(tmp_path).__enter__()
        first.kill()
        first.wait()
        assert owner(tmp_path) is None
        with Lock(tmp_path):  # whatever way the first has ended
            pass


def test_no_directory_is_no_owner(tmp_path: Path) -> None:
    assert owner(tmp_path / "none") is None


def test_everybody_may_look_whatever_the_umask(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "b"
    old = os.umask(0o077)
    try:
        with Lock(directory):
            write_atomically(directory / "x", "text\n")
    finally:
        os.umask(old)
    modes = [stat.S_IMODE((tmp_path / p).stat().st_mode) for p in ("a", "a/b", "a/b/agent.lock")]
    assert modes == [0o755, 0o755, 0o644]
    assert stat.S_IMODE((directory / "x").stat().st_mode) == 0o644


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_atomically(path, "one\n")
    with path.open() as reader:
        write_atomically(path, "other\n", 0o600)
        assert reader.read() == "one\n"
    assert path.read_text() == "other\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


def test_each_namespace_has_its_directory(tmp_path: Path) -> None:
    base = tmp_path / "run"
    named = tmp_path / "netns"
    named.mkdir()
    elsewhere = run_directory(base, named)
    assert elsewhere == base or elsewhere.parent == base
    (named / "mine").symlink_to("/proc/self/ns/net")
    assert run_directory(base, named) == base / "netns-mine"
