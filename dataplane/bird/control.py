"""BIRD's control socket: one command, one reply, and then the connection is over.

    in   the socket's path, a command of ours
    out  Reply                        the lines, each with its code
         BirdAway, BirdRefused        nobody answers; the daemon says no

A reply ends with a line whose code is followed by a space; "-" announces more, and a line that
begins with a space has the code of the one before.  Codes from 8000 on are refusals.
Source: sections 3.3 and 3.4 of the BGP reference.

pybird 1.2.0 asks for the status and for a check of the file, where it was measured to be sound.
Everything else goes past it: it ignores the arguments of `configure`, and hangs on replies whose
last code it does not know.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from dataplane.errors import DataplaneError

MAX_LINE: Final = 1 << 16
MAX_REPLY: Final = 64 << 20  # 200,000 routes with all that there is to say of them
_SECONDS: Final = 5.0
_LAST, _MORE = " ", "-"
_FIRST_REFUSAL: Final = 8000
_CODED = re.compile(r"(\d{4})([ -])")
_SYMBOL = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class Line(NamedTuple):
    code: int
    text: str


Reply: TypeAlias = tuple[Line, ...]


class BirdError(DataplaneError):
    """The daemon did not do what it was asked."""


class BirdAway(BirdError):  # noqa: N818 - it is a state of the daemon rather than a fault
    """No daemon answers at the socket, not in time, or not in a way that can be read."""


class BirdRefused(BirdError):  # noqa: N818 - the daemon's word for it
    """The daemon answered, and the answer is no; 8002 is a fault in the configuration."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"BIRD: {text}")
        self.code = code
        self.text = text


async def ask(
    socket: Path, command: str, seconds: float = _SECONDS, *, max_bytes: int = MAX_REPLY
) -> Reply:
    """The reply to one command, without the greeting.  Raises BirdAway and BirdRefused.

    `seconds` is for all of it.  `command` is text of ours: see `symbol` for a name in it.
    """
    if not (command.isascii() and command.isprintable()):
        raise ValueError("a command is one line of printable ASCII")
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_unix_connection(str(socket), limit=MAX_LINE)
            await _read_reply(reader, MAX_LINE)  # the greeting
            writer.write(command.encode() + b"\n")
            await writer.drain()
            reply = await _read_reply(reader, max_bytes)
    except TimeoutError:
        raise BirdAway(f"{socket}: no answer in {seconds:g} s") from None
    except OSError as error:
        raise BirdAway(f"{socket}: {error.strerror or type(error).__name__}") from error
    finally:
        if writer is not None:
            writer.close()
    if reply[-1].code >= _FIRST_REFUSAL:
        raise BirdRefused(*reply[-1])
    return reply


def symbol(name: str) -> str:
    """A protocol's name as it stands in a command.  Raises ValueError if it cannot be one."""
    if not _SYMBOL.fullmatch(name):
        raise ValueError("not the name of a protocol")
    return f"'{name}'"


async def _read_reply(reader: asyncio.StreamReader, max_bytes: int) -> Reply:
    lines: list[Line] = []
    code, size = 0, 0
    while True:
        try:
            raw = await reader.readline()
        except ValueError:  # what asyncio makes of a line beyond its limit
            raise BirdAway(f"a line of the reply has more than {MAX_LINE} bytes") from None
        if not raw.endswith(b"\n"):
            raise BirdAway("the daemon closed the connection before its reply was complete")
        size += len(raw)
        if size > max_bytes:
            raise BirdAway(f"the reply has more than {max_bytes} bytes")
        text = raw.decode(errors="replace").rstrip("\r\n")
        coded = _CODED.match(text)
        if coded is None:
            lines.append(Line(code, text[1:]))
            continue
        code = int(coded[1])
        lines.append(Line(code, text[5:]))
        if coded[2] == _LAST:
            return tuple(lines)
