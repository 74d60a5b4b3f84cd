"""One member of the cluster, as long as the connection to it holds.

    open()      connect, and authenticate where a user is given
    range, put, delete, grant, revoke       one request, one answer
    put_if, delete_if                       the same, unless somebody else was faster
    watch()     one stream over several ranges of keys

Every failure is one of `errors`.  After a MemberLostError the member is done with.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from grpclib.client import StreamStreamMethod, UnaryUnaryMethod
from grpclib.const import Status
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError
from h2.exceptions import H2Error

from felixpy.etcd.channel import EtcdChannel
from felixpy.etcd.credentials import CredentialsError, ssl_context
from felixpy.etcd.errors import CompactedError, EtcdError, MemberLostError, RefusedError
from felixpy.etcd.explain import explain
from felixpy.etcd.messages import DELETE, EQUAL, MOD_REVISION, message
from felixpy.etcd.settings import Endpoint, EtcdSettings


class Patience(NamedTuple):
    """Seconds."""

    silence: float
    answer: float


ANSWER_SECONDS: Final = 5.0
PAGE: Final = 500  # pairs; with etcd's limit on a value a page stays within memory
_CONNECT_SECONDS: Final = 5.0
# A member that says nothing for so long is asked for a sign of life, and has so long to give it:
# what the kernel cannot notice is a process that stands still while its host is well.
_PATIENCE: Final = Patience(silence=5.0, answer=2.0)
# A host that acknowledges nothing for so long, though asked, has vanished: another member is in use
# before two seconds are over.
_DEAF_SECONDS: Final = 1.3
_PATIENCE_ALONE: Final = Patience(silence=10.0, answer=5.0)

_METHODS: Final = {
    "Range": ("KV/Range", "RangeRequest", "RangeResponse"),
    "Put": ("KV/Put", "PutRequest", "PutResponse"),
    "DeleteRange": ("KV/DeleteRange", "DeleteRangeRequest", "DeleteRangeResponse"),
    "Txn": ("KV/Txn", "TxnRequest", "TxnResponse"),
    "LeaseGrant": ("Lease/LeaseGrant", "LeaseGrantRequest", "LeaseGrantResponse"),
    "LeaseRevoke": ("Lease/LeaseRevoke", "LeaseRevokeRequest", "LeaseRevokeResponse"),
    "Authenticate": ("Auth/Authenticate", "AuthenticateRequest", "AuthenticateResponse"),
}
_TOKEN_IS_OLD: Final = ("invalid auth token", "revision of auth store is old", "revision in header")


class Header(NamedTuple):
    """Who answered, and how far that member is in the cluster's history."""

    cluster: int
    revision: int
    term: int


class KeyValue(NamedTuple):
    key: bytes
    value: bytes
    revision: int  # of its last change


class Page(NamedTuple):
    header: Header
    pairs: list[KeyValue]
    more: bool


class Change(NamedTuple):
    key: bytes
    value: bytes | None  # None: gone
    revision: int


class Interval(NamedTuple):
    """Keys from `key` up to, not including, `end`; with an empty `end` just `key`."""

    key: bytes
    end: bytes = b""


class Delivery(NamedTuple):
    """What one message of a watch says about one of its ranges.

    The first one says that it is being watched.  `revision`: all changes of the range up to there
    have been delivered; None where that is not known yet.
    """

    watch: int
    changes: list[Change]
    revision: int | None


class Member:
    def __init__(self, endpoint: Endpoint, settings: EtcdSettings) -> None:
        self.endpoint = endpoint
        self._settings = settings
        self._channel: EtcdChannel | None = None
        self._token: dict[str, str] = {}
        self._alone = len(settings.endpoints) == 1
        self._patience = _PATIENCE_ALONE if self._alone else _PATIENCE
        self._heard = 0  # messages of the watch
        self._lost = ""  # why we have given it up

    def __str__(self) -> str:
        return str(self.endpoint)

    async def open(self) -> None:
        """Raises MemberLostError or RefusedError."""
        settings = self._settings
        try:
            tls = ssl_context(settings) if settings.tls else None
        except CredentialsError as error:
            raise RefusedError(str(error)) from None
        self._channel = EtcdChannel(self.endpoint, tls, alone=self._alone)
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                with self._failures():
                    await self._channel.__connect__()
            await self._authenticate()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()

    async def range(
        self,
        interval: Interval,
        *,
        limit: int = 0,
        revision: int = 0,
        serializable: bool = False,
        keys_only: bool = False,
    ) -> Page:
        """The pairs of an interval in the order of their keys.

        `limit` 0: all; `revision` 0: the newest; `serializable`: as this member knows it, without
        asking the others.
        """
        answer = await self._ask(
            "Range",
            key=interval.key,
            range_end=interval.end,
            limit=limit,
            revision=revision,
            serializable=serializable,
            keys_only=keys_only,
        )
        pairs = [KeyValue(kv.key, kv.value, kv.mod_revision) for kv in answer.kvs]
        return Page(_header(answer), pairs, answer.more)

    async def pages(self, interval: Interval, revision: int = 0) -> AsyncGenerator[Page, None]:
        """An interval page by page, at one revision: that one, or that of the first answer.

        Each next page is on its way while the present one is worked on.
        """
        page = await self.range(interval, limit=PAGE, revision=revision, serializable=revision > 0)
        while page.more and page.pairs:
            rest = Interval(page.pairs[-1].key + b"\0", interval.end)
            coming = asyncio.create_task(
                self.range(
                    rest,
                    limit=PAGE,
                    revision=revision or page.header.revision,
                    serializable=True,
                )
            )
            try:
                await asyncio.sleep(0)  # it is on its way before the present one is worked on
                yield page
                page = await coming
            finally:
                if not coming.done():
                    coming.cancel()
                await asyncio.wait([coming])
        yield page

    async def put(self, key: bytes, value: bytes, lease: int = 0) -> None:
        await self._ask("Put", key=key, value=value, lease=lease)

    async def delete(self, key: bytes) -> None:
        await self._ask("DeleteRange", key=key)

    async def put_if(self, key: bytes, value: bytes, revision: int) -> bool:
        """Only if the last change of `key` was that revision; 0: if there is no such key."""
        return await self._commit(key, revision, request_put={"key": key, "value": value})

    async def delete_if(self, key: bytes, revision: int) -> bool:
        """Only if the last change of `key` was that revision."""
        return await self._commit(key, revision, request_delete_range={"key": key})

    async def _commit(self, key: bytes, revision: int, **operation: Any) -> bool:
        compare = {
            "result": EQUAL,
            "target": MOD_REVISION,
            "key": key,
            "mod_revision": revision,
        }
        answer = await self._ask("Txn", compare=[compare], success=[operation])
        succeeded: bool = answer.succeeded
        return succeeded

    async def grant(self, seconds: int) -> int:
        """A new lease: keys put with it go when it ends."""
        answer = await self._ask("LeaseGrant", TTL=seconds)
        lease: int = answer.ID
        return lease

    async def revoke(self, lease: int) -> None:
        await self._ask("LeaseRevoke", ID=lease)

    # ---------------------------------------------------------------- watching

    async def watch(
        self, intervals: Mapping[int, tuple[Interval, int]]
    ) -> AsyncGenerator[Delivery, None]:
        """Endless: changes in each interval from its revision on, by the interval's number.

        A member that has lost its leader ends it.  Raises CompactedError where a revision is no
        longer kept.
        """
        request, create = message("WatchRequest"), message("WatchCreateRequest")
        method: Any = StreamStreamMethod(
            self._connected(), "/etcdserverpb.Watch/Watch", request, message("WatchResponse")
        )
        metadata = {**self._token, "hasleader": "true"}
        with self._failures():
            async with method.open(metadata=metadata) as stream:
                for number, (interval, revision) in intervals.items():
                    wanted = create(
                        key=interval.key,
                        range_end=interval.end,
                        start_revision=revision,
                        progress_notify=True,
                        watch_id=number,
                        fragment=True,
                    )
                    await stream.send_message(request(create_request=wanted))
                sign = request(progress_request=message("WatchProgressRequest")())
                async with self._minded(lambda: stream.send_message(sign)):
                    while (answer := await stream.recv_message()) is not None:
                        self._heard += 1
                        if (delivery := _delivery(answer)) is not None:
                            yield delivery
                await stream.cancel()
        raise MemberLostError(f"{self} ended the watch")

    @contextlib.asynccontextmanager
    async def _minded(self, ask: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
        """While in it, the connection is closed if the member gives no sign of life when asked."""
        tasks = [asyncio.create_task(self._mind(ask), name="etcd watchdog")]
        if not self._alone:
            tasks.append(asyncio.create_task(self._mind_host(), name="etcd host watchdog"))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()

    async def _mind(self, ask: Callable[[], Awaitable[None]]) -> None:
        while True:
            heard = self._heard
            await asyncio.sleep(self._patience.silence)
            if self._heard != heard:
                continue
            with contextlib.suppress(EtcdError), self._failures():
                await ask()
            await asyncio.sleep(self._patience.answer)
            if self._heard == heard:
                self._give_up(self._patience.silence + self._patience.answer)
                return

    async def _mind_host(self) -> None:
        """The kernel asks the peer's every second; this looks whether it has been answered."""
        channel = self._connected()
        while True:
            hearing = channel.hearing()
            if hearing.asked and hearing.silent_seconds >= _DEAF_SECONDS:
                self._give_up(hearing.silent_seconds)
                return
            await asyncio.sleep(max(_DEAF_SECONDS - hearing.silent_seconds, 0.0) + 0.05)

    def _give_up(self, silent_seconds: float) -> None:
        self._lost = f"it has been silent for {silent_seconds:.1f} s"
        self.close()

    # ---------------------------------------------------------------- asking

    async def _authenticate(self) -> None:
        if not self._settings.username:
            return
        self._token = {}
        try:
            answer = await self._ask_once(
                "Authenticate", name=self._settings.username, password=self._settings.password
            )
        except RefusedError as error:
            if "authentication is not enabled" in str(error):
                return  # nobody is asked for a name there
            raise
        self._token = {"token": answer.token}

    async def _ask(self, method: str, **fields: Any) -> Any:
        try:
            return await self._ask_once(method, **fields)
        except RefusedError as error:
            if not self._token or not any(text in str(error) for text in _TOKEN_IS_OLD):
                raise
        await self._authenticate()
        return await self._ask_once(method, **fields)

    async def _ask_once(self, method: str, **fields: Any) -> Any:
        path, request, answer = _METHODS[method]
        call: Any = UnaryUnaryMethod(
            self._connected(), f"/etcdserverpb.{path}", message(request), message(answer)
        )
        with self._failures():
            return await call(
                message(request)(**fields), timeout=ANSWER_SECONDS, metadata=self._token
            )

    def _connected(self) -> EtcdChannel:
        if self._channel is None:
            raise MemberLostError(f"{self} is not connected")
        return self._channel

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        """Whatever goes wrong with the connection or the request, as one of ours."""
        try:
            yield
        except GRPCError as error:
            raise self._refusal(error) from None
        except (StreamTerminatedError, ProtocolError, H2Error) as error:
            raise MemberLostError(f"{self}: {self._lost or self._explain_loss(error)}") from None
        except (OSError, ssl.SSLError, TimeoutError) as error:
            raise MemberLostError(f"{self}: {explain(error)}") from None

    def _explain_loss(self, error: Exception) -> str:
        because = self._channel.lost_because if self._channel is not None else None
        return explain(because) if because is not None else f"the connection was lost ({error})"

    def _refusal(self, error: GRPCError) -> EtcdError:
        text = (error.message or error.status.name).removeprefix("etcdserver: ")
        if error.status is Status.OUT_OF_RANGE and "compacted" in text:
            return CompactedError(text)
        if error.status in _REFUSALS:
            return RefusedError(f"{self} refuses it: {text}")
        return MemberLostError(f"{self}: {text}")


_REFUSALS: Final = (
    Status.UNAUTHENTICATED,
    Status.PERMISSION_DENIED,
    Status.INVALID_ARGUMENT,  # a wrong password, or none where one is needed
    Status.FAILED_PRECONDITION,
)


def _header(answer: Any) -> Header:
    header = answer.header
    return Header(header.cluster_id, header.revision, header.raft_term)


def _delivery(answer: Any) -> Delivery | None:
    if answer.compact_revision:
        raise CompactedError(f"revision {answer.compact_revision} is the oldest that is kept")
    if answer.canceled:
        reason = answer.cancel_reason.removeprefix("etcdserver: ")
        if "permission denied" in reason:
            raise RefusedError(f"it refuses the watch: {reason}")
        raise MemberLostError(f"the watch was ended: {reason or 'no reason given'}")
    if answer.watch_id < 0:
        return None  # a sign of life
    if answer.created:
        return Delivery(answer.watch_id, [], None)
    changes = [
        Change(
            event.kv.key,
            None if event.type == DELETE else event.kv.value,
            event.kv.mod_revision,
        )
        for event in answer.events
    ]
    if answer.fragment:
        return Delivery(answer.watch_id, changes, None)
    # the header is ahead of a message that carries changes: others may be on their way
    revision = changes[-1].revision if changes else answer.header.revision
    return Delivery(answer.watch_id, changes, revision)
