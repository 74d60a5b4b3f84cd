"""When to look at a file that has changed.

    in   what happened to a path, and when
    out  the paths to look at now

A closed file is looked at once; an open one when it is closed, or when its writer has long been
silent.  What has gone or become empty gets a moment to come back: editors and version control
remove a file just before they write it anew.

Pure: the time, in seconds on any steady clock, is an argument.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, NamedTuple

OPEN_SECONDS: Final = 1.0  # silence after which a file that is still open is read as it is
GONE_SECONDS: Final = 0.010
EMPTY_SECONDS: Final = 0.050
RENAMED_AWAY_SECONDS: Final = 0.100  # to a scratch name: an editor is about to write anew
RETURN_SECONDS: Final = 1.0  # the whole directory was away: its files may come back one by one
_PATIENCE: Final = 10  # times the delay: so long other events may put off that a path has gone
_TOGETHER: Final = 0.001  # what is due so soon is looked at along with what is due now


class Due(NamedTuple):
    path: str
    settled: bool  # it has been given its time: missing now means gone, empty means empty


@dataclass(slots=True)
class _Waiting:
    due: float
    going: float | None = None  # where the path has gone: the delay; any event starts it again
    until: float = 0.0  # where it has gone: when the delay ends whatever happens
    found: bool = False  # by a walk: it may be where something that has gone has gone to


class Settling:
    def __init__(self) -> None:
        self._waiting: dict[str, _Waiting] = {}

    def written(self, path: str, now: float) -> None:
        self._waiting[path] = _Waiting(now)

    def writing(self, path: str, now: float) -> None:
        self._waiting[path] = _Waiting(now + OPEN_SECONDS)

    def found(self, path: str, now: float, delay: float) -> None:
        """It looks different, and no event has said why; one that has said so knows better."""
        known = self._waiting.get(path)
        if known is None or known.going is not None:
            self._waiting[path] = _Waiting(now + delay, found=True)

    def gone(self, path: str, now: float, delay: float) -> None:
        known = self._waiting.get(path)
        if known is None or known.going is None:
            self._waiting[path] = _Waiting(now + delay, delay, now + delay * _PATIENCE)

    def moved(self, path: str, now: float) -> None:
        """Gone, but known to be elsewhere: nothing to wait for."""
        self._waiting[path] = _Waiting(now, GONE_SECONDS, now)

    def stir(self, now: float) -> None:
        """Something happened somewhere: what has gone may be part of it."""
        for waiting in self._waiting.values():
            if waiting.going is not None:
                waiting.due = max(waiting.due, min(now + waiting.going, waiting.until))

    def take(self, now: float) -> list[Due]:
        self._hold_back()
        ready = [path for path, wait in self._waiting.items() if wait.due <= now + _TOGETHER]
        return [Due(path, self._waiting.pop(path).going is not None) for path in ready]

    def _hold_back(self) -> None:
        """What has gone goes with, or after, what a walk has found: a move is both."""
        found = max((wait.due for wait in self._waiting.values() if wait.found), default=None)
        if found is not None:
            for waiting in self._waiting.values():
                if waiting.going is not None:
                    waiting.due = max(waiting.due, found)

    def next_due(self) -> float | None:
        return min((waiting.due for waiting in self._waiting.values()), default=None)

    def clear(self) -> None:
        self._waiting.clear()

    def paths(self) -> Collection[str]:
        return self._waiting.keys()
