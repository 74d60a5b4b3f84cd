"""The kernel's inotify, through ctypes.

    in   directories to watch
    out  events: which name in which directory was created, written, closed, moved, removed

watchfiles would do the same with a thread, and leaves out what a careful reader needs: that a
writer has closed its file, which two halves belong to one move, that the queue has overflowed, that
the directory itself has gone.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from contextlib import suppress
from enum import IntFlag
from typing import Final, NamedTuple

# linux/inotify.h: struct inotify_event { int wd; u32 mask, cookie, len; char name[len]; }
_HEADER: Final = struct.Struct("iIII")
_READ_SIZE: Final = 256 * 1024


class Event(IntFlag):
    MODIFY = 0x2
    ATTRIB = 0x4
    CLOSE_WRITE = 0x8
    MOVED_FROM = 0x40
    MOVED_TO = 0x80
    CREATE = 0x100
    DELETE = 0x200
    DELETE_SELF = 0x400
    MOVE_SELF = 0x800
    UNMOUNT = 0x2000
    OVERFLOW = 0x4000
    IGNORED = 0x8000
    ONLYDIR = 0x1000000
    MASK_ADD = 0x20000000
    ISDIR = 0x40000000


class RawEvent(NamedTuple):
    """`watch` is what `add` returned, -1 for an overflow; `cookie` joins the halves of a move."""

    watch: int
    mask: int
    cookie: int
    name: str


class Inotify:
    """One inotify instance, read within the event loop.

    Where the kernel grants no instance, `add` fails with the same error and `wait` only waits.
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._errno = ctypes.get_errno() if self._fd < 0 else 0
        self._readable = asyncio.Event()
        if self._fd >= 0:
            asyncio.get_running_loop().add_reader(self._fd, self._readable.set)

    def add(self, directory: str, mask: int) -> int:
        """The same number again for a directory that is watched already.  Raises OSError."""
        if self._fd < 0:
            raise OSError(self._errno, os.strerror(self._errno), directory)
        watch: int = self._libc.inotify_add_watch(self._fd, os.fsencode(directory), mask)
        if watch < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), directory)
        return watch

    def remove(self, watch: int) -> None:
        """No error where the kernel has ended the watch already."""
        self._libc.inotify_rm_watch(self._fd, watch)

    async def wait(self, seconds: float) -> bool:
        """Whether there is something to read, before `seconds` have passed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0)):
                await self._readable.wait()
        return self._readable.is_set()

    def read(self) -> list[RawEvent]:
        """What has happened since the last reading; possibly nothing."""
        self._readable.clear()
        events: list[RawEvent] = []
        with suppress(BlockingIOError):
            while self._fd >= 0:
                events += parse_events(os.read(self._fd, _READ_SIZE))
        return events

    def close(self) -> None:
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1


def parse_events(data: bytes) -> list[RawEvent]:
    events = []
    position = 0
    while position < len(data):
        watch, mask, cookie, length = _HEADER.unpack_from(data, position)
        position += _HEADER.size
        name = data[position : position + length].rstrip(b"\0")
        events.append(RawEvent(watch, mask, cookie, os.fsdecode(name)))
        position += length
    return events
