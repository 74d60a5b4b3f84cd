"""Who holds which sockets, told by a directory like /proc."""

from __future__ import annotations

from pathlib import Path

import pytest

from felixpy.lockout.daemons import Held, read_held


class Proc:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.add("1", "systemd")
        self.add("self", "felixpy")

    def add(self, pid: str, name: str, *sockets: int, title: str = "") -> None:
        descriptors = self.directory / pid / "fd"
        descriptors.mkdir(parents=True, exist_ok=True)
        (self.directory / pid / "comm").write_text(f"{name}\n")
        (self.directory / pid / "cmdline").write_bytes(title.encode() + b"\0\0")
        (descriptors / "0").symlink_to("/dev/null")
        for number, inode in enumerate(sockets, start=1):
            (descriptors / str(number)).symlink_to(f"socket:[{inode}]")

    def read(self) -> Held:
        return read_held(self.directory)


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path)


PROCESSES = [
    # name, title, a daemon's, nobody has logged in
    ("sshd", "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups", True, False),
    ("sshd", "sshd: admin@pts/0", True, False),
    ("sshd", "sshd: admin [priv]", True, False),
    ("sshd", "sshd: root@notty", True, False),
    ("sshd", "sshd: unknown [net]", True, True),
    ("sshd", "sshd: [accepted]", True, True),
    ("sshd-session", "sshd-session: admin [net]", True, True),
    ("sshd-session", "sshd-session: admin@pts/0", True, False),
    ("sshd-auth", "sshd-auth: unknown", True, True),
    ("dropbear", "/usr/sbin/dropbear", True, False),
    ("bash", "sshd: unknown [net]", False, False),
]


@pytest.mark.parametrize(("name", "title", "daemon", "stranger"), PROCESSES)
def test_processes(proc: Proc, name: str, title: str, daemon: bool, stranger: bool) -> None:
    proc.add("77", name, 1001, title=title)
    held = proc.read()
    assert held.ssh == (frozenset({1001}) if daemon else frozenset())
    assert held.strangers == (frozenset({1001}) if stranger else frozenset())


def test_the_others(proc: Proc) -> None:
    for file in ("1", "self"):
        (proc.directory / file / "fd" / "9").symlink_to(f"socket:[{len(file)}]")
    held = proc.read()
    assert (set(held.init), set(held.own), set(held.ssh)) == ({1}, {4}, set())


def test_one_that_has_ended(proc: Proc) -> None:
    (proc.directory / "88").mkdir()
    (proc.directory / "89").mkdir()
    (proc.directory / "89" / "comm").write_text("sshd\n")
    assert proc.read() == Held(frozenset(), frozenset(), frozenset(), frozenset())
