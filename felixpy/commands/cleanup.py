"""`felixpy cleanup`: take everything of felixpy's out of the kernel, and only that."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

import msgspec

from dataplane.cleanup import Cleaned, clean
from felixpy import exits, last_state
from felixpy.config import examine, read_local, to_settings
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
            if not arguments.dry_run:
                last_state.forget(lock.directory)
    except AlreadyRunningError as error:
        say(f"felixpy: {error}; stop it first", sys.stderr)
        return exits.FAILED
    if arguments.json:
        say(msgspec.json.format(msgspec.json.encode(cleaned), indent=2).decode())
    else:
        _show(cleaned, dry_run=arguments.dry_run)
    return exits.FAILED if cleaned.errors else exits.OK


def _show(cleaned: Cleaned, *, dry_run: bool) -> None:
    verb = "would remove" if dry_run else "removed"
    counts = (
        f"{cleaned.chains} chains, {cleaned.ipsets} IP sets, {cleaned.routes} routes,"
        f" {cleaned.neighbours} static neighbours, {cleaned.tunnels} tunnels"
    )
    say(f"{verb} {counts}")
    for error in cleaned.errors:
        say(f"felixpy: {error}", sys.stderr)
