"""`felixpy doctor wireguard`: what stands in the way of WireGuard, before it is switched on or
after.

What the agent knows of the cluster is asked of it; while it is stopped the datastore is read.  The
looking is done here, and touches nothing.
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
from felixpy import exits
from felixpy.config import examine, read_local
from felixpy.console import Palette, say
from felixpy.control_client import ControlClientError, NoAgentError
from felixpy.datastore.snapshot import SnapshotError
from felixpy.rundir import run_directory
from felixpy.wireguard.control import ask_facts
from felixpy.wireguard.facts import Facts, read_facts
from felixpy.wireguard.finding import Finding
from felixpy.wireguard.preflight import examine as examine_wireguard


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It takes no more than all commands do."""


def run(arguments: argparse.Namespace) -> int:
    config = examine(read_local(arguments.config, os.environ)).config
    directory = run_directory(Path(config.run_dir))
    try:
        facts = _facts(directory, arguments.config)
        found = asyncio.run(examine_wireguard(facts, directory))
    except (ControlClientError, SnapshotError, DataplaneError) as error:
        say(f"felixpy: {error}", sys.stderr)
        return exits.FAILED
    if arguments.json:
        say(_json(facts, found))
    else:
        say("\n".join(_lines(facts, found, Palette.of(sys.stdout))))
    return exits.NOT_WELL if any(each.verdict == "fail" for each in found) else exits.OK


def _facts(directory: Path, config: Path) -> Facts:
    """Raises ControlClientError, SnapshotError or ConfigError."""
    try:
        return ask_facts(directory) or read_facts(config)
    except NoAgentError:
        return read_facts(config)


def _json(facts: Facts, found: Sequence[Finding]) -> str:
    shown = {
        "node": facts.hostname,
        "families": sorted(facts.settings.families),
        "findings": msgspec.to_builtins(found),
    }
    return msgspec.json.format(msgspec.json.encode(shown), indent=2).decode()


def _lines(facts: Facts, found: Sequence[Finding], paint: Palette) -> Iterator[str]:
    if not facts.settings.families:
        yield "WireGuard is switched off (WireguardEnabled, WireguardEnabledV6); this is how it is:"
    colours = {"ok": paint.good, "warn": paint.warn, "fail": paint.bad}
    width = max(len(each.about) for each in found)
    for each in found:
        yield f"{colours[each.verdict](f'{each.verdict:<4}')}  {each.about:<{width}}  {each.text}"
        if each.advice and each.verdict != "ok":
            yield f"{'':<{width + 8}}{each.advice}"
    counts = {v: sum(each.verdict == v for each in found) for v in ("fail", "warn")}
    yield f"{counts['fail']} failed, {counts['warn']} not sure or not as it should be"
