"""A process that asks for it leaves nothing behind when it is killed."""

from __future__ import annotations

import subprocess
import sys

ASK = """
import ctypes, resource
from felixpy import core_dumps
core_dumps.forbid()
PR_GET_DUMPABLE = 3
dumpable = ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)
print(dumpable, resource.getrlimit(resource.RLIMIT_CORE))
"""


def test_neither_a_file_nor_a_pipe_gets_it():
    found = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True)
    assert found.stdout == "0 (0, 0)\n"
