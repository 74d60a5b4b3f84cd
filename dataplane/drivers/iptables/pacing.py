"""When to look at the tables again, and when to stop quarrelling.  Pure: the time is an argument.

Quiet      a foreign change is looked at soon, a stream of them ever more rarely
Recheck    after a write, at growing distances; source: section 5.2 of the rules reference
Quarrels   a jump that somebody keeps pushing down is put back ever more slowly
"""

from __future__ import annotations

_SETTLE = 0.05  # other programs write several transactions in a row
_LONGEST_GAP = 10.0
_HOUR = 3600.0
_PATIENCE = 5  # repairs of one kernel chain before they slow down
_LONGEST_TRUCE = 60.0


class Quiet:
    def __init__(self) -> None:
        self.due: float | None = None
        self._gap = _SETTLE
        self._last = float("-inf")

    def note(self, now: float) -> None:
        """Something was changed by somebody else."""
        if self.due is None:
            if now - self._last > 4 * self._gap:
                self._gap = _SETTLE
            self.due = max(now + _SETTLE, self._last + self._gap)

    def looked(self, now: float) -> None:
        if self.due is not None:
            self.due = None
            self._gap = min(self._gap * 2, _LONGEST_GAP)
        self._last = now


class Recheck:
    def __init__(self) -> None:
        self.due: float | None = None
        self._wait = 0.0
        self._cost = 0.0  # seconds that reading and writing take at their worst of late

    def cost(self, seconds: float) -> None:
        self._cost = max(seconds, self._cost * 0.99)

    def wrote(self, now: float, first_wait: float) -> None:
        """`first_wait` of 0 means that there are no such checks."""
        self._wait = max(first_wait, 0.05, 2 * self._cost) if first_wait > 0 else 0.0
        self.due = now + self._wait if self._wait else None

    def looked(self, now: float) -> None:
        if self.due is not None:
            self._wait *= 2
            self.due = now + self._wait if self._wait <= _HOUR else None


class Quarrels:
    def __init__(self) -> None:
        self._repairs: dict[tuple[str, str], tuple[int, float]] = {}

    def repaired(self, table: str, chain: str, now: float) -> int:
        """One more repair; gives how many it were in a row."""
        count, last = self._repairs.get((table, chain), (0, now))
        if now - last > 2 * _LONGEST_TRUCE:
            count = 0
        self._repairs[table, chain] = (count + 1, now)
        return count + 1

    def truce_until(self, table: str, chain: str) -> float:
        """The time before which the chain is to be left alone."""
        count, last = self._repairs.get((table, chain), (0, float("-inf")))
        if count < _PATIENCE:
            return float("-inf")
        return float(last + min(2.0 ** min(count - _PATIENCE, 10), _LONGEST_TRUCE))
