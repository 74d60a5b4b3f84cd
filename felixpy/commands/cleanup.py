"""`felixpy cleanup`: take everything of felixpy's out of the kernel, and only that.

What BIRD has left behind of a configuration of ours goes too, unless a daemon still runs.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

import msgspec

from dataplane.bird.sweep import Swept, sweep
from dataplane.cleanup import Cleaned, clean
from dataplane.errors import DataplaneError
from felixpy import exits, last_state
from felixpy.config import Config, examine, read_local, to_bird_settings, to_settings
from felixpy.console import say
from felixpy.log import set_up
from felixpy.rundir import AlreadyRunningError, Lock, run_directory


def run(arguments: argparse.Namespace) -> int:
    config = examine(read_local(arguments.config, os.environ)).config
    if os.geteuid():
        say("felixpy: only root may change the kernel; run it as root", sys.stderr)
        return exits.FAILED
    set_up(style="console", screen="WARNING")
    try:
        with Lock(run_directory(Path(config.run_dir))) as lock:
            cleaned = asyncio.run(clean(to_settings(config), dry_run=arguments.dry_run))
            swept, unswept = _sweep(config, dry_run=arguments.dry_run)
            if not arguments.dry_run:
                last_state.forget(lock.directory)
    except AlreadyRunningError as error:
        say(f"felixpy: {error}; stop it first", sys.stderr)
        return exits.FAILED
    if arguments.json:
        found = {**msgspec.to_builtins(cleaned), "bird": msgspec.to_builtins(swept)}
        say(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        _show(cleaned, swept, dry_run=arguments.dry_run)
    for text in (*cleaned.errors, *unswept):
        say(f"felixpy: {text}", sys.stderr)
    return exits.FAILED if cleaned.errors or unswept else exits.OK


def _sweep(config: Config, *, dry_run: bool) -> tuple[Swept, list[str]]:
    """And why it has not all been removed, where it has not."""
    try:
        swept = asyncio.run(sweep(to_bird_settings(config), dry_run=dry_run))
    except (DataplaneError, OSError) as error:
        return Swept(), [f"what BIRD has left behind cannot be removed: {error}"]
    if swept.held:
        return swept, [f"{swept.held}: its routes and configuration stay; stop it first"]
    return swept, []


def _show(cleaned: Cleaned, swept: Swept, *, dry_run: bool) -> None:
    verb = "would remove" if dry_run else "removed"
    counts = (
        f"{cleaned.chains} chains, {cleaned.ipsets} IP sets, {cleaned.routes} routes,"
        f" {cleaned.neighbours} static neighbours, {cleaned.tunnels} tunnels"
    )
    if cleaned.addresses:
        counts += f", {cleaned.addresses} addresses for BGP"
    if cleaned.rules:
        counts += f", {cleaned.rules} routing rules"
    say(f"{verb} {counts}")
    if swept.files:
        say(f"{verb} {swept.routes} routes of BIRD's, {swept.files} files of its configuration")
