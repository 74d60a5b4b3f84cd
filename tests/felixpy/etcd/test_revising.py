"""Changes that rest on what was there: others may be faster, and nothing of theirs is lost."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from felixpy.etcd.errors import ContendedError, RefusedError
from felixpy.etcd.member import Interval, Member
from felixpy.etcd.revising import revise
from felixpy.etcd.settings import Endpoint, EtcdSettings
from tests.felixpy.etcd.fake_etcd import Serving, Store

KEY = "/calico/a"


@contextlib.asynccontextmanager
async def member_of(store: Store) -> AsyncIterator[Member]:
    async with Serving(store) as serving:
        endpoint = Endpoint("127.0.0.1", serving.port)
        member = Member(endpoint, EtcdSettings((endpoint,), tls=False))
        await member.open()
        try:
            yield member
        finally:
            member.close()


def held(store: Store) -> dict[str, str]:
    found = store.at(store.revision)
    return {key.decode(): (event.value or b"").decode() for key, event in found.items()}


async def test_a_key_is_put_where_its_last_change_is_known() -> None:
    store = Store()
    async with member_of(store) as member:
        key = KEY.encode()
        assert await member.put_if(key, b"1", 0)  # there is none yet
        assert not await member.put_if(key, b"2", 0)
        assert not await member.put_if(key, b"2", store.revision + 1)
        assert await member.put_if(key, b"2", store.revision)
        assert held(store) == {KEY: "2"}
        (pair,) = (await member.range(Interval(key))).pairs
        assert not await member.delete_if(key, pair.revision - 1)
        assert await member.delete_if(key, pair.revision)
        assert held(store) == {}


async def test_what_others_write_meanwhile_is_edited_instead() -> None:
    store = Store()
    store.put(KEY, "a")
    others = iter("bc")

    def meanwhile() -> None:
        if other := next(others, None):
            store.put(KEY, other)

    store.before_commit = meanwhile
    async with member_of(store) as member:
        assert await revise(member, KEY.encode(), lambda value: value + b"!")
    assert held(store) == {KEY: "c!"}


async def test_who_is_always_too_slow_gives_up() -> None:
    store = Store()
    store.put(KEY, "a")
    store.before_commit = lambda: store.put(KEY, f"{store.revision}")
    async with member_of(store) as member:
        with pytest.raises(ContendedError, match="/calico/a changes all the time"):
            await revise(member, KEY.encode(), lambda value: value + b"!")
    assert "!" not in held(store)[KEY]


async def test_what_is_gone_stays_gone() -> None:
    store = Store()
    async with member_of(store) as member:
        assert not await revise(member, KEY.encode(), lambda value: value + b"!")
        store.put(KEY, "a")
        store.before_commit = lambda: store.delete(KEY)
        assert not await revise(member, KEY.encode(), lambda value: value + b"!")
    assert held(store) == {}


async def test_nothing_is_written_where_nothing_changes() -> None:
    store = Store()
    store.put(KEY, "a")
    before = store.revision
    async with member_of(store) as member:
        assert await revise(member, KEY.encode(), lambda value: value)
    assert store.revision == before


async def test_who_may_not_is_told_so() -> None:
    store = Store()
    store.put(KEY, "a")
    async with member_of(store) as member:
        store.denied.add(KEY.encode())
        with pytest.raises(RefusedError, match="permission denied"):
            await member.put_if(KEY.encode(), b"1", store.revision)
