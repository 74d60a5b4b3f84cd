"""Printing for people: the only module that writes to standard output."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from typing import NamedTuple, TextIO

import msgspec

from felixpy.log import colourful


def say(text: str, stream: TextIO | None = None) -> None:
    """One piece of output with its line end; standard output unless said otherwise."""
    (stream or sys.stdout).write(text if text.endswith("\n") else text + "\n")


@contextlib.contextmanager
def as_json(name: str, *, wanted: bool) -> Iterator[None]:
    """Where it is wanted, what is printed inside becomes a list of lines, {name: [line, ...]}."""
    if not wanted:
        yield
        return
    lines = io.StringIO()
    with contextlib.redirect_stdout(lines):
        yield
    text = msgspec.json.encode({name: lines.getvalue().splitlines()})
    say(msgspec.json.format(text, indent=2).decode())


class Palette(NamedTuple):
    """Colours by meaning; none where they are not welcome."""

    on: bool

    @classmethod
    def of(cls, stream: TextIO) -> Palette:
        return cls(colourful(stream))

    def good(self, text: str) -> str:
        return self._paint("32", text)

    def bad(self, text: str) -> str:
        return self._paint("31", text)

    def warn(self, text: str) -> str:
        return self._paint("33", text)

    def strong(self, text: str) -> str:
        return self._paint("1", text)

    def faint(self, text: str) -> str:
        return self._paint("2", text)

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.on else text
