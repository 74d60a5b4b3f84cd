"""The control socket: how a command on this machine speaks to the running agent.

    register(name, handler)   at any time; handler(arguments) -> result, both of JSON's types
    open(directory), close()

One request for each connection, a line of JSON each way:
    {"command": "holds", "arguments": {}}
    {"result": {"holds": []}}    or    {"error": "there is no command hold"}

Only root and the agent's own user are answered, and the file is for them alone.  A handler refuses
a request by ControlError; whatever else it raises nobody has foreseen, and ends the agent as
anywhere.  Nothing secret passes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec
import structlog
from msgspec import Struct

log = structlog.get_logger(__name__)

NAME: Final = "control.sock"
LIMIT: Final = 64 * 1024  # bytes of a request
PATIENCE: Final = 10.0  # seconds for a client to say what it wants, and to take the answer

Handler: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


class ControlError(Exception):
    """The request cannot be carried out; the text says why, for people."""


class Request(Struct, frozen=True):
    command: str
    arguments: dict[str, Any] = {}


class Control:
    """At most one for each directory: whoever opens it holds the lock there."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self._server: asyncio.Server | None = None
        self._path = Path()
        self._open: set[asyncio.Task[None]] = set()

    def register(self, name: str, handler: Handler) -> None:
        self._handlers[name] = handler

    async def open(self, directory: Path) -> None:
        """In the place of a socket that a dead agent has left.  Raises OSError."""
        self._path = directory / NAME
        listener = _bind(directory)
        try:
            self._server = await asyncio.start_unix_server(
                self._connected, sock=listener, limit=LIMIT
            )
        except BaseException:
            listener.close()
            raise

    async def close(self) -> None:
        if self._server is None:
            return
        self._path.unlink(missing_ok=True)
        self._server.close()
        self._server = None
        for task in self._open:
            task.cancel()
        if self._open:
            await asyncio.wait(self._open)

    # ---------------------------------------------------------------- one connection

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer), name="control")
        self._open.add(task)
        # what it has raised is then nobody's, and reaches the loop's handler
        task.add_done_callback(self._open.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answer = await self._answer(reader, _user_of(writer))
            with contextlib.suppress(OSError, TimeoutError):  # it need not wait for the answer
                async with asyncio.timeout(PATIENCE):
                    writer.write(msgspec.json.encode(answer) + b"\n")
                    await writer.drain()
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, user: int) -> Mapping[str, Any]:
        try:
            async with asyncio.timeout(PATIENCE):
                line = await reader.readline()
            if user not in (0, os.getuid()):  # only now: with a question unread it would not hear
                log.warning("control.refused", uid=user)
                return {"error": "only root may ask this"}
            request = msgspec.json.decode(line, type=Request)
        except TimeoutError:
            return {"error": f"nothing was asked within {PATIENCE:g} s"}
        except (OSError, ValueError, msgspec.DecodeError) as error:  # ValueError: LIMIT
            return {"error": f"not a request: {error}"}
        handler = self._handlers.get(request.command)
        if handler is None:
            return {"error": f"there is no command {request.command}"}
        try:
            return {"result": await handler(request.arguments)}
        except ControlError as error:
            return {"error": str(error)}


def _user_of(writer: asyncio.StreamWriter) -> int:
    """Who has connected, as the kernel says."""
    credentials = writer.get_extra_info("socket").getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
    )
    _, user, _ = struct.unpack("3i", credentials)
    return int(user)


def _bind(directory: Path) -> socket.socket:
    """A socket that nobody else can have connected to.

    Until it listens nobody can, whatever the umask is; then its mode is right.  Its directory is
    named by a descriptor, because a socket's path must be short, and a directory's need not.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        parent = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            scratch = Path(f"/proc/self/fd/{parent}/.{NAME}")
            scratch.unlink(missing_ok=True)
            listener.bind(str(scratch))
            scratch.chmod(0o600)
            scratch.rename(directory / NAME)
        finally:
            os.close(parent)
    except BaseException:
        listener.close()
        raise
    return listener
