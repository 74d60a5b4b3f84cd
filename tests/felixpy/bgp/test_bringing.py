"""The task that brings versions to BIRD: which, when, and when again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec import structs

from calc_graph.bgp.updates import BgpSessionRemove, BgpSpeaker
from dataplane.bird.outcome import Outcome
from dataplane.bird.settings import BirdSettings
from dataplane.bird.version import Version
from felixpy.bgp import bringing as module
from felixpy.bgp.bringing import Bringing
from felixpy.bgp.secrets_place import SecretsPlace
from tests.felixpy.bgp.bird_values import MESH, SECRET, SPEAKER, TOR, UPDATES

CONFIRMED, UNCHANGED = Outcome("confirmed", restarted=("Mesh_10_0_0_2",)), Outcome("unchanged")
AWAY, UNDONE = Outcome("away", "no such file"), Outcome("undone", "Mesh_10_0_0_2 is not back")
REFUSED = Outcome("refused", "line 3: syntax error")


class FakeDriver:
    """Gives the outcomes that it has been given, then that nothing changed."""

    made: list[FakeDriver]
    outcomes: list[Outcome]

    def __init__(self, settings: BirdSettings, _: Callable[[], float]) -> None:
        self.settings = settings
        self.brought: list[Version] = []
        self.retries = 0
        self.made.append(self)

    def retry(self) -> None:
        self.retries += 1

    async def bring(self, version: Version, newer: asyncio.Event) -> Outcome:
        self.brought.append(version)
        outcome = self.outcomes.pop(0) if self.outcomes else UNCHANGED
        if outcome.state == "superseded":
            await newer.wait()
        return outcome


@pytest.fixture
def drivers(monkeypatch: pytest.MonkeyPatch) -> type[FakeDriver]:
    FakeDriver.made, FakeDriver.outcomes = [], []
    monkeypatch.setattr(module, "BirdDriver", FakeDriver)
    return FakeDriver


class Told:
    def __init__(self, place: SecretsPlace) -> None:
        self.outcomes: list[Outcome] = []
        self._news = asyncio.Event()
        self.bringing = Bringing(BirdSettings(), place, time.monotonic, self._took, self._news.set)

    def _took(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self._news.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not holds():
                self._news.clear()
                await self._news.wait()

    async def state(self, wanted: str) -> None:
        def holds() -> bool:
            brought = self.bringing.brought
            return brought is not None and brought.outcome is not None and not brought.trying

        await self.until(lambda: holds() and self.outcomes[-1].state == wanted)


@pytest.fixture
def place(tmp_path: Path) -> SecretsPlace:
    secrets = tmp_path / "secrets"
    secrets.mkdir(mode=0o700)
    return SecretsPlace(secrets, "calico-system")


@asynccontextmanager
async def working(place: SecretsPlace) -> AsyncIterator[Told]:
    told = Told(place)
    task = asyncio.create_task(told.bringing.run())
    try:
        yield told
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()


async def test_nothing_is_brought_before_the_speaker_is_known(
    drivers: type[FakeDriver], place: SecretsPlace
) -> None:
    async with working(place) as told:
        told.bringing.add([MESH])
        await asyncio.sleep(0.05)
        assert told.bringing.brought is None
        told.bringing.add([SPEAKER])
        await told.state("unchanged")
    (driver,) = drivers.made
    assert [[*version.sessions] for version in driver.brought] == [["Mesh_10_0_0_2"]]


async def test_the_newest_version_wins(drivers: type[FakeDriver], place: SecretsPlace) -> None:
    drivers.outcomes = [Outcome("superseded"), CONFIRMED]
    async with working(place) as told:
        told.bringing.add(UPDATES)
        await told.until(lambda: bool(drivers.made[0].brought))
        brought = told.bringing.brought
        assert brought is not None
        assert brought.trying
        assert brought.outcome is None
        told.bringing.add([BgpSessionRemove(TOR.name)])
        await told.state("confirmed")
        brought = told.bringing.brought
    assert [len(version.sessions) for version in drivers.made[0].brought] == [2, 1]
    assert [outcome.state for outcome in told.outcomes] == ["superseded", "confirmed"]
    assert brought is not None
    assert brought.changed


async def test_what_is_as_before_is_not_brought_again(
    drivers: type[FakeDriver], place: SecretsPlace
) -> None:
    async with working(place) as told:
        told.bringing.add(UPDATES)
        await told.state("unchanged")
        told.bringing.add([TOR])
        await asyncio.sleep(0.05)
    assert len(drivers.made[0].brought) == 1


@pytest.mark.parametrize("first", [AWAY, UNDONE, REFUSED])
async def test_it_is_tried_again_after_a_while(
    drivers: type[FakeDriver],
    place: SecretsPlace,
    monkeypatch: pytest.MonkeyPatch,
    first: Outcome,
) -> None:
    for name in ("AWAY_SECONDS", "FIRST_RETRY"):
        monkeypatch.setattr(module, name, 0.01)
    drivers.outcomes = [first, first, CONFIRMED]
    async with working(place) as told:
        told.bringing.add(UPDATES)
        await told.state("confirmed")
    driver = drivers.made[0]
    assert driver.brought == [driver.brought[0]] * 3
    assert driver.retries == 2
    assert told.outcomes == [first, first, CONFIRMED]


async def test_it_is_tried_again_at_once_when_it_changes(
    drivers: type[FakeDriver], place: SecretsPlace
) -> None:
    drivers.outcomes = [UNDONE, CONFIRMED]
    async with working(place) as told:
        told.bringing.add(UPDATES)
        await told.state("undone")
        told.bringing.add([structs.replace(TOR, keepalive_seconds=20)])
        await told.state("confirmed")
    assert drivers.made[0].retries == 0


async def test_a_daemon_that_comes_back_is_looked_at(
    drivers: type[FakeDriver], place: SecretsPlace
) -> None:
    drivers.outcomes = [AWAY, UNCHANGED]
    async with working(place) as told:
        told.bringing.add(UPDATES)
        await told.state("away")
        told.bringing.look_again()
        await told.state("unchanged")
    assert len(drivers.made[0].brought) == 2


@pytest.mark.parametrize("outcome", [UNDONE, REFUSED])
async def test_a_daemon_that_comes_back_is_not_given_at_once_what_it_may_have_ended_of(
    drivers: type[FakeDriver], place: SecretsPlace, outcome: Outcome
) -> None:
    drivers.outcomes = [outcome, CONFIRMED]
    async with working(place) as told:
        told.bringing.add(UPDATES)
        await told.state(outcome.state)
        told.bringing.look_again()
        await asyncio.sleep(0.05)
        assert len(drivers.made[0].brought) == 1
        told.bringing.add([structs.replace(TOR, keepalive_seconds=20)])
        await told.state("confirmed")
        told.bringing.look_again()
        await told.state("unchanged")
    assert drivers.made[0].retries == 1


async def test_a_trial_goes_on_while_the_daemon_goes_and_comes(
    drivers: type[FakeDriver], place: SecretsPlace
) -> None:
    drivers.outcomes = [Outcome("superseded"), CONFIRMED]
    async with working(place) as told:
        told.bringing.add(UPDATES)
        await told.until(lambda: bool(drivers.made[0].brought))
        told.bringing.look_again()
        await asyncio.sleep(0.05)
        assert told.outcomes == []
        told.bringing.add([BgpSessionRemove(TOR.name)])
        await told.state("confirmed")


async def test_a_secret_makes_another_version(
    drivers: type[FakeDriver], place: SecretsPlace
) -> None:
    async with working(place) as told:
        told.bringing.add(UPDATES)
        await told.state("unchanged")
        before = told.bringing.brought
        manifest = place.path / "s.yaml"
        manifest.touch(mode=0o600)
        manifest.write_text(SECRET % "right")
        await told.until(lambda: len(drivers.made[0].brought) == 2)
    first, second = drivers.made[0].brought
    assert before is not None
    assert before.secret_problems
    assert not first.sessions[MESH.name].enabled
    assert second.sessions[MESH.name].enabled
    assert 'password "right"' in second.text


async def test_secrets_are_looked_for_elsewhere(
    drivers: type[FakeDriver], place: SecretsPlace, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    (other / "s.yaml").touch(mode=0o600)
    (other / "s.yaml").write_text(SECRET % "elsewhere")
    async with working(place) as told:
        told.bringing.add(UPDATES)
        await told.state("unchanged")
        told.bringing.settle(told.bringing.settings, structs.replace(place, path=other))
        await told.until(lambda: len(drivers.made[0].brought) == 2)
    assert 'password "elsewhere"' in drivers.made[0].brought[1].text


async def test_other_settings_have_another_driver(
    drivers: type[FakeDriver], place: SecretsPlace
) -> None:
    async with working(place) as told:
        told.bringing.add(UPDATES)
        await told.state("unchanged")
        told.bringing.settle(BirdSettings(confirm_seconds=5.0), place)
        told.bringing.settle(BirdSettings(confirm_seconds=5.0), place)
        await told.until(lambda: len(told.outcomes) == 2)
    assert [driver.settings.confirm_seconds for driver in drivers.made] == [60.0, 5.0]
    assert [len(driver.brought) for driver in drivers.made] == [1, 1]


async def test_what_cannot_be_rendered_leaves_bird_as_it_is(
    drivers: type[FakeDriver], place: SecretsPlace
) -> None:
    async with working(place) as told:
        told.bringing.add([BgpSpeaker("n1")])
        await told.until(lambda: told.bringing.brought is not None)
        brought = told.bringing.brought
        assert brought is not None
        assert "router id" in brought.unrenderable
        assert drivers.made[0].brought == []
        told.bringing.add(UPDATES)
        await told.state("unchanged")
        brought = told.bringing.brought
        assert brought is not None
        assert not brought.unrenderable
