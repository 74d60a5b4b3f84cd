"""Who holds which sockets, by inode: the ssh daemons of this machine; init, which listens for a
daemon that is started by the first connection; and this process.

A process is known by its name.  One that ends while it is looked at holds nothing.

Whoever can reach the port of an ssh daemon can open a connection to it, and must not keep policy
from being enforced by that.  Before somebody has logged in OpenSSH has a process of its own at the
connection, which says so in its title or, since OpenSSH 10, by its name.
Source: OpenSSH sshd.c, sshd-session.c, sshd-auth.c: setproctitle.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

PROC: Final = Path("/proc")
_ASKING: Final = b"sshd-auth"  # who wants to log in
_NAMES: Final = frozenset({b"sshd", b"sshd-session", _ASKING, b"dropbear"})
_ASKING_TITLES: Final = (b"[net]", b"[accepted]", b"[preauth]")
_INIT, _OWN = "1", "self"
_SOCKET: Final = "socket:["


class Held(NamedTuple):
    """`strangers` are those of `ssh` at whose other end nobody has logged in yet."""

    ssh: frozenset[int]
    init: frozenset[int]
    own: frozenset[int]
    strangers: frozenset[int]


def read_held(proc: Path = PROC) -> Held:
    """Takes about 10 µs for each process of the machine."""
    found: set[int] = set()
    strangers: set[int] = set()
    for pid in os.listdir(proc):  # noqa: PTH208  ten times as fast for thousands of processes
        if not pid.isdecimal() or (name := _read(proc, pid, "comm")) not in _NAMES:
            continue
        sockets = frozenset(_sockets(proc, pid))
        found |= sockets
        title = _read(proc, pid, "cmdline").rstrip(b"\0 ")
        if name == _ASKING or title.endswith(_ASKING_TITLES):
            strangers |= sockets
    init, own = (frozenset(_sockets(proc, pid)) for pid in (_INIT, _OWN))
    return Held(frozenset(found), init, own, frozenset(strangers))


def _read(proc: Path, pid: str, what: str) -> bytes:
    try:
        with open(f"{proc}/{pid}/{what}", "rb", buffering=0) as file:  # noqa: PTH123  as above
            return file.read(4096).rstrip(b"\n")
    except OSError:
        return b""


def _sockets(proc: Path, pid: str) -> Iterator[int]:
    directory = f"{proc}/{pid}/fd"
    try:
        descriptors = os.listdir(directory)  # noqa: PTH208
    except OSError:
        return
    for descriptor in descriptors:
        try:
            target = os.readlink(f"{directory}/{descriptor}")  # noqa: PTH115
        except OSError:
            continue
        if target.startswith(_SOCKET):
            yield int(target[len(_SOCKET) : -1])
