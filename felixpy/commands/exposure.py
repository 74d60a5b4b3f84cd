"""`felixpy check exposure`: which local workloads policy lets reach what manages the cluster."""

from __future__ import annotations

import argparse
import sys

import msgspec

from dataplane.errors import DataplaneError
from felixpy import exits
from felixpy.console import say
from felixpy.datastore.snapshot import SnapshotError
from felixpy.exposure import words
from felixpy.exposure.reading import read


def run(arguments: argparse.Namespace) -> int:
    """`arguments.directory`: manifests in the place of the configured datastore, or None."""
    try:
        report = read(arguments.config, arguments.directory)
    except (SnapshotError, DataplaneError) as error:
        say(f"felixpy: {error}", sys.stderr)
        return exits.FAILED
    if arguments.json:
        say(msgspec.json.format(msgspec.json.encode(words.as_json(report)), indent=2).decode())
    elif report.errors:
        for wrong in report.errors:
            say(f"error: {wrong}", sys.stderr)
    else:
        for line in words.render_text(report):
            say(line)
    if report.errors:
        return exits.REFUSED
    return exits.EXPOSED if report.exposed else exits.OK
