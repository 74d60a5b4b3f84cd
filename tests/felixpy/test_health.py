"""Who is ready, who is live, and what systemd is told."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from felixpy.health import Health, notify


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_reporter_is_ready_when_it_says_so_and_neither_when_it_is_silent() -> None:
    clock = Clock()
    health = Health(clock)
    health.register("graph", 30.0)
    health.register("startup", 0.0)
    assert health.unready() == ["graph: not ready", "startup: not ready"]
    assert health.dead() == []
    health.report("graph", ready=True)
    health.report("startup", ready=True)
    assert health.unready() == []
    clock.now += 31
    assert health.unready() == health.dead() == ["graph: silent for 31 s"]
    health.report("graph", ready=True, live=False)
    assert health.dead() == ["graph: not live"]
    health.report("graph", ready=False, why="the datastore is listing")
    assert health.unready() == ["graph: not ready: the datastore is listing"]


@pytest.mark.parametrize(
    ("overrides", "limit", "dead"),
    [
        ({}, 30.0, True),
        ({"graph": 60.0}, 30.0, False),
        ({"graph": 0.0}, 30.0, False),
        ({"graph": 10.0}, 60.0, True),
        ({"others": 60.0}, 30.0, True),
        ({}, 60.0, False),
    ],
)
def test_time_limits(overrides: dict[str, float], limit: float, dead: bool) -> None:
    clock = Clock()
    health = Health(clock)
    health.register("graph", 5.0)
    health.limit("graph", limit)
    health.overrides = overrides
    health.report("graph", ready=True)
    clock.now += 40
    assert bool(health.dead()) is dead


@pytest.fixture(params=["path", "abstract"])
def supervisor(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.settimeout(5)
        if request.param == "path":
            receiver.bind(str(tmp_path / "notify"))
            monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        else:
            receiver.bind("")  # the kernel chooses an abstract name
            name: bytes = receiver.getsockname()
            monkeypatch.setenv("NOTIFY_SOCKET", "@" + name[1:].decode())
        yield receiver


def test_systemd_is_told(supervisor: socket.socket) -> None:
    notify("READY=1", "STATUS=well")
    assert supervisor.recv(100) == b"READY=1\nSTATUS=well"


def test_nobody_there_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notify("READY=1")
