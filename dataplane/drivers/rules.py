"""The rules that send packets to a routing table of ours, one family.

    in   desire            all that there are to be
         notice, lost      what others do to rules, as it happens
    out  apply             each is there, once; others that are ours are not
         read              those of ours that are there
         check             the background look

Which are ours is told by who makes the driver.  For WireGuard's table they are rules of the form
that we and Felix make: they lead to our table, or carry our protocol number, which Felix's do not.
As long as one of ours is there, so are all others that lead to its table, because nobody else has
any business there; the rest is never touched.

New rules come first and old ones go then, so there is no moment without.  The kernel deletes the
first rule that looks like the one named, and does not look closely (`delete_rule`): so ours have to
be the last of their priority, or are added once more, and what was written is read again.  A rule
of ours behind one of somebody else's that looks alike cannot be deleted: it stays, and is told.

Nothing is done before something has been asked for.
Source: projectcalico/calico felix/routerule/route_rule.go; section 1.7 of the routes reference.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Collection, Sequence
from typing import Final, NamedTuple, TypeAlias

import structlog

from dataplane import rtrules
from dataplane.errors import DataplaneError
from dataplane.families import Family
from dataplane.netlink import ROUTE, Message, NetlinkError, Socket
from dataplane.rtnetlink import BY_CALICO
from dataplane.rtrules import KernelRule
from dataplane.rtrules import Rule as Rule

log = structlog.get_logger(__name__)

_NOT_OURS: Final = (0, 253, 254, 255)  # none, default, main and local
_ROUNDS: Final = 4
_NO_RULES: Final = (errno.EOPNOTSUPP, errno.EAFNOSUPPORT)  # of a kernel without such tables


class RuleError(DataplaneError):
    """The kernel refused, or somebody keeps changing what is written; it is tried again."""


# whether a rule is ours, given whether any rule of ours is wished for
Owned: TypeAlias = Callable[[KernelRule, bool], bool]


class Difference(NamedTuple):
    """`add` before `remove`, in this order."""

    add: tuple[Rule, ...] = ()
    remove: tuple[KernelRule, ...] = ()


def difference(wishes: Sequence[Rule], found: list[KernelRule]) -> Difference:
    """`found` are those of ours, in the kernel's order."""
    kept: dict[int, Rule] = {}  # place in `found` -> what it is
    closed: set[int] = set()  # priorities, among whose rules an earlier one is not to stay
    for place in range(len(found) - 1, -1, -1):
        rule = found[place]
        wish = next((wish for wish in wishes if _is(rule, wish)), None)
        if wish is None or wish in kept.values() or rule.priority in closed:
            closed.add(rule.priority)
        else:
            kept[place] = wish
    surplus = tuple(rule for place, rule in enumerate(found) if place not in kept)
    return Difference(tuple(w for w in wishes if w not in kept.values()), surplus)


def of_table(table: int) -> Owned:
    """For a table of Felix's kind, which `not from all` leads to."""

    def owned(rule: KernelRule, wished: bool) -> bool:
        if wished and rule.table == table:
            return True
        if rule.forwarded:  # Felix has no such rule
            return rule.protocol == BY_CALICO
        formed = rule.inverted and rule.plain and rule.mark == rule.mask != 0 and rule.table != 0
        return formed and (rule.table == table or rule.protocol == BY_CALICO)

    return owned


def made_by(table: int, protocol: int, marks: Collection[tuple[int, int]]) -> Owned:
    """For a table that others may use as well; `marks` with their masks."""

    def owned(rule: KernelRule, _wished: bool) -> bool:
        here = (rule.table, rule.protocol) == (table, protocol)
        return here and (rule.mark, rule.mask) in marks

    return owned


def _is(rule: KernelRule, wish: Rule) -> bool:
    same = (rule.priority, rule.table, rule.inverted, rule.protocol) == (
        wish.priority,
        wish.table,
        wish.inverted,
        wish.protocol,
    )
    if wish.forwarded:
        return same and rule.forwarded
    return same and rule.plain and (rule.mark, rule.mask) == (wish.mark, wish.mask or wish.mark)


def _looks_like(one: KernelRule, other: KernelRule) -> bool:
    """To a deletion of `one`."""
    return (one.priority, one.table, one.mark, one.mask, one.forwarded) == (
        other.priority,
        other.table,
        other.mark,
        other.mask,
        other.forwarded,
    )


class RuleDriver:
    """`refresh_seconds` is the time between checks, 0 for never; it may be changed at any time."""

    def __init__(
        self,
        family: Family,
        table: int,
        refresh_seconds: float = 90.0,
        owned: Owned | None = None,
    ) -> None:
        """`owned` None: as `of_table`.  Raises ValueError for a table that is the kernel's."""
        if table in _NOT_OURS:
            raise ValueError(f"table {table} is not ours to use")
        self._family: Family = family
        self._table = table
        self._owned = of_table(table) if owned is None else owned
        self.refresh_seconds = refresh_seconds
        self.written = 0  # rules added or removed, since the start
        self._socket = Socket(ROUTE)
        self._asked = False
        self._wishes: tuple[Rule, ...] = ()
        self._found: list[KernelRule] | None = None  # None: to be read
        self._hidden: list[KernelRule] = []  # ours, behind others' that look alike
        self._read_at: float | None = None
        self._lock = asyncio.Lock()

    def desire(self, *rules: Rule) -> None:
        """All of them; they lead to the driver's table.  Raises ValueError."""
        for rule in rules:
            if rule.table != self._table:
                raise ValueError(f"a rule to table {rule.table}, where {self._table} is ours")
        if not self._asked or rules != self._wishes:
            self._asked, self._wishes = True, rules
            self._found = None  # whose rules are ours depends on it

    @property
    def is_written(self) -> bool:
        """Whether what is wanted is in the kernel, as far as is known."""
        return self._asked and self._found is not None and not self._differs(self._found)

    @property
    def pending(self) -> bool:
        """Whether an apply has anything to do."""
        return self._asked and not self.is_written

    def notice(self, message: Message) -> bool:
        """A notification of the kernel: true if there is something to look at."""
        if not self._asked or message.port == self._socket.port != 0:
            return False
        parsed = rtrules.parse_rule(message.body)
        if parsed is None or parsed[0] != self._family or not self._is_ours(parsed[1]):
            return False
        self._found = None
        return True

    def lost(self) -> None:
        """Notifications were lost: everything is read again at the next apply."""
        self._found = None

    def next_check(self) -> float:
        """When `check` is due, in the event loop's time; infinity for never."""
        if not self._asked or self._read_at is None or self.refresh_seconds <= 0:
            return float("inf")
        return self._read_at + self.refresh_seconds

    async def check(self) -> bool:
        """Read again if it is time to.  True if an apply has something to do."""
        if self.next_check() <= asyncio.get_running_loop().time():
            async with self._lock:
                self._read_at = asyncio.get_running_loop().time()  # also if it fails
                self._found = await self._list()
                if self._differs(self._found):
                    log.warning("rule.drifted", family=self._family)
        return self.pending

    async def read(self) -> list[KernelRule]:
        """Those of ours that are there, whatever has been asked for.  Raises NetlinkError."""
        return await self._list()

    async def apply(self) -> None:
        """Write what differs.  Raises RuleError."""
        if not self._asked:
            return
        async with self._lock:
            for _ in range(_ROUNDS):
                if self._found is None:
                    self._found = await self._list()
                    self._read_at = asyncio.get_running_loop().time()
                todo = difference(self._wishes, self._found)
                if todo == Difference():
                    return
                self._found = None
                await self._write(todo)
        raise RuleError(f"IPv{self._family} rules change again as soon as they are written")

    def close(self) -> None:
        self._socket.close()

    def _differs(self, found: list[KernelRule]) -> bool:
        return difference(self._wishes, found) != Difference()

    def _is_ours(self, rule: KernelRule) -> bool:
        return self._owned(rule, bool(self._wishes))

    async def _list(self) -> list[KernelRule]:
        request = rtrules.list_rules(self._family)
        try:
            messages = await self._socket.query(request, f"listing IPv{self._family} rules")
        except NetlinkError as error:
            if error.code not in _NO_RULES:
                raise
            return []
        parsed = (rtrules.parse_rule(message.body) for message in messages)
        ours: list[KernelRule] = []
        others: list[KernelRule] = []
        self._hidden = []
        for rule in [p[1] for p in parsed if p and p[0] == self._family]:
            (ours if self._is_ours(rule) else others).append(rule)
            if rule in ours and any(_looks_like(rule, other) for other in others):
                self._hidden.append(rule)
        return ours

    async def _write(self, todo: Difference) -> None:
        for rule in todo.add:
            (code,) = await self._socket.execute([rtrules.add_rule(self._family, rule)])
            if code:
                raise RuleError(f"{rule}: {os.strerror(code)}")
            self.written += 1
            log.info("rule.added", family=self._family, rule=str(rule))
        if hidden := [rule for rule in todo.remove if rule in self._hidden]:
            told = f"{hidden[0].priority} to {hidden[0].table}"
            raise RuleError(f"rule {told}: a deletion would take somebody else's that looks alike")
        codes = await self._socket.execute([rtrules.delete_rule(rule) for rule in todo.remove])
        for surplus, code in zip(todo.remove, codes, strict=True):
            if code not in (0, errno.ENOENT):
                told = f"{surplus.priority} to {surplus.table}"
                raise RuleError(f"rule {told}: {os.strerror(code)}")
            self.written += not code
        if todo.remove:
            log.info("rule.removed", family=self._family, count=len(todo.remove))
