"""The same guard at the start: an empty datastore, and a kernel that holds the rules of a full one.

    in   how many endpoints and policies there are, the time, and what LastState remembers
    out  whether the kernel is to be left alone

What the rules in force came from is not known any more, so nothing can be worked in beside them:
the dataplane waits as a whole.  It ends as felixpy.emptiness says; the time that an agent before
this one has waited counts.
"""

from __future__ import annotations

from typing import Final

from calc_graph.model import HostEndpointKey, PolicyKey, WorkloadEndpointKey
from felixpy.census import Census
from felixpy.emptiness import KIND, Emptiness, counted
from felixpy.holds import Hold, Holds
from felixpy.last_state import LastState, State

ID: Final = "empty-at-start"


class EmptyStart:
    def __init__(self, census: Census, holds: Holds, last: LastState) -> None:
        self._census = census
        self._holds = holds
        self._last = last
        self._empty: Emptiness | None = None
        self._there = 0

    def begin(self, now: float) -> None:
        """The datastore is in sync: everything that it holds has been counted."""
        last = self._last.state
        if last.full and self._counts() == (0, 0):
            self._empty = Emptiness(last.empty_since or now)

    def waits(self, now: float, grace: float) -> bool:
        """To be asked from time to time; once it need not wait it never will."""
        if self._empty is None:
            return False
        last = self._last.state
        endpoints, policies = self._counts()
        reason = self._empty.ended(
            now,
            grace,
            enough=2 * endpoints >= last.endpoints and 2 * policies >= last.policies,
            growing=endpoints + policies > self._there,
        )
        self._there = endpoints + policies
        if reason:
            self._empty = None
            self._holds.lift(ID, reason)
            return False
        self._last.note(State(last.endpoints, last.policies, self._empty.since))
        text = (
            "the datastore is empty, and the kernel holds the rules of one with about"
            f" {counted(last.endpoints, last.policies)}: it stays as it is, at most for {grace:g} s"
        )
        hold = Hold(ID, KIND, text, last.endpoints + last.policies)
        self._holds.place(hold, self._empty.confirm)
        return True

    def note(self, empty_since: float) -> None:
        """The kernel is as it should be; `empty_since` as in State."""
        self._last.note(State(*self._counts(), empty_since))

    def close(self) -> None:
        self._holds.lift(ID, "the datastore is read anew")

    def _counts(self) -> tuple[int, int]:
        """Endpoints, policies."""
        number = self._census.number
        return number(WorkloadEndpointKey, HostEndpointKey), number(PolicyKey)
