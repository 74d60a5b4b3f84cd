"""Files that are seen whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write_aside(path: Path, scratch: Path, content: bytes) -> os.stat_result:
    """Replace `path` by way of `scratch`, which is on the same file system; mode 0644.

    Returns what a look at the new file shows.  Raises OSError.  Nothing is forced to the disk:
    what is written here lies in memory and is of no use after a restart of the machine.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(scratch, flags, 0o644), "wb") as file:
        os.fchmod(file.fileno(), 0o644)  # whatever the umask
        file.write(content)
        file.flush()
        seen = os.fstat(file.fileno())
    scratch.replace(path)
    return seen
