"""`felixpy config`: effective parameters, where they come from and what they mean.

The datastore's FelixConfiguration resources are read as well; a running agent need not be there.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

from calc_graph.model import (
    ClusterInformation,
    ClusterInformationKey,
    FelixConfiguration,
    FelixConfigurationKey,
    Node,
    NodeKey,
)
from felixpy import exits
from felixpy.config import Config, Resolved, Source, examine, read_datastore, read_local
from felixpy.config.render import UnknownParameterError, explain, render_json, render_table, rows
from felixpy.console import say
from felixpy.datastore.snapshot import Snapshot, SnapshotError, is_named, read_snapshot
from felixpy.log import colourful

SECONDS = 10.0
_KINDS = ("ClusterInformation", "FelixConfiguration", "Node")


def run(arguments: argparse.Namespace) -> int:
    resolved, missing, code = effective(arguments.config)
    for problem in resolved.problems:
        say(f"felixpy: {problem.severity}: {problem}", sys.stderr)
    shown = _show(resolved, arguments)
    for line in missing:
        say(f"felixpy: {line}", sys.stderr)
    return shown or code or (exits.REFUSED if resolved.errors else exits.OK)


def effective(path: Path) -> tuple[Resolved, list[str], int]:
    """What an agent started now would go by; why it may be otherwise; and the exit status for that.

    Raises ConfigError for a file that is unreadable.
    """
    machine = read_local(path, os.environ)
    resolved = examine(machine)
    if not is_named(resolved):
        return resolved, [], exits.OK  # of which datastore it could be asked nobody knows
    try:
        read = read_snapshot(resolved.config, SECONDS, _KINDS)
    except SnapshotError as error:
        return resolved, [f"without FelixConfiguration resources: {error}"], exits.FAILED
    if read.errors:
        lines = [f"without FelixConfiguration resources: {error}" for error in read.errors]
        return resolved, lines, exits.REFUSED
    lines = [f"warning: {resource}; it counts as absent" for resource in read.invalid]
    return examine((*machine, *_said(read, resolved.config))), lines, exits.OK


def _said(read: Snapshot, config: Config) -> tuple[Source, ...]:
    found = read.values
    configurations = {
        key.name: value
        for key, value in found.items()
        if isinstance(key, FelixConfigurationKey) and isinstance(value, FelixConfiguration)
    }
    node = found.get(NodeKey(config.felix_hostname))
    cluster = found.get(ClusterInformationKey("default"))
    return read_datastore(
        config.felix_hostname,
        node.labels if isinstance(node, Node) else None,
        configurations,
        cluster if isinstance(cluster, ClusterInformation) else None,
    )


def _show(resolved: Resolved, arguments: argparse.Namespace) -> int:
    if arguments.name:
        return _explain(resolved, arguments.name, as_json=arguments.json)
    shown = rows(resolved, only_changed=arguments.set)
    if arguments.json:
        say(render_json(shown))
    else:
        say(render_table(shown, shutil.get_terminal_size((100, 24)).columns, colourful(sys.stdout)))
    return exits.OK


def _explain(resolved: Resolved, names: list[str], *, as_json: bool) -> int:
    try:
        texts = [explain(resolved, name) for name in names]
    except UnknownParameterError as error:
        say(f"felixpy: {error}", sys.stderr)
        return exits.REFUSED
    if as_json:
        wanted = {name.lower() for name in names}
        say(render_json(r for r in rows(resolved, everything=True) if r.name.lower() in wanted))
    else:
        say("\n\n".join(text.rstrip("\n") for text in texts))
    return exits.OK
