"""The agent's loop, with a dataplane that only remembers: signals, ends, what nobody foresaw."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
from structlog.testing import capture_logs

from calc_graph.updates import Update
from dataplane.dataplane import Applied
from dataplane.desired.desired import Summary
from dataplane.endpoint_states import EndpointKey, LocalEndpoint
from dataplane.errors import DataplaneError
from dataplane.interfaces import Interface
from dataplane.settings import Intervals, Settings
from felixpy import agent as module
from felixpy import pipeline, services
from felixpy.agent import Agent
from felixpy.datastore.manifests import ManifestSource
from felixpy.datastore.source import DatastoreStartError
from felixpy.live_config import LiveConfig
from felixpy.status import read
from felixpy.tasks import TaskEndedError, endless
from tests.fakes.wireguard import ToldWireguard

PROFILE = """\
apiVersion: projectcalico.org/v3
kind: Profile
metadata: {name: open}
"""
CLUSTER = """\
apiVersion: projectcalico.org/v3
kind: ClusterInformation
metadata: {name: default}
spec: {datastoreReady: %s}
"""


class FakeDataplane:
    """Answers as a kernel that agrees with everything."""

    backend = "fake"
    interfaces: Mapping[str, Interface] = MappingProxyType({})
    in_force = True

    def __init__(self, kernel: Kernel, settings: Settings) -> None:
        self.kernel = kernel
        self.settings = settings
        self.wireguard = ToldWireguard()
        self._news = True
        kernel.built.append(self)

    def desire(self, updates: Iterable[Update]) -> None:
        self.kernel.updates += updates
        self._news = True

    def set_intervals(self, intervals: Intervals) -> None:
        self.kernel.intervals.append(intervals)

    def seconds_to_next(self) -> float:
        return float("inf")

    async def apply(self) -> Applied | None:
        if self.kernel.bug is not None:
            raise self.kernel.bug
        if not self._news:
            return None
        self._news = False
        self.kernel.applied.set()
        return Applied(0.001, {}, {"chains": 1})

    def take_endpoint_changes(self) -> dict[EndpointKey, LocalEndpoint | None]:
        return {}

    def summary(self) -> Summary:
        return Summary(0, 0, 0, 0)

    async def close(self) -> None:
        self.kernel.closed += 1


class Kernel:
    def __init__(self) -> None:
        self.built: list[FakeDataplane] = []
        self.updates: list[Update] = []
        self.intervals: list[Intervals] = []
        self.applied = asyncio.Event()
        self.closed = 0
        self.bug: Exception | None = None
        self.failures: list[DataplaneError] = []

    async def build(self, settings: Settings, _: Callable[[], None]) -> FakeDataplane:
        if self.failures:
            raise self.failures.pop()
        return FakeDataplane(self, settings)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    monkeypatch.setattr(pipeline, "build_dataplane", made.build)
    monkeypatch.setattr(services, "set_up_logs", lambda _: "")
    monkeypatch.setattr(pipeline, "BUILD_RETRY", 0.01)
    monkeypatch.setattr(module, "TICK", 0.02)
    monkeypatch.setattr(module, "START_RETRY", 0.02)
    return made


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    directory = tmp_path / "manifests"
    directory.mkdir()
    (directory / "profile.yaml").write_text(PROFILE)
    return directory


@pytest.fixture
def config(tmp_path: Path, manifests: Path) -> Path:
    path = tmp_path / "felixpy.cfg"
    path.write_text(f"[global]\nFelixHostname = n1\nDatastorePath = {manifests}\n")
    return path


@pytest.fixture
def signals() -> Iterator[None]:
    """asyncio takes its handlers away, and the default of some would end the tests."""
    numbers = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


async def until(ask: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not ask():  # noqa: ASYNC110  what is asked of has no event
            await asyncio.sleep(0.005)


def start(config: Path, tmp_path: Path) -> asyncio.Task[None]:
    return asyncio.create_task(Agent(LiveConfig(config, {}), tmp_path).run())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.usefixtures("signals")
async def test_it_runs_until_told_to_stop(
    kernel: Kernel, config: Path, tmp_path: Path, number: signal.Signals
) -> None:
    running = start(config, tmp_path)
    await kernel.applied.wait()
    os.kill(os.getpid(), number)
    await running
    assert (len(kernel.built), kernel.closed) == (1, 1)
    status = read(tmp_path)
    assert status is not None
    assert status.state == "running"


@pytest.mark.usefixtures("signals")
async def test_a_bad_start_builds_no_dataplane(
    kernel: Kernel, config: Path, manifests: Path, tmp_path: Path
) -> None:
    (manifests / "bad.yaml").write_text(PROFILE.replace("kind", "knd"))
    with pytest.raises(DatastoreStartError, match=r"bad\.yaml"):
        await start(config, tmp_path)
    assert kernel.built == []


@pytest.mark.usefixtures("signals")
async def test_not_ready_builds_no_dataplane_and_holds_changes(
    kernel: Kernel, config: Path, manifests: Path, tmp_path: Path
) -> None:
    (manifests / "cluster.yaml").write_text(CLUSTER % "false")
    running = start(config, tmp_path)
    await until(lambda: (s := read(tmp_path)) is not None and s.datastore.state == "not ready")
    assert kernel.built == []
    (manifests / "cluster.yaml").write_text(CLUSTER % "true")
    await kernel.applied.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    await running


@pytest.mark.parametrize(
    ("more", "built", "intervals"),
    [
        ("", 1, 0),
        ("RouteRefreshInterval = 5\n", 1, 1),
        ("Ipv6Support = false\n", 2, 0),
        ("FelixHostname = n2\n", 2, 0),
    ],
)
@pytest.mark.usefixtures("signals")
async def test_sighup(
    kernel: Kernel, config: Path, tmp_path: Path, more: str, built: int, intervals: int
) -> None:
    running = start(config, tmp_path)
    await kernel.applied.wait()
    kernel.applied.clear()
    config.write_text(config.read_text() + more)
    with capture_logs() as events:
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: any(e["event"] == "configuration.read_again" for e in events))
        await until(lambda: len(kernel.built) == built and len(kernel.intervals) == intervals)
        os.kill(os.getpid(), signal.SIGTERM)
        await running
    status = read(tmp_path)
    assert status is not None
    assert status.node == kernel.built[-1].settings.hostname


@pytest.mark.usefixtures("signals")
async def test_another_source_of_routes_in_the_datastore_begins_anew_once(
    kernel: Kernel, config: Path, manifests: Path, tmp_path: Path
) -> None:
    (manifests / "felix.yaml").write_text(
        "apiVersion: projectcalico.org/v3\nkind: FelixConfiguration\n"
        "metadata: {name: default}\nspec: {routeSource: WorkloadIPs}\n"
    )
    with capture_logs() as events:
        running = start(config, tmp_path)
        await kernel.applied.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await running
    assert [e["event"] for e in events].count("agent.begins_anew") == 1
    assert len(kernel.built) == 1


@pytest.mark.usefixtures("signals")
async def test_systemd_is_told_of_start_reload_and_stop(
    kernel: Kernel, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(tmp_path / "notify"))
        supervisor.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        running = start(config, tmp_path)
        told: list[str] = []

        async def until_told(*words: str) -> None:
            while told[-len(words) :] != [*words]:
                message = await asyncio.get_running_loop().sock_recv(supervisor, 1000)
                first = message.decode().splitlines()[0]
                told.extend([first] if first != "WATCHDOG=1" else [])

        async with asyncio.timeout(10):
            await until_told("READY=1")
            os.kill(os.getpid(), signal.SIGHUP)
            await until_told("READY=1", "RELOADING=1", "READY=1")
            os.kill(os.getpid(), signal.SIGTERM)
            await until_told("STOPPING=1")
            await running


@pytest.mark.usefixtures("signals")
async def test_a_dataplane_that_cannot_be_had_yet_is_tried_again(
    kernel: Kernel, config: Path, tmp_path: Path
) -> None:
    kernel.failures = [DataplaneError("no iptables"), DataplaneError("no iptables")]
    running = start(config, tmp_path)
    await kernel.applied.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    await running
    assert len(kernel.built) == 1


@pytest.mark.usefixtures("signals")
async def test_a_running_agent_outlives_a_datastore_that_cannot_be_used(
    kernel: Kernel, config: Path, manifests: Path, tmp_path: Path
) -> None:
    running = start(config, tmp_path)
    await kernel.applied.wait()
    good = config.read_text()
    config.write_text(good.replace(str(manifests), str(tmp_path / "nowhere")))
    with capture_logs() as events:
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: any(e["event"] == "datastore.unusable" for e in events))
        await asyncio.sleep(0.1)
        config.write_text(good)
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: len(kernel.built) == 2)
        os.kill(os.getpid(), signal.SIGTERM)
        await running
    assert [e["event"] for e in events].count("datastore.unusable") == 1


@pytest.mark.usefixtures("signals")
async def test_a_bug_ends_the_agent(kernel: Kernel, config: Path, tmp_path: Path) -> None:
    kernel.bug = ZeroDivisionError("nobody foresaw this")
    with pytest.raises(ZeroDivisionError):
        await start(config, tmp_path)
    assert kernel.closed == 1


def _in_a_callback(bug: Exception) -> None:
    def fail() -> None:
        raise bug

    asyncio.get_running_loop().call_soon(fail)


def _in_a_forgotten_task(bug: Exception) -> None:
    async def fail() -> None:
        raise bug

    # nobody holds it, so its end is found out when it is collected
    asyncio.get_running_loop().create_task(fail())


@pytest.mark.parametrize("hide", [_in_a_callback, _in_a_forgotten_task])
@pytest.mark.usefixtures("signals")
async def test_a_bug_where_nobody_looks_ends_the_agent_too(
    kernel: Kernel, config: Path, tmp_path: Path, hide: Callable[[Exception], None]
) -> None:
    running = start(config, tmp_path)
    await kernel.applied.wait()
    hide(ZeroDivisionError("nobody foresaw this"))
    with pytest.raises(ZeroDivisionError):
        await running
    assert kernel.closed == 1


@pytest.mark.usefixtures("signals")
async def test_a_datastore_that_ends_or_breaks_ends_the_agent(
    kernel: Kernel, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    async def over(*_: object) -> None:
        return

    for run, raised in ((broken, ZeroDivisionError), (over, TaskEndedError)):
        monkeypatch.setattr(ManifestSource, "run", run)
        with pytest.raises(raised):
            await start(config, tmp_path)
    assert kernel.built == []


CRASH = """
import sys
from felixpy import cli, pipeline

async def build_dataplane(*_):
    raise ZeroDivisionError("nobody foresaw this")

pipeline.build_dataplane = build_dataplane
sys.exit(cli.main(["run", "--config", sys.argv[1]]))
"""


@pytest.mark.parametrize("style", ["console", "json"])
def test_a_crash_is_logged_once_and_has_status_1(config: Path, tmp_path: Path, style: str) -> None:
    more = f"RunDir = {tmp_path / 'run'}\nLogFormat = {style}\nLogSeveritySys = none\n"
    config.write_text(config.read_text() + more)
    argv = [sys.executable, "-c", CRASH, str(config)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    for words in ("agent.crashed", "Traceback", "ZeroDivisionError: nobody foresaw this"):
        assert done.stderr.count(words) == 1, done.stderr


async def test_an_endless_task_that_ends() -> None:
    async def short() -> None:
        return

    with pytest.raises(TaskEndedError, match="clock ended"):
        await endless(short(), "clock")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
