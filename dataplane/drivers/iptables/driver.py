"""The tables of one address family: from desired chains and hooks to the kernel, and kept there.

    desire_*, drop_chain -> Table (pure) -> apply(): read what is not known, plan, write
    NftMonitor, the clock -> next_check(), check(): read in the background, mark drift dirty

What is written is believed; it is read back only the first time, after an error and after somebody
else's change.  The nf_tables backend is told of those by the kernel.  The legacy one looks at the
tables' fingerprints each second and before each write, and reads some time after a write.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import structlog

from dataplane.chains import Chain
from dataplane.drivers.iptables.blocks import Block, RefusedError
from dataplane.drivers.iptables.detect import Backend, Kind
from dataplane.drivers.iptables.drift import Drift
from dataplane.drivers.iptables.monitor import NftMonitor
from dataplane.drivers.iptables.pacing import Quarrels
from dataplane.drivers.iptables.probe import find_refused
from dataplane.drivers.iptables.reader import Reader
from dataplane.drivers.iptables.save import Contents, is_owned
from dataplane.drivers.iptables.sweep import sweep
from dataplane.drivers.iptables.tables import Plan, Table
from dataplane.drivers.iptables.writer import BatchWriter, NftWriter, Writer
from dataplane.errors import ChainsRefusedError, DataplaneError
from dataplane.runner import Runner
from dataplane.settings import Intervals, Settings

log = structlog.get_logger(__name__)

# The filter knows an endpoint before its addresses are translated.
TABLES = ("raw", "mangle", "filter", "nat")
_ROUNDS = 100  # each round of an apply lays one refusal at somebody's door
_FIRST_RETRY, _LAST_RETRY = 1.0, 60.0  # seconds between attempts at what was refused


class IptablesDriver:
    def __init__(
        self,
        family: Literal[4, 6],
        settings: Settings,
        backend: Backend,
        runner: Runner,
        *,
        monitor: NftMonitor | None = None,
        wake: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`monitor` may be shared by the families; `wake` is called when a check becomes due
        sooner than the last `next_check()` said.
        """
        self.family: Literal[4, 6] = family
        self.backend = backend
        legacy = backend.kind == "legacy"
        self._tables = {
            name: Table(name, legacy=legacy, append=settings.insert_mode == "append")
            for name in TABLES
        }
        self._runner = runner
        self._clock = clock
        self._lock_probe = settings.lock_probe_micros
        monitor = None if legacy else monitor or NftMonitor()
        self._drift = Drift(family, self._tables, settings.intervals, monitor, wake, clock)
        self._reader = Reader(backend, runner)
        self._writer: Writer = (
            BatchWriter(backend, runner, lock_probe_micros=self._lock_probe)
            if legacy
            else NftWriter(backend, runner, monitor)
        )
        self._quarrels = Quarrels()
        self._applying = asyncio.Lock()
        # For each reading under way, the chains that were written since it began.
        self._readings: list[set[tuple[str, str]]] = []
        self._retry_at = 0.0
        self._retry_seconds = _FIRST_RETRY
        self.written = 0  # chains, ours and the kernel's, since the start

    # What should be

    def desire_chain(self, table: str, chain: Chain, *, forced: bool = False) -> None:
        self._tables[table].desire_chain(chain, forced=forced)

    def drop_chain(self, table: str, name: str) -> None:
        self._tables[table].drop_chain(name)

    def desire_hook(
        self, table: str, kernel_chain: str, inserts: tuple[str, ...], appends: tuple[str, ...]
    ) -> None:
        """Bodies of rules; both empty takes ours out of the chain."""
        self._tables[table].desire_hook(kernel_chain, inserts, appends)

    def set_intervals(self, intervals: Intervals) -> None:
        self._drift.set_intervals(intervals)

    # Into the kernel

    def dirty(self) -> bool:
        """Whether `apply()` has, or may have, something to do; true while chains are refused."""
        return any(
            not table.known or table.is_dirty(but_hooks=self._truces(table))
            for table in self._tables.values()
        )

    def guards(self) -> bool:
        """Whether packets meet our chains, be it that some of those were refused."""
        return all(table.is_hooked() for table in self._tables.values())

    async def apply(self) -> None:
        """Make the kernel agree; a DataplaneError leaves the rest of the work pending.

        ChainsRefusedError: everything is in but what it names and what must wait for that.
        """
        async with self._applying:
            self._drift.open()
            self._retry_refused()
            for name in self._drift.changed_behind_us():
                self._tables[name].forget()
            await self._read([table for table in self._tables.values() if not table.known])
            await self._read_displaced()
            await self._write_all()
            self._raise_refused()

    def sizes(self) -> dict[str, tuple[int, int]]:
        """Chains and rules of ours in each table, as far as is known."""
        return {name: table.size() for name, table in self._tables.items()}

    async def close(self) -> None:
        """End the processes; the kernel stays as it is."""
        async with self._applying:
            await self._writer.close()
            self._drift.close()

    async def sweep_other_backend(self) -> int:
        """What an agent on the other backend has left; gives the number of chains removed."""
        other: Kind = "nft" if self.backend.kind == "legacy" else "legacy"
        return await sweep(
            other, self.family, TABLES, self._runner, lock_probe_micros=self._lock_probe
        )

    async def _write_all(self) -> None:
        doubted: set[tuple[str, str]] = set()
        for _ in range(_ROUNDS):
            plans = [
                (table, plan)
                for table in self._tables.values()
                if (plan := table.plan(but_hooks=self._truces(table)))
            ]
            if not plans:
                return
            refusal = await self._write(plans)
            if refusal is not None:
                await self._judge(*refusal, doubted)
        raise DataplaneError(f"{self.backend.restore}: refused again and again")

    async def _write(
        self, plans: Sequence[tuple[Table, Plan]]
    ) -> tuple[Table, Block, RefusedError] | None:
        """Chains and jumps of all tables, then what nobody needs any more."""
        steps = [(t, p, p.write) for t, p in plans if p.write is not None]
        steps += [(t, p, p.delete) for t, p in plans if p.delete is not None]
        started = self._clock()
        refused: RefusedError | None = None
        try:
            await self._writer.write([block for _, _, block in steps])
        except RefusedError as error:
            refused = error
        except (DataplaneError, asyncio.CancelledError):
            for table, _ in plans:
                table.forget()
            raise
        taken = steps if refused is None else steps[: refused.index]
        for table, plan, block in taken:
            if block is plan.write:
                table.done(plan)
            else:
                table.deleted(plan)
            self._note_written(table, block)
        now = self._clock()
        self._drift.wrote([table.name for table, _, _ in taken], now - started)
        self._log_written(taken, now - started)
        if refused is None:
            return None
        table, _, block = steps[refused.index]
        return table, block, refused

    async def _judge(
        self, table: Table, block: Block, error: RefusedError, doubted: set[tuple[str, str]]
    ) -> None:
        """The first time the fault may be in what we believed: look.  Then it is the chain's."""
        culprit = (table.name, error.chain)
        log.warning(
            "iptables.refused",
            table=table.name, chain=error.chain, reason=error.reason, again=culprit in doubted,
        )  # fmt: skip
        if culprit not in doubted:
            doubted.add(culprit)
            table.forget()
            await self._read([table])
            return
        deletion = any(line.startswith("--delete") for e in block.edits for line in e.lines)
        chains = [error.chain] if error.chain else []
        if not chains and not deletion:
            chains = await find_refused(table.name, table.chains_of(block), self._writer)
        for chain in chains or {edit.chain for edit in block.edits}:
            if deletion:
                table.undeleted(chain, error.reason)
            else:
                table.refuse(chain, error.reason)
        self._retry_at = self._clock() + self._retry_seconds

    def _retry_refused(self) -> None:
        refused = [table for table in self._tables.values() if table.refused]
        if not refused:
            self._retry_seconds = _FIRST_RETRY
        elif self._clock() >= self._retry_at:
            self._retry_seconds = min(self._retry_seconds * 2, _LAST_RETRY)
            for table in refused:
                table.retry_refused()

    def _raise_refused(self) -> None:
        problems = {
            (table.name, chain): reason
            for table in self._tables.values()
            for chain, reason in table.problems().items()
        }
        if problems:
            raise ChainsRefusedError(self.family, problems)

    def _note_written(self, table: Table, block: Block) -> None:
        names = {(table.name, edit.chain) for edit in block.edits}
        for written in self._readings:
            written |= names

    def _log_written(self, steps: Iterable[tuple[Table, Plan, Block]], seconds: float) -> None:
        for table, plan, block in steps:
            if block is plan.write:
                self.written += len(plan.ids) + len(plan.kernel) + len(plan.deleted)
                log.debug(
                    "iptables.written",
                    family=self.family, table=table.name, chains=len(plan.ids),
                    hooks=len(plan.kernel), removed=len(plan.deleted),
                    milliseconds=round(seconds * 1000, 2),
                )  # fmt: skip

    # Back from the kernel

    def next_check(self) -> float | None:
        """Seconds until `check()` or another `apply()` has something to do; None means never."""
        now = self._clock()
        due = [self._drift.due()]
        due += [
            self._quarrels.truce_until(name, chain)
            for name, table in self._tables.items()
            for chain in self._truces(table)
        ]
        if any(table.refused for table in self._tables.values()):
            due.append(self._retry_at)
        return min((max(0.0, at - now) for at in due if at is not None), default=None)

    async def check(self) -> None:
        """Look at what is due to be looked at; `dirty()` tells afterwards whether it had drifted.

        Runs beside `apply()`.  A DataplaneError leaves the check due.
        """
        self._drift.open()
        whole, touched = self._drift.take()
        try:
            await self._read(whole)
            for table, chains in touched:
                await self._read_chains(table, chains)
        except DataplaneError:
            self._drift.note(whole, touched)
            raise

    async def _read_displaced(self) -> None:
        """Our rules in kernel chains are removed by value, so those chains have to be fresh."""
        for table in self._tables.values():
            chains = self._drift.take_chains(table, table.dirty_hooks())
            if chains:
                await self._read_chains(table, chains)

    async def _read(self, tables: Sequence[Table]) -> None:
        if not tables:
            return
        started = self._clock()
        self._drift.about_to_read(tables)
        written: set[tuple[str, str]] = set()
        self._readings.append(written)
        try:
            contents = await self._reader.read_tables([table.name for table in tables])
        finally:
            self._readings.remove(written)
        self._drift.have_read(self._clock() - started, whole=len(tables) == len(self._tables))
        for table in tables:
            first = not table.known
            meanwhile = frozenset(chain for name, chain in written if name == table.name)
            changed = table.observe(contents[table.name], written_meanwhile=meanwhile)
            if not first:
                self._report(table, changed)
        for note in self._reader.notes:
            log.debug("iptables.note", family=self.family, note=note)

    async def _read_chains(self, table: Table, chains: Iterable[str]) -> None:
        asked = set(chains)
        written: set[tuple[str, str]] = set()
        self._readings.append(written)
        try:
            contents = await self._reader.read_chains(table.name, asked)
        finally:
            self._readings.remove(written)
        asked -= {chain for name, chain in written if name == table.name}
        self._report(table, [c for c in sorted(asked) if _observe(table, c, contents)])

    def _report(self, table: Table, changed: Sequence[str]) -> None:
        """Somebody else's hand: say what it touched, and count the quarrels."""
        now = self._clock()
        for chain in changed:
            if is_owned(chain):
                log.warning("iptables.drifted", family=self.family, table=table.name, chain=chain)
                continue
            times = self._quarrels.repaired(table.name, chain, now)
            log.warning(
                "iptables.displaced",
                family=self.family, table=table.name, chain=chain, times=times,
                above=table.above_us(chain)[:3],
                slowed=self._quarrels.truce_until(table.name, chain) > now,
            )  # fmt: skip

    def _truces(self, table: Table) -> frozenset[str]:
        """Kernel chains to leave alone for now; never those in which a rule of ours is missing."""
        now = self._clock()
        return frozenset(
            chain
            for chain in table.dirty_hooks()
            if self._quarrels.truce_until(table.name, chain) > now and table.has_jumps(chain)
        )


def _observe(table: Table, chain: str, contents: Contents) -> bool:
    if is_owned(chain):
        return table.observe_chain(chain, contents.chains.get(chain))
    return table.observe_kernel_chain(chain, contents.kernel.get(chain, []))
