"""IP sets of one address family.

    in   desire, change, drop   whole sets, members, as text
    out  apply_additions        before the rules: sets created or made anew, members added
         apply_removals         after the rules: members removed, sets destroyed
         check                  the background look at what others may have changed

Ours is every set named "cali4…" or "felix-4…" (6 in place of 4), whoever made it: so a restart
finds what was left.

Why members go last: while rules and sets change together, a set then holds what it held before and
what it is to hold.  So whatever a deny rule of the old or the new rules stops stays stopped, and
what both states allow is never interrupted.  Removing first would let a workload that moves from
one denied set into another through for the time of a table write.  The price is that a permission
is withdrawn one table write later.  With no tables to write both steps follow each other at once.
A caller whose tables cannot be written calls `shrink` alone: no permission outlives its reason.

All goes over netlink, no process: one member takes 0.1 ms, 50,000 members of a new set 0.15 s,
their listing 0.1 s (`tests/bench/ipsets.py`).
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterable

import structlog

from calc_graph.updates import IpsetType
from dataplane.drivers import ipset_messages as messages
from dataplane.drivers.ipset_messages import Codec, Header
from dataplane.drivers.ipset_state import Growth, SetState
from dataplane.errors import DataplaneError
from dataplane.families import Family
from dataplane.netlink import NETFILTER, NetlinkError, Request, Socket

log = structlog.get_logger(__name__)

_FIRST_DELAY, _LAST_DELAY = 0.05, 30.0  # seconds between attempts to destroy what is in use
_ATTEMPTS = 3  # each after reading again the sets that failed: others may write at the same time
_LONGEST_NAME = 31


class IpsetError(DataplaneError):
    """`names` are the sets that could not be brought to what they should be; they stay pending."""

    def __init__(self, text: str, names: frozenset[str] = frozenset()) -> None:
        super().__init__(text)
        self.names = names


class IpsetDriver:
    """`refresh_seconds` is the time between checks, 0 for never; it may be changed at any time."""

    def __init__(
        self, family: Family, max_size: int = 1_048_576, refresh_seconds: float = 90.0
    ) -> None:
        self._family: Family = family
        self._max_size = max_size
        self.refresh_seconds = refresh_seconds
        self._prefixes = (f"cali{family}", f"felix-{family}")
        self._others = ("felix-masq-ipam-pools", "felix-all-ipam-pools") if family == 4 else ()
        self._temporary = f"cali{family}t"
        self._temporaries = 0
        self._socket = Socket(NETFILTER)
        self._codecs = {
            (type_, counters): Codec(type_, family, counters=counters)
            for type_ in IpsetType
            for counters in (False, True)
        }
        self._revisions: dict[IpsetType, int] = {}
        self._sets: dict[str, SetState] = {}
        self._dirty: dict[str, None] = {}
        self._in_use: set[str] = set()  # wanted by nobody, held by somebody's rule
        self._destroy_again_at = float("inf")
        self._destroy_delay = _FIRST_DELAY
        self._read_at: float | None = None
        self._lock = asyncio.Lock()
        self.written = 0  # sets made or destroyed and members changed, since the start

    def desire(
        self,
        name: str,
        type: IpsetType,  # noqa: A002
        members: Iterable[str],
        *,
        counters: bool = False,
    ) -> None:
        """A set and all its members, which are of this family.

        With `counters` the kernel counts for each member what rules find in it, for as long as the
        member is there; `ipset_counts` reads that.
        Raises ValueError for a name that is not ours to give, or for what is no member.
        """
        if not self._ours(name) or name.startswith(self._temporary) or len(name) > _LONGEST_NAME:
            raise ValueError(f"{name!r} is not the name of a set of ours")
        codec = self._codecs[type, counters]
        packed = [codec.parse(member) for member in members]
        header = Header(name, type.value, self._max_size, self._family, counters=counters)
        self._state(name).want(type, header, codec, packed)
        self._in_use.discard(name)
        self._note(name)

    def change(self, name: str, added: Iterable[str], removed: Iterable[str]) -> None:
        """Members of a set that is desired.  Raises KeyError if it is not, ValueError as above."""
        state = self._sets[name]
        if state.wanted is None or state.codec is None:
            raise KeyError(name)
        parse = state.codec.parse
        state.members.desire([parse(m) for m in added], [parse(m) for m in removed])
        self._note(name)

    def drop(self, name: str) -> None:
        if name in self._sets:
            self._sets[name].wanted = None
            self._note(name)

    def size(self) -> int:
        """Sets of ours in the kernel, as far as is known."""
        return sum(state.header is not None for state in list(self._sets.values()))

    @property
    def pending(self) -> bool:
        """Whether an apply has anything to do; a set that something holds on to does not count."""
        return self._read_at is None or bool(self._dirty)

    def next_check(self) -> float:
        """When `check` is due, in the event loop's time; infinity for never."""
        return min(self._read_again_at(), self._destroy_again_at)

    def _read_again_at(self) -> float:
        if self.refresh_seconds <= 0 or self._read_at is None:
            return float("inf")
        return self._read_at + self.refresh_seconds

    async def read(self) -> None:
        """Find what is there.  Raises IpsetError where the kernel has no IP sets."""
        async with self._lock:
            await self._read()

    async def check(self) -> bool:
        """Read again.  True if something is not as it should be: the next apply repairs it.

        Sets that a rule referred to are another reason to apply: the kernel lets go of a deleted
        rule's sets some time after it has said that the rule is gone.
        """
        now = asyncio.get_running_loop().time()
        if now >= self._destroy_again_at:
            self._destroy_again_at = float("inf")
            if now < self._read_again_at():
                return True
        async with self._lock:
            before = set(self._dirty)
            self._read_at = asyncio.get_running_loop().time()  # also if it fails
            await self._read()
            drifted = sorted(self._dirty.keys() - before)
        if drifted:
            log.warning("ipset.drifted", ipsets=drifted[:20], count=len(drifted))
        return bool(drifted)

    async def apply_additions(self) -> None:
        """Create, make anew, grow.  Raises IpsetError for sets not written; all others are."""
        async with self._lock:
            if self._read_at is None:
                await self._read()
            failures: dict[str, int] = {}
            for _ in range(_ATTEMPTS):
                await self._reread()
                failures = await self._grow(failures)
                if not failures:
                    return
            raise _error("writing", failures)

    async def shrink(self) -> None:
        """Remove members, of sets that stay.  Raises IpsetError."""
        async with self._lock:
            await self._shrink()

    async def apply_removals(self) -> None:
        """Remove members, destroy sets.  Raises IpsetError; a set in use only stays pending."""
        async with self._lock:
            await self._shrink()
            await self._destroy()

    async def found(self) -> tuple[str, ...]:
        """The names of the sets of ours that are there now.  Raises IpsetError."""
        async with self._lock:
            return tuple(sorted(await self._headers()))

    async def remove_everything(self) -> tuple[str, ...]:
        """Destroy every set of ours; returns those that are still in use."""
        async with self._lock:
            self._sets.clear()
            self._dirty.clear()
            await self._read()
            await self._destroy()
            return tuple(sorted(self._in_use))

    def close(self) -> None:
        self._socket.close()

    # ------------------------------------------------------------ what is there

    async def _headers(self) -> dict[str, Header]:
        try:
            answers = await self._socket.query(messages.list_headers(), "listing IP sets")
        except NetlinkError as error:
            if error.code != errno.EINVAL:
                raise
            raise IpsetError("this kernel has no IP sets: module ip_set is missing") from error
        headers = (messages.parse_header(answer.body) for answer in answers)
        return {header.name: header for header in headers if self._ours(header.name)}

    async def _read(self) -> None:
        found = await self._headers()
        for name in self._sets.keys() - found.keys():
            self._observe(name, None)
        for name, header in found.items():
            self._observe(name, header)
            await self._read_members(name)
        self._read_at = asyncio.get_running_loop().time()

    async def _reread(self) -> None:
        for name in [name for name in self._dirty if self._sets[name].unread]:
            await self._read_members(name)

    async def _read_members(self, name: str) -> None:
        if self._sets[name].wanted is None:
            return
        try:
            answers = await self._socket.query(messages.list_members(name), f"reading {name}")
        except NetlinkError as error:
            if error.code != errno.ENOENT:
                raise
            self._observe(name, None)
            return
        state = self._sets[name]
        state.observe(messages.parse_header(answers[0].body))
        if state.codec is not None and state.editable:
            codec = state.codec
            found = [m for answer in answers for m in messages.parse_members(answer.body, codec)]
            state.observe_members(found)
        self._note(name)

    def _observe(self, name: str, header: Header | None) -> None:
        state = self._state(name)
        state.observe(header)
        if header is None:
            self._in_use.discard(name)
        self._note(name)

    def _note(self, name: str) -> None:
        """A set is dirty until it is what it should be, and forgotten once nobody knows of it."""
        state = self._sets[name]
        if state.settled:
            self._dirty.pop(name, None)
            if state.wanted is None:
                del self._sets[name]
        elif name not in self._in_use:
            self._dirty[name] = None

    def _state(self, name: str) -> SetState:
        if name not in self._sets:
            self._sets[name] = SetState(name)
        return self._sets[name]

    def _ours(self, name: str) -> bool:
        return name.startswith(self._prefixes) or name in self._others

    # ------------------------------------------------------------ writing

    async def _grow(self, before: dict[str, int]) -> dict[str, int]:
        """Returns the error of each set that failed; `before` is that of the last attempt."""
        failures: dict[str, int] = {}
        growths: dict[str, Growth] = {}
        for state in [self._sets[name] for name in self._dirty]:
            if state.wanted is None:
                continue
            revision = await self._revision(state.type)
            if revision is None:
                failures[state.name] = messages.UNKNOWN_TYPE
                continue
            full = before.get(state.name) == messages.FULL
            growths[state.name] = state.growth(revision, self._free_name(), make_room=full)
        failures |= await self._execute({n: g.requests for n, g in growths.items()})
        rest = {n: [*g.then] for n, g in growths.items() if n not in failures}
        failures |= await self._execute(rest)
        for name, growth in growths.items():
            if name not in failures:
                self._sets[name].grown(growth)
                self._note(name)
                self.written += len(growth.added) + (growth.header is not None)
                log.debug("ipset.grown", ipset=name, added=len(growth.added))
            elif growth.temporary:
                self._observe(growth.temporary, Header(growth.temporary, "", 0, self._family))
        return failures

    async def _shrink(self) -> None:
        removed = {
            state.name: (state.codec, frozenset(state.members.removals))
            for state in map(self._sets.__getitem__, self._dirty)
            if state.editable and not state.unread and state.codec is not None
        }
        failures = await self._execute(
            {name: messages.delete(name, *change) for name, change in removed.items()}
        )
        for name, (_, members) in removed.items():
            if name not in failures:
                self._sets[name].members.observe((), members)
                self._note(name)
                self.written += len(members)
                log.debug("ipset.shrunk", ipset=name, removed=len(members))
        if failures:
            raise _error("removing members of", failures)

    async def _destroy(self) -> None:
        names = [name for name in self._dirty if self._sets[name].wanted is None]
        names += sorted(self._in_use)
        failures = await self._execute({name: [messages.destroy(name)] for name in names})
        for name in names:
            code = failures.get(name, 0)
            if code == messages.BUSY:
                del failures[name]
                self._hold(name)
            elif code in (0, errno.ENOENT):
                failures.pop(name, None)
                self._observe(name, None)
                self.written += 1
        self._plan_next_destroy()
        if failures:
            raise _error("destroying", failures)

    def _plan_next_destroy(self) -> None:
        if not self._in_use:
            self._destroy_again_at, self._destroy_delay = float("inf"), _FIRST_DELAY
            return
        self._destroy_again_at = asyncio.get_running_loop().time() + self._destroy_delay
        self._destroy_delay = min(self._destroy_delay * 2, _LAST_DELAY)

    def _hold(self, name: str) -> None:
        if name not in self._in_use:
            log.debug("ipset.held", ipset=name, reason="a rule still refers to it")
        self._in_use.add(name)
        self._dirty.pop(name, None)

    async def _execute(self, plans: dict[str, list[Request]]) -> dict[str, int]:
        """The first error of each set that had one; such a set is to be read again."""
        names = [name for name, requests in plans.items() for _ in requests]
        results = await self._socket.execute([r for requests in plans.values() for r in requests])
        failures: dict[str, int] = {}
        for name, code in zip(names, results, strict=True):
            if code:
                failures.setdefault(name, code)
                self._sets[name].unread = True
        return failures

    async def _revision(self, wanted: IpsetType) -> int | None:
        """Which revision to create; None if the kernel does not have the type."""
        if wanted not in self._revisions:
            try:
                doing = f"asking for sets of type {wanted.value}"
                answers = await self._socket.query(messages.probe(wanted, self._family), doing)
            except NetlinkError as error:
                if error.code != messages.UNKNOWN_TYPE:
                    raise
                return None
            self._revisions[wanted] = messages.revision(wanted, answers[0].body)
        return self._revisions[wanted]

    def _free_name(self) -> str:
        while True:
            self._temporaries += 1
            name = f"{self._temporary}{self._temporaries}"
            if name not in self._sets:
                return name


def _error(doing: str, failures: dict[str, int]) -> IpsetError:
    reasons = ", ".join(
        f"{name}: {messages.ERRORS.get(code) or os.strerror(code)}"
        for name, code in sorted(failures.items())[:5]
    )
    more = f" and {len(failures) - 5} more" if len(failures) > 5 else ""
    return IpsetError(f"{doing} IP sets: {reasons}{more}", frozenset(failures))
