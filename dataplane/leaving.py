"""When encryption that is switched off has come to its end, a family at a time: a clock.  Pure.

    withdrawing   what is published of it is withdrawn, until this node's own end is told without
                  it: whoever reads the datastore can know it then
    draining      we send as the others do who have heard of it; what still comes encrypted is
                  decrypted, until nothing has come for a while
    removing      nothing of it is needed any more

Both waits are bounded: a datastore that is away, or a node that is, does not keep it on for ever.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

Phase: TypeAlias = Literal["withdrawing", "draining", "removing"]

# The datastore answers within milliseconds, but its writer may be in the middle of a retry, and
# with a datastore of files somebody else's tooling carries the word.
WITHDRAW_SECONDS: Final = 30.0
# A node that still sends does so with every packet of its workloads; several times the interval at
# which most of what is long-lived says something.
QUIET_SECONDS: Final = 5.0
# By then a node that has not heard will not: it is decrypted for as long as a node's own retries
# towards its datastore commonly take.
DRAIN_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 0.5  # between looks at what has come


class Leaving:
    """What is known at a time in, the phase out."""

    def __init__(self, now: float) -> None:
        self.phase: Phase = "withdrawing"
        self._since = now
        self._received = -1
        self._heard_at = now

    def advance(self, now: float, *, published: bool, received: int) -> Phase:
        """`published`: others may believe that it is on; `received`: bytes, ever."""
        if self.phase == "withdrawing" and (not published or now - self._since >= WITHDRAW_SECONDS):
            self.phase, self._since, self._heard_at = "draining", now, now
        if received != self._received:
            self._received, self._heard_at = received, now
        quiet = now - self._heard_at >= QUIET_SECONDS
        if self.phase == "draining" and (quiet or now - self._since >= DRAIN_SECONDS):
            self.phase = "removing"
        return self.phase
