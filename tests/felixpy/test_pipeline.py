"""From a source's changes to what the dataplane is told: where the guards stand between."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from calc_graph.model import (
    FelixConfiguration,
    FelixConfigurationKey,
    Key,
    NodeKey,
    Policy,
    PolicyKey,
    Value,
    WorkloadEndpoint,
    WorkloadEndpointKey,
)
from calc_graph.model import Node as NodeResource
from calc_graph.updates import Update
from dataplane.dataplane import Applied
from dataplane.desired.desired import Summary
from dataplane.interfaces import Interface
from dataplane.settings import Settings
from felixpy import pipeline as module
from felixpy import services
from felixpy.bgp.figures import BgpFigures
from felixpy.config import Config
from felixpy.datastore.opening import Datastore
from felixpy.datastore.source import Problems, Sink
from felixpy.holds import Holds
from felixpy.last_state import LastState, State
from felixpy.live_config import LiveConfig
from felixpy.lockout.memory import Memory
from felixpy.pipeline import Pipeline
from felixpy.reporter import Reporter
from felixpy.services import Services
from felixpy.status import BgpStatus, read
from felixpy.statusrep.directory import DirectoryStatusStore
from felixpy.wireguard import switch
from felixpy.wireguard.finding import Finding
from felixpy.wireguard.publishing import PublishedKey
from tests.fakes.wireguard import ToldWireguard

ENDPOINT = WorkloadEndpointKey("n1", "lab", "default/w1", "eth0")
POLICY = PolicyKey("NetworkPolicy", "default", "p")
KEY = "A" * 42 + "E="
FULL: dict[Key, Value | None] = {
    ENDPOINT: WorkloadEndpoint("cali1", ("10.65.0.1/32",)),
    POLICY: Policy("default", "all()"),
}


class FakeDataplane:
    backend = "fake"
    interfaces: Mapping[str, Interface] = MappingProxyType({})
    in_force = False

    def __init__(self) -> None:
        self.wireguard = ToldWireguard()
        self.told: list[Update] = []

    def desire(self, updates: Iterable[Update]) -> None:
        self.told += updates

    def seconds_to_next(self) -> float:
        return float("inf")

    async def apply(self) -> Applied | None:
        return Applied(0.001, {}, {})

    def summary(self) -> Summary:
        return Summary(0, 0, 0, 0)

    async def close(self) -> None:
        """Nothing is open."""


class NoSource:
    problems = Problems()
    location = "nowhere"
    ready_without_record = True

    async def run(self, sink: Sink) -> None:
        """What there is is put by the test."""


class Node:
    def __init__(self, directory: Path) -> None:
        path = directory / "felixpy.cfg"
        path.write_text("[global]\nFelixHostname = n1\nEndpointStatusPathPrefix = none\n")
        live = LiveConfig(path, {})
        self.reporter = reporter = Reporter("n1", "1", directory, time.monotonic)
        self.holds = Holds(lambda: None)
        self.built: list[FakeDataplane] = []
        self.settings: list[Settings] = []
        self.pipeline = Pipeline(
            live,
            reporter,
            Services(live.config, reporter.health, lambda: self.pipeline.figures(), time.monotonic),
            Datastore(NoSource(), DirectoryStatusStore(directory)),
            self.holds,
            LastState(directory),
            Memory(directory),
            directory,
            live.config.route_source,
            asyncio.Event(),
        )

    async def build(self, settings: Settings, _: Callable[[], None]) -> FakeDataplane:
        self.settings.append(settings)
        self.built.append(FakeDataplane())
        return self.built[-1]

    async def turn(self, changes: dict[Key, Value | None]) -> list[Update]:
        """What the dataplane is told because of them."""
        for key, value in changes.items():
            await self.pipeline.inbox.put(key, value)
        self.pipeline.inbox.mark_in_sync()
        await self.pipeline.turn()
        if not self.built:
            return []
        told, self.built[-1].told = self.built[-1].told, []
        return told


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    node = Node(tmp_path)
    monkeypatch.setattr(module, "build_dataplane", node.build)
    monkeypatch.setattr(services, "set_up_logs", lambda _: "")
    return node


async def test_everything_gone_at_once_waits_until_it_is_confirmed(node: Node) -> None:
    assert await node.turn(FULL)
    assert await node.turn(dict.fromkeys(FULL)) == []
    (hold,) = node.holds.current()
    assert node.holds.counts() == {hold.kind: 2}
    node.holds.confirm([hold.id])
    assert await node.turn({})
    assert node.holds.current() == ()
    await node.pipeline.close()


async def test_one_deletion_is_told_in_the_same_turn(node: Node) -> None:
    other = WorkloadEndpointKey("n1", "lab", "default/w2", "eth0")
    await node.turn({**FULL, other: WorkloadEndpoint("cali2", ("10.65.0.2/32",))})
    assert await node.turn({other: None})
    assert node.holds.current() == ()
    await node.pipeline.close()


async def test_what_settles_is_looked_at_in_time(node: Node) -> None:
    await node.turn(FULL)
    assert node.pipeline.seconds_to_next() == float("inf")
    assert await node.turn({POLICY: None}) == []
    assert 0 < node.pipeline.seconds_to_next() < 0.5
    assert node.holds.current() == ()
    await node.pipeline.close()


async def test_an_empty_start_after_a_full_state_builds_nothing(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node.turn(FULL)
    await node.pipeline.close()
    assert LastState(tmp_path).state == State(1, 1)
    again = Node(tmp_path)
    monkeypatch.setattr(module, "build_dataplane", again.build)
    await again.turn({})
    assert again.built == []
    assert again.pipeline.figures().held_back == {"empty datastore": 2}
    assert LastState(tmp_path).state.empty_since > 0.0
    again.holds.confirm([hold.id for hold in again.holds.current()])
    await again.turn({})
    assert len(again.built) == 1
    assert LastState(tmp_path).state == State()
    await again.pipeline.close()


async def test_a_restart_in_the_middle_of_it_still_waits(node: Node, tmp_path: Path) -> None:
    await node.turn(FULL)
    await node.turn(dict.fromkeys(FULL))
    since = LastState(tmp_path).state.empty_since
    assert since > 0.0
    await node.pipeline.close()
    assert node.holds.current() == ()
    again = Node(tmp_path)
    await again.turn({})
    assert again.built == []
    assert LastState(tmp_path).state.empty_since == since
    await again.pipeline.close()


# ---------------------------------------------------------------- BGP beside it


class FakeBgp:
    """Notes in which order it is told what."""

    problems: Mapping[str, str] = MappingProxyType({"BIRD": "away"})
    status = BgpStatus("away", sessions=3)

    def __init__(self) -> None:
        self.events: list[str] = []
        self.settled: list[Config] = []

    def note(self, key: Key, _: Value | None) -> None:
        self.events.append(type(key).__name__)

    def in_sync(self) -> None:
        self.events.append("in sync")

    def settle(self, config: Config) -> None:
        self.settled.append(config)

    def turn(self, *, in_force: bool) -> None:
        self.events.append("in force" if in_force else "not in force")

    def details(self) -> None:
        """Nobody asks."""

    def figures(self) -> BgpFigures:
        return BgpFigures(config_refused=True)

    async def close(self) -> None:
        self.events.append("closed")


async def test_wireguard_that_is_held_back_is_no_reason_to_wait_for_the_rest(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = [Finding("UDP port", "fail", "another program has it", 4, "stop it", holds=True)]

    async def check_machine(*_: object) -> list[Finding]:
        return taken

    async def check_peers(*_: object) -> list[Finding]:
        return []

    monkeypatch.setattr(switch, "check_machine", check_machine)
    monkeypatch.setattr(switch, "check_peers", check_peers)
    on: dict[Key, Value | None] = {
        FelixConfigurationKey("default"): FelixConfiguration({"wireguardEnabled": "true"})
    }
    assert await node.turn({**FULL, **on})
    assert [each.wireguard.held for each in node.settings] == [{4}]
    assert node.holds.counts() == {"wireguard": 1}
    assert 0 < node.pipeline.seconds_to_next() <= switch.RETRY
    facts = node.pipeline.wireguard.facts()
    assert facts is not None
    assert facts.settings.families == {4}
    node.holds.confirm(["wireguard"])
    assert await node.turn({})  # the dataplane is another one, and told everything again
    assert [each.wireguard.held for each in node.settings] == [{4}, frozenset()]
    assert node.holds.counts() == {}
    await node.pipeline.close()


async def test_keys_are_published_once_there_are_some(node: Node, tmp_path: Path) -> None:
    file = tmp_path / "status/resources/v3/projectcalico.org/nodes/n1"
    await node.pipeline.inbox.put(ENDPOINT, FULL[ENDPOINT])
    await node.pipeline.turn()  # not even a turn before in-sync
    await asyncio.sleep(0)
    assert node.pipeline.wireguard.keys() == ()
    await node.turn(FULL)
    assert not file.exists()
    node.built[-1].wireguard.published = {4: KEY}
    await node.turn({})
    async with asyncio.timeout(10):
        while not file.exists():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    assert node.pipeline.wireguard.keys() == (PublishedKey(4, KEY, False),)
    await node.turn({NodeKey("n1"): NodeResource(wireguard_key=KEY)})
    assert node.pipeline.wireguard.keys() == (PublishedKey(4, KEY, True),)
    await node.pipeline.close()


async def test_bgp_hears_everything_and_comes_after_the_dataplane(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bgp = FakeBgp()
    monkeypatch.setattr(module, "open_bgp", lambda *_: bgp)
    monkeypatch.setattr(services, "set_up_logs", lambda _: "")
    node = Node(tmp_path)
    monkeypatch.setattr(module, "build_dataplane", node.build)
    await node.pipeline.inbox.put(ENDPOINT, FULL[ENDPOINT])
    await node.pipeline.turn()
    assert bgp.events == ["WorkloadEndpointKey"]  # not even a turn before in-sync
    await node.turn({POLICY: FULL[POLICY]})
    assert bgp.events[1:] == ["PolicyKey", "in sync", "not in force"]
    monkeypatch.setattr(FakeDataplane, "in_force", True)
    monkeypatch.setattr(FakeDataplane, "take_endpoint_changes", lambda _: {}, raising=False)
    await node.turn({POLICY: FULL[POLICY]})
    assert bgp.events[4:] == ["PolicyKey", "in force"]
    assert len(bgp.settled) == 1
    await asyncio.sleep(0)  # reports begin
    await node.pipeline.close()
    figures = node.pipeline.figures().bgp
    assert figures is not None
    assert figures.config_refused
    assert bgp.events[-1] == "closed"
    node.reporter.write(at_once=True)
    status = read(tmp_path)
    assert status is not None
    assert status.bgp == bgp.status
    assert [(each.area, each.text) for each in status.problems] == [("bgp", "away")]
