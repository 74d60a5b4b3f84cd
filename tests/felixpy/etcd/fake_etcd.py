"""An etcd as far as an agent speaks with it, in this process, that does on command what a real one
does rarely.

store = Store()                       keys, their history, and who may see what
async with Serving(store) as port:    a member; several may have one store
    store.put(key, value); store.delete(key); store.compact()
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple, Self

from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Server

from felixpy.etcd.messages import DELETE, EQUAL, MOD_REVISION, message


class Event(NamedTuple):
    revision: int
    key: bytes
    value: bytes | None


class Store:
    def __init__(self) -> None:
        self.history: list[Event] = []
        self.revision, self.compacted = 1, 0
        self.cluster, self.term = 7, 2
        self.denied: set[bytes] = set()  # keys and first keys of intervals
        self.tokens: set[str] | None = None  # None: nobody is asked for a token
        self.logins = 0
        self.changed = asyncio.Condition()
        self.before_page: Callable[[], None] = lambda: None
        self.before_commit: Callable[[], None] = lambda: None

    def put(self, key: str, value: str | None) -> None:
        self.put_together({key: value})

    def put_together(self, pairs: dict[str, str | None]) -> None:
        """In one revision."""
        self.revision += 1
        for key, value in pairs.items():
            encoded = None if value is None else value.encode()
            self.history.append(Event(self.revision, key.encode(), encoded))

    def delete(self, key: str) -> None:
        self.put(key, None)

    def compact(self) -> None:
        self.compacted = self.revision

    def at(self, revision: int) -> dict[bytes, Event]:
        found: dict[bytes, Event] = {}
        for event in self.history:
            if event.revision > revision:
                break
            if event.value is None:
                found.pop(event.key, None)
            else:
                found[event.key] = event
        return found

    def commit(self, request: Any) -> bool:
        """A transaction: comparisons by the revision of a key's last change, puts and deletes."""
        held = self.at(self.revision)
        for compare in request.compare:
            assert (compare.result, compare.target) == (EQUAL, MOD_REVISION)
            event = held.get(compare.key)
            if (event.revision if event else 0) != compare.mod_revision:
                return False
        pairs: dict[str, str | None] = {}
        for operation in request.success:
            if operation.HasField("request_put"):
                put = operation.request_put
                pairs[put.key.decode()] = put.value.decode()
            elif operation.request_delete_range.key in held:
                pairs[operation.request_delete_range.key.decode()] = None
        if pairs:
            self.put_together(pairs)
        return True

    def header(self) -> Any:
        return message("ResponseHeader")(
            cluster_id=self.cluster, revision=self.revision, raft_term=self.term
        )


class _Server(Server):
    """One that can be torn out: grpclib's would only take no new connections."""

    protocols: list[Any]

    def _protocol_factory(self) -> Any:
        protocol = super()._protocol_factory()
        self.protocols.append(protocol)
        return protocol

    async def tear_out(self) -> None:
        self.close()
        for protocol in self.protocols:
            if hasattr(protocol, "connection"):
                protocol.connection.close()
        await self.wait_closed()


class Serving:
    """`fragment`: events in one message at most; `silent`: watches say nothing any more."""

    def __init__(self, store: Store, *, fragment: int = 1000, port: int = 0) -> None:
        self.store = store
        self.fragment = fragment
        self.port = port
        self.silent = self.leaderless = False
        self.watches = 0
        self.messages = 1 << 30  # that watches may still send, until the connection breaks
        self._server: _Server | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        self._server = _Server([self])
        self._server.protocols = []
        await self._server.start("127.0.0.1", self.port)
        self.port = self._server._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        await self._server.tear_out()

    def __mapping__(self) -> dict[str, Handler]:
        def unary(method: Any, name: str) -> Handler:
            request, reply = message(f"{name}Request"), message(f"{name}Response")
            return Handler(method, Cardinality.UNARY_UNARY, request, reply)

        watch = message("WatchRequest"), message("WatchResponse")
        return {
            "/etcdserverpb.KV/Range": unary(self._range, "Range"),
            "/etcdserverpb.KV/Txn": unary(self._commit, "Txn"),
            "/etcdserverpb.Auth/Authenticate": unary(self._authenticate, "Authenticate"),
            "/etcdserverpb.Watch/Watch": Handler(self._watch, Cardinality.STREAM_STREAM, *watch),
        }

    def _check(self, stream: Any) -> None:
        if self.leaderless:
            raise GRPCError(Status.UNAVAILABLE, "etcdserver: no leader")
        tokens = self.store.tokens
        if tokens is not None and stream.metadata.get("token") not in tokens:
            raise GRPCError(Status.UNAUTHENTICATED, "etcdserver: invalid auth token")

    async def _authenticate(self, stream: Any) -> None:
        await stream.recv_message()
        self.store.logins += 1
        token = f"token {self.store.logins}"
        assert self.store.tokens is not None
        self.store.tokens.add(token)
        await stream.send_message(message("AuthenticateResponse")(token=token))

    async def _range(self, stream: Any) -> None:
        request = await stream.recv_message()
        self._check(stream)
        store = self.store
        store.before_page()
        if request.key in store.denied:
            raise GRPCError(Status.PERMISSION_DENIED, "etcdserver: permission denied")
        revision = request.revision or store.revision
        if revision < store.compacted:
            text = "etcdserver: mvcc: required revision has been compacted"
            raise GRPCError(Status.OUT_OF_RANGE, text)
        if revision > store.revision:
            text = "etcdserver: mvcc: required revision is a future revision"
            raise GRPCError(Status.OUT_OF_RANGE, text)
        found = [e for e in store.at(revision).values() if _inside(request, e.key)]
        found.sort(key=lambda event: event.key)
        page = found[: request.limit] if request.limit else found
        answer = message("RangeResponse")(header=store.header(), more=len(page) < len(found))
        for event in page:
            answer.kvs.add(key=event.key, value=event.value, mod_revision=event.revision)
        await stream.send_message(answer)

    async def _commit(self, stream: Any) -> None:
        request = await stream.recv_message()
        self._check(stream)
        self.store.before_commit()
        if any(compare.key in self.store.denied for compare in request.compare):
            raise GRPCError(Status.PERMISSION_DENIED, "etcdserver: permission denied")
        succeeded = self.store.commit(request)
        header = self.store.header()
        await stream.send_message(message("TxnResponse")(header=header, succeeded=succeeded))

    # ---------------------------------------------------------------- watching

    async def _watch(self, stream: Any) -> None:
        self._check(stream)
        self.watches += 1
        wanted: list[Any] = []
        reading = asyncio.create_task(self._requests(stream, wanted))
        try:
            sent: dict[int, int] = {}
            while not reading.done():
                for each in tuple(wanted):  # more may come meanwhile
                    await self._deliver(stream, each, sent)
                await asyncio.sleep(0.001)
            await reading
        finally:
            reading.cancel()

    async def _requests(self, stream: Any, wanted: list[Any]) -> None:
        while (request := await stream.recv_message()) is not None:
            if request.HasField("create_request"):
                wanted.append(request.create_request)
            elif not self.silent:
                await self._say(stream, watch_id=-1)

    async def _deliver(self, stream: Any, wanted: Any, sent: dict[int, int]) -> None:
        number = wanted.watch_id
        if self.silent:
            return
        if number not in sent:
            sent[number] = wanted.start_revision - 1
            await self._say(stream, watch_id=number, created=True)
        if sent[number] < self.store.compacted:
            compacted = self.store.compacted
            await self._say(stream, watch_id=number, canceled=True, compact_revision=compacted)
            return
        revision = self.store.revision
        events = [
            event
            for event in self.store.history
            if sent[number] < event.revision <= revision and _inside(wanted, event.key)
        ]
        sent[number] = revision
        while events:
            part, events = events[: self.fragment], events[self.fragment :]
            answer = message("WatchResponse")(watch_id=number, fragment=bool(events))
            for event in part:
                pair = {"key": event.key, "mod_revision": event.revision}
                if event.value is None:
                    answer.events.add(type=DELETE, kv=pair)
                else:
                    answer.events.add(kv={**pair, "value": event.value})
            await self._send(stream, answer)

    async def _say(self, stream: Any, **fields: object) -> None:
        await self._send(stream, message("WatchResponse")(**fields))

    async def _send(self, stream: Any, answer: Any) -> None:
        if self.messages == 0:
            raise GRPCError(Status.UNAVAILABLE, "the connection broke")
        self.messages -= 1
        answer.header.CopyFrom(self.store.header())
        await stream.send_message(answer)


def _inside(request: Any, key: bytes) -> bool:
    if not request.range_end:
        return bool(key == request.key)
    return bool(request.key <= key < request.range_end)
