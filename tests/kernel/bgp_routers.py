"""Machines of the BGP laboratory: a BIRD each, and on nodes an agent.

comes_to(wanted, ask, …)        asks until the answer is the wanted one
router.learned("Mesh_10_0_0_2"), router.refused(…), router.kernel(4)
node.felixpy("status", "bgp")   a command, as a user gives it
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from dataplane.families import Family
from felixpy.status import read
from tests.kernel.bgp_unit import Unit, unit_command
from tests.kernel.conftest import Namespace

PATIENCE: Final = 60.0


def eventually(ask: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """A session takes some seconds to come, so this asks rarely and waits long."""
    deadline = time.monotonic() + seconds
    while not ask():
        assert time.monotonic() < deadline, f"{what} has not come about"
        time.sleep(0.1)


def comes_to(wanted: object, ask: Callable[..., object], *arguments: object) -> None:
    """Asks until the answer is the wanted one; a failure shows what it was last."""
    deadline = time.monotonic() + PATIENCE
    while (found := ask(*arguments)) != wanted:
        assert time.monotonic() < deadline, f"{found} instead of {wanted}"
        time.sleep(0.1)


class Session(NamedTuple):
    """One line of `birdc show protocols`; `since` to the microsecond, `info` its last column."""

    state: str
    since: str
    info: str


class Router:
    """A machine on the wire with a BIRD of its own."""

    def __init__(self, space: Namespace, directory: Path, number: int) -> None:
        directory.mkdir()
        directory.chmod(0o755)
        self.space = space
        self.number = number
        self.directory = directory
        self.file = directory / "bird" / "felixpy.conf"
        self.file.parent.mkdir()
        shutil.chown(self.file.parent, "root", "bird")
        self.file.parent.chmod(0o2750)
        (directory / "run").mkdir()
        shutil.chown(directory / "run", "bird", "bird")
        self.socket = directory / "run" / "b.ctl"
        self.log = directory / "bird.log"
        start, stop = (
            unit_command(setting, self.file, self.socket) for setting in ("ExecStart", "ExecStop")
        )
        self.unit = Unit(space, start, stop, self.log)

    def configure(self, text: str) -> None:
        """A hand-written configuration, applied; started if BIRD is not running."""
        self.file.write_text(text)
        shutil.chown(self.file, "root", "bird")
        self.file.chmod(0o640)
        if self.unit.running:
            answer = self.birdc("configure")
            assert re.search(r"Reconfigured|Reconfiguration in progress", answer), answer
        else:
            self.unit.start()

    def birdc(self, command: str) -> str:
        done = subprocess.run(
            ["birdc", "-s", str(self.socket), command],
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
        return done.stdout + done.stderr

    def sessions(self) -> dict[str, Session]:
        """Those of BGP."""
        found: dict[str, Session] = {}
        for line in self.birdc("show protocols").splitlines():
            words = line.split(maxsplit=5)
            if len(words) > 4 and words[1] == "BGP":
                date, _, rest = line.split(maxsplit=4)[4].partition(" ")
                clock, _, info = rest.partition(" ")
                found[words[0]] = Session(words[3], f"{date} {clock}", info.strip())
        return found

    def established(self) -> set[str]:
        return {name for name, found in self.sessions().items() if found.info.startswith("Establ")}

    def await_established(self, names: Iterable[str]) -> None:
        wanted = set(names)
        deadline = time.monotonic() + PATIENCE
        while not wanted <= self.established():
            assert time.monotonic() < deadline, (
                f"{self.directory.name}: {wanted - self.established()} of {self.sessions()}\n"
                f"{self.log.read_text()[-2000:]}"
            )
            time.sleep(0.1)

    def learned(self, session: str) -> set[str]:
        """Nets that BIRD has accepted from a session."""
        return _nets(self.birdc(f"show route protocol {session}"))

    def refused(self, session: str) -> dict[str, int]:
        """Nets that its import filter has refused, and the number that says why."""
        text = self.birdc(f"show route filtered protocol {session} all")
        found: dict[str, int] = {}
        for entry in re.split(r"\n(?=\S)", text):
            nets = _nets(entry)
            why = re.search(r"\b(?:calico_)?why: (\d+)", entry)
            for net in nets:
                found[net] = int(why[1]) if why else 0
        return found

    def kernel(self, family: Family) -> str:
        """Without what a moment changes."""
        return self.space.run(f"ip -{family} route show proto bird")

    @contextlib.contextmanager
    def hanging(self) -> Iterator[None]:
        """Meanwhile its BIRD does nothing, and closes nothing."""
        os.kill(self.unit.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.unit.pid, signal.SIGCONT)

    def reaches(self, target: str) -> bool:
        return pings(self.space, target)


class Node(Router):
    """A router with an agent, and a workload behind it."""

    def __init__(
        self, space: Namespace, far: Namespace, directory: Path, number: int, manifests: Path
    ) -> None:
        super().__init__(space, directory, number)
        self.workload = far
        self.name = f"n{number}"
        self.secrets = directory / "secrets"
        self.secrets.mkdir(mode=0o700)
        self.config = directory / "felixpy.cfg"
        self.agent_log = directory / "agent.log"
        self.said = directory / "agent.out"
        self.agent: subprocess.Popen[bytes] | None = None
        self._bird: Path | None = None
        self.settings: dict[str, str] = {
            "FelixHostname": self.name,
            "DatastorePath": str(manifests),
            "RunDir": str(directory / "felixpy"),
            "MTUFile": "none",
            "LogFilePath": str(self.agent_log),
            "LogSeverityFile": "DEBUG",
            "LogSeverityScreen": "INFO",
            "LogSeveritySys": "none",
            "EndpointStatusPathPrefix": "none",
            "BGPEnabled": "true",
            "BirdConfigFile": str(self.file),
            "BirdControlSocket": str(self.socket),
            "SecretsPath": str(self.secrets),
        }

    def give_secret(self, text: str, name: str = "bgp.yaml", mode: int = 0o600) -> None:
        scratch = self.secrets / f".{name}.new"
        scratch.touch(mode=0o600)
        scratch.write_text(text)
        scratch.chmod(mode)
        scratch.rename(self.secrets / name)

    def start(self, bird: Path | None = None, **settings: str) -> None:
        """The agent, as its unit starts it; where it starts `bird`, it is given that program."""
        self.settings |= settings
        self._bird = bird or self._bird
        lines = [f"{name} = {value}\n" for name, value in self.settings.items()]
        self.config.write_text("[global]\n" + "".join(lines))
        with self.said.open("ab") as said:
            self.agent = subprocess.Popen(
                ["ip", "netns", "exec", self.space.name, *self._program(), *self._command("run")],
                stdout=said,
                stderr=said,
                stdin=subprocess.DEVNULL,
            )

    def _program(self) -> list[str]:
        """`ip netns exec` gives it mounts of its own."""
        if self._bird is None:
            return []
        return ["sh", "-c", f'mount --bind {self._bird} /usr/sbin/bird && exec "$@"', "sh"]

    def has_written(self) -> bool:
        """Whether the agent has written BIRD's configuration; it must be running meanwhile."""
        assert self.agent is not None
        assert self.agent.poll() is None, self.said.read_text()[-2000:]
        return self.file.exists()

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "felixpy", *words, "--config", str(self.config)]

    def is_well(self) -> bool:
        """Whether this agent, not one before it, says that all is well."""
        assert self.agent is not None
        assert self.agent.poll() is None, self.said.read_text()[-2000:]
        status = read(Path(self.settings["RunDir"]) / f"netns-{self.space.name}")
        return status is not None and status.pid == self.agent.pid and status.state == "running"

    def log_text(self) -> str:
        """All that this node's agents have said, to the screen and to the file."""
        texts = [path.read_text() for path in (self.said, self.agent_log) if path.exists()]
        return "".join(texts)

    def stop(self, how: int = signal.SIGTERM) -> None:
        if self.agent is not None:
            self.agent.send_signal(how)
            self.agent.wait(timeout=30)
            self.agent = None

    def comes_to(self, wanted: object, ask: Callable[..., object], *arguments: object) -> None:
        """As the function; a failure shows what the agent has said as well."""
        try:
            comes_to(wanted, ask, *arguments)
        except AssertionError as error:
            assert self.agent is not None
            ended = self.agent.poll()
            raise AssertionError(f"{error}\n{ended}: {self.said.read_text()[-4000:]}") from None

    def felixpy(self, *words: str) -> tuple[int, str]:
        """Exit status and output of another command, which reads this node's configuration."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.space.name, *self._command(*words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=30,
        )
        return done.returncode, done.stdout

    def answer(self, *words: str) -> Any:
        """What a command says with --json."""
        _, text = self.felixpy(*words, "--json")
        return json.loads(text)

    def configuration(self) -> str:
        """What has become of the newest version, in the words of `felixpy status bgp`."""
        return str(self.answer("status", "bgp")["configuration"]["state"])

    def node_status(self, name: str) -> Any:
        """What a CalicoNodeStatus has been answered, for want of an etcd in the run directory."""
        directory = Path(self.settings["RunDir"]) / f"netns-{self.space.name}" / "status"
        found = list(directory.rglob(name))
        return json.loads(found[0].read_text())["status"] if found else None

    def subvert(self, text: str) -> None:
        """Somebody takes the node over: its agent is gone, BIRD runs with their configuration."""
        self.stop(signal.SIGKILL)
        self.configure(text)


def _nets(text: str) -> set[str]:
    return set(re.findall(r"^([0-9a-f.:]+/\d+)\s", text, re.MULTILINE))


def pings(space: Namespace, target: str) -> bool:
    return space.run(f"ping -c1 -W1 {target} >/dev/null && echo yes || echo no") == "yes\n"
