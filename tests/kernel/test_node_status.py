"""Who asks how a node is, in a real etcd: the answer stands in the resource, and nothing else of it
has changed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest

from felixpy.datastore.etcd_keys import resource_key
from felixpy.etcd.client import EtcdClient
from felixpy.etcd.errors import ContendedError
from felixpy.etcd.member import Interval, Member
from felixpy.etcd.revising import revise
from felixpy.etcd.settings import Endpoint, EtcdSettings
from felixpy.statusrep.etcd import EtcdStatusStore
from tests.kernel.etcd_lab import PORT, Cluster, within

pytestmark = pytest.mark.kernel

KEY = resource_key("CalicoNodeStatus", "n1")
SPEC = {"node": "n1", "classes": ["BGP"], "updatePeriodSeconds": 10}
T = TypeVar("T")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("etcd"), members=1) as cluster:
        yield cluster


def ask(cluster: Cluster, work: Callable[[EtcdClient, Member], Awaitable[T]]) -> T:
    async def connected() -> T:
        endpoint = Endpoint(cluster.address(1), PORT)
        client = EtcdClient(EtcdSettings((endpoint,), tls=False), "n1")
        try:
            return await work(client, await client.member())
        finally:
            client.close()

    with within(cluster.hosts[1]):
        return asyncio.run(connected())


async def value_of(member: Member, key: str) -> Any:
    pairs = (await member.range(Interval(key.encode()))).pairs
    return json.loads(pairs[0].value) if pairs else None


def test_transactions(cluster: Cluster) -> None:
    async def work(_: EtcdClient, member: Member) -> None:
        key = b"/test/key"
        assert await member.put_if(key, b"1", 0)
        assert not await member.put_if(key, b"2", 0)
        (pair,) = (await member.range(Interval(key))).pairs
        assert await member.put_if(key, b"2", pair.revision)
        assert not await member.put_if(key, b"3", pair.revision)
        assert not await member.delete_if(key, pair.revision)
        (pair,) = (await member.range(Interval(key))).pairs
        assert pair.value == b"2"
        assert await member.delete_if(key, pair.revision)
        assert (await member.range(Interval(key))).pairs == []
        assert not await member.put_if(key, b"4", pair.revision)

    ask(cluster, work)


def test_who_is_faster_loses_nothing(cluster: Cluster) -> None:
    async def work(_: EtcdClient, member: Member) -> None:
        key = b"/test/counter"
        await member.put(key, b"0")

        async def count() -> None:
            while True:
                try:
                    await revise(member, key, lambda old: str(int(old) + 1).encode())
                except ContendedError:
                    continue
                return

        await asyncio.gather(*(count() for _ in range(10)))
        (pair,) = (await member.range(Interval(key))).pairs
        assert pair.value == b"10"

    ask(cluster, work)


def test_an_answer_changes_nothing_else_and_makes_nothing_anew(cluster: Cluster) -> None:
    resource = {"metadata": {"name": "n1", "uid": "7"}, "spec": SPEC, "tomorrow": [1.5, None]}
    cluster.put(KEY, json.dumps(resource))

    async def work(client: EtcdClient, member: Member) -> None:
        store = EtcdStatusStore(client)
        for moment in ("2026-01-05T00:00:00Z", "2026-01-05T00:00:10Z"):
            status = {"lastUpdated": moment}
            assert await store.answer(KEY, b"{}", json.dumps(status).encode())
            assert await value_of(member, KEY) == {**resource, "status": status}
        await member.delete(KEY.encode())
        assert not await store.answer(KEY, b"{}", b"{}")
        assert await value_of(member, KEY) is None

    ask(cluster, work)


def test_a_role_for_bgp_suffices_for_it(cluster: Cluster) -> None:
    """A comparison asks for the right to read, a put for that to write."""
    cluster.put(KEY, json.dumps({"spec": SPEC}))
    cluster.ask_for_passwords("root")
    try:
        cluster.add_user("agent", "secret", KEY.rpartition("/")[0] + "/")

        async def work() -> None:
            endpoint = Endpoint(cluster.address(1), PORT)
            settings = EtcdSettings((endpoint,), tls=False, username="agent", password="secret")
            client = EtcdClient(settings, "n1")
            await client.member()
            assert await EtcdStatusStore(client).answer(KEY, b"{}", b'{"a":1}')
            client.close()

        with within(cluster.hosts[1]):
            asyncio.run(work())
    finally:
        cluster.ask_for_no_passwords()
