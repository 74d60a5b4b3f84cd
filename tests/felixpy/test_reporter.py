"""What the agent tells the outside of what happens to it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dataplane.dataplane import Applied
from dataplane.desired.desired import Summary
from felixpy import status
from felixpy.reporter import IN_SYNC, LISTING, NOT_READY, UNAVAILABLE, Reporter

SUMMARY = Summary(3, 0, 2, 1)
GOOD, BAD = Applied(0.001, {}, {"chains": 2}), Applied(0.001, {"IPv4 tables": "stuck"}, {})
NO_WIREGUARD = {"wireguard.cali": "this kernel has no WireGuard"}
REFUSED = Applied(0.001, {}, {"chains": 2}, NO_WIREGUARD)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reporter(tmp_path: Path, clock: Clock) -> Reporter:
    return Reporter("n1", "1", tmp_path, clock)


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield receiver


def told(supervisor: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(supervisor.recv(1000).decode().split("\n")[0])
        except BlockingIOError:
            return found


def test_systemd_hears_of_readiness_after_the_first_success(
    reporter: Reporter, supervisor: socket.socket
) -> None:
    reporter.tell_reloading()
    reporter.tell_ready()
    reporter.applied(BAD, SUMMARY, "nft")
    assert told(supervisor) == []
    reporter.applied(GOOD, SUMMARY, "nft")
    assert told(supervisor) == ["READY=1"]
    reporter.tell_reloading()
    reporter.tell_ready()
    reporter.tick()
    assert told(supervisor) == ["RELOADING=1", "READY=1", "WATCHDOG=1"]


@pytest.mark.parametrize(
    ("failures", "refused", "state", "overall"),
    [
        ({}, {}, "in sync", "running"),
        ({}, NO_WIREGUARD, "in sync", "degraded"),
        ({"IPv4 tables": "stuck"}, {}, "failing", "degraded"),
        ({"IPv4 tables": "stuck"}, NO_WIREGUARD, "failing", "degraded"),
    ],
)
def test_what_cannot_be_had_is_told_and_is_no_failure(
    reporter: Reporter,
    tmp_path: Path,
    failures: dict[str, str],
    refused: dict[str, str],
    state: str,
    overall: str,
) -> None:
    reporter.datastore("file", "/m", IN_SYNC)
    reporter.applied(Applied(0.001, failures, {}, refused), SUMMARY, "nft")
    reporter.tick()
    known = status.read(tmp_path)
    assert known is not None
    assert (known.dataplane.state, known.state) == (state, overall)
    assert {each.about: each.text for each in known.problems} == {**failures, **refused}


def test_what_cannot_be_had_keeps_nobody_from_starting(
    reporter: Reporter, supervisor: socket.socket
) -> None:
    reporter.applied(REFUSED, SUMMARY, "nft")
    assert told(supervisor) == ["READY=1"]


def test_the_watchdog_is_not_fed_when_somebody_is_dead(
    reporter: Reporter, supervisor: socket.socket
) -> None:
    reporter.health.register("stuck", 1.0)
    reporter.health.report("stuck", ready=False, live=False)
    reporter.tick()
    assert told(supervisor) == []


@pytest.mark.parametrize(
    ("state", "applied", "ready"),
    [
        (LISTING, None, False),
        (IN_SYNC, None, False),
        (IN_SYNC, BAD, False),
        (IN_SYNC, GOOD, True),
        (IN_SYNC, REFUSED, True),
        (NOT_READY, None, True),
    ],
)
def test_readiness(reporter: Reporter, state: str, applied: Applied | None, ready: bool) -> None:
    reporter.datastore("file", "/m", state)
    if applied is not None:
        reporter.applied(applied, SUMMARY, "nft")
    reporter.tick()
    assert (reporter.health.unready() == []) is ready


AWAY = {"etcd": "10.0.0.1:2379: connection refused"}


@pytest.mark.parametrize("state", [LISTING, IN_SYNC, NOT_READY])
def test_an_etcd_that_is_away_is_said_everywhere(
    reporter: Reporter, tmp_path: Path, clock: Clock, state: str
) -> None:
    reporter.datastore("etcdv3", "10.0.0.1:2379", state)
    reporter.applied(GOOD, SUMMARY, "nft")
    before = reporter.resync_state
    reporter.problems.replace("datastore", AWAY)
    reporter.tick()
    known = status.read(tmp_path)
    assert (known.datastore.state, known.state) == (UNAVAILABLE, "degraded")
    assert [line for line in reporter.health.unready() if AWAY["etcd"] in line] != []
    assert reporter.health.dead() == []
    assert reporter.resync_state == 1
    reporter.problems.replace("datastore", {})
    clock.now += 10
    reporter.tick()
    assert status.read(tmp_path).datastore.state == state
    assert reporter.resync_state == before


def test_a_move_to_another_member_is_shown_and_not_logged(
    reporter: Reporter, tmp_path: Path
) -> None:
    reporter.datastore("etcdv3", "a:1,b:1", IN_SYNC)
    with capture_logs() as events:
        reporter.datastore("etcdv3", "b:1", IN_SYNC)
    reporter.write()
    assert events == []
    assert status.read(tmp_path).datastore.location == "b:1"


def test_what_the_log_says_and_how_often(reporter: Reporter) -> None:
    with capture_logs() as events:
        for state in (LISTING, NOT_READY, NOT_READY, IN_SYNC, IN_SYNC):
            reporter.datastore("file", "/m", state)
        for applied in (BAD, GOOD, Applied(0.001, {}, {})):
            reporter.applied(applied, SUMMARY, "nft")
    assert [event["event"] for event in events if event["log_level"] != "debug"] == [
        "datastore.not_ready",
        "datastore.in_sync",
        "dataplane.applied",
        "dataplane.in_sync",
    ]


def test_the_file_is_written_when_something_is_new_but_not_too_often(
    reporter: Reporter, tmp_path: Path, clock: Clock
) -> None:
    reporter.write()
    path = tmp_path / status.NAME
    path.unlink()
    clock.now += 10
    reporter.write()
    assert not path.exists()
    reporter.problems.replace("datastore", {"a": "bad"})
    reporter.write()
    path.unlink()
    reporter.problems.replace("datastore", {})
    reporter.write()
    assert not path.exists()
    reporter.write(at_once=True)
    known = status.read(tmp_path)
    assert known is not None
    assert known.problems == ()


def test_a_full_disk_is_said_once(
    reporter: Reporter, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(status, "write", full)
    with capture_logs() as events:
        for _ in range(3):
            clock.now += 10
            reporter.write()
    assert [event["event"] for event in events] == ["status.not_written"]


def test_what_the_file_cannot_take_at_once_it_takes_half_a_second_later(
    reporter: Reporter, tmp_path: Path, clock: Clock
) -> None:
    reporter.tick()
    assert reporter.seconds_to_next() == float("inf")
    clock.now += 0.2
    reporter.problems.replace("held back", {"x": "waits"})
    reporter.tick()
    assert status.read(tmp_path).problems == ()
    assert reporter.seconds_to_next() == pytest.approx(status.INTERVAL - 0.2)
    clock.now += reporter.seconds_to_next()
    reporter.tick()
    assert [problem.text for problem in status.read(tmp_path).problems] == ["waits"]
    assert reporter.seconds_to_next() == float("inf")


def test_a_file_that_cannot_be_written_is_tried_again_in_its_time(
    reporter: Reporter, tmp_path: Path, clock: Clock
) -> None:
    (tmp_path / status.NAME).mkdir()
    clock.now = 10
    reporter.tick()
    assert reporter.seconds_to_next() == status.INTERVAL
