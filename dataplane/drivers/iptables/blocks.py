"""The text that iptables-restore takes, and the way back from its line numbers to the chain.

A block is one `*table … COMMIT`: one transaction.  Every line belongs to a chain, ours or the
kernel's, so that a refusal can be laid at somebody's door.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate

from msgspec import Struct

_AT_LINE = re.compile(r"(?:Error occurred at line: |\bline )(\d+)")
_OF_CHAIN = re.compile(r"(?:rule in chain |: chain |Chain ')([^\s']+)")


class Edit(Struct, frozen=True):
    """The lines that bring one chain where it should be."""

    chain: str
    lines: tuple[str, ...]


class Block(Struct, frozen=True):
    table: str
    edits: tuple[Edit, ...]

    def render(self) -> str:
        lines = [f"*{self.table}"]
        for edit in self.edits:
            lines.extend(edit.lines)
        lines.append("COMMIT\n")
        return "\n".join(lines)

    def line_count(self) -> int:
        return 2 + sum(len(edit.lines) for edit in self.edits)

    def chain_at(self, line: int) -> str:
        """The chain of a line, counted from 1; "" for the first and the last line."""
        ends = list(accumulate((len(edit.lines) for edit in self.edits), initial=1))
        if not 1 < line <= ends[-1]:
            return ""
        return self.edits[bisect_right(ends, line - 1) - 1].chain

    def blame(self, line_before: int, stderr: str) -> str:
        """The chain that an error message is about, or "".

        `line_before` is the number of lines the process had read before this block.  Names are
        used only if the block writes that chain: the message may name what a rule leads to.
        """
        written = {edit.chain for edit in self.edits}
        named = [name for name in _OF_CHAIN.findall(stderr) if name in written]
        for number in _AT_LINE.findall(stderr):
            if chain := self.chain_at(int(number) - line_before):
                return chain
        return named[0] if named else ""


class RefusedError(Exception):
    """A block was not taken: those before it are in the kernel, it and the rest are not."""

    def __init__(self, index: int, chain: str, reason: str) -> None:
        super().__init__(reason)
        self.index = index
        self.chain = chain  # "" when the message does not tell
        self.reason = reason
