"""The kernel's netlink: requests, dumps and notifications, as bytes.

    in   Request         type, flags and body of one message; `attribute`, `nested` build bodies
    out  error numbers   one per request; 0 is done
         Message         type and body of an answer or a notification; `attributes` takes it apart

The only module that opens a netlink socket.  The drivers bring codecs of a few lines each: building
one route takes pyroute2 0.9.7 0.5 ms, these 0.004 ms (section 5 of the routes reference).  The
kernel works on a request within the sending call, so nothing here waits; a long list goes out in
slices, and the event loop gets its turn between them.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

from msgspec import Struct

from dataplane.errors import DataplaneError

ROUTE, NETFILTER, GENERIC = 0, 12, 16  # protocols

REQUEST, ACK, REPLACE, EXCL, CREATE, DUMP = (
    0x1,
    0x4,
    0x100,
    0x200,
    0x400,
    0x300,
)  # flags of a request
NESTED, NET_ORDER = 0x8000, 0x4000  # flags of an attribute's type

_SOL_NETLINK, _ADD_MEMBERSHIP, _CAP_ACK, _GET_STRICT = 270, 1, 10, 12
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_ERROR, _DONE = 2, 3  # types of a message
_INTERRUPTED = 0x10  # flag of an answer: what was listed changed meanwhile
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence number, port
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_ERRNO = struct.Struct("=i")
_SLICE_MESSAGES, _SLICE_BYTES = 250, 100_000  # the acknowledgements fit into the receive buffer
_BUFFER = 1 << 20
_NOTIFICATIONS = 8 << 20  # 10,000 route changes of others in one burst need 4 MiB
_DUMP_ATTEMPTS = 5
_TIMEOUT = struct.pack("@ll", 10, 0)  # NetlinkTimeoutSecs of Felix


class NetlinkError(DataplaneError):
    """The kernel refused; `code` is an error number, or one of a subsystem's own above 4095."""

    def __init__(self, doing: str, code: int, text: str = "") -> None:
        super().__init__(f"{doing}: {text or os.strerror(code)}")
        self.code = code


class OverrunError(DataplaneError):
    """Notifications were lost: whatever they told of has to be read anew."""


class Request(Struct, frozen=True, gc=False):
    type: int
    flags: int  # besides REQUEST and ACK
    body: bytes


class Message(Struct, frozen=True, gc=False):
    """`port` is that of the socket whose request caused it; 0: the kernel itself."""

    type: int
    body: bytes
    port: int = 0


_Answer: TypeAlias = tuple[int, int, int, int, int, int]
# type, flags, sequence number, port, start and end of the body in the buffer


def attribute(kind: int, value: bytes) -> bytes:
    length = 4 + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(-length % 4)


def nested(kind: int, *parts: bytes) -> bytes:
    return attribute(kind | NESTED, b"".join(parts))


def attributes(body: bytes, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Type, without flags, and value of each attribute; anything after a broken one is left out."""
    end = len(body)
    while start + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(body, start)
        if length < 4 or start + length > end:
            return
        yield kind & 0x3FFF, body[start + 4 : start + length]
        start += length + (-length % 4)


class Socket:
    """Requests and dumps; opened when first used, in the network namespace of that moment.

    Raises NetlinkError if the kernel does not answer.
    """

    def __init__(self, protocol: int, blank: Callable[[memoryview], None] | None = None) -> None:
        """`blank` overwrites secrets in the body of an answer, before anything is copied."""
        self._protocol = protocol
        self._blank = blank
        self._socket: socket.socket | None = None
        self._sequence = 0
        self._buffer = bytearray(1 << 17)
        self._view = memoryview(self._buffer)
        self._lock = asyncio.Lock()

    async def execute(self, requests: Sequence[Request]) -> list[int]:
        """Have each request done, in order; an error of one does not stop the next."""
        results: list[int] = []
        async with self._lock:
            for part in _slices(requests):
                if results:
                    await asyncio.sleep(0)
                results += self._execute(part)
        return results

    async def ask(self, requests: Sequence[Request]) -> list[Message | int]:
        """What each is answered, in order: one message, or an error number.

        For requests that the kernel answers at once and with one message, not for dumps.
        """
        answers: list[Message | int] = []
        async with self._lock:
            for part in _slices(requests):
                if answers:
                    await asyncio.sleep(0)
                answers += self._ask(part)
        return answers

    async def execute_secret(self, kind: int, body: bytearray) -> int:
        """One request, of which no copy is made here; returns its error number."""
        async with self._lock:
            self._sequence += 1
            head = _header(kind, REQUEST | ACK, self._sequence, len(body))
            self._send(head, body)
            return self._results(self._sequence, 1)[0]

    async def query(self, request: Request, doing: str) -> list[Message]:
        """The answers to one request, which `doing` names in errors.

        It has to carry DUMP or ACK, which tell where they end.
        """
        async with self._lock:
            for _ in range(_DUMP_ATTEMPTS):
                messages = await self._query(request, doing)
                if messages is not None:
                    return messages
        raise NetlinkError(doing, errno.EINTR, "changed again and again while it was read")

    @property
    def port(self) -> int:
        """What notifications of our own doing carry; 0 while nothing was asked."""
        return int(self._socket.getsockname()[0]) if self._socket is not None else 0

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _execute(self, requests: Sequence[Request]) -> list[int]:
        first = self._sequence + 1
        self._sequence += len(requests)
        packed = []
        for sequence, request in enumerate(requests, first):
            flags, body = request.flags | REQUEST, request.body
            if sequence == self._sequence:
                flags |= ACK  # errors come unasked: one acknowledgement at the end is enough
            length = _HEADER.size + len(body)
            packed.append(_HEADER.pack(length, request.type, flags, sequence, 0) + body)
        self._send(b"".join(packed))
        return self._results(first, len(requests))

    def _ask(self, requests: Sequence[Request]) -> list[Message | int]:
        first = self._sequence + 1
        self._sequence += len(requests)
        packed = [
            _HEADER.pack(
                _HEADER.size + len(request.body), request.type, request.flags | REQUEST, sequence, 0
            )
            + request.body
            for sequence, request in enumerate(requests, first)
        ]
        self._send(b"".join(packed))
        answers: dict[int, Message | int] = {}
        wanted = len(requests)
        while len(answers) < wanted:
            for kind, _, sequence, _, start, end in self._receive():
                if sequence < first:
                    continue  # left over from a request that was given up
                if kind == _ERROR:
                    answers[sequence] = -_ERRNO.unpack_from(self._buffer, start)[0]
                else:
                    answers[sequence] = Message(kind, bytes(self._view[start:end]))
        return [answers[sequence] for sequence in range(first, self._sequence + 1)]

    def _results(self, first: int, count: int) -> list[int]:
        """Error numbers of requests from sequence number `first` on, up to the last one sent."""
        results = [0] * count
        while True:
            for kind, _, sequence, _, start, _ in self._receive():
                if kind != _ERROR or sequence < first:
                    continue  # left over from a request that was given up
                results[sequence - first] = -_ERRNO.unpack_from(self._buffer, start)[0]
                if sequence == self._sequence:
                    return results

    async def _query(self, request: Request, doing: str) -> list[Message] | None:
        """None if the listing was overtaken by changes."""
        self._sequence += 1
        flags = request.flags | REQUEST
        header = _header(request.type, flags, self._sequence, len(request.body))
        self._send(header + request.body)
        found: list[Message] = []
        interrupted = False
        while True:
            for kind, flags, sequence, _, start, end in self._receive():
                if self._blank is not None:
                    self._blank(self._view[start:end])
                if sequence != self._sequence:
                    continue
                interrupted |= bool(flags & _INTERRUPTED)
                if kind in (_ERROR, _DONE):
                    code = _ERRNO.unpack_from(self._buffer, start)[0] if end - start >= 4 else 0
                    if code < 0:
                        raise NetlinkError(doing, -code)
                    return None if interrupted else found
                found.append(Message(kind, bytes(self._view[start:end])))
            await asyncio.sleep(0)

    def _send(self, *parts: bytes | bytearray) -> None:
        if self._socket is None:
            self._socket = _open(self._protocol, _BUFFER)
        try:
            self._socket.sendmsg(parts)
        except OSError as error:
            raise NetlinkError("sending to the kernel", error.errno or 0) from error

    def _receive(self) -> Iterator[_Answer]:
        assert self._socket is not None
        try:
            length = self._socket.recv_into(self._buffer)
        except OSError as error:
            raise NetlinkError("waiting for the kernel's answer", error.errno or 0) from error
        return _messages(self._buffer, length)


class Listener:
    """Notifications of multicast groups, from when and in the network namespace it is made."""

    def __init__(self, protocol: int, groups: Iterable[int]) -> None:
        self._socket = _open(protocol, _NOTIFICATIONS)
        self._socket.setblocking(False)
        for group in groups:
            self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
        self._buffer = bytearray(1 << 16)

    async def receive(self) -> list[Message]:
        """Wait for notifications, take all that came.  Raises OverrunError if some are lost."""
        while True:
            found = self.waiting()
            if found:
                return found
            await self._readable()

    def waiting(self) -> list[Message]:
        """What has come already, without waiting."""
        found: list[Message] = []
        while len(found) < 10_000:
            try:
                length = self._socket.recv_into(self._buffer)
            except BlockingIOError:
                break
            except OSError as error:
                raise _overrun(error) from error
            found += self._taken(length)
        return found

    def close(self) -> None:
        self._socket.close()

    async def _readable(self) -> None:
        """Only waits: a receive that is cancelled just when it succeeds would lose what it got."""
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        descriptor = self._socket.fileno()
        loop.add_reader(descriptor, _fulfil, ready)
        try:
            await ready
        finally:
            loop.remove_reader(descriptor)

    def _taken(self, length: int) -> list[Message]:
        view = memoryview(self._buffer)
        return [
            Message(kind, bytes(view[start:end]), port)
            for kind, _, _, port, start, end in _messages(self._buffer, length)
        ]


def _fulfil(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _overrun(error: OSError) -> DataplaneError:
    if error.errno == errno.ENOBUFS:
        return OverrunError("more notifications than the socket's buffer holds")
    return NetlinkError("waiting for notifications", error.errno or 0)


def _open(protocol: int, buffer: int) -> socket.socket:
    try:
        opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    except OSError as error:
        raise NetlinkError(f"opening netlink protocol {protocol}", error.errno or 0) from error
    options = [
        (socket.SOL_SOCKET, _SO_SNDBUFFORCE, buffer),
        (socket.SOL_SOCKET, _SO_RCVBUFFORCE, buffer),
        (_SOL_NETLINK, _CAP_ACK, 1),
    ]
    if protocol == ROUTE:
        options.append((_SOL_NETLINK, _GET_STRICT, 1))
    for level, option, value in options:
        # Without them there is only more to read: an old kernel, or a container without the right.
        with contextlib.suppress(OSError):
            opened.setsockopt(level, option, value)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEOUT)
    opened.bind((0, 0))
    return opened


def _header(kind: int, flags: int, sequence: int, length: int) -> bytes:
    return _HEADER.pack(_HEADER.size + length, kind, flags, sequence, 0)


def _messages(buffer: bytearray, length: int) -> Iterator[_Answer]:
    """The messages of one datagram."""
    start = 0
    while start + _HEADER.size <= length:
        size, kind, flags, sequence, port = _HEADER.unpack_from(buffer, start)
        if size < _HEADER.size:
            return
        yield kind, flags, sequence, port, start + _HEADER.size, start + size
        start += size + (-size % 4)


def _slices(requests: Sequence[Request]) -> Iterator[Sequence[Request]]:
    start = size = 0
    for index, request in enumerate(requests):
        length = len(request.body)
        full = index - start >= _SLICE_MESSAGES or size + length > _SLICE_BYTES
        if full and index > start:
            yield requests[start:index]
            start, size = index, 0
        size += length + _HEADER.size
    if start < len(requests):
        yield requests[start:]
