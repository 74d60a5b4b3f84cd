"""The file datastore: a directory of Calico v3 manifests, watched.

    watch: events -> settling: when to look -> read: files to resources, in a thread
        -> catalogue: which file's word is in force -> sink

At the start all that is wrong in any file is an error.  Later the last good version of a file stays
in force until it is good again or removed; the same holds for the whole while the directory itself
is away.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import MappingProxyType
from typing import Final

import structlog

from calc_graph.model import Key, Value
from felixpy.datastore import builtin
from felixpy.datastore.decode import decode_documents
from felixpy.datastore.holdings import Holdings
from felixpy.datastore.inotify import Inotify
from felixpy.datastore.manifest_files import Signature, Tree, hops_to, walk
from felixpy.datastore.manifest_text import Decode
from felixpy.datastore.settling import GONE_SECONDS, RETURN_SECONDS, Due, Settling
from felixpy.datastore.source import BadInput, Changed, DatastoreStartError, Problems, Sink
from felixpy.datastore.watch import TreeWatch

log = structlog.get_logger(__name__)

RESCAN_SECONDS: Final = 30.0  # for what the kernel does not tell: changes made on a file server
BLIND_RESCAN_SECONDS: Final = 1.0  # the kernel grants no watch
AWAY_RESCAN_SECONDS: Final = 0.25

# what every Calico datastore holds from its first start; without it policies of the default tier
# would come last
BUILTIN: Final[MappingProxyType[Key, Value]] = MappingProxyType(
    dict((builtin.DEFAULT_TIER, builtin.DEFAULT_ALLOW_PROFILE))
)


class ManifestSource:
    """`root` should be absolute: it is how errors name the files."""

    ready_without_record = True

    def __init__(
        self,
        root: Path,
        *,
        decode: Decode = decode_documents,
        rescan_seconds: float = RESCAN_SECONDS,
    ) -> None:
        self.problems = Problems()
        self._root = root
        self._rescan_seconds = rescan_seconds
        self._holdings = Holdings(BUILTIN, decode)
        self._settling = Settling()
        self._tree_troubles: dict[str, str] = {}
        self._tree_root = (0, 0)
        self._away = ""  # what is wrong with the directory itself
        self._next_walk = 0.0

    @property
    def location(self) -> str:
        return str(self._root)

    async def run(self, sink: Sink) -> None:
        """Endless.  Raises DatastoreStartError with all that is wrong at the start, before anything
        is put.
        """
        inotify = Inotify()
        try:
            watch = TreeWatch(inotify, self._settling)
            await self._put(sink, await self._start(watch))
            sink.mark_in_sync()
            log.info("manifests.read", directory=str(self._root), files=len(self._holdings.paths))
            while True:
                await self._step(watch, sink)
        finally:
            inotify.close()

    # ------------------------------------------------------------ start

    async def _start(self, watch: TreeWatch) -> list[Changed]:
        try:
            tree = await self._walk(watch)
        except OSError as err:
            message = f"the manifests' directory cannot be read: {err.strerror or err}"
            raise DatastoreStartError([BadInput(str(self._root), 0, 0, "", message)]) from None
        errors = [BadInput(path, 0, 0, "", text) for path, text in tree.troubles.items()]
        self._tree_root = tree.root
        changes = await self._load([Due(path, settled=True) for path in tree.files])
        for found in self._holdings.errors().values():
            errors += found
        if errors:
            raise DatastoreStartError(errors)
        return changes

    # ------------------------------------------------------------ one round

    async def _step(self, watch: TreeWatch, sink: Sink) -> None:
        loop = asyncio.get_running_loop()
        until = min(self._settling.next_due() or self._next_walk, self._next_walk)
        walk_delay = await watch.gather(until - loop.time())
        if walk_delay is not None or loop.time() >= self._next_walk:
            await self._compare(watch, GONE_SECONDS if walk_delay is None else walk_delay)
        due = self._settling.take(loop.time())
        if any(entry.settled for entry in due) and not self._root_is_there():
            self._settling.clear()
            self._next_walk = loop.time()  # the walk finds again whatever was due
        elif due:
            await self._put(sink, await self._load(due))
        self._review(watch)

    def _root_is_there(self) -> bool:
        try:
            info = self._root.stat()
        except OSError:
            return False
        return (info.st_dev, info.st_ino) == self._tree_root

    async def _walk(self, watch: TreeWatch) -> Tree:
        watch.begin()
        tree = await asyncio.to_thread(walk, self._root, watch.enter)
        watch.finish(tree.hops | hops_to(self._root))
        pause = BLIND_RESCAN_SECONDS if watch.blind else self._rescan_seconds
        self._next_walk = asyncio.get_running_loop().time() + pause
        return tree

    async def _compare(self, watch: TreeWatch, delay: float) -> None:
        """Walk, and let Settling know of every difference, with one delay for all: they may belong
        together.
        """
        try:
            tree = await self._walk(watch)
        except OSError as err:
            self._lose_root(f"the directory cannot be read: {err.strerror or err}")
            return
        replaced = tree.root != self._tree_root
        if not tree.files and self._holdings.paths and (replaced or self._away):
            # an empty mount point, or the first moment of a copy: surely not the wish to have no
            # policy at all
            self._lose_root("the directory was replaced by an empty one")
            return
        gone_delay = RETURN_SECONDS if self._away else delay
        self._away, self._tree_root, self._tree_troubles = "", tree.root, tree.troubles
        now = asyncio.get_running_loop().time()
        for path, signature in tree.files.items():
            if signature is None or self._holdings.signature(path) != signature:
                self._note_difference(path, signature, now, delay)
        for path in set(self._holdings.paths) - tree.files.keys():
            if not any(path.startswith(f"{trouble}/") for trouble in tree.troubles):
                self._settling.gone(path, now, gone_delay)

    def _note_difference(
        self, path: str, signature: Signature | None, now: float, delay: float
    ) -> None:
        if signature is not None:
            self._settling.found(path, now, delay)
        elif self._holdings.signature(path) or path not in self._holdings.paths:
            # a link that leads nowhere may be on its way to a new end
            self._settling.gone(path, now, max(delay, GONE_SECONDS))

    def _lose_root(self, why: str) -> None:
        self._away = f"{why}; what it held stays in force"
        self._settling.clear()
        self._next_walk = asyncio.get_running_loop().time() + AWAY_RESCAN_SECONDS

    async def _load(self, due: list[Due]) -> list[Changed]:
        # always in a thread: a file may have any size, and the loop has a watchdog to feed
        changes, again = await asyncio.to_thread(self._holdings.load, due)
        now = asyncio.get_running_loop().time()
        for path, delay in again.items():
            self._settling.gone(path, now, delay)
        return changes

    async def _put(self, sink: Sink, changes: list[Changed]) -> None:
        for key, value in changes:
            await sink.put(key, value)

    # ------------------------------------------------------------ problems

    def _review(self, watch: TreeWatch) -> None:
        """Make `problems` say what is wrong now; log what is new."""
        found = {
            path: [str(error) for error in errors]
            for path, errors in self._holdings.errors(self._settling.paths()).items()
        }
        for path, text in self._tree_troubles.items():
            found[path] = [f"{path}: {text}"]
        root = str(self._root)
        if self._away:
            found[root] = [f"{root}: {self._away}"]
        elif watch.blind:
            pause = f"changes are noticed after {BLIND_RESCAN_SECONDS:g} s"
            found[root] = [f"{root}: {watch.blind}; {pause}"]
        for path in self.problems.current.keys() - found.keys():
            self.problems.clear(path)
            log.info("manifest.recovered", file=path)
        for path, texts in found.items():
            if self.problems.report(path, "; ".join(texts)):
                for text in texts:
                    log.error("manifest.invalid", file=path, error=text)
