"""`felixpy ipsec key`: make a key, say what a key file holds, or end a key that is waited for.

new      prints a line for the key file, of random digits
check    reads a key file as the agent would, and says what is in it, without the keys
drop     tells the running agent not to wait any longer for nodes that use an old key
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from pathlib import Path
from typing import Final

import msgspec

from dataplane.ipsec import ids
from felixpy import core_dumps, exits
from felixpy.bgp.secrets_place import secrets_place, unit_credentials
from felixpy.config import Config, examine, read_local
from felixpy.console import say
from felixpy.control_client import ControlClientError, NoAgentError
from felixpy.ipsec.algorithms import (
    AEADS,
    AUTHENTICATIONS,
    ENCRYPTIONS,
    GCM,
    HMAC_SHA256,
    closest,
)
from felixpy.ipsec.feeds import Feed, FileFeed, feed_of, parse_reading
from felixpy.ipsec.key_control import ask_drop
from felixpy.ipsec.keyfile import KeyFile, KeyFileError
from felixpy.rundir import run_directory
from felixpy.table import render_table

_VERBS: Final = ("new", "check", "drop")
_MADE: Final = (*AEADS, *ENCRYPTIONS)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what",
        choices=_VERBS,
        metavar="WHAT",
        help="new: print a new key; check: say what a key file holds, without the keys;"
        " drop: end an old key that others still use",
    )
    parser.add_argument(
        "target",
        nargs="?",
        metavar="FILE|ID",
        help="the file to check (default: what the configuration names), or the key to drop",
    )
    parser.add_argument(
        "--after",
        type=_after,
        default=0,
        metavar="ID",
        help="new: the ID that the new one comes after (default: none, which makes it 1)",
    )
    parser.add_argument(
        "--algorithm",
        type=_algorithm,
        default=GCM,
        metavar="NAME",
        help=f"new: what it is for (default: {GCM}); a cipher that does not authenticate is joined"
        f" by {HMAC_SHA256}",
    )


def _after(text: str) -> int:
    if text.isascii() and text.isdecimal() and int(text) <= ids.LAST_ID:
        return int(text)
    raise argparse.ArgumentTypeError(f"key IDs run from 1 to {ids.LAST_ID}")


def _algorithm(text: str) -> str:
    # no choices of the parser's: shells complete those, and parentheses mean something to them
    if text in _MADE:
        return text
    hint = f"; did you mean {near}?" if (near := closest(text)) in _MADE else ""
    raise argparse.ArgumentTypeError(f"no keys are made for that; for {', '.join(_MADE)}{hint}")


def run(arguments: argparse.Namespace) -> int:
    core_dumps.forbid()
    if arguments.what == "new":
        return _new(arguments)
    if arguments.what == "check":
        return _check(arguments)
    return _drop(arguments)


# ---------------------------------------------------------------- new


def _new(arguments: argparse.Namespace) -> int:
    line = new_line(ids.next_id(arguments.after), arguments.algorithm)
    if arguments.json:
        say(msgspec.json.format(msgspec.json.encode({"line": line}), indent=2).decode())
    else:
        say(line)
    return exits.OK


def new_line(key_id: int, algorithm: str) -> str:
    """Of a key file; `algorithm` is an AEAD or a cipher of the tables."""
    if algorithm in AEADS:
        how = AEADS[algorithm]
        return f"{key_id} {how.name} {secrets.token_hex(how.key_bytes[0])} {how.icv_bits[0]}"
    auth, cipher = AUTHENTICATIONS[HMAC_SHA256], ENCRYPTIONS[algorithm]
    keys = secrets.token_hex(auth.key_bytes), secrets.token_hex(cipher.key_bytes[0])
    return f"{key_id} {auth.name} {keys[0]} {cipher.name} {keys[1]}"


# ---------------------------------------------------------------- check


def _check(arguments: argparse.Namespace) -> int:
    if arguments.target:
        feed: Feed | None = FileFeed(Path(arguments.target).absolute(), _nobody)
    else:
        feed = _configured(examine(read_local(arguments.config, os.environ)).config)
    if feed is None:
        say("felixpy: name a file; the configuration names none", sys.stderr)
        return exits.REFUSED
    try:
        content, notes = _read(feed)
    except KeyFileError as error:
        say(f"felixpy: {error}", sys.stderr)
        return exits.REFUSED
    if arguments.json:
        say(_json(feed.name, content, notes))
    else:
        rows = [(str(key.id), str(key.algorithm), key.check) for key in content.ring.values()]
        say(render_table(("ID", "ALGORITHM", "CHECK VALUE"), rows))
    for note in notes:
        say(f"felixpy: {feed.name}: {note}", sys.stderr)
    return exits.OK


def _nobody() -> None:
    """A command looks once."""


def _configured(config: Config) -> Feed | None:
    place = secrets_place(config, os.environ)
    place = msgspec.structs.replace(place, credentials=unit_credentials(os.environ))
    return feed_of(config.ipsec_key_file, config.ipsec_key_secret, place, _nobody)


def _read(feed: Feed) -> tuple[KeyFile, list[str]]:
    """With the notes, on the reading too.  Raises KeyFileError."""
    reading = feed.read()
    content = parse_reading(reading, feed.name)
    if reading.problem:
        raise KeyFileError(f"{feed.name}: {reading.problem}")
    return content, [*content.notes, *filter(None, (reading.note,))]


def _json(name: str, content: KeyFile, notes: list[str]) -> str:
    keys = [
        {"id": key.id, "algorithm": str(key.algorithm), "check": key.check}
        for key in content.ring.values()
    ]
    text = {"source": name, "keys": keys, "asks_pair": content.asks_pair, "notes": notes}
    return msgspec.json.format(msgspec.json.encode(text), indent=2).decode()


# ---------------------------------------------------------------- drop


def _drop(arguments: argparse.Namespace) -> int:
    try:
        key_id = _after(arguments.target or "")
    except argparse.ArgumentTypeError as error:
        say(f"felixpy: which key? {error}", sys.stderr)
        return exits.REFUSED
    config = examine(read_local(arguments.config, os.environ)).config
    try:
        ask_drop(run_directory(Path(config.run_dir)), key_id)
    except ControlClientError as error:
        say(f"felixpy: {error}", sys.stderr)
        return exits.NOT_RUNNING if isinstance(error, NoAgentError) else exits.FAILED
    if arguments.json:
        say(msgspec.json.format(msgspec.json.encode({"dropped": key_id}), indent=2).decode())
    else:
        say(f"key {key_id} is not waited for any more")
    return exits.OK
