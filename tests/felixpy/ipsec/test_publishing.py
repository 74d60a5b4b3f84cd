"""This node's record reaches the others: once, at once, and nothing where nothing is new."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from calc_graph.model import IpsecNode, IpsecNodeKey, IpsecPeering, Node, NodeKey
from felixpy.datastore.convert.ipsec import render_ipsec_node
from felixpy.datastore.decode import decode_stored
from felixpy.ipsec.publishing import PAUSE, RETRY, WRITE_SECONDS, RecordPublisher
from felixpy.statusrep.directory import DirectoryStatusStore
from felixpy.statusrep.store import StatusStore
from tests.felixpy.statusrep.fake_store import Call, FakeStore
from tests.felixpy.statusrep.virtual_time import virtually

OWN = IpsecNodeKey("n1")
KEY = "/calico/felixpy/v1/ipsecnodes/n1"
RECORDS = [
    IpsecNode(enabled=True, tag=1, boot="00" * 16, receive={n: f"{n:016x}"}, ipv4="192.0.2.1")
    for n in range(1, 10)
]
A, B, C = RECORDS[:3]


def text(record: IpsecNode) -> bytes:
    return render_ipsec_node("n1", record)


@contextlib.asynccontextmanager
async def publishing(store: StatusStore) -> AsyncIterator[RecordPublisher]:
    publisher = RecordPublisher(store, "n1")
    try:
        yield publisher
        publisher.check()
    finally:
        await publisher.close()


def writes(store: FakeStore) -> list[tuple[float, str, bytes]]:
    return [(call.at, call.what, call.value) for call in store.writes()]


def test_at_once_and_then_together() -> None:
    async def work() -> FakeStore:
        store = FakeStore()
        async with publishing(store) as publisher:
            publisher.offer(None)
            await asyncio.sleep(5)
            assert publisher.published
            for record in RECORDS:
                publisher.offer(record)
                await asyncio.sleep(0.1)
            await asyncio.sleep(5)
            assert publisher.published
        return store

    with capture_logs() as logs:
        store = virtually(work)
    assert [at for at, _, _ in writes(store)] == pytest.approx([5, 5 + PAUSE, 5 + 2 * PAUSE])
    assert [writes(store)[n][2] for n in (0, 2)] == [text(RECORDS[0]), text(RECORDS[8])]
    assert [each["event"] for each in logs] == ["ipsec.record_published"] * 3
    assert decode_stored("IPsecNode", "", "n1", store.held[KEY]) == ((OWN, RECORDS[-1]),)


def test_its_own_echo_is_no_news_however_late() -> None:
    async def work() -> FakeStore:
        store = FakeStore()
        async with publishing(store) as publisher:
            for record in (A, B, C):
                publisher.offer(record)
                await asyncio.sleep(2 * PAUSE)
            for record in (A, B, C):
                publisher.note(OWN, record)
                await asyncio.sleep(2 * PAUSE)
            publisher.note(OWN, C)
            await asyncio.sleep(60)
        return store

    assert len(virtually(work).calls) == 3


def test_of_several_echoes_only_the_last_may_come() -> None:
    async def work() -> FakeStore:
        store = FakeStore()
        async with publishing(store) as publisher:
            for record in (A, B):
                publisher.offer(record)
                await asyncio.sleep(2 * PAUSE)
            publisher.note(OWN, B)
            publisher.note(OWN, A)  # somebody else's, then: from an old backup, say
            await asyncio.sleep(60)
        return store

    assert [call.value for call in virtually(work).calls] == [text(A), text(B), text(B)]


STORED = [("the same", A, []), ("another", B, [text(A)]), ("none", None, [text(A)])]


@pytest.mark.parametrize(("told", "written"), [c[1:] for c in STORED], ids=[c[0] for c in STORED])
def test_over_a_restart_only_what_differs(told: IpsecNode | None, written: list[bytes]) -> None:
    async def work() -> FakeStore:
        store = FakeStore()
        async with publishing(store) as publisher:
            publisher.note(OWN, told)
            publisher.note(IpsecNodeKey("n2"), C)
            publisher.note(NodeKey("n1"), Node())
            publisher.offer(A)
            await asyncio.sleep(60)
        return store

    assert [call.value for call in virtually(work).calls] == written


def test_what_is_no_longer_to_be_there_is_taken_away_once() -> None:
    async def work() -> FakeStore:
        store = FakeStore({KEY: text(A)})
        async with publishing(store) as publisher:
            publisher.note(OWN, A)
            publisher.offer(None)
            await asyncio.sleep(5)
            publisher.note(OWN, None)
            publisher.offer(None)
            await asyncio.sleep(60)
        return store

    store = virtually(work)
    assert writes(store) == [(0, "delete", b"")]
    assert store.held == {}


def test_what_others_write_or_delete_is_written_over() -> None:
    async def work() -> FakeStore:
        store = FakeStore()
        async with publishing(store) as publisher:
            publisher.offer(A)
            await asyncio.sleep(5)
            publisher.note(OWN, A)
            publisher.note(OWN, C)
            await asyncio.sleep(5)
            publisher.note(OWN, A)
            publisher.note(OWN, None)
            await asyncio.sleep(5)
            publisher.note(OWN, A)
            await asyncio.sleep(60)
        return store

    assert writes(virtually(work)) == [(at, "put", text(A)) for at in (0, 5, 10)]


def test_another_agent_by_our_name_is_no_race() -> None:
    async def work() -> int:
        store = FakeStore()
        async with publishing(store) as publisher:
            publisher.offer(A)
            for turn in range(1000):
                publisher.note(OWN, (B, C)[turn % 2])
                await asyncio.sleep(0.01)
        return len(store.calls)

    assert virtually(work) <= 1 + 10 / PAUSE


REFUSALS = [
    ("etcd: permission denied", "etcd: permission denied"),
    ("hang", f"no answer in {WRITE_SECONDS:g} s"),
]


@pytest.mark.parametrize("echoes", [True, False])
@pytest.mark.parametrize(("answer", "said"), REFUSALS)
def test_what_cannot_be_written_is_said_once_and_tried_again(
    answer: str, said: str, echoes: bool
) -> None:
    async def work() -> FakeStore:
        store = FakeStore()
        store.echoes = echoes
        store.refuse = lambda _: answer
        async with publishing(store) as publisher:
            publisher.offer(A)
            await asyncio.sleep(30)
            assert publisher.problems == {"record": said}
            assert not publisher.published
            store.refuse = lambda _: ""
            await asyncio.sleep(RETRY + WRITE_SECONDS)
            assert publisher.problems == {}
            assert publisher.published
        return store

    with capture_logs() as logs:
        store = virtually(work)
    assert store.held == {KEY: text(A)}
    events = [each["event"] for each in logs]
    assert events == [
        "ipsec_record.unwritten",
        "ipsec.record_published",
        "ipsec_record.recovered",
    ] or events == [
        "ipsec_record.unwritten",
        "ipsec_record.recovered",
        "ipsec.record_published",
    ]


@pytest.mark.parametrize("echoes", [True, False])
def test_what_was_written_and_not_answered_is_found_out(echoes: bool) -> None:
    async def work() -> FakeStore:
        store = FakeStore()
        store.echoes = echoes
        async with publishing(store) as publisher:
            publisher.offer(A)
            await asyncio.sleep(5)
            store.refuse = lambda call: "cut" if call.what == "put" else ""
            publisher.offer(B)
            await asyncio.sleep(PAUSE / 2)
            publisher.offer(A)  # as it was, but not as it is
            store.refuse = lambda _: ""
            if echoes:
                publisher.note(OWN, A)
                publisher.note(OWN, B)
            await asyncio.sleep(60)
            assert publisher.published
        return store

    assert virtually(work).held == {KEY: text(A)}


def test_what_is_wished_again_after_a_write_that_broke_off_is_written_again() -> None:
    """It may have taken away what was there, and the datastore has nothing new to tell."""

    async def work() -> FakeStore:
        store = FakeStore()
        async with publishing(store) as publisher:
            publisher.offer(A)
            await asyncio.sleep(5)
            store.refuse = lambda _: "cut"
            publisher.offer(None)
            await asyncio.sleep(0)
            await asyncio.sleep(PAUSE / 2)
            assert store.held == {}
            store.refuse = lambda _: ""
            publisher.offer(A)
            assert not publisher.published
            await asyncio.sleep(5)
            assert publisher.published
        return store

    assert virtually(work).held == {KEY: text(A)}


Move = tuple[str, IpsecNode | None]
VALUES = st.sampled_from([A, B, C, None])


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["offer", "wait", "others", "refuse", "cut"]), VALUES)),
    st.booleans(),
)
def test_in_the_end_it_is_there(moves: list[Move], batched: bool) -> None:
    """The datastore tells each state of the store, or only the last of several."""

    async def work() -> None:
        store = FakeStore()
        told: list[bytes | None] = [None]
        async with publishing(store) as publisher:

            def tell(call: Call) -> str:
                return ""

            def echo() -> None:
                now = store.held.get(KEY)
                if now != told[-1]:
                    told.append(now)
                    value = None
                    if now is not None:
                        ((_, decoded),) = decode_stored("IPsecNode", "", "n1", now)
                        assert isinstance(decoded, IpsecNode)
                        value = decoded
                    publisher.note(OWN, value)

            wish: IpsecNode | None = None
            for what, value in moves:
                store.refuse = tell
                if what == "offer":
                    wish = value
                    publisher.offer(wish)
                elif what == "others" and not batched:
                    # what we wrote a moment ago ourselves would not be told from our own
                    if value is None:
                        store.held.pop(KEY, None)
                    else:
                        store.held[KEY] = text(value)
                elif what in ("refuse", "cut"):
                    store.refuse = lambda _, what=what: what  # type: ignore[misc]
                    publisher.offer(wish)
                await asyncio.sleep(PAUSE / 3 if batched else 2 * PAUSE)
                if not batched:
                    echo()
            store.refuse = tell
            for _ in range(10):
                echo()
                publisher.offer(wish)
                await asyncio.sleep(RETRY + PAUSE)
            assert store.held.get(KEY) == (None if wish is None else text(wish))
            assert publisher.published
            count = len(store.calls)
            await asyncio.sleep(600)
            assert len(store.calls) == count

    virtually(work)


def test_without_etcd_a_file_takes_it(tmp_path: Path) -> None:
    file = tmp_path / "status/felixpy/v1/ipsecnodes/n1"

    async def work() -> None:
        async with publishing(DirectoryStatusStore(tmp_path)) as publisher:
            publisher.offer(None)
            await asyncio.sleep(5)
            assert not file.exists()
            publisher.offer(A)
            await asyncio.sleep(5)
            assert file.read_bytes() == text(A)
            seen = file.stat()
            publisher.note(OWN, None)  # the operator has not spread it yet
            await asyncio.sleep(5)
        async with publishing(DirectoryStatusStore(tmp_path)) as publisher:  # after a restart
            publisher.offer(A)
            await asyncio.sleep(5)
            assert file.stat() == seen
            peers = {"n2": IpsecPeering(2, 3)}
            publisher.offer(IpsecNode(peers=peers))
            await asyncio.sleep(5)
            assert b'"n2"' in file.read_bytes()
            publisher.offer(None)
            await asyncio.sleep(5)
            assert not file.exists()

    virtually(work)
