"""Where a running agent leaves what others ask of it, and the lock that refuses a second one.

One agent serves one network namespace, so each namespace has a directory of its own: RunDir itself
for that of the machine, RunDir/netns-NAME for any other, such as those of a test or of `felixpy
demo`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path
from types import TracebackType

_ATTEMPTS, _PAUSE = 10, 0.02  # seconds


class AlreadyRunningError(Exception):
    """Another agent holds the lock of this namespace."""

    def __init__(self, path: Path, pid: str) -> None:
        owner = f"process {pid}" if pid else "another process"
        super().__init__(f"{owner} is already the agent of this node ({path})")


def run_directory(base: Path, named: Path = Path("/run/netns")) -> Path:
    """The directory of the namespace that this process is in; not made yet."""
    own = Path("/proc/self/ns/net").stat().st_ino
    with contextlib.suppress(OSError):
        for entry in named.iterdir():
            if entry.stat().st_ino == own:
                return base / f"netns-{entry.name}"
    with contextlib.suppress(OSError):  # not everybody may look at the first process
        if Path("/proc/1/ns/net").stat().st_ino != own:
            return base / f"netns-{own}"
    return base


def _make_public(directory: Path) -> None:
    """Everybody may look into it, whatever the umask."""
    for part in (*reversed(directory.parents), directory):
        if not part.exists():
            part.mkdir(exist_ok=True)
            part.chmod(0o755)


class Lock:
    """Held as long as the process lives: the kernel lets go of it whatever way the process ends."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._path = directory / "agent.lock"
        self._fd = -1

    def __enter__(self) -> Lock:
        """Raises AlreadyRunningError."""
        _make_public(self.directory)
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        os.fchmod(self._fd, 0o644)
        if not self._taken():
            pid = os.read(self._fd, 20).decode(errors="replace").strip()
            os.close(self._fd)
            raise AlreadyRunningError(self._path, pid)
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        return self

    def _taken(self) -> bool:
        """Tries more than once: whoever asks for the owner holds the lock for a moment."""
        for _ in range(_ATTEMPTS):
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_PAUSE)
            else:
                return True
        return False

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.ftruncate(self._fd, 0)
        os.close(self._fd)  # the file stays: to remove it could take a later owner's lock away


def owner(directory: Path) -> int | None:
    """The process id of the agent that holds the lock, or None; needs no rights."""
    path = directory / "agent.lock"
    try:
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read().strip() or 0) or None
    except (FileNotFoundError, PermissionError):
        return None
    return None


def write_atomically(path: Path, text: str, mode: int = 0o644) -> None:
    """Readers see the old content or the new one, whole, and so does a machine that loses power."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "w") as file:
        os.fchmod(fd, mode)
        file.write(text)
        file.flush()
        os.fsync(fd)
    scratch.replace(path)
