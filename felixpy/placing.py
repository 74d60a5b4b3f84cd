"""Files that we put on a machine and can tell from those that somebody changed.

in   the record of an earlier installation: path -> hash of what we wrote there
out  the record of this one; a line for each thing done, or that would be done
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath


class Placer:
    """Paths are those of the machine (/etc/…); `root` is where that machine's / is."""

    def __init__(
        self,
        root: Path,
        record: Mapping[str, str],
        say: Callable[[str], object],
        *,
        dry_run: bool,
    ) -> None:
        self._root = root
        self._say = say
        self.record = dict(record)
        self.dry_run = dry_run
        self.would = "would " if dry_run else ""

    def at(self, path: PurePosixPath) -> Path:
        return self._root / path.relative_to("/")

    def exists(self, path: PurePosixPath) -> bool:
        return os.path.lexists(self.at(path))

    def place(self, path: PurePosixPath, text: str) -> None:
        """Write a file of ours, unless it holds that already or was changed by hand."""
        if self._is_mine(path, text.encode()):
            self._write(path, text)

    def link(self, path: PurePosixPath, target: str) -> None:
        """The same for a symbolic link."""
        if not self._is_mine(path, _as_content(target)):
            return
        self._say(f"{self.would}link {path} -> {target}")
        if self.dry_run:
            return
        where = self.at(path)
        where.parent.mkdir(parents=True, exist_ok=True)
        where.unlink(missing_ok=True)
        where.symlink_to(target)

    def place_once(self, path: PurePosixPath, source: Path) -> None:
        """Write a file that is the user's from then on: nothing is recorded."""
        if self.exists(path):
            self._say(f"kept {path}")
        else:
            self._write(path, source.read_text())

    def remove(self, path: PurePosixPath) -> None:
        """Remove a file of ours, unless it was changed by hand."""
        if not self.exists(path):
            return
        if _hash(self._content(path)) != self.record.get(str(path)):
            self._say(f"kept {path}: it was changed by hand")
            return
        self._say(f"{self.would}remove {path}")
        if not self.dry_run:
            self.at(path).unlink()

    def _is_mine(self, path: PurePosixPath, content: bytes) -> bool:
        """Note what is to be at a path, and tell whether it has to be written."""
        if self.exists(path):
            there = _hash(self._content(path))
            if there == _hash(content):
                self.record[str(path)] = there
                return False
            if there != self.record.get(str(path)):
                self._say(f"kept {path}: it was changed by hand")
                return False
        self.record[str(path)] = _hash(content)
        return True

    def _content(self, path: PurePosixPath) -> bytes:
        where = self.at(path)
        return _as_content(str(where.readlink())) if where.is_symlink() else where.read_bytes()

    def _write(self, path: PurePosixPath, text: str) -> None:
        self._say(f"{self.would}write {path}")
        if self.dry_run:
            return
        where = self.at(path)
        where.parent.mkdir(parents=True, exist_ok=True)
        # whoever reads it meanwhile sees the old file or the new one
        beside = where.with_name(f".{where.name}.new")
        beside.write_text(text)
        beside.chmod(0o644)
        beside.replace(where)


def _as_content(target: str) -> bytes:
    return b"-> " + target.encode()


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
