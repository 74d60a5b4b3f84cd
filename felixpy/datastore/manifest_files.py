"""Which files below the directory are manifests, and what they hold at the moment.

    walk   the directory -> every manifest with its signature, every hop of a symbolic link
    read   a file -> its text

Ours is every *.yaml, *.yml and *.json whose name, and whose directories' names below the root,
start with neither "." nor "#".  That leaves out what editors put beside a file (.foo.swp, foo~,
#foo#, .#foo, 4913, foo.yaml.tmp, foo.yaml.bak) and the hidden directories of a mounted Kubernetes
ConfigMap, whose visible links are followed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from errno import EINVAL, ELOOP
from pathlib import Path
from typing import Final, NamedTuple

MAX_BYTES: Final = 256 * 1024 * 1024
_MAX_LINKS: Final = 40  # as the kernel's own limit
_SUFFIXES: Final = (".yaml", ".yml", ".json")


class Signature(NamedTuple):
    """Two different contents of a file have different signatures, as far as the file system can
    tell.
    """

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @property
    def same_file(self) -> tuple[int, int]:
        return self.device, self.inode


class Hop(NamedTuple):
    """A name that lies on the way to a file: when it changes, the way may lead elsewhere."""

    directory: str
    name: str


class Tree(NamedTuple):
    root: tuple[int, int]  # device and inode of the directory itself
    files: dict[
        str, Signature | None
    ]  # None: the name is there and leads to nothing that can be read
    hops: frozenset[Hop]
    troubles: dict[str, str]  # directory that could not be read -> why


def is_hidden(name: str) -> bool:
    return name.startswith((".", "#"))


def is_manifest(name: str) -> bool:
    return name.endswith(_SUFFIXES) and not is_hidden(name)


def signature(info: os.stat_result) -> Signature:
    return Signature(info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)


def walk(root: Path, enter: Callable[[str], None]) -> Tree:
    """`enter` is called with each directory before it is listed, so that a watch set there misses
    nothing.

    Raises OSError where the root itself cannot be read.
    """
    info = root.stat()
    walker = _Walker(enter)
    walker.walk(str(root), ((info.st_dev, info.st_ino),))
    if str(root) in walker.troubles:
        raise OSError(walker.troubles[str(root)])
    return Tree((info.st_dev, info.st_ino), walker.files, frozenset(walker.hops), walker.troubles)


class _Walker:
    def __init__(self, enter: Callable[[str], None]) -> None:
        self._enter = enter
        self.files: dict[str, Signature | None] = {}
        self.hops: set[Hop] = set()
        self.troubles: dict[str, str] = {}

    def walk(self, directory: str, above: tuple[tuple[int, int], ...]) -> None:
        """`above`: the directories that led here; one of them again would be a loop of links."""
        try:
            self._enter(directory)
            with os.scandir(directory) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except FileNotFoundError:
            return  # gone since it was listed; its going is an event of its own
        except OSError as err:
            self.troubles[directory] = f"cannot be read: {err.strerror}"
            return
        for entry in entries:
            if not is_hidden(entry.name):
                self._visit(entry, above)

    def _visit(self, entry: os.DirEntry[str], above: tuple[tuple[int, int], ...]) -> None:
        if not entry.is_symlink() and not entry.is_dir() and not is_manifest(entry.name):
            return
        if entry.is_symlink():
            self.hops |= hops_of_link(Path(entry.path))
        try:
            info = entry.stat()
        except OSError:
            if is_manifest(entry.name):
                self.files[entry.path] = None
            return
        if stat.S_ISDIR(info.st_mode):
            here = (info.st_dev, info.st_ino)
            if here not in above:
                self.walk(entry.path, (*above, here))
        elif is_manifest(entry.name):
            self.files[entry.path] = signature(info)


def hops_of_link(link: Path) -> set[Hop]:
    """Every name that the way from a symbolic link to its end goes through, its own first."""
    return _follow(link.parent.resolve(), [link.name])


def hops_to(path: Path) -> set[Hop]:
    """Every name that the way from / to `path` goes through."""
    return _follow(Path("/"), list(path.absolute().parts[1:]))


def _follow(start: Path, names: list[str]) -> set[Hop]:
    hops: set[Hop] = set()
    here, links = start, 0
    waiting = names[::-1]
    while waiting:
        name = waiting.pop()
        if name == "..":
            here = here.parent
            continue
        hops.add(Hop(str(here), name))
        try:
            target = (here / name).readlink()
        except OSError:
            here /= name
            continue
        links += 1
        if links > _MAX_LINKS:
            break
        if target.is_absolute():
            here = Path("/")
        waiting += [part for part in reversed(target.parts) if part != "/"]
    return hops


class Reading(NamedTuple):
    text: str
    signature: Signature
    steady: bool  # nobody wrote to the file while it was read


class UnreadableError(Exception):
    """The name is there, but no text can be read from it; the message says why."""


def read(path: str) -> Reading:
    """Raises FileNotFoundError where nothing has that name, UnreadableError for whatever else is in
    the way.
    """
    try:
        # without O_NONBLOCK the opening of a named pipe would wait for its writer
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        if Path(path).is_symlink():
            raise UnreadableError("cannot be read: the symbolic link leads to nothing") from None
        raise
    except OSError as err:
        why = "a loop of symbolic links" if err.errno in (ELOOP, EINVAL) else err.strerror
        raise UnreadableError(f"cannot be read: {why}") from None
    with open(descriptor, "rb") as file:  # noqa: PTH123  it is open already
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise UnreadableError("cannot be read: it is not a regular file")
        if before.st_size > MAX_BYTES:
            raise UnreadableError(f"has {before.st_size} bytes; a manifest has {MAX_BYTES} at most")
        try:
            data = file.read()
            after = signature(os.fstat(descriptor))
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as err:
            line = data.count(b"\n", 0, err.start) + 1
            raise UnreadableError(f"is not UTF-8 text: line {line}") from None
        except OSError as err:
            raise UnreadableError(f"cannot be read: {err.strerror}") from None
    return Reading(text, after, signature(before) == after and len(data) == after.size)
