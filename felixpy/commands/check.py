"""`felixpy check`: read configuration and resources as the agent would, and touch nothing.

`felixpy check exposure` is the module `exposure` beside this one.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path

import msgspec
from msgspec import Struct, field

from felixpy import exits
from felixpy.config import ConfigError, Resolved, examine, read_local
from felixpy.console import say
from felixpy.datastore.snapshot import (
    Snapshot,
    SnapshotError,
    is_named,
    read_directory,
    read_snapshot,
)

SECONDS = 60.0  # for all of a large etcd over a slow line


class Findings(Struct):
    """`place`: what was looked at; "" where that was nothing.  `unread`: why the datastore was not,
    although it is known which one it is.
    """

    place: str = ""
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    resources: dict[str, int] = field(default_factory=dict)
    unread: str = ""


def run(arguments: argparse.Namespace) -> int:
    if arguments.what == "exposure":
        # not loaded for the plain check, which needs nothing of the dataplane
        return int(importlib.import_module("felixpy.commands.exposure").run(arguments))
    if arguments.what is not None and arguments.directory is not None:
        text = f"{arguments.what} and {arguments.directory}: only one directory can be checked"
        say(f"felixpy: {text}", sys.stderr)
        return exits.REFUSED
    found = check(arguments.config, Path(arguments.what) if arguments.what is not None else None)
    if arguments.json:
        shown = {
            "errors": [*found.errors, *([found.unread] if found.unread else [])],
            "warnings": found.warnings,
            "resources": dict(sorted(found.resources.items())),
        }
        say(msgspec.json.format(msgspec.json.encode(shown), indent=2).decode())
    else:
        _show(found)
    if found.unread:
        say(f"felixpy: {found.unread}", sys.stderr)
    if found.errors:
        return exits.REFUSED
    return exits.FAILED if found.unread else exits.OK


def check(path: Path, directory: Path | None) -> Findings:
    """`directory`: manifests in the place of the datastore that the configuration names."""
    try:
        resolved = examine(read_local(path, os.environ))
    except ConfigError as error:
        return Findings(errors=[str(problem) for problem in error.problems])
    found = Findings(
        errors=[str(problem) for problem in resolved.errors],
        warnings=[str(p) for p in resolved.problems if p.severity == "warning"],
    )
    try:
        read = _read(resolved, directory)
    except SnapshotError as error:
        found.unread = str(error)
        return found
    if read is None:
        return found
    found.place = read.location
    found.errors += [str(error) for error in (*read.errors, *read.invalid)]
    found.warnings += read.warnings
    if not read.ready and not read.errors:
        reason = "datastoreReady is not true: an agent waits until it is"
        found.warnings.append(f"ClusterInformation default: {reason}")
    found.resources = read.kinds
    return found


def _read(resolved: Resolved, directory: Path | None) -> Snapshot | None:
    """None: it is not certain what to read.  Raises SnapshotError."""
    if directory is not None:
        return read_directory(directory)
    return read_snapshot(resolved.config, SECONDS) if is_named(resolved) else None


def _show(found: Findings) -> None:
    for line in found.warnings:
        say(f"warning: {line}", sys.stderr)
    for line in found.errors:
        say(f"error: {line}", sys.stderr)
    if found.place:
        counts = (f"{count} {kind}" for kind, count in sorted(found.resources.items()))
        say(f"{found.place}: {', '.join(counts) or 'no resources'}")
