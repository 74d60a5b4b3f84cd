"""BIRD's configuration on disk, and the files beside it.

    felixpy.conf              what BIRD reads
    felixpy.conf.new          being written and parsed; gone a moment later
    felixpy.conf.previous     the last confirmed version, while another one runs on trial
    felixpy.conf.trial        which sessions that trial waits for, a name in each line
    felixpy.conf.refused      the last version that BIRD did not take, or that was undone
    felixpy.conf.refused.why  and why

All but one hold passwords: each file has mode 0640 and BIRD's group before its first byte is
written.  The directory may belong to BIRD's user, so nothing here follows a symbolic link.
"""

from __future__ import annotations

import contextlib
import grp
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import structlog

from dataplane.bird.settings import BirdSettings

log = structlog.get_logger(__name__)

MODE: Final = 0o640
_DIRECTORY_MODE: Final = 0o750
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
# How much older than it is a file is made to look that whatever daemon answers must have read.
# BIRD tells times in whole seconds: it is then certain that it read it after it was written.
_READ_SECONDS: Final = 2.0


class ConfigFiles:
    """Methods raise OSError, and leave no file half written."""

    def __init__(self, settings: BirdSettings) -> None:
        self.current = settings.config_file
        self.fresh = _beside(settings.config_file, ".new")
        self._previous = _beside(settings.config_file, ".previous")
        self._trial = _beside(settings.config_file, ".trial")
        self._refused = _beside(settings.config_file, ".refused")
        self._why = _beside(settings.config_file, ".refused.why")
        self._group_name = settings.group
        self._group: int | None = None

    @property
    def ours(self) -> tuple[Path, ...]:
        """What is there of our files."""
        every = (
            self.current,
            self.fresh,
            self._previous,
            self._trial,
            self._refused,
            self._why,
        )
        return tuple(path for path in every if os.path.lexists(path))

    @property
    def on_trial(self) -> bool:
        """A version was put in place and neither confirmed nor undone."""
        return self._previous.exists()

    def read(self) -> str | None:
        """What BIRD reads; None: there is no such file."""
        return _read(self.current)

    def confirmed(self) -> str | None:
        """The last confirmed version; None: there is none."""
        return _read(self._previous if self.on_trial else self.current)

    def written_by_us(self, beginning: str) -> bool:
        """Whether one of these files is there and begins as ours do."""
        return any((_read(path) or "").startswith(beginning) for path in self.ours)

    def awaited(self) -> frozenset[str]:
        """The sessions that an interrupted trial was to wait for."""
        return frozenset((_read(self._trial) or "").splitlines())

    def age(self, now: float) -> float:
        """Seconds since BIRD's file was written; `now` is in seconds since 1970."""
        return now - self.current.stat().st_mtime

    def stage(self, text: str) -> None:
        """Write a version where it can be parsed."""
        self.current.parent.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        self._write(self.fresh, text)

    def discard(self) -> None:
        """Forget what was staged, if anything still is."""
        self.fresh.unlink(missing_ok=True)

    def secure(self) -> None:
        """Undo what somebody did to mode or group of BIRD's file."""
        fd = os.open(self.current, _READ)
        try:
            found = os.fstat(fd)
            if stat.S_IMODE(found.st_mode) != MODE or found.st_gid != self._gid():
                os.fchown(fd, -1, self._gid())
                os.fchmod(fd, MODE)
        finally:
            os.close(fd)

    def begin_trial(self, sessions: Iterable[str]) -> None:
        """Keep the version in place as the one to go back to; within a trial that stays the last
        confirmed one.
        """
        self._write(self._trial, "".join(f"{name}\n" for name in sorted(sessions)))
        if not self.on_trial and self.current.exists():
            os.link(self.current, self._previous, follow_symlinks=False)

    def promote(self) -> None:
        """Put what was staged in place."""
        self.fresh.replace(self.current)
        _sync(self.current.parent)

    def touch(self) -> None:
        """Nobody is to think that BIRD has read the file in place."""
        with contextlib.suppress(FileNotFoundError):
            os.utime(self.current)

    def note_read(self) -> None:
        """Whatever daemon answers from now on has read the version in place."""
        written = self.current.stat()
        os.utime(self.current, (written.st_atime, written.st_mtime - _READ_SECONDS))

    def confirm(self) -> None:
        """The version in place is the one to go back to from now on."""
        self.note_read()
        self.settle()
        self.forget_refused()
        _sync(self.current.parent)

    def settle(self) -> None:
        """The version in place was neither tried nor confirmed, and is the one to go back to."""
        for path in (self._previous, self._trial):
            path.unlink(missing_ok=True)

    def refuse_staged(self, why: str) -> None:
        """Keep what was staged, and why it is not in place."""
        self.fresh.replace(self._refused)
        self._write(self._why, why)

    def forget_refused(self) -> None:
        """What is in place is what is wanted: nothing is refused any more."""
        for path in (self._refused, self._why):
            path.unlink(missing_ok=True)

    def go_back(self, why: str) -> bool:
        """The last confirmed version in place again; False: there is none, and no file now."""
        self.current.replace(self._refused)
        self._write(self._why, why)
        found = self.on_trial
        if found:
            self._previous.replace(self.current)
        self._trial.unlink(missing_ok=True)
        _sync(self.current.parent)
        return found

    def _write(self, path: Path, text: str) -> None:
        path.unlink(missing_ok=True)  # left by a process that was killed, or of an earlier trial
        fd = os.open(path, _CREATE, 0o600)
        try:
            with os.fdopen(fd, "w", encoding="utf-8", newline="") as file:
                os.fchown(fd, -1, self._gid())
                os.fchmod(fd, MODE)
                file.write(text)
                file.flush()
                os.fsync(fd)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def _gid(self) -> int:
        if self._group is None:
            try:
                self._group = grp.getgrnam(self._group_name).gr_gid
            except KeyError:
                self._group = 0
                log.warning("bird.group_missing", group=self._group_name, file=str(self.current))
        return self._group


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _read(path: Path) -> str | None:
    try:
        fd = os.open(path, _READ)
    except FileNotFoundError:
        return None
    with os.fdopen(fd, encoding="utf-8", errors="surrogateescape", newline="") as file:
        return file.read()


def _sync(directory: Path) -> None:
    """Renames last only once their directory is on the disk; a few file systems cannot."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            os.fsync(fd)
    finally:
        os.close(fd)
