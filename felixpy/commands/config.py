"""`felixpy config`: effective parameters, where they come from and what they mean.

With the file datastore its resources are read as well; a running agent need not be there.
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
from felixpy.config import ConfigError, Resolved, examine, read_datastore, read_local
from felixpy.config.render import UnknownParameterError, explain, render_json, render_table, rows
from felixpy.console import say
from felixpy.datastore.snapshot import read_directory
from felixpy.log import colourful


def run(arguments: argparse.Namespace) -> int:
    try:
        resolved = effective(arguments.config)
    except ConfigError as error:
        say(f"felixpy: {error}", sys.stderr)
        return exits.REFUSED
    for problem in resolved.problems:
        say(f"felixpy: {problem.severity}: {problem}", sys.stderr)
    if arguments.name:
        return _explain(resolved, arguments.name, as_json=arguments.json)
    shown = rows(resolved, only_changed=arguments.set)
    if arguments.json:
        say(render_json(shown))
    else:
        say(render_table(shown, shutil.get_terminal_size((100, 24)).columns, colourful(sys.stdout)))
    return exits.REFUSED if resolved.errors else exits.OK


def effective(path: Path) -> Resolved:
    """What an agent started now would go by.  Raises ConfigError for a file that is unreadable."""
    machine = read_local(path, os.environ)
    resolved = examine(machine)
    config = resolved.config
    if config.datastore_type != "file":
        return resolved
    found = read_directory(Path(config.datastore_path)).values
    configurations = {
        key.name: value
        for key, value in found.items()
        if isinstance(key, FelixConfigurationKey) and isinstance(value, FelixConfiguration)
    }
    node = found.get(NodeKey(config.felix_hostname))
    cluster = found.get(ClusterInformationKey("default"))
    said = read_datastore(
        config.felix_hostname,
        node.labels if isinstance(node, Node) else None,
        configurations,
        cluster if isinstance(cluster, ClusterInformation) else None,
    )
    return examine((*machine, *said))


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
