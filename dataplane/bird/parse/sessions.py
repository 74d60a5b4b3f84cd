"""`show protocols all` -> BGP's sessions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from msgspec import Struct

from dataplane.bird.control import Reply, ask
from dataplane.bird.settings import BirdSettings

_HEAD, _BODY = 1002, 1006  # one line for each protocol, and what there is to say of it
_TIMEFORMAT = r"\S+(?: \d\d:\d\d:\d\d(?:\.\d+)?)?"
_PROTOCOL = re.compile(
    rf"(?P<name>\S+)\s+(?P<kind>\S+)\s+(?P<table>\S+)\s+(?P<state>up|start|down|stop|flush)\s+"
    rf"(?P<since>{_TIMEFORMAT})\s*(?P<info>.*)"
)
_FIELDS: Final = {
    "BGP state": "state",
    "Description": "description",
    "Neighbor address": "neighbor",
    "Neighbor ID": "neighbor_id",
    "Source address": "source",
    "Last error": "last_error",
}
_NUMBERS: Final = {"Neighbor AS": "remote_as", "Local AS": "local_as"}
_TIMERS: Final = {"Hold timer": "hold", "Keepalive timer": "keepalive"}
_ROUTES = re.compile(r"(\d+) (imported|filtered|exported|preferred)")
_CHANGES = re.compile(r"((?:Import|Export) (?:updates|withdraws)):((?:\s+(?:\d+|---)){5})")
_COLUMNS: Final = ("received", "rejected", "filtered", "ignored", "accepted")
_CAPABILITIES: Final = {
    "Local capabilities": "restart_ours",
    "Neighbor capabilities": "restart_peer",
}
_STATES: Final = frozenset(
    ("Idle", "Connect", "Active", "OpenSent", "OpenConfirm", "Established", "Close", "Passive")
)


class SessionStatus(Struct, frozen=True):
    """A session of one family, as the daemon has it.

    state            BGP's own word: Idle, Connect, Active, OpenSent, OpenConfirm, Established,
                     Close or Down
    up               routes may be exchanged: BIRD has the protocol up, which is Established
    since            local time of the last change between up, start and down, as BIRD prints it
    hold, keepalive  seconds agreed upon; 0 while there is no session
    last_error       why it went down last; "" if it never did, or nothing is known
    info             the last column of `show protocols`: state and error
    restart_ours     whether this end announced graceful restart, restart_peer the other;
                     None while there is no session
    counters         of BIRD's table of route changes: "import updates received" -> 3
    """

    name: str
    state: str = "Down"
    up: bool = False
    since: str = ""
    neighbor: str = ""
    remote_as: int = 0
    local_as: int = 0
    neighbor_id: str = ""
    source: str = ""
    hold: float = 0.0
    keepalive: float = 0.0
    family: Literal[4, 6] | None = None
    imported: int = 0
    filtered: int = 0
    exported: int = 0
    preferred: int = 0
    last_error: str = ""
    info: str = ""
    restart_ours: bool | None = None
    restart_peer: bool | None = None
    disabled: bool = False
    description: str = ""
    counters: Mapping[str, int] = {}


def parse_sessions(reply: Reply) -> dict[str, SessionStatus]:
    """BGP's sessions by name; protocols of other kinds are left out."""
    found: dict[str, SessionStatus] = {}
    for head, body in _protocols(reply):
        if head["kind"] == "BGP":
            found[head["name"]] = _session(head, body)
    return found


async def session_statuses(
    settings: BirdSettings, seconds: float = 5.0
) -> dict[str, SessionStatus]:
    """Raises BirdAway."""
    reply = await ask(settings.control_socket, "show protocols all", seconds)
    return parse_sessions(reply)


def _protocols(reply: Reply) -> Iterator[tuple[dict[str, str], list[str]]]:
    head: dict[str, str] | None = None
    body: list[str] = []
    for code, text in reply:
        if code == _HEAD:
            if head is not None:
                yield head, body
            matched = _PROTOCOL.fullmatch(text.strip())
            head, body = (matched.groupdict() if matched else None), []
        elif code == _BODY:
            body.append(text)
    if head is not None:
        yield head, body


def _session(head: Mapping[str, str], body: list[str]) -> SessionStatus:
    facts: dict[str, Any] = {}
    counters: dict[str, int] = {}
    capabilities = ""
    for text in body:
        line = text.strip()
        label, colon, value = line.partition(":")
        value = value.strip()
        if line in _CAPABILITIES:
            capabilities = _CAPABILITIES[line]
            facts[capabilities] = False
        elif capabilities and line == "Graceful restart":
            facts[capabilities] = True
        elif line in ("Channel ipv4", "Channel ipv6"):
            facts["family"] = 4 if line.endswith("4") else 6
        elif label == "Routes":
            facts |= {which: int(count) for count, which in _ROUTES.findall(value)}
        elif (row := _CHANGES.fullmatch(line)) is not None:
            counters |= _row(row[1].lower(), row[2].split())
        elif colon and value:
            facts |= _field(label, value)
    info = head["info"].strip()
    if "last_error" not in facts:
        facts["last_error"] = _error_in(info)
    return SessionStatus(
        name=head["name"],
        up=head["state"] == "up",
        since=head["since"],
        info=info,
        disabled=head["state"] == "down" and not info,
        counters=counters,
        **facts,
    )


def _field(label: str, value: str) -> dict[str, Any]:
    if label in _FIELDS:
        return {_FIELDS[label]: value}
    if label in _NUMBERS and value.isdigit():
        return {_NUMBERS[label]: int(value)}
    if label in _TIMERS:  # left/agreed
        try:
            return {_TIMERS[label]: float(value.rpartition("/")[2])}
        except ValueError:
            return {}
    return {}


def _row(what: str, values: list[str]) -> dict[str, int]:
    return {
        f"{what} {column}": int(value)
        for column, value in zip(_COLUMNS, values, strict=True)
        if value != "---"
    }


def _error_in(info: str) -> str:
    """What the last column says besides the state."""
    first, _, rest = info.partition(" ")
    return rest.strip() if first in _STATES else info
