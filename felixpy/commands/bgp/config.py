"""`felixpy bgp config`: the configuration that BIRD should run with, or how it differs from the
file that there is.  No password is shown of either.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator
from difflib import SequenceMatcher
from pathlib import Path

import msgspec

from dataplane.bird.render import UnrenderableError
from felixpy import exits, log
from felixpy.bgp.offline import Offline, read_offline
from felixpy.console import say
from felixpy.datastore.snapshot import SnapshotError

_CONTEXT = 3  # lines
_PASSWORD = re.compile(r'(password\s+)".*"')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--diff", action="store_true", help="only how it differs from the file that there is"
    )


def run(arguments: argparse.Namespace) -> int:
    log.set_up(screen="")  # what is wrong with Secrets is said below, once
    try:
        found = read_offline(arguments.config, os.environ)
    except SnapshotError as error:
        say(f"felixpy: {error}", sys.stderr)
        return exits.FAILED
    except UnrenderableError as error:
        say(f"felixpy: no configuration for BIRD can be made: {error}", sys.stderr)
        return exits.REFUSED
    for text in found.errors:
        say(f"error: {text}", sys.stderr)
    if found.errors:
        return exits.REFUSED
    try:
        lines = _difference(found) if arguments.diff else found.version.redacted.splitlines()
    except OSError as error:
        advice = "; run it as root" if isinstance(error, PermissionError) else ""
        say(f"felixpy: {error}{advice}", sys.stderr)
        return exits.FAILED
    if arguments.json:
        say(_json(found, lines, "diff" if arguments.diff else "text"))
    else:
        for text in found.problems.values():
            say(f"warning: {text}", sys.stderr)
        if lines:
            say("\n".join(lines))
    return exits.OK


def _json(found: Offline, lines: list[str], name: str) -> str:
    sessions = {
        session: {"enabled": part.enabled, "problem": part.problem}
        for session, part in found.version.sessions.items()
    }
    shown = {
        "file": str(found.settings.config_file),
        name: lines,
        "sessions": sessions,
        "problems": found.problems,
    }
    return msgspec.json.format(msgspec.json.encode(shown), indent=2).decode()


def _difference(found: Offline) -> list[str]:
    """As `diff -u` has it.  Raises OSError."""
    path = found.settings.config_file
    old = _read(path)
    shown_old = [_PASSWORD.sub(r'\1"<hidden>"', line) for line in old]
    new = found.version.text.splitlines()
    shown_new = found.version.redacted.splitlines()
    hunks = list(_hunks(old, new, shown_old, shown_new))
    return [f"--- {path}", "+++ as the datastore has it", *hunks] if hunks else []


def _hunks(
    old: list[str], new: list[str], shown_old: list[str], shown_new: list[str]
) -> Iterator[str]:
    """Passwords count for what differs, and are hidden in what is shown."""
    for group in SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(_CONTEXT):
        first, last = group[0], group[-1]
        yield f"@@ -{_range(first[1], last[2])} +{_range(first[3], last[4])} @@"
        for kind, i1, i2, j1, j2 in group:
            if kind == "equal":
                yield from (f" {line}" for line in shown_new[j1:j2])
                continue
            yield from (f"-{line}" for line in shown_old[i1:i2])
            yield from (f"+{line}" for line in shown_new[j1:j2])


def _range(start: int, stop: int) -> str:
    return f"{start + 1},{stop - start}" if stop > start else f"{start},0"


def _read(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []
