"""Asking the running agent something, for commands: one question, one answer, no event loop.

ask(directory, "holds", {})   what its handler returns; see felixpy.control
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from felixpy.control import NAME, Request

SECONDS = 15.0


class ControlClientError(Exception):
    """The agent has not done what it was asked; the text says why, for people."""


class NoAgentError(ControlClientError):
    """Nobody is there to ask."""

    def __init__(self) -> None:
        super().__init__("no agent is running on this node")


class _Answer(Struct, frozen=True):
    result: dict[str, Any] = {}
    error: str = ""


def ask(
    directory: Path, command: str, arguments: Mapping[str, Any], seconds: float = SECONDS
) -> dict[str, Any]:
    """`directory` is that of felixpy.rundir.  Raises ControlClientError."""
    try:
        line = _exchange(directory, Request(command, dict(arguments)), seconds)
    except (FileNotFoundError, ConnectionRefusedError):
        raise NoAgentError from None
    except PermissionError:
        raise ControlClientError("only root may ask the agent; run it as root") from None
    except TimeoutError:
        raise ControlClientError(f"the agent has not answered within {seconds:g} s") from None
    except OSError as error:
        raise ControlClientError(f"the agent cannot be asked: {error}") from None
    try:
        answer = msgspec.json.decode(line, type=_Answer)
    except msgspec.DecodeError:
        raise ControlClientError("the agent ended before it had answered") from None
    if answer.error:
        raise ControlClientError(answer.error)
    return answer.result


def _exchange(directory: Path, request: Request, seconds: float) -> bytes:
    """One line for another.  Raises OSError."""
    parent = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(seconds)
            # as it is bound: a socket's path must be short
            connection.connect(f"/proc/self/fd/{parent}/{NAME}")
            connection.sendall(msgspec.json.encode(request) + b"\n")
            with connection.makefile("rb") as answer:
                return answer.readline()
    finally:
        os.close(parent)
