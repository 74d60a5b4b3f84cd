"""The rule that sends packets to a routing table of ours, one family.

    in   desire            the rule, or that there is none
         notice, lost      what others do to rules, as it happens
    out  apply             it is there, once; others that are ours are not
         read              those of ours that are there
         check             the background look

Ours are rules of the form that we and Felix make: they lead to our table, or carry our protocol
number, which Felix's do not.  As long as ours is there, so are all others that lead to its table,
because nobody else has any business there; the rest is never touched.

The new rule comes first and the old one goes then, so there is no moment without.  The kernel
deletes the first rule that looks like the one named, and does not look closely (`delete_rule`): so
ours has to be the last of its priority, or is added once more, and what was written is read again.

Nothing is done before something has been asked for.
Source: projectcalico/calico felix/routerule/route_rule.go; section 1.7 of the routes reference.
"""

from __future__ import annotations

import asyncio
import errno
import os
from typing import Final, NamedTuple

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


class Difference(NamedTuple):
    """`add` before `remove`, in this order."""

    add: bool
    remove: tuple[KernelRule, ...]


def difference(wish: Rule | None, found: list[KernelRule]) -> Difference:
    """`found` are those of ours, in the kernel's order."""
    keep = -1
    if wish is not None:
        same = [index for index, rule in enumerate(found) if rule.priority == wish.priority]
        if same and _is(found[same[-1]], wish):
            keep = same[-1]
    surplus = tuple(rule for index, rule in enumerate(found) if index != keep)
    return Difference(wish is not None and keep < 0, surplus)


def _is(rule: KernelRule, wish: Rule) -> bool:
    if (rule.priority, rule.table, rule.protocol) != (wish.priority, wish.table, BY_CALICO):
        return False
    if wish.forwarded:
        return rule.forwarded
    return rule.inverted and rule.plain and rule.mask == rule.mark == wish.mark


class RuleDriver:
    """`refresh_seconds` is the time between checks, 0 for never; it may be changed at any time."""

    def __init__(self, family: Family, table: int, refresh_seconds: float = 90.0) -> None:
        """Raises ValueError for a table that is the kernel's."""
        if table in _NOT_OURS:
            raise ValueError(f"table {table} is not ours to use")
        self._family: Family = family
        self._table = table
        self.refresh_seconds = refresh_seconds
        self.written = 0  # rules added or removed, since the start
        self._socket = Socket(ROUTE)
        self._asked = False
        self._wish: Rule | None = None
        self._found: list[KernelRule] | None = None  # None: to be read
        self._read_at: float | None = None
        self._lock = asyncio.Lock()

    def desire(self, rule: Rule | None) -> None:
        """It leads to the driver's table; None: there is to be none.  Raises ValueError."""
        if rule is not None and rule.table != self._table:
            raise ValueError(f"a rule to table {rule.table}, where {self._table} is ours")
        if not self._asked or rule != self._wish:
            self._asked, self._wish = True, rule
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
                todo = difference(self._wish, self._found)
                if not todo.add and not todo.remove:
                    return
                self._found = None
                await self._write(todo)
        raise RuleError(f"IPv{self._family} rules change again as soon as they are written")

    def close(self) -> None:
        self._socket.close()

    def _differs(self, found: list[KernelRule]) -> bool:
        return difference(self._wish, found) != Difference(add=False, remove=())

    def _is_ours(self, rule: KernelRule) -> bool:
        if self._wish is not None and rule.table == self._table:
            return True
        if rule.forwarded:  # Felix has no such rule
            return rule.protocol == BY_CALICO
        formed = rule.inverted and rule.plain and rule.mark == rule.mask != 0 and rule.table != 0
        return formed and (rule.table == self._table or rule.protocol == BY_CALICO)

    async def _list(self) -> list[KernelRule]:
        request = rtrules.list_rules(self._family)
        try:
            messages = await self._socket.query(request, f"listing IPv{self._family} rules")
        except NetlinkError as error:
            if error.code not in _NO_RULES:
                raise
            return []
        parsed = (rtrules.parse_rule(message.body) for message in messages)
        return [p[1] for p in parsed if p and p[0] == self._family and self._is_ours(p[1])]

    async def _write(self, todo: Difference) -> None:
        if todo.add and self._wish is not None:
            (code,) = await self._socket.execute([rtrules.add_rule(self._family, self._wish)])
            if code:
                raise RuleError(f"{self._told(self._wish)}: {os.strerror(code)}")
            self.written += 1
            log.info("rule.added", family=self._family, rule=self._told(self._wish))
        codes = await self._socket.execute([rtrules.delete_rule(rule) for rule in todo.remove])
        for rule, code in zip(todo.remove, codes, strict=True):
            if code not in (0, errno.ENOENT):
                raise RuleError(f"rule {rule.priority} to {rule.table}: {os.strerror(code)}")
            self.written += not code
        if todo.remove:
            log.info("rule.removed", family=self._family, count=len(todo.remove))

    def _told(self, rule: Rule) -> str:
        which = "iif lo" if rule.forwarded else f"fwmark {rule.mark:#x}/{rule.mark:#x}"
        return f"{rule.priority}: not from all {which} lookup {rule.table}"
