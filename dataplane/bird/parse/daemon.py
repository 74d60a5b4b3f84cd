"""`show status` -> what daemon runs, since when, and whether it still recovers from a restart."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from dataplane.bird.control import Reply, pybird_status
from dataplane.bird.settings import BirdSettings

_RECOVERY, _STATE = 24, 13
_NOW: Final = "Current server time is "
_RECONFIGURING: Final = "Reconfiguration in progress"


class DaemonStatus(Struct, frozen=True):
    """Times are local ones as BIRD prints them: "2026-11-21 19:09:53"; "" for what it left out.

    reconfiguring  sessions are going down for a change
    recovering     it was started to recover from a restart, and keeps routes that are not yet
                   confirmed; the text says what it waits for, "" if it does not
    """

    version: str = ""
    router_id: str = ""
    hostname: str = ""
    now: str = ""
    booted: str = ""
    reconfigured: str = ""
    reconfiguring: bool = False
    recovering: str = ""

    @property
    def running_seconds(self) -> float | None:
        """How long it has run with its configuration; None: not yet, or not known."""
        if self.reconfiguring:
            return None
        try:
            since = datetime.fromisoformat(self.reconfigured)
            return (datetime.fromisoformat(self.now) - since).total_seconds()
        except ValueError:
            return None


def parse_status(facts: Mapping[str, Any], reply: Reply) -> DaemonStatus:
    """`facts` is what pybird reads; the rest of the reply it passes over."""
    now, waits, reconfiguring = "", [], False
    for code, text in reply:
        line = text.strip()
        if code == _RECOVERY:
            waits.append(line)
        elif code == _STATE:
            reconfiguring = line == _RECONFIGURING
        elif line.startswith(_NOW):
            now = line[len(_NOW) :]
    return DaemonStatus(
        version=facts.get("version", ""),
        router_id=facts.get("router_id", ""),
        hostname=facts.get("hostname", ""),
        now=now,
        booted=str(facts.get("last_reboot", "")),
        reconfigured=str(facts.get("last_reconfiguration", "")),
        reconfiguring=reconfiguring,
        recovering="; ".join(waits[1:] or waits),
    )


async def daemon_status(settings: BirdSettings, seconds: float = 5.0) -> DaemonStatus:
    """Raises BirdAway."""
    return parse_status(*await pybird_status(settings.control_socket, seconds))
