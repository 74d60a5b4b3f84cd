"""What a check has found, and whether that is a reason not to switch WireGuard on."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

Verdict: TypeAlias = Literal["ok", "warn", "fail"]


class Finding(Struct, frozen=True):
    """`family` 0: of both.  `advice` is what to do about it, "" where nothing is to be done.

    `holds`: with this the switch would do harm, or come to nothing for a reason that somebody can
    take away; it waits.
    """

    check: str
    verdict: Verdict
    text: str
    family: Literal[0, 4, 6] = 0
    advice: str = ""
    holds: bool = False

    @property
    def about(self) -> str:
        return f"IPv{self.family} {self.check}" if self.family else self.check
