"""Files that only root may read, and that nobody else can have put there.

    in   a path
    out  its bytes, and why others could read or replace them, if they can
         UnreadableError where the bytes cannot be had at the moment

The file that was opened is the one that is checked.  Symbolic links are followed, as a mounted
Secret of Kubernetes consists of them: every directory on the way, from / to the end of the last
link, must be such that only root can put another file into the place of this one.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final, NamedTuple

from felixpy.datastore.manifest_files import UnreadableError, hops_to

MAX_BYTES: Final = 4 * 1024 * 1024  # a Secret of Kubernetes has 1 MiB at most, and base64 swells

_READABLE: Final = stat.S_IRWXG | stat.S_IRWXO
_WRITABLE: Final = stat.S_IWGRP | stat.S_IWOTH


class SafeFile(NamedTuple):
    """`exposed` says who else has access, "" where nobody has; `same_file` is device and inode."""

    data: bytes
    exposed: str
    same_file: tuple[int, int]


def read_safe(path: str) -> SafeFile:
    """Raises FileNotFoundError where nothing has that name, UnreadableError for whatever else is in
    the way.
    """
    try:
        file = open(path, "rb", opener=_open)  # noqa: SIM115  closed below
    except FileNotFoundError:
        if Path(path).is_symlink():
            raise UnreadableError("cannot be read: the symbolic link leads to nothing") from None
        raise
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror}") from None
    with file:
        info = os.fstat(file.fileno())
        if not stat.S_ISREG(info.st_mode):
            raise UnreadableError("cannot be read: it is not a regular file")
        if info.st_size > MAX_BYTES:
            raise UnreadableError(f"has more than {MAX_BYTES} bytes")
        try:
            data = file.read(MAX_BYTES + 1)
            after = os.fstat(file.fileno())
        except OSError as error:
            raise UnreadableError(f"cannot be read: {error.strerror}") from None
    if (len(data), info.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise UnreadableError("cannot be read: it is being written")
    exposed = _exposed_file(after) or exposed_way(Path(path))
    return SafeFile(data, exposed, (after.st_dev, after.st_ino))


def _open(path: str, flags: int) -> int:
    # the opening of a named pipe would otherwise wait for its writer
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def _exposed_file(info: os.stat_result) -> str:
    if not _is_trusted(info):
        return "belongs to another user than root"
    mode = stat.S_IMODE(info.st_mode)
    # an access-control list that grants something shows in the group's bits
    return (
        f"others than root have access to it: mode {mode:04o}, not 0600" if mode & _READABLE else ""
    )


def exposed_way(path: Path) -> str:
    """Why another file could stand under that name one day; "" where only root could do that.

    Raises UnreadableError.
    """
    checked = set()
    for hop in sorted(hops_to(path)):
        try:
            if hop.directory not in checked:
                checked.add(hop.directory)
                if exposed := _exposed_directory(hop.directory):
                    return exposed
            info = Path(hop.directory, hop.name).lstat()
        except OSError as error:
            raise UnreadableError(f"cannot be read: {hop.directory}: {error.strerror}") from None
        if stat.S_ISLNK(info.st_mode) and not _is_trusted(info):
            return f"is reached by a symbolic link of another user than root, {'/'.join(hop)}"
    return ""


def _exposed_directory(directory: str) -> str:
    info = Path(directory).stat()
    if not _is_trusted(info):
        return f"lies below {directory}, which belongs to another user than root"
    # in a sticky directory, such as /tmp, nobody can move what is another's
    if info.st_mode & _WRITABLE and not info.st_mode & stat.S_ISVTX:
        return f"lies below {directory}, into which others than root can write"
    return ""


def _is_trusted(info: os.stat_result) -> bool:
    """Root's, or of whoever runs this: a user that may read it all the same."""
    return info.st_uid in (0, os.geteuid())
