"""Which sessions a version on trial has to bring back, and how far it is.

A session is waited for if it was Established before, is still wanted and enabled, and nothing that
both ends agree on changed.  Where that did change, the other end has to follow, and it may take its
time: such sessions are told, and not waited for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from dataplane.bird.agreements import agreements
from dataplane.bird.parse.daemon import DaemonStatus
from dataplane.bird.parse.sessions import SessionStatus
from dataplane.bird.version import SessionPart, Version


class Trial(Struct):
    """`established`: what has to be up again if the version wants it so; `at_start`: what was up as
    this version was applied, for telling what it restarted.
    """

    version: Version
    established: frozenset[str]
    changed: frozenset[str]
    at_start: Mapping[str, SessionStatus]
    booted: str = ""
    reconfigured: str = ""
    now: Mapping[str, SessionStatus] = {}
    restarted: frozenset[str] = frozenset()

    def look(self, now: Mapping[str, SessionStatus]) -> None:
        self.now = now
        self.restarted |= {
            name
            for name, before in self.at_start.items()
            if name in now and (not now[name].up or now[name].since != before.since)
        }

    @property
    def missing(self) -> tuple[str, ...]:
        """Waited for, and not Established."""
        return self._down(self.established - self.changed)

    @property
    def waiting(self) -> tuple[str, ...]:
        """Not Established because the other end has to follow."""
        return self._down(self.established & self.changed)

    def not_back(self, seconds: float) -> str:
        """Why it is undone after so long."""
        missing = self.missing
        if not missing:
            return f"BIRD did not come to run with it within {seconds:g} s"
        which = "session" if len(missing) == 1 else "sessions"
        return f"{which} {', '.join(missing)} did not come back within {seconds:g} s"

    def undone_by_itself(self, daemon: DaemonStatus) -> bool:
        """Whether there was nothing to confirm because BIRD's time was up.

        A daemon that was started meanwhile has nothing to confirm either: it read the file that is
        in place.
        """
        if self.reconfigured == "" or daemon.booted != self.booted:
            return False
        return daemon.reconfigured != self.reconfigured

    def _down(self, names: frozenset[str]) -> tuple[str, ...]:
        parts = self.version.sessions
        wanted = (name for name in names if name in parts and parts[name].enabled)
        return tuple(
            sorted(name for name in wanted if name not in self.now or not self.now[name].up)
        )


def changed_agreements(
    version: Version, known: Mapping[str, SessionPart] | None, confirmed: str
) -> frozenset[str]:
    """The sessions whose other end has to follow; `confirmed` is the text that ran before, and
    counts where nothing better is `known`.
    """
    if known is not None:
        return frozenset(
            name
            for name, part in version.sessions.items()
            if name in known and known[name].agreement != part.agreement
        )
    before: Mapping[str, Any] = agreements(confirmed)
    after = agreements(version.text)
    return frozenset(name for name in after if name in before and before[name] != after[name])


def established(statuses: Mapping[str, SessionStatus]) -> dict[str, SessionStatus]:
    return {name: status for name, status in statuses.items() if status.up}
