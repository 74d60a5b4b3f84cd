"""Passwords on their way from a Secret into BIRD's configuration.

What holds one never shows it: not in a representation, a log line or an error.
"""

from __future__ import annotations

from typing import NamedTuple


class Password:
    """1 to 80 bytes of printable ASCII without the quotation mark: all that BIRD can be given."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Password(...)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Password) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


class Credential(NamedTuple):
    """What a reference to a Secret comes to.

    With a password the session runs with it; a `problem` beside it says why it is the last good
    one.  Without a password the session must not come up, and `problem` says why.
    """

    password: Password | None
    problem: str = ""
