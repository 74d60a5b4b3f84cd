"""What an agent says of itself: kept in a file that `felixpy status` and other programs read.

The file is replaced whole, at most once in INTERVAL seconds, and holds no secrets.  Whether its
writer still lives is told by the lock beside it, never by the file.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

from felixpy.rundir import write_atomically

State: TypeAlias = Literal["starting", "running", "degraded"]
INTERVAL = 0.5  # seconds
NAME = "status.json"


class Problem(Struct, frozen=True, order=True):
    """Something that is wrong now: in which area, and about what: a file, a resource, a step."""

    area: str  # "configuration", "datastore", "dataplane", "wireguard", "held back", ...
    about: str
    text: str
    since: str  # RFC 3339


class DatastoreStatus(Struct, frozen=True):
    type: str
    location: str
    # "connecting", "listing", "not ready", "in sync"; "unavailable" while it cannot be read,
    # whether it was in sync before or not
    state: str


class DataplaneStatus(Struct, frozen=True):
    """`writes` counts the applies that wrote something; `seconds` is how long the last one took."""

    # "waiting" for the datastore, "in sync"; "failing" while a step fails and is tried again.  What
    # cannot be had, whatever is tried, is among the problems and leaves the state as it is.
    state: str = "waiting"
    backend: str = ""
    writes: int = 0
    last_write: str = ""
    seconds: float = 0.0
    workload_endpoints: int = 0
    host_endpoints: int = 0
    policies: int = 0
    ipsets: int = 0


class BgpStatus(Struct, frozen=True):
    """`sessions` there should be, `up` of them are, `refused` are disabled for a reason that is
    among the problems; `unguarded`: BGPPeers whose filters may let pass what guards refuse.
    """

    # "waiting" for datastore and dataplane, "trying" a new configuration, "in sync"; "refused",
    # "undone": the one before runs; "away": no daemon answers
    state: str
    sessions: int = 0
    up: int = 0
    refused: int = 0
    unguarded: tuple[str, ...] = ()


class WireguardStatus(Struct, frozen=True):
    """Of one family that it is on for.  `stages`: how far the other nodes have come, and how many;
    `reason`: why there is no device.
    """

    family: Literal[4, 6]
    stages: dict[str, int] = {}
    reason: str = ""


class Status(Struct, frozen=True):
    """`bgp` is None where it is switched off, `wireguard` empty."""

    node: str
    pid: int
    version: str
    started: str
    datastore: DatastoreStatus
    dataplane: DataplaneStatus = DataplaneStatus()
    problems: tuple[Problem, ...] = ()
    bgp: BgpStatus | None = None
    wireguard: tuple[WireguardStatus, ...] = ()

    @property
    def state(self) -> State:
        """In systemd's words: degraded is an agent at work of which something is wrong."""
        in_sync = self.datastore.state == "in sync" and self.dataplane.state == "in sync"
        if self.problems or self.dataplane.state == "failing":
            return "degraded"
        return "running" if in_sync else "starting"


class StatusError(Exception):
    """A status file that cannot be read."""


def now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def write(directory: Path, status: Status) -> None:
    """Raises OSError."""
    text = msgspec.json.format(msgspec.json.encode(status), indent=2).decode()
    write_atomically(directory / NAME, text + "\n")


def read(directory: Path) -> Status | None:
    """The last one written, or None if there is none.  Raises StatusError."""
    try:
        return msgspec.json.decode((directory / NAME).read_bytes(), type=Status)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise StatusError(f"{directory / NAME}: {error}") from error


class Problems:
    """What is wrong now, by area."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Problem]] = {}

    def replace(self, area: str, texts: Mapping[str, str]) -> None:
        """Make `texts`, by what they are about, all that is wrong in an area."""
        known = self._known.get(area, {})
        self._known[area] = {
            about: Problem(area, about, text, known[about].since if about in known else now())
            for about, text in texts.items()
        }

    def text(self, area: str, about: str) -> str:
        """ "" where nothing is wrong with it."""
        problem = self._known.get(area, {}).get(about)
        return problem.text if problem else ""

    def all(self) -> tuple[Problem, ...]:
        return tuple(sorted(p for problems in self._known.values() for p in problems.values()))
