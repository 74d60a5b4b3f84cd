"""The etcd source against an etcd that does what a real one does rarely: whatever happens, what was
told in the end is what somebody who has just come is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Callable

import pytest

from calc_graph.model import Key, Value
from felixpy.datastore import etcd_source
from felixpy.datastore.etcd_source import EtcdSource
from felixpy.etcd import client as etcd_client
from felixpy.etcd import member
from felixpy.etcd import member as etcd_member
from felixpy.etcd.channel import EtcdChannel, Hearing
from felixpy.etcd.client import EtcdClient
from felixpy.etcd.settings import Endpoint, EtcdSettings
from tests.felixpy.etcd.fake_etcd import Event, Serving, Store

SETS = "/calico/resources/v3/projectcalico.org/globalnetworksets/"
POOLS = "/calico/resources/v3/projectcalico.org/ippools/"


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_source, "FIRST_DELAY", 0.001)
    monkeypatch.setattr(etcd_source, "LAST_DELAY", 0.01)
    monkeypatch.setattr(member, "PAGE", 3)


def network_set(number: int) -> str:
    return json.dumps({"spec": {"nets": [f"192.0.2.{number}/32"]}})


class Told:
    """A sink."""

    def __init__(self) -> None:
        self.state: dict[Key, Value] = {}
        self.in_sync = False
        self.twice: list[Key] = []

    async def put(self, key: Key, value: Value | None) -> None:
        await asyncio.sleep(0)
        if value is None:
            del self.state[key]
        else:
            if self.state.get(key) == value:
                self.twice.append(key)
            self.state[key] = value

    def mark_in_sync(self) -> None:
        assert not self.in_sync
        self.in_sync = True


def settings(*members: Serving, **more: str) -> EtcdSettings:
    endpoints = tuple(Endpoint("127.0.0.1", member.port) for member in members)
    return EtcdSettings(endpoints, tls=False, **more)


@contextlib.asynccontextmanager
async def following(*members: Serving, **more: str) -> AsyncIterator[tuple[EtcdSource, Told]]:
    source, told = EtcdSource(EtcdClient(settings(*members, **more), "n")), Told()
    task = asyncio.create_task(source.run(told))
    try:
        yield source, told
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(ask: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not ask():  # noqa: ASYNC110 - of what nobody tells
            await asyncio.sleep(0.001)


async def fresh(member: Serving, **more: str) -> dict[Key, Value]:
    async with following(member, **more) as (_, told):
        await until(lambda: told.in_sync)
        return told.state


async def ends_as_fresh(member: Serving, told: Told, **more: str) -> None:
    expected = await fresh(member, **more)
    await until(lambda: told.in_sync and told.state == expected)


@pytest.fixture
def store() -> Store:
    store = Store()
    for number in range(10):
        store.put(f"{SETS}s{number}", network_set(number))
    return store


async def test_what_changes_between_two_pages_is_told_by_the_watch(store: Store) -> None:
    changes = iter([f"{SETS}s0", f"{SETS}s9", f"{SETS}s5"])

    def change() -> None:
        if key := next(changes, None):
            store.delete(key)
            store.put(f"{key}-anew", network_set(77))

    async with Serving(store) as member, following(member) as (_, told):
        store.before_page = change
        await until(lambda: told.in_sync)
        await ends_as_fresh(member, told)
        assert len(told.state) == 11  # the built-in profile too


async def test_compacted_between_two_pages(store: Store) -> None:
    pages = 0

    def compact() -> None:
        nonlocal pages
        pages += 1
        if pages in (14, 15):
            store.delete(f"{SETS}s{pages - 14}")
            store.compact()

    store.before_page = compact
    async with Serving(store) as member, following(member) as (_, told):
        await until(lambda: told.in_sync)
        await ends_as_fresh(member, told)
        assert pages > 15


@pytest.mark.parametrize("broken_after", range(16, 22))
async def test_a_watch_that_breaks_between_two_parts_of_a_message_leaves_no_gap(
    store: Store, broken_after: int
) -> None:
    """There are 16 ranges, each of which is confirmed by a message of its own."""
    async with Serving(store, fragment=2) as member, following(member) as (_, told):
        await until(lambda: told.in_sync)
        await member.stop()
        store.put_together({f"{SETS}s{n}": network_set(n + 100) for n in range(7)})
        store.put_together({f"{SETS}s{n}": None for n in range(7, 10)})
        store.put_together({f"{POOLS}p": json.dumps({"spec": {"cidr": "10.65.0.0/16"}})})
        member.messages = broken_after
        await member.start()
        await until(lambda: member.messages == 0)
        member.messages = 1 << 30
        await ends_as_fresh(member, told)


def taken_back(store: Store) -> None:
    store.history, store.revision = store.history[:5], store.history[4].revision


def taken_back_and_led_anew(store: Store) -> None:
    del store.history[5:]
    store.term = 1
    for number in range(20, 30):
        store.put(f"{SETS}s{number}", network_set(number))


def written_otherwise(store: Store) -> None:
    """As far as it was, and further, but by another way."""
    del store.history[5:]
    store.history += [
        Event(number, f"{SETS}t{number}".encode(), network_set(number).encode())
        for number in range(7, 40)
    ]
    store.revision = 40


def a_deletion_never_was(store: Store) -> None:
    """What came before it is as it was."""
    del store.history[-1]
    store.history += [
        Event(number, f"{SETS}t{number}".encode(), network_set(number).encode())
        for number in range(12, 40)
    ]
    store.revision = 40


def another_cluster(store: Store) -> None:
    store.cluster = 8
    written_otherwise(store)


def compacted(store: Store) -> None:
    store.delete(f"{SETS}s3")
    store.delete(f"{SETS}s9")  # what was seen last
    store.compact()


@pytest.mark.parametrize(
    "happens",
    [
        taken_back,
        taken_back_and_led_anew,
        written_otherwise,
        a_deletion_never_was,
        another_cluster,
        compacted,
    ],
)
async def test_a_history_that_does_not_go_on_is_listed_anew(
    store: Store, happens: Callable[[Store], None]
) -> None:
    async with Serving(store) as member, following(member) as (_, told):
        await until(lambda: told.in_sync)
        store.delete(f"{SETS}s6")
        await until(lambda: len(told.state) == 10)
        await member.stop()
        happens(store)
        await member.start()
        await ends_as_fresh(member, told)
        store.put(f"{SETS}later", network_set(99))
        await ends_as_fresh(member, told)
        assert told.twice == []


async def test_a_kind_that_may_not_be_read_is_a_problem_and_no_kind_that_is_absent(
    store: Store,
) -> None:
    store.denied.add(POOLS.encode())
    async with Serving(store) as member, following(member) as (source, told):
        await until(lambda: "etcd" in source.problems.current)
        assert "permission denied" in source.problems.current["etcd"]
        assert not told.in_sync
        store.denied.clear()
        await ends_as_fresh(member, told)
        await until(lambda: not source.problems.current)


async def test_a_token_that_has_expired_is_exchanged(store: Store) -> None:
    store.tokens = set()
    user = {"username": "agent", "password": "secret"}
    pages = 0

    def expire() -> None:
        nonlocal pages
        pages += 1
        if pages in (5, 14):
            store.tokens.clear()

    store.before_page = expire
    async with Serving(store) as member, following(member, **user) as (_, told):
        await until(lambda: told.in_sync)
        assert store.logins == 3
        store.before_page = lambda: None
        store.tokens.clear()  # the watch goes on without
        store.put(f"{SETS}later", network_set(99))
        await ends_as_fresh(member, told, **user)


async def test_a_member_without_a_leader_is_left_for_another(store: Store) -> None:
    async with Serving(store) as one, Serving(store) as other:
        one.leaderless = True
        async with following(one, other) as (source, told):
            await until(lambda: told.in_sync)
            assert source.location.endswith(str(other.port))
        other.leaderless = True
        async with following(one, other) as (source, told):
            await until(lambda: "no leader" in source.problems.current.get("etcd", ""))
            assert not told.in_sync


async def test_a_member_that_says_nothing_is_left_for_another(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(etcd_member, "_PATIENCE", etcd_member.Patience(0.05, 0.05))
    async with Serving(store) as one, Serving(store) as other, following(one, other) as (_, told):
        await until(lambda: told.in_sync and one.watches + other.watches == 1)
        used, unused = (one, other) if one.watches else (other, one)
        used.silent = True
        store.put(f"{SETS}later", network_set(99))
        await ends_as_fresh(unused, told)
        assert unused.watches > 0


async def test_a_member_whose_host_acknowledges_nothing_is_left_for_another(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(etcd_member, "_DEAF_SECONDS", 0.05)
    gone = 0

    def hearing(channel: EtcdChannel) -> Hearing:
        return Hearing(1.0, asked=True) if channel._port == gone else Hearing(0.04, asked=True)

    monkeypatch.setattr(EtcdChannel, "hearing", hearing)
    async with Serving(store) as one, Serving(store) as other, following(one, other) as (_, told):
        await until(lambda: told.in_sync and one.watches + other.watches == 1)
        used, unused = (one, other) if one.watches else (other, one)
        gone = used.port
        await until(lambda: unused.watches == 1)
        store.put(f"{SETS}later", network_set(99))
        await ends_as_fresh(unused, told)


async def test_how_a_peer_is_heard(store: Store) -> None:
    async with Serving(store) as member:
        channel = EtcdChannel(Endpoint("127.0.0.1", member.port), None, alone=False)
        assert channel.hearing() == Hearing(0.0, asked=False)
        await channel.__connect__()
        assert 0.0 <= channel.hearing().silent_seconds < 10.0
        assert channel.lost_because is None
        channel.close()
        await asyncio.sleep(0)
        assert channel.hearing() == Hearing(0.0, asked=False)
        with pytest.raises(ConnectionResetError):
            await channel.__connect__()


async def test_a_watch_that_has_lasted_begins_the_delays_anew(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    delays: list[float] = []

    def draw(least: float, _: float) -> float:
        delays.append(source._delay)
        return least

    monkeypatch.setattr(etcd_source, "PEACE", 0.0)
    monkeypatch.setattr(random, "uniform", draw)
    async with Serving(store) as member, following(member) as (source, told):
        await until(lambda: told.in_sync and member.watches == 1)
        for _ in range(2):
            await member.stop()
            await until(lambda: len(delays) >= 6)
            assert delays[:6] == [0.001, 0.002, 0.004, 0.008, 0.01, 0.01]
            await member.start()
            await until(lambda: not source.problems.current)
            delays.clear()


async def test_home_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_client, "_AWAY_SECONDS", 0.02)
    async with (
        Serving(store) as one,
        Serving(store) as other,
        following(one, other) as (source, told),
    ):
        await until(lambda: told.in_sync and one.watches + other.watches > 0)
        home, away = (one, other) if source.location.endswith(str(one.port)) else (other, one)
        await home.stop()
        store.put(f"{SETS}later", network_set(99))
        await until(lambda: len(told.state) == 12)
        assert away.watches > 0
        before = home.watches
        await home.start()
        await until(lambda: home.watches > before)
        assert source.location.endswith(str(home.port))
        store.put(f"{SETS}s1", network_set(98))
        await ends_as_fresh(home, told)


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_happens_the_end_is_what_a_fresh_list_says(store: Store, seed: int) -> None:
    dice = random.Random(seed)
    async with Serving(store, fragment=2) as member, following(member) as (_, told):
        for _ in range(30):
            number = dice.randrange(12)
            match dice.randrange(8):
                case 0 | 1 | 2:
                    store.put(f"{SETS}s{number}", network_set(dice.randrange(200)))
                case 3:
                    store.delete(f"{SETS}s{number}")
                case 4:
                    member.messages = dice.randrange(30)
                    await asyncio.sleep(0.005)
                    member.messages = 1 << 30
                case 5:
                    store.compact()
                case 6:
                    await member.stop()
                    store.put(f"{SETS}s{number}", network_set(dice.randrange(200)))
                    await member.start()
                case 7 if store.compacted == 0 and len(store.history) > 12:
                    await member.stop()
                    del store.history[-3:]
                    store.revision, store.term = store.history[-1].revision, 1
                    await member.start()
            await asyncio.sleep(dice.random() / 200)
        await ends_as_fresh(member, told)
