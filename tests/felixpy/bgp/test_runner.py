"""BGP beside the pipeline: when it begins, what its tasks end with, and how it is closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from calc_graph.bgp.resources import BgpPeer, BgpPeerKey, NodeStatusKey, NodeStatusRequest
from calc_graph.model import Key, Node, NodeKey, Value
from dataplane.bird.outcome import Outcome
from dataplane.bird.settings import BirdSettings
from dataplane.bird.version import Version
from felixpy.bgp import bringing
from felixpy.bgp.off import BgpOff
from felixpy.bgp.part import open_bgp
from felixpy.bgp.runner import BgpRunner
from felixpy.config import Config
from felixpy.status import BgpStatus
from felixpy.statusrep.directory import DirectoryStatusStore

VALUES: dict[Key, Value | None] = {
    NodeKey("n1"): Node("10.0.0.1/24", bgp_ipv4="10.0.0.1/24"),
    NodeKey("n2"): Node("10.0.0.2/24", bgp_ipv4="10.0.0.2/24"),
    BgpPeerKey("tor"): BgpPeer(address="10.0.0.254", as_number=65001),
    NodeStatusKey("s"): NodeStatusRequest("n1", ("Agent",), 10),
}


class Driver:
    """Confirms what it is given, or does what the test says."""

    def __init__(self) -> None:
        self.brought: list[Version] = []
        self.failure: Exception | None = None
        self.cancelled = False
        self.slow = False

    def __call__(self, _: BirdSettings, __: Callable[[], float]) -> Driver:
        return self

    async def bring(self, version: Version, newer: asyncio.Event) -> Outcome:
        self.brought.append(version)
        if self.failure is not None:
            raise self.failure
        try:
            if self.slow:
                await newer.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return Outcome("confirmed")


class World:
    def __init__(self, directory: Path, driver: Driver) -> None:
        self.driver = driver
        self.woken = asyncio.Event()
        self.told: list[Outcome] = []
        self.config = Config(
            felix_hostname="n1",
            bgp_enabled=True,
            bird_control_socket=str(directory / "b.ctl"),
            secrets_path=str(directory / "secrets"),
        )
        store = DirectoryStatusStore(directory)
        self.runner = BgpRunner(self.config, {}, store, self.told.append, self.woken.set)
        for key, value in VALUES.items():
            self.runner.note(key, value)

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not holds():
                self.woken.clear()
                await self.woken.wait()
                self.runner.turn(in_force=True)


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    driver = Driver()
    monkeypatch.setattr(bringing, "BirdDriver", driver)
    world = World(tmp_path, driver)
    yield world
    await world.runner.close()


async def test_nothing_before_in_sync_and_before_the_dataplane(world: World) -> None:
    runner = world.runner
    runner.turn(in_force=False)
    runner.turn(in_force=True)
    await asyncio.sleep(0.05)
    assert world.driver.brought == []
    assert runner.status == BgpStatus("waiting")
    runner.in_sync()
    runner.turn(in_force=True)
    await world.until(lambda: bool(world.told))
    (version,) = world.driver.brought
    assert version.sessions.keys() == {"Mesh_10_0_0_2", "Global_10_0_0_254"}
    assert runner.status.sessions == 2
    assert runner.status.state == "away"  # a look finds no daemon, whatever the driver says
    assert {each.name for each in runner.details().sessions} == version.sessions.keys()
    assert (await asyncio.to_thread(runner.figures)).daemon is None


async def test_in_sync_alone_is_not_enough(world: World) -> None:
    world.runner.in_sync()
    world.runner.turn(in_force=False)
    await asyncio.sleep(0.05)
    assert world.driver.brought == []


async def test_a_change_is_brought_while_another_is_on_trial(world: World) -> None:
    world.driver.slow = True
    world.runner.in_sync()
    world.runner.turn(in_force=True)
    await world.until(lambda: len(world.driver.brought) == 1)
    world.runner.note(BgpPeerKey("tor"), None)
    world.runner.turn(in_force=True)
    await world.until(lambda: len(world.driver.brought) == 2)
    assert world.driver.brought[1].sessions.keys() == {"Mesh_10_0_0_2"}


async def test_a_failure_of_its_task_is_the_agents(world: World) -> None:
    world.driver.failure = ZeroDivisionError()
    world.runner.in_sync()
    world.runner.turn(in_force=True)
    with pytest.raises(ZeroDivisionError):
        await world.until(lambda: False)


async def test_to_close_it_ends_its_tasks(world: World) -> None:
    world.driver.slow = True
    world.runner.in_sync()
    world.runner.turn(in_force=True)
    await world.until(lambda: bool(world.driver.brought))
    await world.runner.close()
    assert world.driver.cancelled
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_who_asks_for_this_node_is_answered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered: asyncio.Queue[str] = asyncio.Queue()

    async def answer(_: DirectoryStatusStore, key: str, __: bytes, ___: bytes) -> bool:
        answered.put_nowait(key)
        return True

    monkeypatch.setattr(DirectoryStatusStore, "answer", answer)
    world.runner.in_sync()
    world.runner.turn(in_force=False)
    await asyncio.sleep(0.05)
    assert answered.empty()
    world.runner.turn(in_force=True)
    async with asyncio.timeout(10):
        assert (await answered.get()).endswith("caliconodestatuses/s")


async def test_the_part_follows_the_parameter(tmp_path: Path) -> None:
    store = DirectoryStatusStore(tmp_path)
    for enabled, kind in ((True, BgpRunner), (False, BgpOff)):
        config = Config(felix_hostname="n1", bgp_enabled=enabled)
        part = open_bgp(config, {}, store, lambda _: None, lambda: None)
        assert isinstance(part, kind)
        await part.close()
