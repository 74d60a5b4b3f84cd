"""What happens below the directory, told as "look at this file, then" or "walk it all again".

    in   the directories and hops of a walk; inotify's events
    out  entries in Settling, and whether a walk is due

Events only say where to look, never what is there: that is read from the files.  So a lost event
costs time, not truth, and the caller's regular walk finds what the kernel did not tell.
"""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Iterable
from contextlib import suppress
from errno import EMFILE, ENFILE, ENOMEM, ENOSPC
from pathlib import Path
from typing import Final

from felixpy.datastore.inotify import Event, Inotify, RawEvent
from felixpy.datastore.manifest_files import Hop, is_hidden, is_manifest
from felixpy.datastore.settling import GONE_SECONDS, RENAMED_AWAY_SECONDS, Settling

# a burst of changes is one batch: it has ended after so long a silence, or is cut after so long a
# time
QUIET_SECONDS: Final = 0.002
BURST_SECONDS: Final = 0.010

_NAMES: Final = (
    Event.CREATE
    | Event.DELETE
    | Event.MOVED_FROM
    | Event.MOVED_TO
    | Event.CLOSE_WRITE
    | Event.ATTRIB
)
_SELF: Final = Event.DELETE_SELF | Event.MOVE_SELF
_IN_TREE: Final = _NAMES | _SELF | Event.MODIFY | Event.ONLYDIR | Event.MASK_ADD
_ON_THE_WAY: Final = _NAMES | _SELF | Event.ONLYDIR | Event.MASK_ADD
_ENDED: Final = _SELF | Event.UNMOUNT | Event.IGNORED
_EXHAUSTED: Final = {
    ENOSPC: "fs.inotify.max_user_watches is reached",
    EMFILE: "fs.inotify.max_user_instances is reached",
    ENFILE: "the system's limit of open files is reached",
    ENOMEM: "the kernel has no memory for another watch",
}


class TreeWatch:
    def __init__(self, inotify: Inotify, settling: Settling) -> None:
        self._inotify = inotify
        self._settling = settling
        self._directories: dict[int, set[str]] = {}  # a directory may be reached in several ways
        self._hop_directories: dict[int, set[str]] = {}
        self._hops: frozenset[Hop] = frozenset()
        self._fresh: dict[int, set[str]] = {}
        self.blind = ""  # why some directories are not watched, as of the last walk

    # ------------------------------------------------------------ what is watched

    def begin(self) -> None:
        """A walk begins; `enter` is called with every directory of it, then `finish`."""
        self._fresh = {}
        self.blind = ""

    def enter(self, directory: str) -> None:
        self._add(self._fresh, directory, _IN_TREE)

    def finish(self, hops: frozenset[Hop]) -> None:
        """Forget what the walk did not find; look out for changes of the way to what it did."""
        on_the_way: dict[int, set[str]] = {}
        for directory in {hop.directory for hop in hops}:
            self._add(on_the_way, directory, _ON_THE_WAY)
        for watch in (self._directories.keys() | self._hop_directories.keys()) - (
            self._fresh.keys() | on_the_way.keys()
        ):
            self._inotify.remove(watch)
        self._directories, self._hop_directories, self._hops = self._fresh, on_the_way, hops

    def _add(self, watches: dict[int, set[str]], directory: str, mask: Event) -> None:
        try:
            watch = self._inotify.add(directory, mask)
        except OSError as err:
            # of any other error the walk itself knows more
            self.blind = self.blind or _EXHAUSTED.get(err.errno or 0, "")
        else:
            watches.setdefault(watch, set()).add(directory)

    # ------------------------------------------------------------ what happens

    async def gather(self, seconds: float) -> float | None:
        """Wait for a burst of events, at most `seconds`, and tell Settling about it.

        The result is None, or a walk is due and differences that it finds settle for so many
        seconds.
        """
        if not await self._inotify.wait(seconds):
            return None
        loop = asyncio.get_running_loop()
        end = loop.time() + BURST_SECONDS
        events = self._inotify.read()
        while loop.time() < end and await self._inotify.wait(QUIET_SECONDS):
            events += self._inotify.read()
        return self._note(events, loop.time())

    def _note(self, events: list[RawEvent], now: float) -> float | None:
        walks: list[float] = []
        arrivals = {
            event.cookie: self._is_ours(event) for event in events if event.mask & Event.MOVED_TO
        }
        concerns_us = False
        for event in events:
            concerned, walk = self._note_one(event, arrivals, now)
            concerns_us |= concerned
            if walk is not None:
                walks.append(walk)
        if concerns_us:
            self._settling.stir(now)
        return max(walks, default=None)

    def _note_one(
        self, event: RawEvent, arrivals: dict[int, bool], now: float
    ) -> tuple[bool, float | None]:
        if event.mask & Event.OVERFLOW:
            return True, GONE_SECONDS
        directories = self._directories.get(event.watch, set())
        if event.mask & _ENDED:
            known = bool(directories) or event.watch in self._hop_directories
            return known, GONE_SECONDS if known else None
        if self._is_hop(event):
            return True, 0.0 if event.mask & Event.MOVED_TO else GONE_SECONDS
        if not directories or is_hidden(event.name):
            return False, None
        if event.mask & Event.ISDIR:
            # a directory whose mode or times have changed may have become readable
            return True, GONE_SECONDS
        if not is_manifest(event.name):
            # any name may be a symbolic link to a directory
            linked = event.mask & (Event.CREATE | Event.MOVED_TO) and any(
                Path(directory, event.name).is_symlink() for directory in directories
            )
            return False, GONE_SECONDS if linked else None
        walks = [
            self._note_file(f"{directory}/{event.name}", event, arrivals, now)
            for directory in directories
        ]
        return True, GONE_SECONDS if any(walks) else None

    def _note_file(self, path: str, event: RawEvent, arrivals: dict[int, bool], now: float) -> bool:
        """Whether a walk is due."""
        settling = self._settling
        match Event(event.mask & _IN_TREE):
            case Event.CLOSE_WRITE:
                settling.written(path, now)
            case Event.MODIFY:
                settling.writing(path, now)
            case Event.ATTRIB:
                settling.found(path, now, 0.0)
            case Event.CREATE | Event.MOVED_TO as arrival:
                return self._note_arrival(path, now, complete=arrival == Event.MOVED_TO)
            case Event.MOVED_FROM if event.cookie in arrivals:
                if arrivals[event.cookie]:
                    settling.moved(path, now)
                else:
                    settling.gone(path, now, RENAMED_AWAY_SECONDS)
            case _:
                settling.gone(path, now, GONE_SECONDS)
        return False

    def _note_arrival(self, path: str, now: float, *, complete: bool) -> bool:
        with suppress(OSError):
            info = Path(path).lstat()
            if stat.S_ISLNK(info.st_mode):
                return True
            # a second link to a file is there at once; a new file is written and closed first
            complete = complete or info.st_nlink > 1
        if complete:
            self._settling.written(path, now)
        else:
            self._settling.writing(path, now)
        return False

    def _is_ours(self, event: RawEvent) -> bool:
        return event.watch in self._directories and is_manifest(event.name)

    def _is_hop(self, event: RawEvent) -> bool:
        if event.mask & Event.MODIFY:
            return False  # its writer is at work; the closing will tell
        directories: Iterable[str] = self._hop_directories.get(event.watch, ())
        return any(Hop(directory, event.name) in self._hops for directory in directories)
