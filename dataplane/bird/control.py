"""BIRD's control socket: one command, one reply, and then the connection is over.

    in   the socket's path, a command of ours
    out  Reply                        the lines, each with its code
         BirdAway, BirdRefused        nobody answers; the daemon says no

A reply ends with a line whose code is followed by a space; "-" announces more, and a line that
begins with a space has the code of the one before.  Codes from 8000 on are refusals.
Source: sections 3.3 and 3.4 of the BGP reference.

pybird 1.2.0 asks for the status and for a check of the file, where it was measured to be sound; it
waits without end for a daemon that hangs, so it gets a connection of ours that does not.
Everything else goes past it: it ignores the arguments of `configure`, and hangs on replies whose
last code it does not know.
"""

from __future__ import annotations

import asyncio
import re
import socket as sockets
import time
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from dataplane.errors import DataplaneError

MAX_LINE: Final = 1 << 16
MAX_REPLY: Final = 64 << 20  # 200,000 routes with all that there is to say of them
_SECONDS: Final = 5.0
_LAST = " "
_FIRST_REFUSAL: Final = 8000
_CODED = re.compile(r"(\d{4})[ -]")
_SYMBOL = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class Line(NamedTuple):
    code: int
    text: str


Reply: TypeAlias = tuple[Line, ...]


class BirdError(DataplaneError):
    """The daemon did not do what it was asked."""


class BirdAway(BirdError):  # noqa: N818 - it is a state of the daemon rather than a fault
    """No daemon answers at the socket, not in time, or not in a way that can be read.

    `absent`: nobody listens there, so no daemon runs with this socket.
    """

    def __init__(self, text: str, *, absent: bool = False) -> None:
        super().__init__(text)
        self.absent = absent


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
        raise _away(socket, error) from error
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


async def pybird_status(socket: Path, seconds: float = _SECONDS) -> tuple[dict[str, Any], Reply]:
    """What pybird makes of `show status`, and the reply that it made it of.  Raises BirdAway.

    Keys: version, router_id, hostname; last_reboot, last_reconfiguration as local datetimes.
    """
    return await asyncio.to_thread(_status, socket, seconds)


async def pybird_check(socket: Path, seconds: float = 30.0) -> None:
    """Have the daemon parse its file without applying it.  Raises BirdAway and BirdRefused."""
    await asyncio.to_thread(_check, socket, seconds)


def _status(socket: Path, seconds: float) -> tuple[dict[str, Any], Reply]:
    client = _pybird(socket, seconds)
    try:
        facts = client.get_bird_status()
    except OSError as error:
        raise _away(socket, error) from error
    except (ValueError, IndexError, StopIteration) as error:
        raise BirdAway(f"{socket}: pybird cannot read the status") from error
    return facts, _lines(client.reply)


def _check(socket: Path, seconds: float) -> None:
    client = _pybird(socket, seconds)
    try:
        client.check_config()
    except OSError as error:
        raise _away(socket, error) from error
    except ValueError as error:
        last = _lines(client.reply)[-1:]
        raise BirdRefused(last[0].code if last else 0, str(error)) from None


def _pybird(socket: Path, seconds: float) -> Any:
    """A client of pybird's whose connection has an end; it keeps the last reply."""
    import pybird  # here, so that an agent without BGP goes without

    class Client(pybird.PyBird):  # type: ignore[misc]
        reply = ""

        def _socket_query(self, query: str) -> str:
            self.reply = _exchange(socket, query, seconds)
            return self.reply

    return Client(str(socket))


def _exchange(socket: Path, query: str, seconds: float) -> str:
    """Greeting and reply as one text.  Raises OSError, TimeoutError among them."""
    deadline = time.monotonic() + seconds
    data = bytearray()
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as connection:
        connection.settimeout(seconds)
        connection.connect(str(socket))
        connection.sendall(query.encode() + b"\n")
        while not _is_complete(data):
            left = deadline - time.monotonic()
            if left <= 0 or len(data) > MAX_LINE:
                raise TimeoutError
            connection.settimeout(left)
            received = connection.recv(MAX_LINE)
            if not received:
                raise ConnectionResetError("closed before the reply was complete")
            data += received
    return data.decode(errors="replace")


def _is_complete(data: bytes | bytearray) -> bool:
    _, _, body = data.partition(b"\n")  # behind the greeting
    lines = body.splitlines()
    return body.endswith(b"\n") and re.match(rb"\d{4} ", lines[-1]) is not None


def _lines(text: str) -> Reply:
    """Those behind the greeting."""
    found: list[Line] = []
    for text_line in text.splitlines()[1:]:
        found.append(_line(text_line, found[-1].code if found else 0))
    return tuple(found)


def _line(text: str, code: int) -> Line:
    """`code` is that of the line before."""
    coded = _CODED.match(text)
    return Line(code, text[1:]) if coded is None else Line(int(coded[1]), text[5:])


def _away(socket: Path, error: OSError) -> BirdAway:
    if isinstance(error, TimeoutError):
        return BirdAway(f"{socket}: no answer in time")
    absent = isinstance(error, (FileNotFoundError, ConnectionRefusedError))
    return BirdAway(f"{socket}: {error.strerror or error}", absent=absent)


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
        lines.append(_line(text, code))
        code = lines[-1].code
        if text[4:5] == _LAST and text[:4].isdecimal():
            return tuple(lines)
