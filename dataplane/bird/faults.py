"""What BIRD says against a configuration, in words that hold no password.

    in   BIRD's message, and the version that it is about
    out  "line 12: syntax error, unexpected '}'; that line is: ..."

A message may quote a piece of its line.  About a line with a password, and the one after it, only
the beginning of a known message is passed on; the line itself is the redacted one, nothing
between its quotes is shown, and nothing behind the word "password".
"""

from __future__ import annotations

import re
from typing import Final

from dataplane.bird.version import Version

_PLACE = re.compile(r":(?P<line>\d+):(?P<column>\d+):? (?P<message>[^\n]*)")
_QUOTED = re.compile(r"\"[^\"]*\"?")
_KNOWN: Final = ("syntax error", "Unterminated string", "String too long", "Symbol too long")
_UNNAMED: Final = "refused"
_PASSWORD = re.compile(r"\bpassword\b.*")
_MAX_MESSAGE, _MAX_LINE = 200, 160


def parser_said(code: int, stderr: str, version: Version) -> str:
    """Why a `bird -p` that ended with this exit status refused a version."""
    if code < 0:
        return f"BIRD's parser was ended by signal {-code}"
    return describe(stderr, version)


def describe(said: str, version: Version) -> str:
    """One line of text; `said` is what `bird -p` or the daemon printed."""
    place = _PLACE.search(said)
    if place is None:
        return _masked(said.strip())[:_MAX_MESSAGE] or "BIRD refuses it and does not say why"
    number = int(place["line"])
    message = place["message"].strip()
    if _holds_password(version, number) or _holds_password(version, number - 1):
        message = next((known for known in _KNOWN if message.startswith(known)), _UNNAMED)
    line = _PASSWORD.sub("password ...", _line(version.redacted, number))
    text = f"line {number}: {_masked(message)[:_MAX_MESSAGE]}"
    return f"{text}; that line is: {_masked(line)[:_MAX_LINE]}" if line else text


def _holds_password(version: Version, number: int) -> bool:
    """True too where the text is not known."""
    if not version.text:
        return True
    line = _line(version.text, number)
    return line != _line(version.redacted, number) or "password" in line


def _line(text: str, number: int) -> str:
    """From 1 on; "" beyond the ends."""
    lines = text.split("\n")
    return lines[number - 1].strip() if 1 <= number <= len(lines) else ""


def _masked(text: str) -> str:
    return " ".join(_QUOTED.sub('"..."', text).split())
