"""The driver against a daemon of the tests' own; what is asserted is what is on the disk, what was
said to the daemon, and what it runs.
"""

import asyncio
import grp
import os
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import pytest

from dataplane.bird.driver import BirdDriver
from dataplane.bird.outcome import Outcome
from dataplane.bird.parse.daemon import DaemonStatus, daemon_status
from dataplane.bird.settings import BirdSettings
from dataplane.bird.version import SessionPart, Version
from dataplane.errors import CommandError, CommandMissingError, CommandTimeoutError
from tests.dataplane.bird.fake_bird import FakeBird

GROUP = grp.getgrgid(os.getgid()).gr_name
SECRET = "hunter2 secret"


class FakeParser:
    """`bird -p`: refuses texts with "wrong" in them."""

    def __init__(self) -> None:
        self.parsed: list[str] = []
        self.error: Exception | None = None
        self.waits = False
        self.called = asyncio.Event()

    async def run(self, *argv: str) -> str:
        assert argv[:3] == ("bird", "-p", "-c")
        text = Path(argv[3]).read_text()
        self.parsed.append(text)
        self.called.set()
        if self.waits:
            await asyncio.sleep(3600)
        if self.error is not None:
            raise self.error
        if "wrong" in text:
            line = text[: text.index("wrong")].count("\n") + 1
            raise CommandError(argv, 1, f"bird: {argv[3]}:{line}:3 syntax error, unexpected X")
        return ""


class Node:
    """A machine with a BIRD and an agent's driver."""

    def __init__(self, directory: Path) -> None:
        self.settings = BirdSettings(
            config_file=directory / "f.conf",
            control_socket=directory / "f.ctl",
            group=GROUP,
            confirm_seconds=0.4,
        )
        self.file = self.settings.config_file
        self.parser = FakeParser()
        self.newer = asyncio.Event()
        self.bird = FakeBird(self.settings.control_socket, self.file)
        self.bird.up = {"a": "2026-11-21 19:00:00", "b": "2026-11-21 19:00:00"}
        self.driver = self.agent()

    def agent(self) -> BirdDriver:
        """Another one, which knows nothing of the one before."""
        driver = BirdDriver(self.settings)
        driver._runner = self.parser  # type: ignore[assignment]
        return driver

    async def bring(self, text: str, **agreements: object) -> Outcome:
        return await self.driver.bring(version(text, **agreements), self.newer)

    def beside(self) -> set[str]:
        return {path.name.removeprefix("f.conf") for path in self.file.parent.glob("f.conf*")}

    def why(self) -> str:
        return self.file.with_name("f.conf.refused.why").read_text()


def version(text: str, **agreements: object) -> Version:
    parts = {"a": SessionPart("x"), "b": SessionPart("x")}
    parts |= {name: SessionPart(value) for name, value in agreements.items()}
    return Version(text, text.replace(SECRET, "<s/k>"), parts)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    """It runs the version "one"."""
    (tmp_path / "f.conf").write_text("one")
    os.utime(tmp_path / "f.conf", (0, 0))
    node = Node(tmp_path)
    async with node.bird:
        yield node


async def test_what_runs_already(node: Node) -> None:
    before = node.file.stat()
    for _ in range(2):
        assert await node.bring("one") == Outcome("unchanged")
    assert node.bird.orders == node.parser.parsed == []
    after = node.file.stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)


async def test_a_new_version(node: Node) -> None:
    assert await node.bring("two") == Outcome("confirmed")
    assert node.bird.orders == ["configure check", "configure timeout 6", "configure confirm"]
    assert (node.bird.running, node.file.read_text(), node.beside()) == ("two", "two", {""})
    assert node.parser.parsed == ["two"]
    for driver in (node.driver, node.agent()):
        assert await driver.bring(version("two"), node.newer) == Outcome("unchanged")
    assert len(node.bird.orders) == 3


async def test_a_daemon_that_has_not_read_the_file_reads_it(node: Node) -> None:
    os.utime(node.file)
    assert await node.bring("one") == Outcome("confirmed")
    assert node.parser.parsed == []
    assert await node.agent().bring(version("one"), node.newer) == Outcome("unchanged")


async def test_refused_by_the_parser(node: Node) -> None:
    text = f'two\nwrong password "{SECRET}";'
    first = await node.bring(text)
    assert first.state == "refused"
    assert first.problem == "line 2: syntax error; that line is: wrong password ..."
    assert (node.bird.orders, node.file.read_text()) == ([], "one")
    assert node.beside() == {"", ".refused", ".refused.why"}
    assert node.why() == f"{first.problem}\n"
    assert node.file.with_name("f.conf.refused").read_text() == text
    assert await node.bring(text) == first
    assert len(node.parser.parsed) == 1
    assert (await node.bring("two")).state == "confirmed"
    assert node.beside() == {""}
    assert (await node.bring(text)).state == "refused"


CANNOT_PARSE = [
    # case              error                                  state      problem              again
    ("crash", CommandError(("bird",), -6, "heap"), "refused", "ended by signal 6", 1),
    ("deadline", CommandTimeoutError(("bird",), 30), "refused", "no answer in 30 s", 2),
    ("no program", CommandMissingError("bird"), "away", "bird: not found", 2),
]


@pytest.mark.parametrize(
    ("error", "state", "problem", "tries"),
    [each[1:] for each in CANNOT_PARSE],
    ids=[each[0] for each in CANNOT_PARSE],
)
async def test_a_parser_that_fails(
    node: Node, error: Exception, state: str, problem: str, tries: int
) -> None:
    node.parser.error = error
    for _ in range(2):
        found = await node.bring("two")
        assert found.state == state
        assert problem in found.problem
    assert len(node.parser.parsed) == tries
    assert (node.bird.orders, node.file.read_text()) == ([], "one")


async def test_what_was_refused_is_forgotten_once_what_runs_is_wanted_again(node: Node) -> None:
    assert (await node.bring("two\nwrong")).state == "refused"
    assert await node.bring("one") == Outcome("unchanged")
    assert node.beside() == {""}
    assert (await node.bring("two\nwrong")).state == "refused"
    assert node.beside() == {"", ".refused", ".refused.why"}


async def test_refused_by_the_daemon(node: Node) -> None:
    node.bird.check = f"8002 {node.file}:1:1 No such thing"
    found = await node.bring("two")
    assert found == Outcome("refused", "line 1: No such thing; that line is: two")
    assert (node.bird.running, node.file.read_text()) == ("one", "one")
    assert node.beside() == {"", ".refused", ".refused.why"}
    assert await node.bring("two") == found
    assert node.parser.parsed == ["two"]
    node.bird.check = "0020 Configuration OK"
    node.driver.retry()
    assert (await node.bring("two")).state == "confirmed"


async def test_a_restarted_session_is_waited_for(node: Node) -> None:
    async def come_back() -> None:
        await asyncio.sleep(0.1)
        node.bird.restart_session("a")

    node.bird.effect = lambda text: node.bird.restart_session("a", back=False)
    back = asyncio.create_task(come_back())
    assert await node.bring("two") == Outcome("confirmed", restarted=("a",))
    await back


async def test_a_session_that_does_not_come_back(node: Node) -> None:
    node.bird.effect = lambda text: node.bird.restart_session("a", back=text == "one")
    found = await node.bring("two")
    why = "session a did not come back within 0.4 s"
    assert found == Outcome("undone", why, restarted=("a",))
    assert (node.bird.running, node.file.read_text(), node.why()) == ("one", "one", f"{why}\n")
    assert node.beside() == {"", ".refused", ".refused.why"}
    orders = len(node.bird.orders)
    assert await node.bring("two") == found
    assert len(node.bird.orders) == orders
    assert await node.bring("one") == Outcome("unchanged")


@pytest.mark.parametrize("fresh", [False, True])
async def test_the_other_end_has_to_follow(node: Node, fresh: bool) -> None:
    """An agent that has just started sees from the texts what both ends agree on."""
    one, two = (f'protocol bgp a {{ password "{word}"; }}' for word in ("x", "y"))
    node.file.write_text(one)
    os.utime(node.file, (0, 0))
    if not fresh:
        assert await node.bring(one) == Outcome("unchanged")
    node.bird.effect = lambda text: node.bird.restart_session("a", back=False)
    found = await node.bring(two, a="y")
    assert found == Outcome("confirmed", restarted=("a",), waiting=("a",))


async def test_a_newer_version_does_not_wait_for_a_trial(node: Node) -> None:
    node.bird.effect = lambda text: node.bird.restart_session("a", back=text != "two")
    node.newer.set()
    assert (await node.bring("two")).state == "superseded"
    assert (node.file.read_text(), node.bird.before_trial) == ("two", "one")
    node.newer.clear()
    assert (await node.bring("three")).state == "confirmed"
    assert (node.bird.running, node.beside()) == ("three", {""})


async def test_after_several_trials_the_last_confirmed_version_is_gone_back_to(node: Node) -> None:
    node.bird.effect = lambda text: node.bird.restart_session("a", back=text == "one")
    node.newer.set()
    for text in ("two", "three"):
        assert (await node.bring(text)).state == "superseded"
    node.newer.clear()
    assert (await node.bring("four")).state == "undone"
    assert (node.bird.running, node.file.read_text()) == ("one", "one")


async def test_a_refused_version_lets_the_trial_before_it_go_on(node: Node) -> None:
    node.bird.effect = lambda text: node.bird.restart_session("a", back=text != "two")
    node.newer.set()
    assert (await node.bring("two")).state == "superseded"
    node.newer.clear()
    node.bird.restart_session("a")
    assert (await node.bring("wrong")).state == "refused"
    assert (node.bird.running, node.file.read_text()) == ("two", "two")
    assert node.beside() == {"", ".refused", ".refused.why"}
    assert node.file.with_name("f.conf.refused").read_text() == "wrong"
    assert node.bird.before_trial is None


async def test_a_trial_that_is_cut_short_beside_a_refused_version_is_not_forgotten(
    node: Node,
) -> None:
    """Nobody would confirm it, and BIRD would undo what is good."""
    node.bird.effect = lambda text: node.bird.restart_session("a", back=text != "two")
    node.newer.set()
    assert (await node.bring("two")).state == "superseded"
    assert (await node.bring("wrong")).state == "superseded"
    assert node.bird.orders[-1] == "configure timeout 6"
    node.newer.clear()
    node.bird.restart_session("a")
    assert (await node.bring("wrong")).state == "refused"
    assert (node.bird.running, node.bird.before_trial) == ("two", None)
    assert node.beside() == {"", ".refused", ".refused.why"}


async def test_a_trial_that_the_agent_did_not_survive(node: Node) -> None:
    node.bird.effect = lambda text: node.bird.restart_session("a", back=text == "one")
    task = asyncio.create_task(node.bring("two"))
    await asyncio.sleep(0.15)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert node.beside() == {"", ".previous", ".trial"}
    node.driver = node.agent()
    assert (await node.bring("two")).state == "undone"  # it still waits for a
    assert (node.bird.running, node.file.read_text()) == ("one", "one")


async def test_its_successor_may_want_what_bird_refuses(node: Node) -> None:
    node.newer.set()
    node.bird.effect = lambda text: node.bird.restart_session("a", back=text == "one")
    assert (await node.bring("two")).state == "superseded"
    node.driver = node.agent()
    assert (await node.bring("wrong")).state == "refused"
    assert (node.bird.running, node.file.read_text()) == ("one", "one")


async def test_cancelled_while_it_is_parsed(node: Node) -> None:
    node.parser.waits = True
    task = asyncio.create_task(node.bring("two"))
    await node.parser.called.wait()
    assert node.beside() == {"", ".new"}
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert node.beside() == {""}


async def test_bird_was_faster_than_we(node: Node) -> None:
    """It undid the trial when its own time was up: the version is brought once more."""

    def undo(command: str) -> None:
        if command == "configure confirm" and node.bird.before_trial is not None:
            node.bird.undo()
            node.bird.reconfigured = node.bird.booted

    node.bird.hook = undo
    found = await node.bring("two")
    assert (found.state, found.problem) == ("undone", "BIRD undid it before it was confirmed")
    node.bird.hook = lambda _: None
    assert (await node.bring("two")).state == "confirmed"


async def test_away(node: Node) -> None:
    await node.bird.stop()
    for _ in range(2):
        assert (await node.bring("two")).state == "away"
        assert (node.file.read_text(), node.beside()) == ("two", {""})
    assert node.parser.parsed == ["two"]
    assert (await node.bring("wrong")).state == "refused"
    assert node.file.read_text() == "two"


async def test_a_daemon_that_starts_with_the_file_need_not_read_it_again(node: Node) -> None:
    await node.bird.stop()
    assert (await node.bring("two")).state == "away"
    written = node.file.stat().st_mtime_ns
    node.bird = FakeBird(node.settings.control_socket, node.file)
    node.bird.reconfigured = datetime.now()  # noqa: DTZ005 - BIRD tells local time
    async with node.bird:
        for driver in (node.driver, node.agent()):
            assert await driver.bring(version("two"), node.newer) == Outcome("unchanged")
    assert node.bird.orders == []
    assert node.file.stat().st_mtime_ns == written


async def test_one_that_starts_before_the_file_is_in_place_has_to(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node.bird.stop()
    late = FakeBird(node.settings.control_socket, node.file)
    late.reconfigured = datetime.now()  # noqa: DTZ005

    async def asked_after_it_came(settings: BirdSettings) -> DaemonStatus:
        await late.__aenter__()
        return await daemon_status(settings)

    monkeypatch.setattr("dataplane.bird.driver.daemon_status", asked_after_it_came)
    assert (await node.bring("two")).state == "away"
    monkeypatch.undo()
    assert (await node.bring("two")).state == "confirmed"
    assert late.running == "two"
    await late.stop()


async def test_the_first_version(node: Node) -> None:
    """There is a daemon, and nobody knows what it runs."""
    node.file.unlink()
    assert (await node.bring("two")).state == "confirmed"
    assert node.beside() == {""}


async def test_the_first_version_is_undone(node: Node) -> None:
    node.file.unlink()
    node.bird.effect = lambda text: node.bird.restart_session("a", back=text == "one")
    assert (await node.bring("two")).state == "undone"
    assert (node.bird.running, node.beside()) == ("one", {".refused", ".refused.why"})


async def test_a_daemon_that_hangs_is_left_alone(node: Node) -> None:
    node.bird.dies_on = "show protocols"
    assert (await node.bring("two")).state == "away"
    assert (node.file.read_text(), node.beside(), node.bird.orders) == ("one", {""}, [])


@pytest.mark.parametrize("order", ["configure check", "configure timeout"])
async def test_a_daemon_that_ends_of_it(node: Node, order: str) -> None:
    """systemd starts it again: it must not read that file then."""
    node.bird.dies_on = order
    found = await node.bring("two")
    assert found.state == "undone"
    assert "ended or hung" in found.problem
    assert (node.file.read_text(), node.beside()) == ("one", {"", ".refused", ".refused.why"})


async def test_a_daemon_that_is_started_again_during_a_trial(node: Node) -> None:
    """It has read the file in place, and has nothing to confirm."""

    def restart(command: str) -> None:
        if command == "configure confirm":
            node.bird.before_trial = None
            node.bird.booted = node.bird.reconfigured = node.bird.booted.replace(year=2027)

    node.bird.hook = restart
    assert (await node.bring("two")).state == "confirmed"


@pytest.mark.parametrize("fresh", [False, True])
async def test_going_back_is_tried_until_it_is_done(node: Node, fresh: bool) -> None:
    """By the next agent too, which knows nothing of it."""
    node.bird.effect = lambda text: node.bird.restart_session("a", back=text == "one")
    node.bird.refuses = "configure"
    assert (await node.bring("two")).state == "undone"
    assert (node.bird.running, node.file.read_text()) == ("two", "one")
    node.bird.refuses = ""
    if fresh:
        node.driver = node.agent()
        assert (await node.bring("one")).state == "confirmed"
    else:
        assert (await node.bring("two")).state == "undone"
        assert node.bird.orders[-1] == "configure"
    assert node.bird.running == "one"


async def test_a_directory_that_cannot_be_written(node: Node) -> None:
    node.driver._files.fresh = node.file / "f.conf.new"
    found = await node.bring("two")
    assert found.state == "refused"
    assert "Not a directory" in found.problem
    assert node.file.read_text() == "one"
