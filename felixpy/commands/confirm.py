"""`felixpy confirm`: what the agent holds back, and its release."""

from __future__ import annotations

import argparse
import datetime
import os
import sys
from pathlib import Path

import msgspec

from felixpy import exits
from felixpy.config import examine, read_local
from felixpy.console import say
from felixpy.control_client import ControlClientError, NoAgentError, ask
from felixpy.holds import Hold
from felixpy.rundir import run_directory


def run(arguments: argparse.Namespace) -> int:
    config = examine(read_local(arguments.config, os.environ)).config
    directory = run_directory(Path(config.run_dir))
    try:
        held = _holds(ask(directory, "holds", {}))
        wanted = [hold for hold in held if hold.id in (arguments.id or (hold.id,))]
        missing = set(arguments.id) - {hold.id for hold in held}
        confirmed: list[Hold] = []
        if wanted and not (arguments.list or missing):
            ids = [hold.id for hold in wanted]
            confirmed = _holds(ask(directory, "confirm", {"ids": ids}))
    except ControlClientError as error:
        say(f"felixpy: {error}", sys.stderr)
        return exits.NOT_RUNNING if isinstance(error, NoAgentError) else exits.FAILED
    if arguments.json:
        found = {"held": held, "confirmed": [hold.id for hold in confirmed]}
        say(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        _show(wanted, {hold.id for hold in confirmed}, only_list=arguments.list)
    for id_ in sorted(missing):
        say(f"felixpy: nothing is held back as {id_}", sys.stderr)
    return exits.REFUSED if missing else exits.OK


def _holds(result: dict[str, object]) -> list[Hold]:
    return msgspec.convert(result["holds"], list[Hold])


def _show(wanted: list[Hold], confirmed: set[str], *, only_list: bool) -> None:
    for hold in wanted:
        since = datetime.datetime.fromisoformat(hold.since).astimezone()
        say(f"{hold.id}: {hold.text}")
        say(f"    {hold.kind}, since {since:%Y-%m-%d %H:%M:%S}")
        if hold.id in confirmed:
            say("    confirmed: it goes on now")
        elif not only_list:
            say("    not held back any more")
    if not wanted:
        say("nothing is held back")
