"""A StatusStore in the agent's run directory, for those who have no etcd.

The key /calico/felix/v2/... is the file <run directory>/status/felix/v2/...  The files are written
directly, not in a thread: they are few, small, and in memory.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Container, Iterator, Mapping
from pathlib import Path

import msgspec

from felixpy.statusrep.aside import write_aside
from felixpy.statusrep.conditions import Condition, rfc3339_now
from felixpy.statusrep.revising import NoResourceError, revised
from felixpy.statusrep.store import StatusUnwritableError, reason

_ROOT = "/calico/"
# What a system call would refuse: with the name among the leases, nothing could be begun any more.
_LONGEST_NAME, _LONGEST_KEY = 255, 900  # bytes; characters, of at most four bytes each


class DirectoryStatusStore:
    """One writer only: the holder of the run directory's lock.

    A key with a ttl goes when the store is closed or, after a crash, when the next one is used for
    the first time; until then the time inside tells its age.  A file beside the directory keeps
    which keys these are.  A name that is no name of a file is refused.
    """

    echoes = False

    def __init__(self, run_directory: Path) -> None:
        self._directory = run_directory / "status"
        self._scratch = run_directory / ".status.new"
        self._lease_file = run_directory / "status.leases"
        self._leases: set[str] | None = None  # None: not looked at yet

    async def put(self, key: str, value: bytes, ttl: float | None = None) -> None:
        with _said():
            path = self._path(key)
            # the lease is known before the key is there: a crash in between leaves nothing behind
            self._lease(key, leased=ttl is not None)
            self._make_parents(path)
            write_aside(path, self._scratch, value)

    async def delete(self, key: str) -> None:
        with _said():
            self._started()
            self._remove(self._path(key))

    async def read(self, prefix: str) -> dict[str, bytes]:
        with _said():
            self._started()
            found = self._walk(prefix.rpartition("/")[0])
            return {key: path.read_bytes() for key, path in found if key.startswith(prefix)}

    async def answer(self, key: str, resource: bytes, status: bytes) -> bool:
        """The resource's own file is its author's: the answer is a copy, with the status in it."""
        fields = msgspec.json.decode(resource, type=dict[str, msgspec.Raw])
        fields["status"] = msgspec.Raw(status)
        await self.put(key, msgspec.json.format(msgspec.json.encode(fields)) + b"\n")
        return True

    async def revise_status(
        self,
        key: str,
        resource: bytes,
        texts: Mapping[str, str],
        conditions: Mapping[str, Condition | None],
    ) -> bool:
        """A file of our own, as much of the resource as its author needs to take it over."""
        with _said():
            self._started()
            try:
                before = self._path(key).read_bytes()
                after = revised(before, texts, conditions, rfc3339_now())
            except (FileNotFoundError, NotADirectoryError, NoResourceError):
                # nothing is there, or nothing that we have written
                before, after = resource, revised(resource, texts, conditions, rfc3339_now())
        if after != before:
            await self.put(key, msgspec.json.format(after) + b"\n")
        return True

    async def keep_answers(self, prefix: str, keys: Container[str]) -> None:
        for key in await self.read(prefix):
            if key not in keys:
                await self.delete(key)

    async def close(self) -> None:
        with _said():
            self._started()
            self._leases = None
            self._end_leases()

    # ---------------------------------------------------------------- keys and paths

    def _path(self, key: str) -> Path:
        """Raises StatusUnwritableError for a name that could lead elsewhere, or nowhere."""
        parts = key.removeprefix(_ROOT).split("/")
        if not key.startswith(_ROOT) or len(key) > _LONGEST_KEY or not all(map(_is_name, parts)):
            raise StatusUnwritableError(f"{key!r} cannot be the name of a file")
        return self._directory.joinpath(*parts)

    def _walk(self, below: str) -> Iterator[tuple[str, Path]]:
        top = self._directory if f"{below}/" == _ROOT else self._path(below)
        for where, _, names in os.walk(top, onerror=_unless_missing):
            for name in sorted(names):
                path = Path(where, name)
                if not path.is_symlink():  # not one of ours, and leads who knows where
                    yield _ROOT + str(path.relative_to(self._directory)), path

    def _make_parents(self, path: Path) -> None:
        """Everybody may look into them, whatever the umask."""
        inner = [part for part in path.parents if part.is_relative_to(self._directory)]
        for part in reversed(inner):
            if not part.exists():
                part.mkdir()
                part.chmod(0o755)

    def _remove(self, path: Path) -> None:
        """And the directories that are left empty."""
        # a directory in the way, or a file above: then this key is not there
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
            path.unlink()
        with contextlib.suppress(OSError):  # the first that is not empty
            for part in path.parents:
                if part == self._directory:
                    break
                part.rmdir()

    # ---------------------------------------------------------------- what goes with its writer

    def _started(self) -> set[str]:
        if self._leases is None:
            self._end_leases()
            self._leases = set()
        return self._leases

    def _end_leases(self) -> None:
        try:
            keys = msgspec.json.decode(self._lease_file.read_bytes(), type=list[str])
        except FileNotFoundError:
            return
        except msgspec.DecodeError:
            keys = []  # not what we wrote: there is nothing to learn from it
        for key in keys:
            with contextlib.suppress(StatusUnwritableError):  # nor this
                self._remove(self._path(key))
        self._lease_file.unlink()

    def _lease(self, key: str, *, leased: bool) -> None:
        leases = self._started()
        if (key in leases) == leased:
            return
        now = leases | {key} if leased else leases - {key}
        write_aside(self._lease_file, self._scratch, msgspec.json.encode(sorted(now)))
        self._leases = now


@contextlib.contextmanager
def _said() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StatusUnwritableError(reason(error)) from error


def _is_name(part: str) -> bool:
    """Of a file in its directory, on any file system of Linux."""
    try:
        encoded = part.encode()
    except UnicodeEncodeError:
        return False
    return part not in ("", ".", "..") and b"\0" not in encoded and len(encoded) <= _LONGEST_NAME


def _unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error
