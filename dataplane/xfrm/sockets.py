"""AsyncXFRMSocket: states and policies of the network namespace in which it is opened.

    async with AsyncXFRMSocket() as xfrm:
        await xfrm.bind()
        await xfrm.policy("add", src="10.1.0.0/16", dst="10.2.0.0/16", direction=1, action=1)
        async for policy in xfrm.get_policies():
            ...

Errors are pyroute2's NetlinkError, with the kernel's number.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from pyroute2.netlink import (
    NETLINK_XFRM,
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    nlmsg,
)
from pyroute2.netlink.exceptions import NetlinkDecodeError, NetlinkError
from pyroute2.netlink.nlsocket import AsyncNetlinkSocket, NetlinkRequest

from dataplane.xfrm import constants, requests
from dataplane.xfrm.endpoint import Endpoint
from dataplane.xfrm.filtering import drop_caused_by
from dataplane.xfrm.layout import FLAGS, FLAGS_OFFSET, HEADER, SENDER, SENDER_OFFSET
from dataplane.xfrm.marshal import (
    CAPPED,
    ERRNO,
    ERROR_BYTES,
    MarshalXfrm,
    parts,
    refusal,
)
from dataplane.xfrm.messages import (
    userpolicy_info,
    usersa_info,
)
from dataplane.xfrm.packed import PackedMessage
from dataplane.xfrm.privacy import Digest, conceal, zeros

_SOL_NETLINK: Final = 270
_CAP_ACK: Final = 10
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33

_SEND_BYTES: Final = 1 << 17
_ROOM: Final = _SEND_BYTES - (1 << 13)  # three keys of the largest size are shorter than the rest
_NOTHING: Final = bytes(_SEND_BYTES)
_SEND_MESSAGES: Final = 200  # a refusal of each of them fits into any receive buffer
_BATCH_TAG: Final = 1  # below the sequence numbers that pyroute2 gives, and above 0: notifications
_FIRST_BATCH_SEQUENCE: Final = 1 << 16  # above those
_LAST_SEQUENCE: Final = 0xFFFFFFFF

T = TypeVar("T")
Write: TypeAlias = Callable[[T, memoryview, int], int]
# Into the buffer, from there on; returns the end, raises ValueError or struct.error.


class Request(Protocol):
    """One of `requests`."""

    def encode_into(self, buffer: memoryview, start: int) -> int: ...  # returns its end


class AsyncXFRMSocket(AsyncNetlinkSocket):  # type: ignore[misc]  # pyroute2 has no types
    marshal_class = MarshalXfrm

    def __init__(
        self, *, digest: Digest = zeros, buffer_bytes: int = 1 << 20, deaf_to: int = 0, **more: Any
    ) -> None:
        """`digest` stands for keys in what is read; `buffer_bytes` of the kernel for answers.

        Nothing is told that requests through the socket of port `deaf_to` have caused; 0: all is.
        """
        super().__init__(NETLINK_XFRM, ext_ack=True, **more)
        self._deaf_to = deaf_to
        self._digest = digest
        self._buffer_bytes = buffer_bytes
        self._sequence = _FIRST_BATCH_SEQUENCE
        self._batches = asyncio.Lock()
        self._sending = memoryview(bytearray(_SEND_BYTES))

    def setup_socket(self) -> Any:
        opened = super().setup_socket()
        for level, option, value in (
            (socket.SOL_SOCKET, _SO_SNDBUFFORCE, self._buffer_bytes),
            (socket.SOL_SOCKET, _SO_RCVBUFFORCE, self._buffer_bytes),
            (_SOL_NETLINK, _CAP_ACK, 1),
        ):
            # Without them there is only more to read: an old kernel, or a container's rights.
            with contextlib.suppress(OSError):
                opened.setsockopt(level, option, value)
        if self._deaf_to:
            drop_caused_by(self._deaf_to, opened)
        return opened

    async def setup_endpoint(self) -> None:
        """As pyroute2's, but what is received is in an array, where keys can be overwritten."""
        if getattr(self.local, "transport", None) is None:
            self.local.transport = Endpoint(
                self.event_loop, self.socket, self._received, self._failed
            )
            self.local.protocol = None

    def enqueue(self, data: bytes, addr: Any) -> None:
        """Answers to `execute` have a queue of their own."""
        if len(data) < HEADER.size:
            return
        if HEADER.unpack_from(data)[3] >= _FIRST_BATCH_SEQUENCE:
            self.msg_queue.put_nowait(_BATCH_TAG, data)
        else:
            super().enqueue(data, addr)

    async def state(self, command: str, **fields: Any) -> None:
        """ "add" or "delete", see requests.state."""
        await self._acknowledged(requests.state(command, **fields))

    async def policy(self, command: str, **fields: Any) -> None:
        """ "add", "update" or "delete", see requests.policy."""
        await self._acknowledged(requests.policy(command, **fields))

    async def get_states(self) -> AsyncGenerator[usersa_info, None]:
        for message in await self.read_states(usersa_info.decoded_from):
            yield message

    async def get_policies(self) -> AsyncGenerator[userpolicy_info, None]:
        for message in await self.read_policies(userpolicy_info.decoded_from):
            yield message

    async def read_states(self, read: Callable[[bytes], T]) -> list[T]:
        """What `read` makes of each message, header and all; it may raise ValueError and
        struct.error.  To one socket the kernel lists one thing at a time.
        """
        return await self._read(constants.XFRM_MSG_GETSA, read)

    async def read_policies(self, read: Callable[[bytes], T]) -> list[T]:
        """Likewise."""
        return await self._read(constants.XFRM_MSG_GETPOLICY, read)

    async def notifications(self) -> list[nlmsg]:
        """Wait for some of the groups it is bound to, take all that came.

        OSError with ENOBUFS: some were lost.
        """
        found = [message async for message in self.get()]
        while not found or not self.msg_queue.root.empty():
            found += [message async for message in self.get()]
        return found

    async def execute(self, messages: Sequence[Request]) -> list[int]:
        """Have each done, in order, and return an error number for each, 0: done.

        An error of one does not stop the next.
        """
        return await self.execute_written(messages, _encode)

    async def execute_written(self, wanted: Sequence[T], write: Write[T]) -> list[int]:
        """Likewise whatever `write` puts into the buffer as one message, see `prepared`.

        There is no object of each message, and none that could hold a key.
        """
        await self.setup_endpoint()
        results: list[int] = []
        async with self._batches:
            self.msg_queue.ensure_tag(_BATCH_TAG)
            while len(results) < len(wanted):
                results += await self._execute(wanted, len(results), write)
        return results

    async def _execute(self, wanted: Sequence[T], index: int, write: Write[T]) -> list[int]:
        """As many from `index` on as go out at once."""
        if self._sequence > _LAST_SEQUENCE - _SEND_MESSAGES:
            self._sequence = _FIRST_BATCH_SEQUENCE
        first, port, buffer = self._sequence, self.epid, self._sending
        start = end = 0
        try:
            for one in wanted[index : index + _SEND_MESSAGES]:
                if end > _ROOM:
                    break
                start = end
                end = write(one, buffer, start)
                SENDER.pack_into(buffer, start + SENDER_OFFSET, self._sequence, port)
                self._sequence += 1
            # Errors come unasked: one acknowledgement, at the end, is enough.
            (flags,) = FLAGS.unpack_from(buffer, start + FLAGS_OFFSET)
            FLAGS.pack_into(buffer, start + FLAGS_OFFSET, flags | NLM_F_ACK)
            self.send(buffer[:end])
        finally:
            buffer[:] = _NOTHING  # there were keys in it
        return await self._results(first, self._sequence - first)

    async def _results(self, first: int, count: int) -> list[int]:
        results = [0] * count
        while True:
            data = await self.msg_queue.get(_BATCH_TAG)
            for kind, sequence, start, _ in parts(data):
                place = sequence - first
                if kind == NLMSG_ERROR and sequence == 0:
                    raise NetlinkError(-ERRNO.unpack_from(data, start)[0])
                if kind != NLMSG_ERROR or not 0 <= place < count:
                    continue  # left over from what was given up
                results[place] = -ERRNO.unpack_from(data, start)[0]
                if place == count - 1:
                    return results

    async def _acknowledged(self, message: PackedMessage) -> None:
        kind = message["header"]["type"]
        try:
            answers = await self.nlm_request(message, kind, NLM_F_REQUEST | NLM_F_ACK)
            async for _ in answers:
                pass
        finally:
            message.data[:] = bytes(len(message.data))

    async def _read(self, command: int, read: Callable[[bytes], T]) -> list[T]:
        """Past pyroute2's `get`, which takes longer for each message than all the rest."""
        request = NetlinkRequest(
            self, nlmsg(), msg_type=command, msg_flags=NLM_F_REQUEST | NLM_F_DUMP
        )
        await request.send()
        try:
            return await self._listed(request.msg_seq, read)
        except (struct.error, ValueError) as error:
            raise NetlinkDecodeError(error) from None
        finally:
            request.cleanup()

    async def _listed(self, sequence: int, read: Callable[[bytes], T]) -> list[T]:
        found: list[T] = []
        while True:
            data = await self.msg_queue.get(sequence)
            size = len(data)
            for told, _, start, end in parts(data):
                if told == NLMSG_DONE:
                    return found
                if told == NLMSG_ERROR:
                    raise refusal(data, start - HEADER.size, size)["header"]["error"]
                if end > size:
                    raise ValueError(f"{end - size} bytes are missing")
                found.append(read(data[start - HEADER.size : end]))

    def _received(self, datagram: memoryview) -> None:
        conceal(datagram, self._digest)
        self.enqueue(bytes(datagram), None)

    def _failed(self, code: int) -> None:
        """Tell everybody who waits for something."""
        told = HEADER.pack(ERROR_BYTES, NLMSG_ERROR, CAPPED, 0, 0) + ERRNO.pack(-code) + bytes(16)
        for tag in self.msg_queue.queues:
            self.msg_queue.put_nowait(tag, told)


def _encode(message: Request, buffer: memoryview, start: int) -> int:
    return message.encode_into(buffer, start)
