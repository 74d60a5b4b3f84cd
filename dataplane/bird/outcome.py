"""What became of a version that BIRD was to run with."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

State: TypeAlias = Literal["unchanged", "confirmed", "refused", "undone", "superseded", "away"]


class Outcome(Struct, frozen=True):
    """What `BirdDriver.bring` returns.

    unchanged   the daemon ran it already; nothing was written, nothing was sent
    confirmed   the daemon runs it, and the sessions are as they should be
    refused     BIRD does not take it; `problem` has its message and the line that it means, with
                what stands between quotes left out.  What ran before runs on.
    undone      it ran on trial, and sessions did not come back: the last confirmed one runs again
    superseded  it runs on trial, and a newer one is to be brought at once
    away        no daemon answers; the file is up to date, and the daemon reads it when it comes

    restarted   sessions that the change set down
    waiting     sessions that the other end has to follow before they come back
    """

    state: State
    problem: str = ""
    restarted: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
