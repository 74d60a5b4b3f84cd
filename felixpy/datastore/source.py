"""The promise that every datastore keeps.

    source.run(sink) -> await sink.put(key, value)   a resource is there or has changed
                        await sink.put(key, None)    it is gone, or was never valid
                        sink.mark_in_sync()          once: all that was there at the start is put
    source.problems  -> what is wrong right now, for status, metrics and the log's reader

A key is put only when its value differs from the one put last.  `run` goes on until it is
cancelled; whatever happens to the datastore after in-sync, it keeps what it has put and tries
again.  Before in-sync it may raise DatastoreStartError, where waiting would not help.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

from msgspec import Struct

from calc_graph.model import Key, Value


class Changed(NamedTuple):
    key: Key
    value: Value | None


class Sink(Protocol):
    """Where a source puts what it finds; `felixpy.inbox.Inbox` is one.

    `put` may wait for room.  A source puts what belongs together without a pause of its own
    between.
    """

    async def put(self, key: Key, value: Value | None) -> None: ...

    def mark_in_sync(self) -> None: ...


class Source(Protocol):
    """`ready_without_record`: whether it may be acted on although it has no ClusterInformation."""

    @property
    def problems(self) -> Problems: ...

    @property
    def location(self) -> str:
        """Where the resources come from just now, for people."""

    @property
    def ready_without_record(self) -> bool: ...

    async def run(self, sink: Sink) -> None:
        """Endless; cancel it to stop.  Raises DatastoreStartError before in-sync, never after."""


class BadInput(Struct, frozen=True, order=True):
    """One thing that is wrong in the datastore, and where.

    `where` is a file or a datastore's key; `line` and `column` count from 1, 0 where they are not
    known; `field` is the way to the field as in "spec.ingress[0].action", "" for the whole.
    """

    where: str
    line: int
    column: int
    field: str
    message: str

    def __str__(self) -> str:
        place = self.where
        if self.line:
            place += f":{self.line}"
            if self.column:
                place += f":{self.column}"
        return ": ".join(part for part in (place, self.field, self.message) if part)


class DatastoreStartError(Exception):
    """What the datastore holds cannot be used as a whole; the kernel must stay as it was.

    `errors` is everything that is wrong, in the order of the places, so that one start shows it
    all.
    """

    def __init__(self, errors: Iterable[BadInput]) -> None:
        self.errors = tuple(sorted(errors))
        super().__init__("\n".join(str(error) for error in self.errors))


class Problems:
    """What is wrong at the moment: source of the trouble -> text for people.

    `version` grows with every change, so that a reader can tell whether it has seen the present
    state; listeners are called after each change, in the event loop, without arguments.
    """

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._listeners: list[Callable[[], None]] = []
        self.version = 0

    @property
    def current(self) -> Mapping[str, str]:
        return MappingProxyType(self._texts)

    def listen(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)

    def report(self, source: str, text: str) -> bool:
        """Returns whether this is new, and so worth a line in the log."""
        if self._texts.get(source) == text:
            return False
        self._texts[source] = text
        self._changed()
        return True

    def clear(self, source: str) -> bool:
        """Returns whether there was such a problem."""
        if self._texts.pop(source, None) is None:
            return False
        self._changed()
        return True

    def _changed(self) -> None:
        self.version += 1
        for listener in self._listeners:
            listener()
