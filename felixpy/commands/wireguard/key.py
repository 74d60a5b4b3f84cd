"""`felixpy wireguard key`: this node's public keys, to be spread where there is no etcd.

The running agent is asked; while it is stopped, the kernel is.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

import msgspec
from msgspec import Struct

from dataplane.errors import DataplaneError
from dataplane.families import Family
from felixpy import exits
from felixpy.config import Config, ConfigError, examine, read_local
from felixpy.config.to_wireguard import to_wireguard
from felixpy.console import say
from felixpy.control_client import ControlClientError, NoAgentError
from felixpy.rundir import run_directory
from felixpy.table import render_table
from felixpy.wireguard.control import ask_keys
from felixpy.wireguard.devices import public_keys

_SAID = {True: "yes", False: "not yet", None: "unknown"}


class NodeKey(Struct, frozen=True):
    """`published`: the datastore has it; None: no agent is there to say."""

    node: str
    family: Family
    key: str
    published: bool | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It takes no more than all commands do."""


def run(arguments: argparse.Namespace) -> int:
    resolved = examine(read_local(arguments.config, os.environ))
    if wrong := [error for error in resolved.errors if error.name == "FelixHostname"]:
        raise ConfigError(wrong)
    try:
        found = _find(resolved.config)
    except (ControlClientError, DataplaneError) as error:
        say(f"felixpy: {error}", sys.stderr)
        return exits.FAILED
    if arguments.json:
        say(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    elif not found:
        say("no key: WireGuard is off, or has no device yet")
    else:
        lines = [(e.node, f"IPv{e.family}", e.key, _SAID[e.published]) for e in found]
        say(render_table(("NODE", "FAMILY", "PUBLIC KEY", "PUBLISHED"), lines))
    return exits.OK


def _find(config: Config) -> list[NodeKey]:
    """Raises ControlClientError or DataplaneError."""
    node = config.felix_hostname
    try:
        told = ask_keys(run_directory(Path(config.run_dir)))
    except NoAgentError:
        keys = asyncio.run(public_keys(to_wireguard(config)))
        return [NodeKey(node, family, key) for family, key in sorted(keys.items())]
    return [NodeKey(node, *each) for each in told]
