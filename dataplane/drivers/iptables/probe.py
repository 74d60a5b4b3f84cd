"""Which of many chains the kernel refuses, when its answer does not say.

The legacy backend takes or refuses a whole table, and then names no rule.  So chains are written,
by halves, under a name that nothing leads to, and are taken out again: no packet ever meets them.
"""

from __future__ import annotations

from collections.abc import Sequence

from dataplane.chains import Chain
from dataplane.drivers.iptables.blocks import Block, Edit, RefusedError
from dataplane.drivers.iptables.writer import Writer

_NAME = "cali-probe"


async def find_refused(table: str, chains: Sequence[Chain], writer: Writer) -> list[str]:
    """The names of those that are refused by themselves; empty if only the whole is."""
    if not chains or await _is_taken(table, chains, writer):
        return []
    if len(chains) == 1:
        return [chains[0].name]
    middle = len(chains) // 2
    return [
        *await find_refused(table, chains[:middle], writer),
        *await find_refused(table, chains[middle:], writer),
    ]


async def _is_taken(table: str, chains: Sequence[Chain], writer: Writer) -> bool:
    # Jumps among chains are left out: their targets may not be there, and are not at fault.
    rules = [rule for c in chains for rule in c.rules if not Chain("", (rule,)).targets()]
    lines = (f":{_NAME} - -", *(f"-A {_NAME} {rule}" for rule in rules))
    removal = (f":{_NAME} - -", f"--delete-chain {_NAME}")
    try:
        await writer.write([Block(table, (Edit(_NAME, text),)) for text in (lines, removal)])
    except RefusedError:
        return False
    return True
