"""One version of BIRD's configuration, with what must be known of it besides its text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field


class SessionPart(Struct, frozen=True):
    """One session in a version.

    agreement  what both ends have to agree on: addresses, AS numbers, port, TTL security, and
               whether and with which password; a value to compare, never to show
    enabled    False: it is there with `disabled;`, and must not come up
    problem    why it is disabled, or what else is wrong with it; "" mostly
    """

    agreement: Any
    enabled: bool = True
    problem: str = ""

    def __repr__(self) -> str:
        return f"SessionPart(enabled={self.enabled}, problem={self.problem!r})"


class Version(Struct, frozen=True):
    """`text` holds passwords; `redacted` is the same with a mark in the place of each.

    `problems` says what is missing from the text because BIRD could not be given it: about what
    ("session Global_10_0_0_254", "BGPFilter tor", "Node n3"), and why.
    """

    text: str
    redacted: str
    sessions: Mapping[str, SessionPart]
    problems: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Version({len(self.text)} characters, {len(self.sessions)} sessions)"
