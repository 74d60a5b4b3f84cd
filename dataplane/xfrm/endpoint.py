"""Where a socket's datagrams come in: what pyroute2 takes for a transport of asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable
from typing import Final

from dataplane.xfrm.privacy import conceal

_RECEIVE_BYTES: Final = 1 << 18  # a dump comes in pieces of 32 KiB at most


class Endpoint:
    """What pyroute2 takes for a transport of asyncio; it only reads."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        opened: socket.socket,
        received: Callable[[memoryview], None],
        failed: Callable[[int], None],
    ) -> None:
        opened.setblocking(False)
        self._loop, self._socket, self._descriptor = loop, opened, opened.fileno()
        self._received, self._failed = received, failed
        self._buffer = memoryview(bytearray(_RECEIVE_BYTES))
        loop.add_reader(self._descriptor, self._readable)

    def _readable(self) -> None:
        try:
            length = self._socket.recv_into(self._buffer)
        except BlockingIOError:
            return
        except OSError as error:
            self._drain()
            self._failed(error.errno or errno.EIO)
            return
        self._received(self._buffer[:length])

    def _drain(self) -> None:
        """After an overrun the kernel tells nothing more until all has been read (Linux 6.18)."""
        with contextlib.suppress(OSError):
            while length := self._socket.recv_into(self._buffer):
                conceal(self._buffer[:length])

    def abort(self) -> None:
        self.close()

    def close(self) -> None:
        if not self._loop.is_closed():
            self._loop.remove_reader(self._descriptor)
