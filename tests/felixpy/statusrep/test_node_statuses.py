"""Who asks how a node is gets an answer, at the pace that was asked for."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from calc_graph.bgp.resources import NodeStatusKey, NodeStatusRequest, StatusClass
from felixpy.etcd.client import EtcdClient
from felixpy.etcd.settings import Endpoint, EtcdSettings
from felixpy.statusrep import node_facts as nf
from felixpy.statusrep.directory import DirectoryStatusStore
from felixpy.statusrep.etcd import EtcdStatusStore
from felixpy.statusrep.node_statuses import FACTS_SECONDS, RETRY, NodeStatuses
from felixpy.statusrep.store import StatusUnwritableError
from tests.felixpy.etcd.fake_etcd import Serving, Store
from tests.felixpy.statusrep.fake_store import Call, FakeStore
from tests.felixpy.statusrep.virtual_time import now, virtually

DIRECTORY = "/calico/resources/v3/projectcalico.org/caliconodestatuses/"
A, B = NodeStatusKey("a"), NodeStatusKey("b")
MIDNIGHT = datetime.datetime(2026, 1, 5, tzinfo=datetime.UTC)
EAST = datetime.timezone(datetime.timedelta(hours=3))

_READY = nf.Daemon("Ready", "2.0.12", "10.0.0.1")
FACTS = nf.NodeFacts(
    agent=nf.AgentFacts(_READY, _READY),
    bgp=nf.BgpFacts(1, 0, 0, 0, (nf.PeerFacts("10.0.0.2", "NodeMesh", "Established", "12:00"),)),
    routes=nf.RoutesFacts(
        (
            nf.RouteFacts(
                "FIB", "10.65.2.0/26", "10.0.0.2", "eth0", nf.LearnedFrom("NodeMesh", "10.0.0.2")
            ),
        )
    ),
)


class Provider:
    def __init__(self) -> None:
        self.asked: list[tuple[float, list[str]]] = []
        self.fails = ""

    async def facts(self, classes: Collection[StatusClass]) -> nf.NodeFacts:
        self.asked.append((now(), list(classes)))
        if self.fails == "hang":
            await asyncio.Event().wait()
        if self.fails:
            raise nf.FactsError(self.fails)
        return FACTS


def request(period: int = 10, *classes: StatusClass, node: str = "n1") -> NodeStatusRequest:
    return NodeStatusRequest(node, classes or ("Agent",), period)


@contextlib.asynccontextmanager
async def telling(store: Any, provider: Provider) -> AsyncIterator[NodeStatuses]:
    statuses = NodeStatuses(
        store, "n1", now=lambda: (MIDNIGHT + datetime.timedelta(seconds=now())).astimezone(EAST)
    )
    try:
        yield statuses
        statuses.check()
    finally:
        await statuses.close()


def answers(store: FakeStore) -> list[tuple[float, str]]:
    return [
        (call.at, call.key.removeprefix(DIRECTORY)) for call in store.calls if call.what == "answer"
    ]


def test_each_is_answered_at_its_own_pace_and_what_is_due_together_is_asked_once() -> None:
    async def work() -> tuple[FakeStore, Provider]:
        store, provider = FakeStore(), Provider()
        async with telling(store, provider) as statuses:
            statuses.note(A, request(10))
            statuses.note(B, request(25, "BGP", "Routes"))
            statuses.note(NodeStatusKey("off"), request(0))
            statuses.note(NodeStatusKey("elsewhere"), request(5, node="n2"))
            await asyncio.sleep(5)
            assert store.calls == []  # the datastore has not said all it knows
            statuses.settle(provider)
            await asyncio.sleep(29)
        return store, provider

    store, provider = virtually(work)
    assert answers(store) == [(5, "a"), (5, "b"), (15, "a"), (25, "a"), (30, "b")]
    assert provider.asked[0] == (5, ["Agent", "BGP", "Routes"])
    assert provider.asked[1] == (15, ["Agent"])


def test_what_is_told() -> None:
    async def work() -> list[Call]:
        store, provider = FakeStore(), Provider()
        async with telling(store, provider) as statuses:
            statuses.note(A, request(10, "Agent"))
            statuses.note(B, request(10, "BGP", "Routes"))
            statuses.settle(provider)
            await asyncio.sleep(1)
        return [call for call in store.calls if call.what == "answer"]

    agent, rest = (json.loads(call.value) for call in virtually(work))
    daemon = {"state": "Ready", "version": "2.0.12", "routerID": "10.0.0.1"}
    assert agent == {
        "lastUpdated": "2026-01-05T00:00:00Z",
        "agent": {"birdV4": daemon, "birdV6": daemon},
    }
    assert rest == {
        "lastUpdated": "2026-01-05T00:00:00Z",
        "bgp": {
            "numberEstablishedV4": 1,
            "numberEstablishedV6": 0,
            "numberNotEstablishedV4": 0,
            "numberNotEstablishedV6": 0,
            "peersV4": [
                {
                    "peerIP": "10.0.0.2",
                    "type": "NodeMesh",
                    "state": "Established",
                    "since": "12:00",
                }
            ],
            "peersV6": [],
        },
        "routes": {
            "routesV4": [
                {
                    "type": "FIB",
                    "destination": "10.65.2.0/26",
                    "gateway": "10.0.0.2",
                    "interface": "eth0",
                    "learnedFrom": {"sourceType": "NodeMesh", "peerIP": "10.0.0.2"},
                }
            ]
        },
    }


def test_a_request_that_changes_is_answered_at_once_and_one_that_goes_is_not() -> None:
    async def work() -> FakeStore:
        store, provider = FakeStore(), Provider()
        async with telling(store, provider) as statuses:
            statuses.note(A, request(100))
            statuses.settle(provider)
            await asyncio.sleep(10)
            statuses.note(A, request(100))  # no other one
            await asyncio.sleep(10)
            statuses.note(A, request(50))
            await asyncio.sleep(10)
            statuses.note(A, None)
            await asyncio.sleep(100)
            statuses.note(A, request(50))
            await asyncio.sleep(1)
        return store

    store = virtually(work)
    assert answers(store) == [(0, "a"), (20, "a"), (130, "a")]
    assert [call.at for call in store.calls if call.what == "keep"] == [0, 30]


@pytest.mark.parametrize(
    ("fails", "said"),
    [("BIRD is not there", "BIRD is not there"), ("hang", f"not known within {FACTS_SECONDS:g} s")],
)
def test_what_is_not_known_is_a_problem_and_asked_again(fails: str, said: str) -> None:
    async def work() -> None:
        store, provider = FakeStore(), Provider()
        async with telling(store, provider) as statuses:
            provider.fails = fails
            statuses.note(A, request(3600))
            statuses.settle(provider)
            await asyncio.sleep(FACTS_SECONDS + 1)
            assert statuses.problem == said
            provider.fails = ""
            await asyncio.sleep(RETRY)
            assert statuses.problem == ""
            assert len(answers(store)) == 1

    with capture_logs() as logs:
        virtually(work)
    assert [entry["event"] for entry in logs] == ["node_status.unwritten", "node_status.recovered"]


def test_what_cannot_be_written_is_a_problem_and_tried_again() -> None:
    async def work() -> None:
        store, provider = FakeStore(), Provider()
        async with telling(store, provider) as statuses:
            store.refuse = lambda call: "hang" if call.what == "answer" else "full"
            statuses.note(A, request(3600))
            statuses.settle(provider)
            await asyncio.sleep(RETRY)
            assert statuses.problem == "full (and 1 more)"
            store.refuse = lambda call: ""
            await asyncio.sleep(2 * RETRY)
            assert statuses.problem == ""
            assert answers(store)[-1][1] == "a"
            # whose trouble it is may go, and takes it along
            store.refuse = lambda call: "full" if call.what == "answer" else ""
            statuses.note(B, request(10))
            await asyncio.sleep(1)
            assert statuses.problem == "full"
            statuses.note(B, None)
            await asyncio.sleep(1)
            assert statuses.problem == ""

    with capture_logs():
        virtually(work)


def test_a_request_that_is_gone_while_it_is_answered_is_no_trouble() -> None:
    async def work() -> None:
        store, provider = FakeStore(), Provider()
        async with telling(store, provider) as statuses:
            store.gone.add(f"{DIRECTORY}a")
            statuses.note(A, request(10))
            statuses.settle(provider)
            await asyncio.sleep(1)
            assert statuses.problem == ""

    virtually(work)


# ---------------------------------------------------------------- where it goes


async def test_beside_manifests_the_answer_is_a_copy_of_the_resource(tmp_path: Path) -> None:
    store = DirectoryStatusStore(tmp_path)
    left = tmp_path / "status/resources/v3/projectcalico.org/caliconodestatuses/left"
    left.parent.mkdir(parents=True)
    left.write_text("{}")
    async with telling(store, Provider()) as statuses:
        statuses.note(A, request(3600))
        statuses.settle(Provider())
        async with asyncio.timeout(10):
            while not (left.parent / "a").exists():  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        told = json.loads((left.parent / "a").read_text())
        assert told.pop("status")["agent"]["birdV4"]["state"] == "Ready"
        assert told == {
            "apiVersion": "projectcalico.org/v3",
            "kind": "CalicoNodeStatus",
            "metadata": {"name": "a"},
            "spec": {"node": "n1", "classes": ["Agent"], "updatePeriodSeconds": 3600},
        }
        assert not left.exists()
        statuses.note(A, None)
        async with asyncio.timeout(10):
            while left.parent.exists():  # noqa: ASYNC110
                await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def etcd(store: Store) -> AsyncIterator[EtcdStatusStore]:
    async with Serving(store) as serving:
        settings = EtcdSettings((Endpoint("127.0.0.1", serving.port),), tls=False)
        client = EtcdClient(settings, "n1")
        await client.member()
        try:
            yield EtcdStatusStore(client)
        finally:
            client.close()


async def test_in_etcd_everything_but_the_status_stays_as_it_is() -> None:
    store, key = Store(), f"{DIRECTORY}a"
    before = (
        '{"kind":"CalicoNodeStatus","metadata":{"name":"a","uid":"1","tomorrow":1.50},'
        '"spec":{"node":"n1", "x":null},"status":{"old":true},"more":[]}'
    )
    store.put(key, before)
    async with etcd(store) as statuses:
        assert await statuses.answer(key, b"{}", b'{"new":true}')
        (event,) = store.at(store.revision).values()
        assert event.value is not None
        assert event.value.decode() == before.replace('{"old":true}', '{"new":true}')


async def test_in_etcd_a_deleted_resource_does_not_come_back() -> None:
    store, key = Store(), f"{DIRECTORY}a"
    async with etcd(store) as statuses:
        assert not await statuses.answer(key, b"{}", b"{}")
        store.put(key, "{}")
        store.before_commit = lambda: store.delete(key)
        assert not await statuses.answer(key, b"{}", b'{"new":true}')
        await statuses.keep_answers(DIRECTORY, ())
    assert store.at(store.revision) == {}


@pytest.mark.parametrize("stored", ["[]", "{", "7"])
async def test_in_etcd_what_is_no_resource_is_left_alone(stored: str) -> None:
    store, key = Store(), f"{DIRECTORY}a"
    store.put(key, stored)
    async with etcd(store) as statuses:
        with pytest.raises(StatusUnwritableError, match="no resource"):
            await statuses.answer(key, b"{}", b"{}")
        await statuses.keep_answers(DIRECTORY, ())
    assert store.at(store.revision)[key.encode()].value == stored.encode()
