"""IPsec's part of the shell: on, off, going; keys, life and record find their ways."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from calc_graph.model import IpPool, IpPoolKey, IpsecNode, IpsecNodeKey, Node, NodeKey
from dataplane.families import Family
from dataplane.ipsec.keys import Key
from dataplane.ipsec.progress import PeerProgress
from dataplane.ipsec.status import FamilyStatus, IpsecStatus
from felixpy.config import Config, to_settings
from felixpy.ipsec import keys as keys_module
from felixpy.ipsec.life import NAME, is_kept
from felixpy.ipsec.part import IpsecPart
from felixpy.status import IpsecSummary
from tests.fakes.ipsec_end import FakeEnd
from tests.felixpy.statusrep.fake_store import FakeStore

RECORD = "/calico/felixpy/v1/ipsecnodes/n1"
ONE, TWO = (f"{n} rfc4106(gcm(aes)) {bytes(range(n, n + 20)).hex()} 128\n" for n in (3, 4))
ENABLED = IpsecNode(enabled=True, tag=1, boot="00" * 16, ipv4="192.0.2.1")
DISABLED = IpsecNode(ipv4="192.0.2.1")


class FakeKernel:
    """One that has ESP for these families."""

    families: tuple[Family, ...] = (4, 6)

    async def trial(self, key: Key, family: Family = 4) -> str:
        return "" if family in self.families else f"no ESP of IPv{family}"

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def kernel(monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    found = FakeKernel()
    monkeypatch.setattr(keys_module, "open_xfrm", lambda _: found)
    return found


class World:
    """The agent of a node around its part, and what is left when it ends."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store = FakeStore()
        self.file = directory / "keys"
        self.file.write_text(ONE)
        self.file.chmod(0o600)
        self.config = Config(felix_hostname="n1", ipsec_enabled=True, ipsec_key_file=str(self.file))
        self.woken = asyncio.Event()
        self.there: dict[NodeKey | IpsecNodeKey, Node | IpsecNode] = {}

    def has(self, part: IpsecPart, boot: str) -> None:
        """The datastore has a record of another node."""
        self.there[IpsecNodeKey("n2")] = structs.replace(ENABLED, boot=boot)
        self.there[NodeKey("n2")] = Node(ipv4="192.0.2.2")
        for key, value in self.there.items():
            part.note(key, value)
        part.review()

    @contextlib.asynccontextmanager
    async def agent(self, **config: Any) -> AsyncIterator[tuple[IpsecPart, FakeEnd]]:
        self.config = replace(self.config, **config)
        part = IpsecPart(lambda: self.config, {}, self.store, self.directory, self.woken.set)
        try:
            for key, value in self.there.items():
                part.note(key, value)
            await part.settle()
            part.in_sync()
            part.review()
            end = FakeEnd()
            part.attach(end)
            yield part, end
        finally:
            await part.close()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def settle(part: IpsecPart, end: FakeEnd, record: IpsecNode | None = ENABLED) -> None:
    end.settled, end.published = True, record
    part.turn(applied=True)


async def test_life_and_keys_are_there_before_the_first_apply(world: World) -> None:
    async with world.agent() as (_, end):
        assert [len(end.lives), [list(ring) for ring in end.rings]] == [1, [[3]]]
    async with world.agent() as (part, again):
        assert again.lives == end.lives
        part.turn(applied=True)
        assert [len(again.lives), len(again.rings)] == [1, 1]  # nothing twice
        another = FakeEnd()
        part.attach(None)
        part.attach(another)
        assert [another.lives, another.rings] == [again.lives, again.rings]


async def test_a_boot_of_a_peer_that_comes_back_begins_another_life_before_anything_is_made(
    world: World,
) -> None:
    async with world.agent() as (part, end):
        for boot in ("one", "two"):
            world.has(part, boot)
            settle(part, end)
        assert len(end.lives) == 1
    async with world.agent() as (part, again):
        assert again.lives == end.lives
        world.has(part, "one")
        assert [life.boot for life in again.lives[:1]] == [life.boot for life in end.lives]
        assert len(again.lives) == 2
        world.has(part, "two")
        assert len(again.lives) == 2  # of which this one had nothing
    async with world.agent(ipsec_state_layout="shared") as (part, shared):
        for boot in ("one", "two", "one"):
            world.has(part, boot)
        assert shared.lives == again.lives[1:]


async def test_a_key_that_comes_back_after_a_restart_begins_another_life(world: World) -> None:
    async with world.agent() as (part, end):
        settle(part, end)
        world.file.write_text(TWO)
        await until(lambda: part.ring() == (4,))
        end.in_use = {4: "00" * 8}
        settle(part, end)
        settle(part, end)
    world.file.write_text(ONE)
    async with world.agent() as (_, again):
        assert len(again.lives) == 1
        assert again.lives[0].boot != end.lives[0].boot


async def test_what_is_published_waits_for_what_is_in_the_kernel(world: World) -> None:
    async with world.agent() as (part, end):
        end.published = ENABLED
        part.turn(applied=True)
        await asyncio.sleep(0.05)
        assert world.store.calls == []
        settle(part, end)
        await until(lambda: world.store.held)
        assert json.loads(world.store.held[RECORD])["spec"]["enabled"] is True
        await until(lambda: not part.problems)


async def test_a_changed_file_is_offered_and_is_a_rotation(world: World) -> None:
    async with world.agent() as (part, end):
        settle(part, end)
        world.woken.clear()
        world.file.write_text(TWO + ONE)
        await until(world.woken.is_set)
        part.turn(applied=False)
        assert [list(ring) for ring in end.rings] == [[3], [4, 3]]
        assert part.ring() == (4, 3)
        part.turn(applied=True)
        details = await part.details()
        assert details.history.newest == 4
        assert details.history.rotated > 0
        figures = part.figures()
        assert figures is not None
        assert (figures.rotations, sorted(figures.ages)) == (1, [3, 4])


async def test_a_bad_file_is_a_problem_and_disturbs_nothing(world: World) -> None:
    async with world.agent() as (part, end):
        settle(part, end)
        world.file.write_text("3 rfc4106(gcm(aes)) 00 128\n")
        await until(lambda: part.problems)
        assert "stay in use" in part.problems["keys"]
        part.turn(applied=True)
        assert len(end.rings) == 1
        figures = part.figures()
        assert figures is not None
        assert figures.key_file_errors == 1


async def test_a_kernel_without_esp_is_a_problem_and_there_is_no_key(
    world: World, kernel: FakeKernel
) -> None:
    kernel.families = ()
    async with world.agent() as (part, end):
        assert end.rings == []
        assert len(end.lives) == 1
        assert "no ESP of IPv4" in part.problems["keys"]
        settle(part, end)
        status = part.status
        assert status is not None
        assert status.key == 0


async def test_one_family_with_esp_is_enough_for_a_key(world: World, kernel: FakeKernel) -> None:
    kernel.families = (4,)
    async with world.agent() as (part, end):
        assert [list(ring) for ring in end.rings] == [[3]]
        assert part.problems == {}


async def test_another_file_is_another_source(world: World) -> None:
    async with world.agent() as (part, end):
        settle(part, end)
        other = world.directory / "others"
        other.write_text(TWO)
        other.chmod(0o600)
        world.config = replace(world.config, ipsec_key_file=str(other))
        await part.settle()
        part.turn(applied=False)
        assert [list(ring) for ring in end.rings] == [[3], [4]]
        world.config = replace(world.config, ipsec_key_file=str(world.file / "none"))
        await part.settle()
        part.turn(applied=True)
        assert len(end.rings) == 2
        assert "keys" in part.problems


async def test_known_keys_outlast_the_agent(world: World) -> None:
    async with world.agent() as (part, end):
        end.in_use = {3: end.rings[0][3].check, 2: "0" * 16}
        settle(part, end)
    world.file.write_text(ONE.replace("3 ", "2 ", 1))
    async with world.agent() as (part, end):
        assert dict(end.lives[0].known)[2] == "0" * 16
        assert end.rings == []
        assert "already stands for another key" in part.problems["keys"]


async def test_a_renewal_is_another_life_and_told_once(world: World) -> None:
    async with world.agent() as (part, end):
        settle(part, end)
        end.why = "another node has the same tag"
        part.turn(applied=False)
        part.turn(applied=False)
        first, second = end.lives
        assert first.boot != second.boot


async def test_without_a_place_for_its_life_nothing_begins(world: World) -> None:
    (world.directory / NAME).mkdir()
    async with world.agent() as (part, end):
        assert end.lives == []
        assert NAME in part.problems["life"]


async def test_an_old_key_is_a_problem(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world.agent(ipsec_key_max_age=3600.0) as (part, end):
        settle(part, end)
        assert part.problems == {}
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 90000)
        assert "key 3 is 1 day, 1 hour" in part.problems["key age"]
        world.config = replace(world.config, ipsec_key_max_age=0.0)
        assert part.problems == {}


async def test_what_wireguard_encrypts_is_said(world: World) -> None:
    async with world.agent(wireguard_enabled=True) as (part, _):
        assert [*part.problems] == ["IPv4"]


async def test_dropping_a_key_is_passed_on(world: World) -> None:
    async with world.agent() as (part, end):
        end.in_use = {2: "0" * 16, 3: "1" * 16}
        assert sorted(part.alive()) == [2, 3]
        part.drop(2)
        assert end.dropped == [2]
        part.attach(None)
        part.drop(2)
        assert (end.dropped, part.alive()) == ([2], ())


async def test_status_is_a_count_of_stages(world: World) -> None:
    async with world.agent() as (part, end):
        end.said = IpsecStatus(
            (FamilyStatus(4, "on"), FamilyStatus(6, "unavailable", reason="no esp6")),
            peers=(PeerProgress("a", "encrypted"), PeerProgress("b", "closed")),
        )
        settle(part, end)
        expected = IpsecSummary("on", {"closed": 1, "encrypted": 1}, 3, "no esp6")
        assert part.status == expected
        part.attach(None)
        assert part.status == expected


# ---------------------------------------------------------------- off


async def test_off_it_does_nothing_but_withdraw_what_may_be_left(world: World) -> None:
    world.store.held = {RECORD: b"{}"}
    async with world.agent(ipsec_enabled=False) as (part, end):
        await until(lambda: not world.store.held)
        settle(part, end)
        assert [end.lives, end.rings, part.status, part.problems] == [[], [], None, {}]
        assert part.figures() is None
        assert not is_kept(world.directory)
    assert [call.what for call in world.store.calls] == ["delete"]


async def test_nobody_is_told_that_it_may_not_withdraw(world: World) -> None:
    world.store.refuse = lambda _: "permission denied"
    async with world.agent(ipsec_enabled=False) as (part, _):
        await until(lambda: world.store.calls)
        assert part.problems == {}


async def test_it_goes_in_order_and_is_forgotten(world: World) -> None:
    async with world.agent() as (part, end):
        settle(part, end)
        await until(lambda: world.store.held)
        first = end.lives
    async with world.agent(ipsec_enabled=False) as (part, end):
        part.note(IpsecNodeKey("n1"), ENABLED)
        assert (end.lives, end.rings) == (first, [])
        end.said = IpsecStatus((FamilyStatus(4, "going"),))
        settle(part, end, DISABLED)
        status = part.status
        assert status is not None
        assert status.state == "going"
        await until(lambda: b'"enabled":false' in world.store.held[RECORD])
        end.said = IpsecStatus((FamilyStatus(4, "off"),))
        settle(part, end, None)
        assert is_kept(world.directory)
        await until(lambda: not world.store.held)
        part.turn(applied=True)
        assert part.status is None
        assert not is_kept(world.directory)
        part.turn(applied=True)
        assert part.problems == {}


# ---------------------------------------------------------------- node encryption


async def test_a_datastore_behind_a_workload_keeps_node_encryption_off(world: World) -> None:
    on = {
        "ipsec_node_encryption": True,
        "datastore_type": "etcdv3",
        "etcd_endpoints": ("http://10.65.0.5:2379",),
    }
    async with world.agent(**on) as (part, _):
        settings = to_settings(world.config)
        assert await part.admit(settings) == settings
        part.note(IpPoolKey("p"), IpPool("10.65.0.0/16"))
        assert part.review()
        admitted = await part.admit(settings)
        assert not admitted.ipsec.node_encryption
        assert structs.replace(admitted, ipsec=settings.ipsec) == settings
        assert "10.65.0.5 is in the pool 10.65.0.0/16" in part.problems["node encryption"]
        assert not part.review()
        part.note(IpPoolKey("p"), None)
        assert part.review()
        assert await part.admit(settings) == settings
        assert part.problems == {}
    async with world.agent(ipsec_node_encryption=False) as (part, _):
        part.note(IpPoolKey("p"), IpPool("10.65.0.0/16"))
        settings = to_settings(world.config)
        assert await part.admit(settings) == settings
        assert not part.review()
