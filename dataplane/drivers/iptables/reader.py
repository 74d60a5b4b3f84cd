"""Reading back: whole tables, or single chains; parsed in portions that leave the loop its turns.

Each reading is taken together with what was written while it ran: that is known better.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence

from dataplane.drivers.iptables.detect import Backend
from dataplane.drivers.iptables.save import Contents, SaveParser, is_owned
from dataplane.errors import CommandError
from dataplane.runner import Runner

_PORTION = 1000  # lines; about 2 ms
_READINGS = 5  # of tables that somebody else writes
_ABSENT = "No chain/target/match by that name"


class Reader:
    """`notes` are what the tool had to remark about other people's chains in the tables."""

    def __init__(self, backend: Backend, runner: Runner) -> None:
        self._backend = backend
        self._runner = runner
        self.notes: list[str] = []

    async def read_tables(self, tables: Sequence[str]) -> dict[str, Contents]:
        """A table that the kernel does not have comes back empty."""
        only = ("-t", tables[0]) if len(tables) == 1 else ()
        text = await self._saved(*only)
        parser = SaveParser()
        lines = text.split("\n")
        for start in range(0, len(lines), _PORTION):
            parser.feed(lines[start : start + _PORTION])
            await asyncio.sleep(0)
        found = parser.finish()
        self.notes = parser.notes
        return {table: found.get(table, Contents()) for table in tables}

    async def _saved(self, *only: str) -> str:
        """Asked again where it fails: iptables-nft-save does, when somebody ends a rule and the IP
        set that it matches on while the set's name is still to be printed.
        """
        for _ in range(_READINGS - 1):
            with contextlib.suppress(CommandError):
                return await self._runner.run(self._backend.save, *only)
        return await self._runner.run(self._backend.save, *only)

    async def read_chains(self, table: str, chains: Iterable[str]) -> Contents:
        """Those of the chains that exist; some milliseconds each, however large the table."""
        contents = Contents()
        for chain in sorted(chains):
            argv = (self._backend.command, "-t", table, "-S", chain)
            try:
                text = await self._runner.run(*argv)
            except CommandError as error:
                if not is_owned(chain) or _ABSENT not in error.stderr:
                    raise
                continue
            parser = SaveParser(table)
            parser.feed(text.splitlines())
            read = parser.finish()[table]
            contents.chains.update(read.chains)
            contents.kernel.update(read.kernel)
        return contents
