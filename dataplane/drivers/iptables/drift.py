"""What may no longer be as we believe, and when to look: notifications, fingerprints, intervals.

in   the monitor's news, what was read and written, the clock
out  due(): when to look; take(): at which tables, or which chains of a table
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import structlog

from dataplane.drivers.iptables.fingerprints import fingerprint
from dataplane.drivers.iptables.monitor import WHOLE_TABLE, NftMonitor
from dataplane.drivers.iptables.pacing import Quiet, Recheck
from dataplane.drivers.iptables.save import is_owned
from dataplane.drivers.iptables.tables import Table
from dataplane.settings import Intervals

log = structlog.get_logger(__name__)

_POLL = 1.0  # seconds between looks at the fingerprints
# One chain takes some 4 ms to read, a table of 30,000 rules 400 ms.
_MANY_CHAINS = 20


class Drift:
    def __init__(
        self,
        family: Literal[4, 6],
        tables: Mapping[str, Table],
        intervals: Intervals,
        monitor: NftMonitor | None,
        wake: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        """Without a monitor the fingerprints of legacy tables are watched."""
        self._family = family
        self._tables = tables
        self._intervals = intervals
        self._monitor = monitor
        self._wake = wake
        self._clock = clock
        self._open = False
        self._quiet = Quiet()
        self._recheck = Recheck()
        self._read_at: float | None = None
        self._polled_at = 0.0
        self._touched: dict[str, set[str]] = {}
        self._prints: dict[str, bytes] = {}

    def open(self) -> None:
        """Listen before the first reading, so that nothing falls between."""
        if self._open:
            return
        self._open = True
        if self._monitor is not None:
            try:
                self._monitor.subscribe(self._news)
            except OSError as error:
                log.warning("iptables.notifications_unavailable", reason=str(error))

    def close(self) -> None:
        self._open = False
        if self._monitor is not None:
            self._monitor.unsubscribe(self._news)

    def set_intervals(self, intervals: Intervals) -> None:
        self._intervals = intervals

    # When

    def due(self) -> float | None:
        """When to look next, on the driver's clock; None before the first reading or never."""
        if self._read_at is None:
            return None
        times = [self._quiet.due, self._recheck.due]
        if self._intervals.tables > 0:
            times.append(self._read_at + self._intervals.tables)
        if self._prints:
            times.append(self._polled_at + _POLL)
        return min((at for at in times if at is not None), default=None)

    # What

    def take(self) -> tuple[list[Table], list[tuple[Table, set[str]]]]:
        """Tables to read whole, and chains to read of others; they are no longer noted."""
        self._collect()
        now = self._clock()
        refresh = self._intervals.tables
        whole = set(self.changed_behind_us())
        if self._is_due(self._recheck.due, now) or (
            refresh > 0 and self._is_due((self._read_at or 0.0) + refresh, now)
        ):
            whole.update(self._tables)
        self._quiet.looked(now)
        touched, self._touched = self._touched, {}
        whole |= {
            name
            for name, chains in touched.items()
            if WHOLE_TABLE in chains or len(chains) > _MANY_CHAINS
        }
        return (
            [table for name, table in self._tables.items() if name in whole],
            [(self._tables[name], c) for name, c in touched.items() if name not in whole],
        )

    def take_chains(self, table: Table, chains: Iterable[str]) -> set[str]:
        """Those of the chains that somebody touched; they are no longer noted."""
        self._collect()
        touched = self._touched.get(table.name, set())
        taken = touched & set(chains)
        touched -= taken
        return taken

    def note(self, tables: Iterable[Table], chains: Iterable[tuple[Table, set[str]]] = ()) -> None:
        """These still have to be looked at."""
        for table in tables:
            self._touched.setdefault(table.name, set()).add(WHOLE_TABLE)
        for table, names in chains:
            self._touched.setdefault(table.name, set()).update(names)
        self._quiet.note(self._clock())

    def changed_behind_us(self) -> list[str]:
        """Legacy tables that no longer look as after our last reading or writing."""
        self._polled_at = self._clock()
        return [name for name, known in self._prints.items() if self._print(name) != known]

    # What happened

    def about_to_read(self, tables: Sequence[Table]) -> None:
        self._collect()
        for table in tables:
            self._touched.pop(table.name, None)
            self._remember(table.name)

    def have_read(self, seconds: float, *, whole: bool) -> None:
        now = self._clock()
        self._recheck.cost(seconds)
        if whole:
            self._read_at = now
            self._recheck.looked(now)

    def wrote(self, tables: Iterable[str], seconds: float) -> None:
        self._recheck.cost(seconds)
        for name in tables:
            self._remember(name)
        if self._monitor is None or not self._monitor.listening:
            self._recheck.wrote(self._clock(), self._intervals.tables_after_write)

    @staticmethod
    def _is_due(at: float | None, now: float) -> bool:
        return at is not None and at <= now

    def _remember(self, table: str) -> None:
        if self._monitor is None:
            self._prints[table] = self._print(table)

    def _print(self, table: str) -> bytes:
        with contextlib.suppress(OSError):
            return fingerprint(self._family, table)
        return b""

    def _news(self) -> None:
        """From the monitor: somebody else has committed something."""
        self._collect()
        if self._touched:
            self._quiet.note(self._clock())
            self._wake()

    def _collect(self) -> None:
        """Note what concerns us: our chains, and kernel chains with rules of ours."""
        if self._monitor is None:
            return
        news = self._monitor.take(self._family)
        if news is None:
            news = {name: {WHOLE_TABLE} for name in self._tables}
        for name, chains in news.items():
            if (table := self._tables.get(name)) is not None:
                ours = {c for c in chains if c == WHOLE_TABLE or is_owned(c) or table.concerns(c)}
                if ours:
                    self._touched.setdefault(name, set()).update(ours)
