"""Health: who must report, how often, and what an orchestrator or systemd is told of it.

Reporters and their meaning are Felix's (section 7.5 of the data model reference): a reporter that
has been silent longer than its time limit is neither live nor ready.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(slots=True)
class _Reporter:
    time_limit: float  # seconds; 0: never too late
    live: bool = True
    ready: bool = False
    reported: float = 0.0
    why: str = ""


class Health:
    """`clock` gives seconds, such as time.monotonic."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._reporters: dict[str, _Reporter] = {}
        self.overrides: Mapping[str, float] = {}

    def register(self, name: str, time_limit: float) -> None:
        self._reporters[name] = _Reporter(time_limit, reported=self._clock())

    def limit(self, name: str, time_limit: float) -> None:
        """Change how long a reporter may be silent."""
        self._reporters[name].time_limit = time_limit

    def report(self, name: str, *, ready: bool, live: bool = True, why: str = "") -> None:
        """`why` it is not ready, or not live."""
        reporter = self._reporters[name]
        reporter.ready, reporter.live, reporter.reported = ready, live, self._clock()
        reporter.why = why

    def _silent(self, name: str, reporter: _Reporter) -> bool:
        limit = self.overrides.get(name, reporter.time_limit)
        return bool(limit) and self._clock() - reporter.reported > limit

    def unready(self) -> list[str]:
        """Who is not ready, and why; empty when all is well."""
        return self._complaints(lambda reporter: reporter.ready, "not ready")

    def dead(self) -> list[str]:
        """Who is not live, and why."""
        return self._complaints(lambda reporter: reporter.live, "not live")

    def _complaints(self, good: Callable[[_Reporter], bool], otherwise: str) -> list[str]:
        complaints = []
        for name, reporter in self._reporters.items():
            if self._silent(name, reporter):
                seconds = self._clock() - reporter.reported
                complaints.append(f"{name}: silent for {seconds:.0f} s")
            elif not good(reporter):
                complaints.append(
                    ": ".join(part for part in (name, otherwise, reporter.why) if part)
                )
        return complaints


def notify(*lines: str) -> None:
    """Tell systemd, where it asked to be told (sd_notify(3)); anywhere else this does nothing."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.settimeout(1.0)
        try:
            sender.sendto("\n".join(lines).encode(), address)
        except OSError:
            return  # a supervisor that has gone away is no reason to fail
