"""The node's public keys reach its Node, and nothing else does; whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from msgspec.structs import asdict
from structlog.testing import capture_logs

from calc_graph.model import Node, NodeKey
from felixpy.etcd.client import EtcdClient
from felixpy.etcd.settings import Endpoint, EtcdSettings
from felixpy.statusrep.conditions import Condition
from felixpy.statusrep.directory import DirectoryStatusStore
from felixpy.statusrep.etcd import EtcdStatusStore
from felixpy.statusrep.store import StatusStore
from felixpy.wireguard.publishing import PAUSE, RETRY, WRITE_SECONDS, NodePublisher, PublishedKey
from tests.felixpy.etcd.fake_etcd import Serving, Store
from tests.felixpy.statusrep.fake_store import Call, FakeStore
from tests.felixpy.statusrep.virtual_time import virtually

NODE = "/calico/resources/v3/projectcalico.org/nodes/n1"
OWN = NodeKey("n1")
A, B, C = ("ABC"[n] * 42 + "E=" for n in range(3))
Texts = dict[str, str]


@contextlib.asynccontextmanager
async def publishing(store: StatusStore) -> AsyncIterator[NodePublisher]:
    publisher = NodePublisher(store, "n1")
    try:
        yield publisher
        publisher.check()
    finally:
        await publisher.close()


def revisions(store: FakeStore) -> list[tuple[float, Texts]]:
    return [(call.at, json.loads(call.value)) for call in store.calls]


V4, V6 = "wireguardPublicKey", "wireguardPublicKeyV6"


def test_a_key_is_published_once_and_again_when_others_change_it() -> None:
    async def work() -> FakeStore:
        store = FakeStore()
        async with publishing(store) as publisher:
            publisher.offer({})
            await asyncio.sleep(5)
            publisher.offer({4: A})
            await asyncio.sleep(5)
            publisher.note(OWN, Node(wireguard_key=A))
            publisher.offer({4: A})
            await asyncio.sleep(5)
            assert publisher.keys() == (PublishedKey(4, A, True),)
            publisher.note(OWN, Node(wireguard_key=B))
            await asyncio.sleep(5)
            assert publisher.keys() == (PublishedKey(4, A, False),)
        return store

    with capture_logs() as logs:
        store = virtually(work)
    assert revisions(store) == [(5, {V4: A}), (15, {V4: A})]
    published = {"event": "wireguard.key_published", "family": 4, "key": A, "log_level": "info"}
    assert logs == [published] * 2


def test_each_family_is_by_itself_and_what_is_not_known_stays() -> None:
    async def work() -> FakeStore:
        store = FakeStore()
        async with publishing(store) as publisher:
            publisher.note(OWN, Node(wireguard_key=A, wireguard_key_v6=B))
            publisher.offer({6: C})
            await asyncio.sleep(5)
            publisher.note(OWN, Node(wireguard_key=A, wireguard_key_v6=C))
            publisher.offer({4: "", 6: C})
            await asyncio.sleep(5)
            publisher.note(OWN, Node(wireguard_key_v6=C))
            publisher.offer({4: B, 6: ""})
            await asyncio.sleep(5)
        return store

    assert revisions(virtually(work)) == [(0, {V6: C}), (5, {V4: ""}), (10, {V4: B, V6: ""})]


STORED: list[tuple[str, Node | None, Texts]] = [
    ("the same", Node(wireguard_key=A), {}),
    ("the same in other words", Node(wireguard_key=A[:42] + "F="), {}),
    ("another", Node(wireguard_key=B), {V4: A}),
    ("none", Node(), {V4: A}),
    ("no key at all", Node(wireguard_key="?"), {V4: A}),
    ("no Node", None, {V4: A}),
]


@pytest.mark.parametrize(("node", "texts"), [c[1:] for c in STORED], ids=[c[0] for c in STORED])
def test_what_the_node_says_already_is_not_told_again(node: Node | None, texts: Texts) -> None:
    async def work() -> FakeStore:
        store = FakeStore()
        async with publishing(store) as publisher:
            publisher.note(OWN, node)
            publisher.note(NodeKey("n2"), Node(wireguard_key=C))
            publisher.offer({4: A, 6: ""})
            await asyncio.sleep(60)
        return store

    assert [found for _, found in revisions(virtually(work))] == ([texts] if texts else [])


def test_a_malformed_key_of_ours_is_withdrawn_too() -> None:
    async def work() -> FakeStore:
        store = FakeStore()
        async with publishing(store) as publisher:
            publisher.note(OWN, Node(wireguard_key="?"))
            publisher.offer({4: ""})
            await asyncio.sleep(5)
        return store

    assert revisions(virtually(work)) == [(0, {V4: ""})]


def test_a_node_that_is_not_there_is_waited_for() -> None:
    async def work() -> list[float]:
        store = FakeStore()
        store.gone.add(NODE)
        async with publishing(store) as publisher:
            publisher.offer({4: A})
            await asyncio.sleep(PAUSE + 2 * RETRY + 0.1)
            text = "there is no Node n1 to publish WireGuard's key and condition in"
            assert publisher.problems == {"Node status": text}
            store.gone.clear()
            publisher.note(OWN, Node(ipv4="192.0.2.1/24"))
            await asyncio.sleep(PAUSE)
            assert publisher.problems == {}
            await asyncio.sleep(60)
        return [at for at, _ in revisions(store)]

    at = virtually(work)
    assert at[:4] == [0, PAUSE, PAUSE + RETRY, PAUSE + 2 * RETRY]
    assert len(at) == 5
    assert at[3] < at[4] <= at[3] + PAUSE


REFUSALS: list[tuple[str, str]] = [
    ("etcd: permission denied", "etcd: permission denied"),
    ("hang", f"no answer in {WRITE_SECONDS:g} s"),
]


@pytest.mark.parametrize(("answer", "said"), REFUSALS)
def test_what_cannot_be_written_is_said_once_and_tried_again(answer: str, said: str) -> None:
    async def work() -> int:
        store = FakeStore()
        store.refuse = lambda _: answer
        async with publishing(store) as publisher:
            publisher.offer({4: A})
            await asyncio.sleep(30)
            assert publisher.problems == {"Node status": said}
            store.refuse = lambda _: ""
            await asyncio.sleep(RETRY + WRITE_SECONDS)
            assert publisher.problems == {}
        return len(store.calls)

    with capture_logs() as logs:
        assert virtually(work) > 3
    events = [each["event"] for each in logs]
    assert events == [
        "wireguard_key.unwritten",
        "wireguard_key.recovered",
        "wireguard.key_published",
    ]


def test_what_is_wished_no_more_is_no_problem_any_more() -> None:
    async def work() -> None:
        store = FakeStore()
        store.refuse = lambda _: "no"
        async with publishing(store) as publisher:
            publisher.offer({4: A})
            await asyncio.sleep(1)
            assert publisher.problems
            publisher.offer({})
            await asyncio.sleep(RETRY)
            assert publisher.problems == {}

    virtually(work)


def test_another_agent_by_our_name_is_no_race() -> None:
    async def work() -> int:
        store = FakeStore()
        async with publishing(store) as publisher:
            publisher.offer({4: A})
            for turn in range(1000):
                publisher.note(OWN, Node(wireguard_key=(B, C)[turn % 2]))
                await asyncio.sleep(0.01)
        return len(store.calls)

    assert virtually(work) <= 1 + 10 / PAUSE


LACKING = Condition("False", "Lacks", "the kernel has none")
HELD = Condition("False", "Held", "somebody has the port")
READY = Condition("True", "Key", "there is one")
T = "WireguardReady"


def test_a_condition_is_written_with_the_key_and_when_it_changes() -> None:
    async def work() -> FakeStore:
        store = FakeStore()
        async with publishing(store) as publisher:
            publisher.offer({4: ""}, {T: HELD})
            await asyncio.sleep(5)
            publisher.offer({4: ""}, {T: HELD})
            await asyncio.sleep(5)
            publisher.offer({4: A}, {T: READY})
            await asyncio.sleep(5)
            publisher.note(OWN, Node(wireguard_key=A))
            publisher.offer({4: A}, {})  # a new dataplane knows nothing yet
            await asyncio.sleep(5)
            publisher.offer({4: A}, {T: READY})
            await asyncio.sleep(5)
            publisher.offer({4: ""}, {T: None})
            await asyncio.sleep(5)
        return store

    found = revisions(virtually(work))
    assert found == [(0, {T: "Held"}), (10, {V4: A, T: "Key"}), (25, {V4: "", T: None})]


def test_a_condition_waits_for_the_node_and_is_written_into_one_made_anew() -> None:
    async def work() -> FakeStore:
        store = FakeStore()
        store.gone.add(NODE)
        async with publishing(store) as publisher:
            publisher.offer({4: ""}, {T: LACKING})
            await asyncio.sleep(PAUSE)
            assert "there is no Node n1" in publisher.problems["Node status"]
            store.gone.clear()
            publisher.note(OWN, Node())
            await asyncio.sleep(60)
            assert publisher.problems == {}
            store.calls.clear()
            store.gone.add(NODE)
            publisher.note(OWN, None)
            await asyncio.sleep(PAUSE / 2)
            assert publisher.problems
            store.gone.clear()
            await asyncio.sleep(60)
            assert publisher.problems == {}
        return store

    assert [texts for _, texts in revisions(virtually(work))] == [{T: "Lacks"}] * 2


def test_nothing_to_say_needs_no_node() -> None:
    async def work() -> FakeStore:
        store = FakeStore()
        store.gone.add(NODE)
        async with publishing(store) as publisher:
            publisher.offer({4: "", 6: ""}, {T: None})
            await asyncio.sleep(60)
            assert publisher.problems == {}
        return store

    with capture_logs() as logs:
        assert len(virtually(work).calls) == 1  # perhaps an agent before has said something
    assert logs == []


def test_a_node_that_goes_while_it_is_written_to_is_written_to_again() -> None:
    async def work() -> int:
        store = FakeStore()
        async with publishing(store) as publisher:

            def goes(_: Call) -> str:
                store.refuse = lambda _: ""
                publisher.note(OWN, None)
                return ""

            store.refuse = goes
            publisher.offer({}, {T: LACKING})
            await asyncio.sleep(60)
        return len(store.calls)

    assert virtually(work) == 2


# ---------------------------------------------------------------- etcd


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def test_in_etcd_all_but_the_key_stays_to_the_byte() -> None:
    store = Store()
    before = '{"kind":"Node","spec":{"x": 1.50},"status":{"podCIDRs":["10.0.0.0/24" ]},"more":[]}'
    store.put(NODE, before)
    async with Serving(store) as serving:
        settings = EtcdSettings((Endpoint("127.0.0.1", serving.port),), tls=False)
        client = EtcdClient(settings, "n1")
        await client.member()
        try:
            async with publishing(EtcdStatusStore(client)) as publisher:
                publisher.offer({4: A})
                revision = store.revision
                await until(lambda: store.revision > revision)
                publisher.note(OWN, Node(wireguard_key=A))
            after = store.at(store.revision)[NODE.encode()].value
            assert after == before.replace(" ]", f' ],"{V4}":"{A}"').encode()
            async with publishing(EtcdStatusStore(client)) as publisher:  # of a later agent
                publisher.note(OWN, Node(wireguard_key=A))
                publisher.offer({4: ""})
                revision = store.revision
                await until(lambda: store.revision > revision)
            after = store.at(store.revision)[NODE.encode()].value
            assert after == before.replace(" ]", f' ],"{V4}":""').encode()
            async with publishing(EtcdStatusStore(client)) as publisher:
                store.delete(NODE)
                publisher.offer({4: A})
                await until(lambda: bool(publisher.problems))
            assert store.at(store.revision) == {}
        finally:
            client.close()


async def test_in_etcd_a_condition_is_written_once_by_one_agent_after_another() -> None:
    store = Store()
    store.put(NODE, '{"kind":"Node","status":{"conditions":[{"type":"Ready" ,"n":1.50}],"x":[]}}')
    async with Serving(store) as serving:
        settings = EtcdSettings((Endpoint("127.0.0.1", serving.port),), tls=False)
        client = EtcdClient(settings, "n1")
        await client.member()
        try:
            revision = store.revision
            async with publishing(EtcdStatusStore(client)) as publisher:
                publisher.offer({4: A}, {T: READY})
                await until(lambda: store.revision > revision)
            after = store.at(store.revision)[NODE.encode()].value.decode()
            assert after.startswith(
                '{"kind":"Node","status":{"conditions":[{"type":"Ready" ,"n":1.50},'
                f'{{"type":"{T}","status":"True","reason":"Key","message":"there is one",'
            )
            assert after.endswith(f'}}],"x":[],"{V4}":"{A}"}}}}')
            async with publishing(EtcdStatusStore(client)) as publisher:  # of a later agent
                publisher.note(OWN, Node(wireguard_key=A))
                publisher.offer({4: A}, {T: READY})
                await asyncio.sleep(0.2)
                assert store.revision == revision + 1
                publisher.offer({4: A}, {T: None})
                await until(lambda: store.revision > revision + 1)
            last = store.at(store.revision)[NODE.encode()].value.decode()
            kept = '"conditions":[{"type":"Ready" ,"n":1.50}],"x":[]'
            assert last == f'{{"kind":"Node","status":{{{kept},"{V4}":"{A}"}}}}'
        finally:
            client.close()


# ---------------------------------------------------------------- a directory


def test_without_etcd_a_file_takes_the_keys(tmp_path: Path) -> None:
    file = tmp_path / "status" / NODE.removeprefix("/calico/")

    def told() -> dict[str, str]:
        found = json.loads(file.read_text())
        assert found.pop("status") is not None
        assert found == {
            "apiVersion": "projectcalico.org/v3",
            "kind": "Node",
            "metadata": {"name": "n1"},
        }
        return dict(json.loads(file.read_text())["status"])

    async def work() -> None:
        async with publishing(DirectoryStatusStore(tmp_path)) as publisher:
            publisher.offer({4: "", 6: ""})
            await asyncio.sleep(5)
            assert not file.exists()  # there is nothing to say
            publisher.offer({4: A})
            await asyncio.sleep(5)
            assert told() == {V4: A}
            inode = file.stat().st_ino
            assert publisher.keys() == (PublishedKey(4, A, False),)
            publisher.note(OWN, Node(wireguard_key=A))  # the operator has spread it
            await asyncio.sleep(5)
            assert publisher.keys() == (PublishedKey(4, A, True),)
            assert file.stat().st_ino == inode
        async with publishing(DirectoryStatusStore(tmp_path)) as publisher:  # after a restart
            publisher.note(OWN, Node())
            publisher.offer({4: "", 6: B})
            await asyncio.sleep(5)
            assert told() == {V4: "", V6: B}
            publisher.offer({4: "", 6: B}, {T: LACKING})
            await asyncio.sleep(5)
            (condition,) = json.loads(file.read_text())["status"]["conditions"]
            assert condition.pop("lastTransitionTime").endswith("Z")
            assert condition == {"type": T, **asdict(LACKING)}
            publisher.offer({4: "", 6: B}, {T: None})
            await asyncio.sleep(5)
            assert told() == {V4: "", V6: B}
            file.write_text("junk")
            publisher.note(OWN, Node(wireguard_key_v6=B))
            await asyncio.sleep(5)
            assert told() == {V6: B}

    virtually(work)
