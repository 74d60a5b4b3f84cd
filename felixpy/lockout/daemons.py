"""Who holds which sockets, by inode: the ssh daemons of this machine; init, which listens for a
daemon that is started by the first connection; and this process.

A process is known by its name.  One that ends while it is looked at holds nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

PROC: Final = Path("/proc")
NAMES: Final = frozenset({b"sshd", b"sshd-session", b"sshd-auth", b"dropbear"})
_INIT, _OWN = "1", "self"
_SOCKET: Final = "socket:["


class Held(NamedTuple):
    ssh: frozenset[int]
    init: frozenset[int]
    own: frozenset[int]


def read_held(proc: Path = PROC) -> Held:
    """Takes about 10 µs for each process of the machine."""
    found: set[int] = set()
    for pid in os.listdir(proc):  # noqa: PTH208  ten times as fast for thousands of processes
        if pid.isdecimal() and _name(proc, pid) in NAMES:
            found.update(_sockets(proc, pid))
    init, own = (frozenset(_sockets(proc, pid)) for pid in (_INIT, _OWN))
    return Held(frozenset(found), init, own)


def _name(proc: Path, pid: str) -> bytes:
    try:
        with open(f"{proc}/{pid}/comm", "rb", buffering=0) as file:  # noqa: PTH123  as above
            return file.read(32).rstrip(b"\n")
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
