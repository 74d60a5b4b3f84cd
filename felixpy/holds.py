"""What is held back until somebody confirms it, from whichever guard it comes.

    a guard    place(hold, confirm), anew whenever its text changes; lift(id, reason)
    a person   `felixpy confirm`: current(), confirm(ids); the guard then lifts its hold itself
    the agent  problems() for the status, counts() for metrics

Each hold is logged once when it is placed, and once when it is lifted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

import structlog
from msgspec import Struct

from felixpy import status

log = structlog.get_logger(__name__)

HOW = "`felixpy confirm` lets it go"


class Hold(Struct, frozen=True):
    """`id` is unique among what is held, and fit to be typed; `text` says to people what waits and
    until when; `changes` counts the resources whose change waits.
    """

    id: str
    kind: str
    text: str
    changes: int
    since: str = ""  # RFC 3339; given by Holds


class _Placed(NamedTuple):
    hold: Hold
    confirm: Callable[[], None]


class Holds:
    """`changed` is called when somebody has confirmed something."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._placed: dict[str, _Placed] = {}

    # ---------------------------------------------------------------- guards

    def place(self, hold: Hold, confirm: Callable[[], None]) -> None:
        """A hold of an id that is known takes its place, and keeps its beginning.

        `confirm` is called in the event loop when somebody lets it go; the guard acts on that in
        its own time.
        """
        known = self._placed.get(hold.id)
        since = known.hold.since if known else status.now()
        dated = Hold(hold.id, hold.kind, hold.text, hold.changes, since)
        self._placed[hold.id] = _Placed(dated, confirm)
        if known is None:
            log.warning("change.held_back", id=hold.id, reason=hold.text, end=HOW)

    def lift(self, id_: str, reason: str) -> None:
        """What it held back goes on now, or need not any more; no such hold is no mistake."""
        placed = self._placed.pop(id_, None)
        if placed is not None:
            log.warning("change.let_go", id=id_, reason=reason, changes=placed.hold.changes)

    # ---------------------------------------------------------------- people

    def current(self) -> tuple[Hold, ...]:
        """The oldest first; may be asked by another thread."""
        return tuple(placed.hold for placed in list(self._placed.values()))

    def confirm(self, ids: Iterable[str]) -> tuple[Hold, ...]:
        """Returns those that were held."""
        found = [self._placed[id_] for id_ in dict.fromkeys(ids) if id_ in self._placed]
        for placed in found:
            placed.confirm()
        if found:
            self._changed()
        return tuple(placed.hold for placed in found)

    # ---------------------------------------------------------------- the agent

    def problems(self) -> dict[str, str]:
        return {hold.id: f"{hold.text}; {HOW}" for hold in self.current()}

    def counts(self) -> dict[str, int]:
        """Kind of hold -> changes that wait; may be asked by another thread."""
        counts: Counter[str] = Counter()
        for hold in self.current():
            counts[hold.kind] += hold.changes
        return dict(counts)
