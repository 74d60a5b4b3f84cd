"""`felixpy check`: read configuration and manifests as the agent would, and touch nothing."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from pathlib import Path

import msgspec

from felixpy import exits
from felixpy.config import ConfigError, examine, read_local
from felixpy.console import say
from felixpy.datastore.snapshot import read_directory


def run(arguments: argparse.Namespace) -> int:
    try:
        resolved = examine(read_local(arguments.config, os.environ))
    except ConfigError as error:
        wrong, odd, directory = [str(problem) for problem in error.problems], [], None
    else:
        wrong = [str(problem) for problem in resolved.errors]
        odd = [str(p) for p in resolved.problems if p.severity == "warning"]
        directory = arguments.directory or Path(resolved.config.datastore_path)
    kinds: Counter[str] = Counter()
    if directory is not None:
        read = read_directory(directory)
        wrong += [str(error) for error in read.errors]
        kinds.update(read.kinds)
    if arguments.json:
        found = {"errors": wrong, "warnings": odd, "resources": dict(sorted(kinds.items()))}
        say(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        for line in odd:
            say(f"warning: {line}", sys.stderr)
        for line in wrong:
            say(f"error: {line}", sys.stderr)
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        say(f"{directory or arguments.config}: {counts or 'no resources'}")
    return exits.REFUSED if wrong else exits.OK
