"""What both ends of a session have to agree on, read from a configuration.

    in   a configuration's text
    out  session -> the statements of it that the other end has to match

An agent that has just started finds a configuration of its predecessor: this tells whether a change
is one that the other end has to follow.  Statements are compared as they stand, and never shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_TOKEN = re.compile(r"\"[^\"]*\"|'[^']*'|#[^\n]*|/\*.*?\*/|[{};]|[^\s{};\"'#]+", re.DOTALL)
_AGREED: Final = frozenset(("local", "neighbor", "password", "multihop", "direct", "ttl"))


def agreements(text: str) -> dict[str, frozenset[tuple[str, ...]]]:
    """Only what stands in the session itself; a template's part is the same for all."""
    found: dict[str, frozenset[tuple[str, ...]]] = {}
    tokens = _tokens(text)
    for token in tokens:
        if token == "protocol" and next(tokens, "") == "bgp":  # noqa: S105 - a keyword of BIRD's
            name = next(tokens, "").strip("'")
            found[name] = frozenset(_statements(tokens))
    return found


def _tokens(text: str) -> Iterator[str]:
    for token in _TOKEN.findall(text):
        if not token.startswith(("#", "/*")):
            yield token


def _statements(tokens: Iterator[str]) -> Iterator[tuple[str, ...]]:
    """Up to the end of the block that begins with the next brace."""
    depth = 0
    statement: list[str] = []
    for token in tokens:
        if token == "{":  # noqa: S105
            depth += 1
            statement = []
        elif token == "}":  # noqa: S105
            depth -= 1
            if depth == 0:
                return
        elif token == ";":  # noqa: S105
            if depth == 1 and statement and statement[0] in _AGREED:
                yield tuple(statement)
            statement = []
        else:
            statement.append(token)
