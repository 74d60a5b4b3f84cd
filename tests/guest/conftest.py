"""A guest: Debian's own kernel in qemu, over this machine's files, read-only.

One boot serves all tests of a worker: 14 s on an idle machine without KVM. virtme-ng connects the
guest's standard streams with ours, so requests and answers are lines of JSON (serve.py).

Of two processors that are emulated each waits for the other: what takes 115 s with two takes 92
with one, and two such guests run side by side on a machine that has two. Only where several agents
work under traffic (lane `labs`) two are faster.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import pytest

TOP = Path(__file__).resolve().parents[2]
PROCESSORS = os.environ.get("FELIXPY_GUEST_PROCESSORS", "2")
BOOT_SECONDS = 240  # many times what it takes: a machine without KVM may be busy with other things
STOP_SECONDS = 30
IMPORT_SECONDS = 120  # for what the first run of pytest imports
TAG = "quick"  # by which the guest sees this machine's files a second time: serve.py
SHARED = (
    f"-fsdev local,id={TAG},path=/,security_model=none,readonly=on,multidevs=remap"
    f" -device virtio-9p-pci,fsdev={TAG},mount_tag={TAG}"
)
# What runs in the guest finds this machine's file systems read-only; /tmp, /etc and /var take what
# is written, and forget it.
ENVIRONMENT = {
    "PYTHONDONTWRITEBYTECODE": "1",
    "HYPOTHESIS_STORAGE_DIRECTORY": "/tmp/hypothesis",
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # of several it takes seconds to import each
    "HOME": "/tmp",
    "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
}


class Finished(NamedTuple):
    """What came of a command in the guest; `output` holds both of its streams."""

    status: int
    output: str


class Guest:
    """`bytecode` is a directory that was compiled into: the guest need not compile it."""

    def __init__(self, kernel: Path, log: IO[bytes], bytecode: Path | None = None) -> None:
        self._log = log
        self._environment = dict(ENVIRONMENT)
        if bytecode is not None:
            self._environment["PYTHONPYCACHEPREFIX"] = str(bytecode)
        seen = ["/usr", sys.prefix, str(TOP), *([] if bytecode is None else [str(bytecode)])]
        script = Path(__file__).with_name("serve.py")
        serve = shlex.join([sys.executable, str(script), TAG, *seen])
        vng = [str(Path(sys.executable).with_name("vng")), "--disable-kvm", "--run", str(kernel)]
        vng += ["--user", "root", "--cpus", PROCESSORS, "--memory", "2G", f"--qemu-opts={SHARED}"]
        self._process = subprocess.Popen(
            [*vng, "--exec", serve],
            cwd=TOP,
            # vng looks for its other half, virtme-run, in PATH
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,  # so that all of it can be ended: vng, its shell, qemu
        )
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.release = str(self._answer(BOOT_SECONDS)["release"])

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")

    def _answer(self, seconds: float) -> dict[str, Any]:
        try:
            line = self._answers.get(timeout=seconds)
        except queue.Empty:
            line = ""
        if not line:
            self.stop()
            self._log.seek(0)
            said = self._log.read().decode(errors="replace")
            raise AssertionError(
                f"the guest gave no answer within {seconds:.0f} s:\n{said[-4000:]}"
            )
        answer: dict[str, Any] = json.loads(line)
        return answer

    def run(
        self, argv: Sequence[str], *, timeout: float = 60, env: dict[str, str] | None = None
    ) -> Finished:
        """Run a command as root in the guest; after `timeout` seconds it is ended, status 124."""
        request = {"argv": list(argv), "env": {**self._environment, **(env or {})}}
        return self._ask({**request, "timeout": timeout}, timeout)

    def _ask(self, request: dict[str, Any], timeout: float) -> Finished:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._answer(timeout + STOP_SECONDS)
        return Finished(answer["status"], answer["output"])

    def shell(self, script: str, *, timeout: float = 60) -> str:
        """Run a shell script that has to succeed; returns its output."""
        done = self.run(["sh", "-euc", script], timeout=timeout)
        assert done.status == 0, f"{script}\nexit {done.status}: {done.output}"
        return done.output

    def pytest(self, *arguments: str, timeout: float = 240) -> str:
        """Run tests of this project in the guest; they have to pass, and there has to be one.
        Returns what they print.
        """
        argv = ["-q", "-p", "no:cacheprovider", "-p", "pytest_asyncio.plugin", *arguments]
        request = {"pytest": argv, "env": self._environment, "timeout": timeout}
        done = self._ask(request, timeout + IMPORT_SECONDS)
        said = f"pytest {shlex.join(argv)}\nexit {done.status}:\n{done.output}"
        assert done.status == 0, said
        return done.output

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._reader.join(STOP_SECONDS)
        if self._process.stdout is not None:
            self._process.stdout.close()


def _newest_kernel() -> Path:
    """Debian's plain kernel: the cloud and the rt kernels lack what booting this way needs."""
    kernels = [
        path
        for path in Path("/boot").glob("vmlinuz-6.1.*-amd64")
        if "cloud" not in path.name and "-rt-" not in path.name
    ]
    assert kernels, "no /boot/vmlinuz-6.1.*-amd64: apt-get install linux-image-amd64"
    return max(kernels, key=lambda path: [int(number) for number in re.findall(r"\d+", path.name)])


def _compile(into: Path) -> None:
    """What tests in the guest import, as bytecode: a machine without KVM needs minutes for that."""
    modules = "felixpy.agent, felixpy.commands.run, pytest, pytest_asyncio, tests.kernel.agent_lab"
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(into)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    subprocess.run(
        [sys.executable, "-c", f"import {modules}"], cwd=TOP, env=environment, check=True
    )


@pytest.fixture(scope="session")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """A booted guest, shared by all tests of the session: leave it as you found it."""
    scratch = tmp_path_factory.mktemp("guest")
    _compile(scratch / "bytecode")
    with (scratch / "log").open("w+b") as log:
        running = Guest(_newest_kernel(), log, scratch / "bytecode")
        yield running
        running.stop()
