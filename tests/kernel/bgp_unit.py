"""systemd's part in the BGP laboratory: felixpy-bird.service, with other paths.

A `Unit` runs the line ExecStart= of it, and runs it again whatever way BIRD has ended.
"""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Final

from tests.kernel.conftest import Namespace

_UNIT: Final = Path(__file__).parents[2] / "systemd" / "felixpy-bird.service"
_CONFIG_FILE, _CONTROL_SOCKET = "/etc/bird/felixpy.conf", "/run/bird/felixpy.ctl"
_RESTART_SECONDS: Final = 0.2


class Unit:
    """Runs a program, and runs it again when it ends, until it is told to stop."""

    def __init__(self, space: Namespace, start: list[str], stop: list[str], log: Path) -> None:
        self._argv = ["ip", "netns", "exec", space.name, *start]
        self._stop_argv = stop
        self._log = log
        self._wanted = threading.Event()
        self._thread: threading.Thread | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        self._wanted.set()
        self._process = self._run()
        self._thread = threading.Thread(target=self._watch, name="unit", daemon=True)
        self._thread.start()

    def _run(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(self._argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def _watch(self) -> None:
        while True:
            assert self._process is not None
            self._process.wait()
            if self._wanted.is_set():
                time.sleep(_RESTART_SECONDS)
            if not self._wanted.is_set():
                return
            self._process = self._run()

    def hold(self) -> None:
        """What ends from now on stays ended."""
        self._wanted.clear()

    def stop(self, how: int = signal.SIGKILL) -> None:
        self.hold()
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)
        if self._thread is not None:
            self._thread.join(timeout=20)
            assert not self._thread.is_alive(), f"{self._argv} does not end"
            self._thread = None

    def restart(self) -> None:
        """As `systemctl restart` does it."""
        self.hold()
        subprocess.run(self._stop_argv, capture_output=True, check=False, timeout=30)
        self.stop(signal.SIGTERM)
        self.start()


def unit_command(setting: str, config_file: Path, socket: Path) -> list[str]:
    """That line of the unit, with other paths."""
    (line,) = re.findall(rf"^{setting}=(.*)$", _UNIT.read_text(), re.MULTILINE)
    assert _CONTROL_SOCKET in line
    line = line.replace(_CONFIG_FILE, str(config_file)).replace(_CONTROL_SOCKET, str(socket))
    return shlex.split(line.lstrip("-@:+!"))
