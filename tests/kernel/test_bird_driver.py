"""The driver with real BIRDs: two machines on one wire, and the driver keeps one of them."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dataplane.bird.control import BirdAway
from dataplane.bird.driver import BirdDriver
from dataplane.bird.outcome import Outcome
from dataplane.bird.parse.daemon import DaemonStatus, daemon_status
from dataplane.bird.parse.sessions import SessionStatus, session_statuses
from dataplane.bird.settings import BirdSettings
from dataplane.bird.sweep import OURS, Swept, sweep
from dataplane.bird.version import SessionPart, Version
from tests.kernel.bgp_routers import eventually
from tests.kernel.bgp_unit import unit_command
from tests.kernel.conftest import Namespace, enter

pytestmark = pytest.mark.kernel

SECRET = "mesh secret"
CONFIG = f"""{OURS}
log "{{log}}" all;
router id 10.0.0.{{me}};
timeformat base iso long; timeformat log iso long;
timeformat protocol iso long; timeformat route iso long;
graceful restart wait 5;
protocol device {{{{ scan time 2; }}}}
protocol direct {{{{ ipv4; ipv6; }}}}
protocol static own4 {{{{ ipv4; route 10.65.{{me}}.0/26 blackhole; }}}}
protocol static own6 {{{{ ipv6; route fd65::{{me}}:0/122 blackhole; }}}}
protocol kernel kernel4 {{{{ persist; graceful restart; ipv4 {{{{ export where source ~ [ RTS_BGP, RTS_STATIC ]; }}}}; }}}}
protocol kernel kernel6 {{{{ persist; graceful restart; ipv6 {{{{ export where source ~ [ RTS_BGP, RTS_STATIC ]; }}}}; }}}}
template bgp session {{{{
  graceful restart on; connect delay time 1; connect retry time 1; error wait time 1, 2;
  hold time 9;
}}}}
protocol bgp Mesh_v4 from session {{{{
  local 10.0.0.{{me}} as 64512; neighbor 10.0.0.{{other}} as 64512; multihop;
  password "{SECRET}";
  ipv4 {{{{ next hop self; import all; export where source = RTS_STATIC; }}}};
}}}}
protocol bgp Mesh_v6 from session {{{{
  local fd00::{{me}} as 64512; neighbor fd00::{{other}} as 64512; multihop;
  ipv6 {{{{ next hop self; import all; export where source = RTS_STATIC; }}}};
}}}}
"""  # noqa: E501
SESSIONS = ("Mesh_v4", "Mesh_v6")


def version(text: str, **agreements: object) -> Version:
    parts = {name: SessionPart(agreements.get(name, 0)) for name in SESSIONS}
    return Version(text, text.replace(SECRET, "<s/k>"), parts)


class Machine:
    """With a BIRD that runs by the unit's ExecStart= line."""

    def __init__(self, space: Namespace, directory: Path, me: int, other: int) -> None:
        self.space = space
        directory.mkdir()
        shutil.chown(directory, "bird", "bird")
        self.settings = BirdSettings(
            config_file=directory / "f.conf",
            control_socket=directory / "f.ctl",
            confirm_seconds=3.0,
        )
        self.file, self.socket = self.settings.config_file, self.settings.control_socket
        self.text = CONFIG.format(me=me, other=other, log=directory / "log")
        self.bird: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self.bird = self.space.start(*unit_command("ExecStart", self.file, self.socket))
        eventually(self.answers, "an answer", 20)

    def stop(self, how: int) -> None:
        assert self.bird is not None
        self.bird.send_signal(how)
        self.bird.wait(timeout=10)

    def write(self) -> None:
        self.file.write_text(self.text)
        shutil.chown(self.file, "root", "bird")
        self.file.chmod(0o640)

    def status(self) -> DaemonStatus:
        return asyncio.run(daemon_status(self.settings))

    def answers(self) -> bool:
        try:
            return self.status().version != ""
        except BirdAway:
            return False

    def sessions(self) -> dict[str, SessionStatus]:
        return asyncio.run(session_statuses(self.settings))

    def established(self) -> bool:
        return all(self.sessions()[name].up for name in SESSIONS)

    def recovered(self) -> bool:
        return not self.status().recovering

    def bird_routes(self) -> int:
        routes = self.space.run("ip route show proto bird; ip -6 route show proto bird")
        return len(routes.splitlines())

    def has_routes(self) -> bool:
        """Its own and the peer's, of both families."""
        return self.bird_routes() == 4

    def beside(self) -> set[str]:
        return {path.name.removeprefix("f.conf") for path in self.file.parent.glob("f.conf*")}

    def modes(self) -> set[tuple[int, str]]:
        found = self.file.parent.glob("f.conf*")
        return {(stat.S_IMODE(path.stat().st_mode), path.group()) for path in found}


class Pair:
    def __init__(self, here: Machine, peer: Machine) -> None:
        self.here, self.peer = here, peer
        self.driver = BirdDriver(here.settings)

    def bring(self, text: str, **agreements: object) -> Outcome:
        return asyncio.run(self.driver.bring(version(text, **agreements), asyncio.Event()))

    def log(self) -> str:
        return (self.here.file.parent / "log").read_text()


@pytest.fixture
def directory() -> Iterator[Path]:
    """BIRD reads its file as a user of its own, and what pytest makes is root's."""
    with tempfile.TemporaryDirectory(prefix="felixpy-bird-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def pair(
    netns: Callable[[str], Namespace],
    veth: Callable[[Namespace, str, Namespace, str], None],
    directory: Path,
) -> Iterator[Pair]:
    """Both sessions are Established, and each end has the other's route."""
    spaces = [netns("b1"), netns("b2")]
    veth(spaces[0], "e0", spaces[1], "e0")
    for number, space in enumerate(spaces, 1):
        space.run(f"ip addr add 10.0.0.{number}/24 dev e0")
        space.run(f"ip addr add fd00::{number}/64 dev e0 nodad")
    here = Machine(spaces[0], directory / "1", 1, 2)
    peer = Machine(spaces[1], directory / "2", 2, 1)
    pair = Pair(here, peer)
    peer.write()
    peer.start()
    assert pair.bring(here.text).state == "away"
    here.start()
    eventually(here.established, "the sessions", 15)
    for machine in (here, peer):
        eventually(machine.has_routes, "the routes", 15)
    yield pair
    for machine in (here, peer):
        if machine.bird is not None and machine.bird.poll() is None:
            machine.stop(signal.SIGKILL)


ANOTHER = "route 10.65.1.0/26 blackhole; route 10.65.1.64/26 blackhole;"


def with_another_route(text: str) -> str:
    return text.replace("route 10.65.1.0/26 blackhole;", ANOTHER)


def broken(text: str) -> str:
    """Breaks both sessions without a word that the other end would have to follow."""
    for local, address in (("10", "10.0.0.99"), ("fd00:", "fd00::99")):
        text = re.sub(rf"(local {local}.* multihop;)", rf"\1 source address {address};", text)
    return text


def test_applied_and_nothing_when_nothing_changed(pair: Pair) -> None:
    here = pair.here
    before = {name: found.since for name, found in here.sessions().items()}
    assert pair.bring(with_another_route(here.text)) == Outcome("confirmed")
    assert "10.65.1.64/26" in here.space.run("ip route show proto bird")
    assert {name: found.since for name, found in here.sessions().items()} == before
    assert (here.beside(), here.modes()) == ({""}, {(0o640, "bird")})
    written, applied = here.file.stat(), here.status().reconfigured
    lines = pair.log().count("Reconfigur")
    time.sleep(1.1)  # BIRD tells whole seconds
    pair.driver = BirdDriver(here.settings)
    for _ in range(2):
        assert pair.bring(with_another_route(here.text)) == Outcome("unchanged")
    now = here.file.stat()
    assert (now.st_mtime_ns, now.st_ino) == (written.st_mtime_ns, written.st_ino)
    assert here.status().reconfigured == applied
    assert pair.log().count("Reconfigur") == lines


def test_refused_versions_leave_the_running_one_alone(pair: Pair) -> None:
    here = pair.here
    applied = here.status().reconfigured
    syntax = pair.bring(here.text + "foo bar;\n")
    line = here.text.count("\n") + 1
    assert syntax.problem == (
        f"line {line}: syntax error, unexpected CF_SYM_UNDEFINED; that line is: foo bar;"
    )
    assert (here.file.parent / "f.conf.refused.why").read_text() == f"{syntax.problem}\n"
    too_long = pair.bring(here.text + f'protocol device {{ description "{"x" * 5000}"; }}\n')
    assert too_long.state == "refused"
    quoted = pair.bring(here.text.replace(SECRET, 'hun"ter2'))
    assert quoted.state == "refused"
    assert "ter2" not in quoted.problem
    assert here.status().reconfigured == applied
    assert here.established()
    assert here.file.read_text() == here.text
    assert (here.beside(), here.modes()) == ({"", ".refused", ".refused.why"}, {(0o640, "bird")})


def test_a_trial_that_breaks_sessions_is_undone(pair: Pair) -> None:
    here = pair.here
    found = pair.bring(broken(here.text))
    assert found.state == "undone"
    assert found.problem == "sessions Mesh_v4, Mesh_v6 did not come back within 3 s"
    assert found.restarted == SESSIONS
    assert here.file.read_text() == here.text
    eventually(here.established, "the sessions are back", 15)
    assert pair.bring(broken(here.text)) == found  # which is not tried again by itself
    assert here.established()
    assert pair.bring(here.text) == Outcome("unchanged")


def test_a_password_is_not_waited_for(pair: Pair) -> None:
    here = pair.here
    found = pair.bring(here.text.replace(SECRET, "another"), Mesh_v4=1)
    assert found == Outcome("confirmed", restarted=("Mesh_v4",), waiting=("Mesh_v4",))
    assert here.sessions()["Mesh_v6"].up
    assert pair.bring(here.text, Mesh_v4=0).state == "confirmed"
    eventually(here.established, "the session is back", 15)


async def test_a_newer_version_supersedes_a_trial(pair: Pair) -> None:
    here, newer = pair.here, asyncio.Event()
    bringing = asyncio.create_task(pair.driver.bring(version(broken(here.text)), newer))
    while not (here.file.parent / "f.conf.previous").exists():  # noqa: ASYNC110 - another's file
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.5)
    assert {".previous", ".trial"} < here.beside()
    assert here.modes() == {(0o640, "bird")}
    newer.set()
    assert (await bringing).state == "superseded"
    newer.clear()
    good = with_another_route(here.text)
    found = await pair.driver.bring(version(good), newer)
    assert found == Outcome("confirmed", restarted=found.restarted)
    assert "10.65.1.64/26" in here.space.run("ip route show proto bird")
    assert here.beside() == {""}


AGENT = """
import asyncio, sys
from pathlib import Path
from dataplane.bird.driver import BirdDriver
from dataplane.bird.settings import BirdSettings
from dataplane.bird.version import SessionPart, Version
directory, text = Path(sys.argv[1]), sys.stdin.read()
settings = BirdSettings(directory / "f.conf", directory / "f.ctl", confirm_seconds=1.0)
parts = {name: SessionPart(0) for name in ("Mesh_v4", "Mesh_v6")}
# by its clock the time for the sessions to come back is never up
driver = BirdDriver(settings, lambda: 0.0)
asyncio.run(driver.bring(Version(text, text, parts), asyncio.Event()))
"""


def test_bird_undoes_a_trial_that_nobody_watches(pair: Pair) -> None:
    here = pair.here
    agent = subprocess.Popen(
        [sys.executable, "-c", AGENT, str(here.file.parent)], stdin=subprocess.PIPE, text=True
    )
    assert agent.stdin is not None
    agent.stdin.write(broken(here.text))
    agent.stdin.close()
    eventually(lambda: not here.established(), "the trial", 10)
    agent.kill()
    agent.wait()
    assert here.beside() == {"", ".previous", ".trial"}
    eventually(here.established, "BIRD has undone it", 20)
    assert "Config timeout expired, starting undo" in pair.log()
    found = pair.bring(here.text)
    assert (found.state, here.beside()) == ("confirmed", {""})
    assert here.established()


WAYS = ["killed", "stopped by the unit"]


@pytest.mark.parametrize("way", WAYS)
def test_routes_stay_while_bird_is_started_again(pair: Pair, way: str) -> None:
    here, peer = pair.here, pair.peer
    monitors = [machine.space.start("ip", "monitor", "route") for machine in (here, peer)]
    if way == "killed":
        here.stop(signal.SIGKILL)
    else:
        stop = unit_command("ExecStop", here.file, here.socket)
        subprocess.run(stop, check=True, capture_output=True)
        here.stop(signal.SIGTERM)
        here.socket.unlink(missing_ok=True)
    time.sleep(1.0)
    assert (here.bird_routes(), peer.bird_routes()) == (4, 4)
    here.start()
    assert here.status().recovering
    eventually(lambda: here.established() and here.recovered(), "recovered", 20)
    time.sleep(0.5)
    for monitor in monitors:
        os.kill(monitor.pid, signal.SIGTERM)
        said, _ = monitor.communicate(timeout=10)
        assert not [line for line in said.splitlines() if re.match(r"Deleted .* via ", line)]
    assert pair.bring(here.text) == Outcome("unchanged")


def test_without_routes_there_is_nothing_to_recover(pair: Pair) -> None:
    """Recovering, it would be silent until all its peers were back."""
    here = pair.here
    here.stop(signal.SIGKILL)
    for family in ("-4", "-6"):
        here.space.run(f"ip {family} route flush proto bird")
    here.start()
    assert not here.status().recovering
    eventually(here.has_routes, "the routes", 15)


def swept(machine: Machine, *others: Path, dry_run: bool = False) -> Swept:
    """As an agent of that machine would."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(machine.space.path)
        return asyncio.run(sweep(machine.settings, dry_run=dry_run, other_sockets=others))
    finally:
        enter(Path(f"/proc/self/fd/{home}"))
        os.close(home)


def test_sweeping_up_after_it(pair: Pair) -> None:
    here = pair.here
    for family, net in (("-4", "192.0.2.0/24"), ("-6", "2001:db8::/64")):
        here.space.run(f"ip {family} route add {net} dev e0 proto static")
    assert swept(here).held.startswith("a BIRD listens at ")
    here.stop(signal.SIGKILL)
    assert swept(here, pair.peer.socket).held == f"a BIRD listens at {pair.peer.socket}"
    assert swept(here, dry_run=True) == Swept(routes=4, files=1)
    assert here.bird_routes() == 4
    assert swept(here) == Swept(routes=4, files=1)
    assert (here.bird_routes(), here.beside()) == (0, set())
    assert "192.0.2.0/24" in here.space.run("ip route")
    assert "2001:db8::/64" in here.space.run("ip -6 route")
    assert swept(here) == Swept()


def test_routes_of_a_bird_that_is_none_of_ours_stay(pair: Pair) -> None:
    here = pair.here
    here.stop(signal.SIGKILL)
    here.file.write_text(here.text.replace(OURS, "# somebody else's"))
    assert swept(here) == Swept()
    assert (here.bird_routes(), here.beside()) == (4, {""})
