"""No core dump of this process, whoever would take it: it has keys and passwords in its memory."""

from __future__ import annotations

import ctypes
import os
import resource
from typing import Final

_PR_SET_DUMPABLE: Final = 4  # linux/prctl.h


def forbid() -> None:
    """Of this process and of what it starts from now on.  Raises OSError.

    The limit is inherited, but the kernel does not look at it where a program takes core dumps
    through a pipe (core(5)); the other holds for that too, and ends with an exec.  It also keeps
    others than root from reading this process's memory.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
