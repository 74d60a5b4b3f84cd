"""`show status` -> what daemon runs, since when, and whether it still recovers from a restart."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from dataplane.bird.control import Reply, ask
from dataplane.bird.settings import BirdSettings

_VERSION, _RECOVERY = 1000, 24
_FIELDS: Final = {
    "Router ID is ": "router_id",
    "Hostname is ": "hostname",
    "Current server time is ": "now",
    "Last reboot on ": "booted",
    "Last reconfiguration on ": "reconfigured",
}


class DaemonStatus(Struct, frozen=True):
    """Times are local ones as BIRD prints them: "2026-11-21 19:09:53"; "" for what it left out.

    `recovering`: it was started to recover from a restart, and keeps routes that are not yet
    confirmed; the text says what it waits for, "" if it does not.
    """

    version: str = ""
    router_id: str = ""
    hostname: str = ""
    now: str = ""
    booted: str = ""
    reconfigured: str = ""
    recovering: str = ""


def parse_status(reply: Reply) -> DaemonStatus:
    """Lines that are not there leave their field empty."""
    found: dict[str, str] = {}
    waits: list[str] = []
    for code, text in reply:
        line = text.strip()
        if code == _VERSION:
            found["version"] = line.removeprefix("BIRD ")
        elif code == _RECOVERY:
            waits.append(line)
        else:
            for beginning, field in _FIELDS.items():
                if line.startswith(beginning):
                    found[field] = line[len(beginning) :]
    return DaemonStatus(**found, recovering="; ".join(waits[1:]) or "".join(waits))


async def daemon_status(settings: BirdSettings, seconds: float = 5.0) -> DaemonStatus:
    """Raises BirdAway."""
    return parse_status(await ask(settings.control_socket, "show status", seconds))
