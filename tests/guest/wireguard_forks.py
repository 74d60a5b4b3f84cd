"""Processes in namespaces, forked off the test's own: the guest takes half a minute to import what
an agent is made of, and a fork has it at once.

The child is as `ip netns exec` would have made it: with the namespace's own /sys, and standard
streams of its own.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from signal import SIG_DFL, SIGINT, SIGKILL, SIGTERM, Signals
from signal import signal as handle
from typing import Any

from tests.kernel.conftest import Namespace, enter

_NEW_MOUNTS, _RECURSIVE_SLAVES = 0x20000, 0x4000 | 0x80000
_libc = ctypes.CDLL(None, use_errno=True)


class Fork:
    """`work` runs in the namespace; its result is the exit status.  `log` takes what it prints."""

    def __init__(self, node: Namespace, work: Callable[[], int | None], log: Path) -> None:
        read, self._write = os.pipe()
        self._read, write = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _be_a_process(node, work, (read, write, log))
        os.close(read)
        os.close(write)
        self._ended: int | None = None
        self._left = b""

    def ask(self, wish: dict[str, Any] | None = None, seconds: float = 60) -> dict[str, Any]:
        """Of a program that answers each line with one: its answer."""
        os.write(self._write, (json.dumps(wish or {}) + "\n").encode())
        answer: dict[str, Any] = json.loads(self.line())
        return answer

    def line(self) -> str:
        while b"\n" not in self._left:
            data = os.read(self._read, 1 << 16)
            assert data, "the program has ended"
            self._left += data
        line, _, self._left = self._left.partition(b"\n")
        return line.decode()

    def rest(self) -> str:
        """All that it prints, until it ends."""
        while data := os.read(self._read, 1 << 16):
            self._left += data
        return self._left.decode()

    @property
    def alive(self) -> bool:
        if self._ended is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._ended = os.waitstatus_to_exitcode(status)
        return self._ended is None

    def signal(self, number: Signals) -> None:
        os.kill(self.pid, number)

    def end(self, number: Signals, seconds: float = 60) -> int:
        """Its exit status, negative for a signal's number."""
        if self.alive:
            os.kill(self.pid, number)
        deadline = time.monotonic() + seconds
        while self.alive:
            if time.monotonic() > deadline:
                os.kill(self.pid, SIGKILL)
            time.sleep(0.02)
        for descriptor in (self._read, self._write):
            if descriptor >= 0:
                os.close(descriptor)
        self._read = self._write = -1
        assert self._ended is not None
        return self._ended


def _be_a_process(
    node: Namespace, work: Callable[[], int | None], streams: tuple[int, int, Path]
) -> None:
    status = 1
    try:
        read, write, log = streams
        errors = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for number, descriptor in enumerate((read, write, errors)):
            os.dup2(descriptor, number)
        os.closerange(3, 1024)  # pipes of others: they end when their own reader does
        logging.getLogger().handlers.clear()  # of the test's own
        sys.stdin = os.fdopen(0, "r")
        sys.stdout = os.fdopen(1, "w")
        sys.stderr = os.fdopen(2, "w")
        for number in (SIGINT, SIGTERM):
            handle(number, SIG_DFL)
        enter(node.path)
        _see_its_own_sys()
        status = work() or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _see_its_own_sys() -> None:
    for done in (
        _libc.unshare(_NEW_MOUNTS),
        _libc.mount(b"none", b"/", None, _RECURSIVE_SLAVES, None),
        _libc.umount2(b"/sys", 2),
        _libc.mount(b"sysfs", b"/sys", b"sysfs", 0, None),
    ):
        if done != 0:
            raise OSError(ctypes.get_errno(), "a mount")
