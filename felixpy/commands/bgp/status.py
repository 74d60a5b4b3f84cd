"""`felixpy status bgp`: each session of BGP, how it is and why it is not up.

What is up BIRD says, also while the agent is stopped; what should be up, and with which password,
the agent.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from dataplane.bird.control import BirdError
from dataplane.bird.parse.daemon import DaemonStatus, daemon_status
from dataplane.bird.parse.sessions import SessionStatus, session_statuses
from dataplane.bird.settings import BirdSettings
from felixpy import exits
from felixpy.bgp.control import ask_details
from felixpy.bgp.report import Details, SessionDetails
from felixpy.config import examine, read_local, to_bird_settings
from felixpy.console import Palette, say
from felixpy.control_client import ControlClientError, NoAgentError
from felixpy.rundir import run_directory
from felixpy.table import render_table

_HEADS = ("SESSION", "PEER", "AS", "TYPE", "STATE", "SINCE", "HOLD", "IN (BEST)")
_MORE_HEADS = ("REFUSED", "OUT", "RESTART", "PASSWORD")
_NEWER = 1.0  # seconds; BIRD tells whole ones


class Found(Struct, frozen=True):
    """`agent` says why there are no `details`, `bird` why there is no `daemon`.

    `refused`: why BIRD did not take the newest version, as it stands beside the file.
    `file_newer`: what BIRD runs is older than its file.
    """

    file: str
    agent: str = ""
    bird: str = ""
    details: Details | None = None
    daemon: DaemonStatus | None = None
    sessions: Mapping[str, SessionStatus] = {}
    refused: str = ""
    file_newer: bool = False
    stopped: bool = False

    @property
    def names(self) -> list[str]:
        wanted = self.details.sessions if self.details is not None else ()
        return sorted(self.sessions.keys() | {each.name for each in wanted})

    @property
    def off(self) -> bool:
        """The agent runs, and has nothing to do with BGP; nor has a daemon."""
        return not (self.details or self.stopped or self.agent or self.daemon)

    @property
    def well(self) -> bool:
        if self.details is None or self.bird or self.details.problems:
            return False
        return all(name in self.sessions and self.sessions[name].up for name in self.names)


def run(arguments: argparse.Namespace) -> int:
    config = examine(read_local(arguments.config, os.environ)).config
    settings = to_bird_settings(config)
    found = asyncio.run(_ask(settings, *_ask_agent(run_directory(Path(config.run_dir)))))
    if arguments.json:
        say(_json(found))
    else:
        say("\n".join(_lines(found, Palette.of(sys.stdout))))
    if found.stopped:
        return exits.NOT_RUNNING
    return exits.OK if found.well or found.off else exits.NOT_WELL


def _ask_agent(directory: Path) -> tuple[Details | None, str, bool]:
    try:
        return ask_details(directory), "", False
    except NoAgentError:
        return None, "stopped", True
    except ControlClientError as error:
        return None, str(error), False


async def _ask(settings: BirdSettings, details: Details | None, agent: str, stopped: bool) -> Found:
    found = Found(
        str(settings.config_file),
        agent=agent,
        details=details,
        refused=_why_refused(settings.config_file),
        stopped=stopped,
    )
    try:
        daemon = await daemon_status(settings)
        sessions = await session_statuses(settings)
    except BirdError as error:
        return msgspec.structs.replace(found, bird=str(error))
    newer = _is_newer(settings.config_file, daemon)
    return msgspec.structs.replace(found, daemon=daemon, sessions=sessions, file_newer=newer)


def _why_refused(path: Path) -> str:
    """Passwords are left out of it, yet it is for root alone: "" for those who may not read it."""
    try:
        text = path.with_name(f"{path.name}.refused.why").read_text(errors="replace")
    except OSError:
        return ""
    return text.strip()


def _is_newer(path: Path, daemon: DaemonStatus) -> bool:
    try:
        age = time.time() - path.stat().st_mtime
    except OSError:
        return False
    running = daemon.running_seconds
    return running is not None and running > age + _NEWER


# ---------------------------------------------------------------- for programs


def _json(found: Found) -> str:
    wanted = _by_name(found.details)
    shown = {
        "agent": found.agent or "running",
        "bird": msgspec.to_builtins(found.daemon) if found.daemon is not None else None,
        "bird_away": found.bird,
        "configuration": {
            "file": found.file,
            "state": found.details.state if found.details is not None else "unknown",
            "problem": found.details.problem if found.details is not None else "",
            "changed": found.details.changed if found.details is not None else "",
            "refused": found.refused,
            "file_newer": found.file_newer,
        },
        "sessions": [
            {
                "name": name,
                **(_builtins(found.sessions[name]) if name in found.sessions else {}),
                **(_builtins(wanted[name]) if name in wanted else {}),
            }
            for name in found.names
        ],
        "problems": found.details.problems if found.details is not None else {},
    }
    return msgspec.json.format(msgspec.json.encode(shown), indent=2).decode()


def _builtins(value: Struct) -> dict[str, object]:
    return dict(msgspec.to_builtins(value))


def _by_name(details: Details | None) -> dict[str, SessionDetails]:
    return {each.name: each for each in details.sessions} if details is not None else {}


# ---------------------------------------------------------------- for people


def _lines(found: Found, paint: Palette) -> Iterator[str]:
    if found.off:
        yield "BGP is switched off (BGPEnabled)"
        return
    yield from _head(found, paint)
    if found.names:
        yield ""
        yield from _table(found, paint)
    problems = found.details.problems if found.details is not None else {}
    if problems:
        yield ""
    for text in problems.values():
        yield f"{paint.bad('problem')}: {text}"


def _head(found: Found, paint: Palette) -> Iterator[str]:
    if found.stopped:
        yield f"agent          {paint.bad('stopped')}: sessions go on as BIRD has them"
    elif found.agent:
        yield f"agent          {paint.warn('not asked')}: {found.agent}"
    elif found.details is None:
        yield f"agent          {paint.warn('has no part in it')}: BGPEnabled is off"
    daemon = found.daemon
    if daemon is None:
        yield f"BIRD           {paint.bad('away')}: {found.bird}"
    else:
        yield (
            f"BIRD           {daemon.version}, router id {daemon.router_id},"
            f" up since {daemon.booted}, configured {daemon.reconfigured}"
        )
        if daemon.recovering:
            yield f"restart        {paint.warn('recovering')}: {daemon.recovering}"
    if found.details is not None:
        yield f"configuration  {found.details.state}: {found.file}"
        if found.details.waiting:
            names = ", ".join(found.details.waiting)
            yield f"waiting        for the other end to follow: {names}"
    if found.file_newer:
        yield f"               {paint.warn('what BIRD runs is older than this file')}"
    if found.refused:
        yield f"               {paint.bad('refused')}: {found.refused}"
        yield f"               kept as {found.file}.refused"


def _table(found: Found, paint: Palette) -> Iterator[str]:
    """Below a session what else there is to say of it."""
    wanted = _by_name(found.details)
    today = found.daemon.now.partition(" ")[0] if found.daemon is not None else ""
    rows = [_row(name, found.sessions.get(name), wanted.get(name), today) for name in found.names]
    head, *lines = render_table((*_HEADS, *_MORE_HEADS), rows).splitlines()
    yield paint.strong(head)
    for name, line in zip(found.names, lines, strict=True):
        status = found.sessions.get(name)
        yield line if status is not None and status.up else paint.warn(line)
        yield from (f"    {remark}" for remark in _remarks(status, wanted.get(name)))


def _row(
    name: str, status: SessionStatus | None, wanted: SessionDetails | None, today: str
) -> tuple[str, ...]:
    known = status or SessionStatus(name, state="absent")
    remote = known.remote_as or (wanted.remote_as if wanted is not None else 0)
    local = known.local_as or (wanted.local_as if wanted is not None else 0)
    return (
        name,
        known.neighbor or (wanted.address if wanted is not None else ""),
        f"{local}>{remote}",
        wanted.kind if wanted is not None else "",
        "disabled" if known.disabled else known.state,
        _moment(known.since, today),
        f"{known.hold:g}/{known.keepalive:g}" if known.up else "-",
        f"{known.imported} ({known.preferred})",
        str(known.filtered),
        str(known.exported),
        _restart(known),
        wanted.password.partition(":")[0] if wanted is not None else "",
    )


def _moment(text: str, today: str) -> str:
    """The time alone where it was today, as `birdc` has it; else the date."""
    date, _, time_of_day = text.partition(" ")
    return time_of_day.partition(".")[0] if date == today else date


def _restart(status: SessionStatus) -> str:
    """Who has announced graceful restart."""
    match status.restart_ours, status.restart_peer:
        case True, True:
            return "both"
        case True, _:
            return "ours"
        case _, True:
            return "peer's"
        case _:
            return "-"


def _remarks(status: SessionStatus | None, wanted: SessionDetails | None) -> Iterator[str]:
    if status is not None and status.last_error and not status.up:
        yield f"last error: {status.last_error}"
    if wanted is None:
        return
    if wanted.problem:
        yield wanted.problem
    if ":" in wanted.password and wanted.password not in wanted.problem:
        yield f"password: {wanted.password}"
    if wanted.hint:
        yield wanted.hint
    if wanted.unguarded:
        yield "unguarded: its BGPFilters may accept what guards refuse (BGPUnguardedPeers)"
