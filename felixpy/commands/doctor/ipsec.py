"""`felixpy doctor ipsec`: what stands in the way of IPsec, before it is switched on or after.

What the agent knows of the cluster is asked of it; while it is stopped the datastore is read.  The
looking is done here, and leaves nothing behind.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from dataplane.errors import DataplaneError
from felixpy import core_dumps, exits
from felixpy.commands.doctor.lines import finding_lines
from felixpy.config import Config, examine, read_local
from felixpy.console import Palette, say
from felixpy.control_client import ControlClientError, NoAgentError
from felixpy.datastore.snapshot import SnapshotError
from felixpy.ipsec.preflight import examine as examine_ipsec
from felixpy.rundir import run_directory
from felixpy.wireguard.control import ask_facts
from felixpy.wireguard.facts import NodeEnd, read_facts
from felixpy.wireguard.finding import Finding


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It takes no more than all commands do."""


def run(arguments: argparse.Namespace) -> int:
    core_dumps.forbid()
    config = examine(read_local(arguments.config, os.environ)).config
    try:
        others = _others(run_directory(Path(config.run_dir)), arguments.config, config)
        found = asyncio.run(examine_ipsec(config, os.environ, others))
    except PermissionError:
        say("felixpy: only root may look for all of it", sys.stderr)
        return exits.FAILED
    except (ControlClientError, SnapshotError, DataplaneError) as error:
        say(f"felixpy: {error}", sys.stderr)
        return exits.FAILED
    if arguments.json:
        say(_json(config, found))
    else:
        say("\n".join(_lines(config, found, Palette.of(sys.stdout))))
    return exits.NOT_WELL if any(each.verdict == "fail" for each in found) else exits.OK


def _others(directory: Path, path: Path, config: Config) -> list[NodeEnd]:
    """Raises ControlClientError, SnapshotError or ConfigError."""
    try:
        facts = ask_facts(directory) or read_facts(path)
    except NoAgentError:
        facts = read_facts(path)
    return [node for node in facts.nodes if node.node != config.felix_hostname]


def _json(config: Config, found: Sequence[Finding]) -> str:
    shown = {
        "node": config.felix_hostname,
        "enabled": config.ipsec_enabled,
        "findings": msgspec.to_builtins(found),
    }
    return msgspec.json.format(msgspec.json.encode(shown), indent=2).decode()


def _lines(config: Config, found: Sequence[Finding], paint: Palette) -> Iterator[str]:
    if not config.ipsec_enabled:
        yield "IPsec is switched off (IPsecEnabled); this is how it is:"
    yield from finding_lines(found, paint)
