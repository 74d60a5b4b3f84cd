"""States and policies of IPsec in the kernel, one family: what is there, and the difference.

    in   desire                 wishes that have changed
         offer_keys             the ring that states are made from
         interface_changed      addresses of this node
         drifted                somebody else's hand was in it, or may have been
    out  adopt                  what an agent before this one has left
         take_observed          what has come to be there as wished, or has gone
         additions, removals    the difference, in the order of writes (plan.py)
         look, check            read it all

Nothing is written that is there already, and nothing is touched that is not ours (ours.py).  What
the kernel refuses is told, keeps nobody else waiting, and is tried again after all was read anew;
what depends on it is wished for only once it is there.

A key leaves the ring only into a state, and its material is overwritten when the kernel has it.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import groupby

import structlog

from dataplane.errors import DataplaneError
from dataplane.families import Family
from dataplane.interfaces import Interface
from dataplane.ipsec.kernel import (
    Change,
    KernelState,
    PolicyDelete,
    PolicyPut,
    StateAdd,
    StateDelete,
    Xfrm,
)
from dataplane.ipsec.keys import KeyRing, Material
from dataplane.ipsec.plan import ADDITIONS, Put, Remove, Stage
from dataplane.ipsec.present import Present
from dataplane.ipsec.values import PolicyId, PolicyWish, StateId, StateWish
from dataplane.netlink import NetlinkError

log = structlog.get_logger(__name__)

_NO_XFRM = (errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT)
_GONE = (0, errno.ESRCH, errno.ENOENT)


class IpsecError(DataplaneError):
    """The kernel refused; everything stays pending, and is read again."""


class IpsecDriver:
    """`kernel` is asked for when it is needed first.  `refresh_seconds` is the time between looks
    at everything, 0 for never; it may be changed at any time.
    """

    def __init__(
        self,
        family: Family,
        reqid: int,
        kernel: Callable[[], Xfrm],
        refresh_seconds: float = 90.0,
    ) -> None:
        self.refresh_seconds = refresh_seconds
        self.written = 0  # states and policies made, exchanged or deleted, since the start
        self.unavailable = ""  # why there can be none
        self._family: Family = family
        self._kernel = kernel
        self._present = Present(reqid)
        self._ring = KeyRing()
        self._addresses: dict[str, frozenset[str]] = {}  # by interface
        self.states: Mapping[StateId, KernelState] = {}  # all there were at the last look
        self._stale = True  # all is to be read before anything is written
        self._read_at: float | None = None
        self._lock = asyncio.Lock()

    # ------------------------------------------------------------ what should be

    def desire(
        self,
        states: Mapping[StateId, StateWish | None],
        policies: Mapping[PolicyId, PolicyWish | None],
    ) -> None:
        """What has changed; None: no longer wished for."""
        self._present.desire(states, policies)

    def offer_keys(self, ring: KeyRing) -> None:
        self._ring = ring
        self._present.offer_keys(ring)

    def begin_life(self) -> None:
        """No key of a sending state is one that was used before."""
        self._present.begin_life()

    def interface_changed(self, name: str, interface: Interface | None) -> None:
        """It came, went, changed, or is another one by the same name; None: it is gone."""
        addresses = frozenset[str]() if interface is None else interface.addresses
        if self._addresses.get(name, frozenset()) == addresses:
            return
        self._addresses[name] = addresses
        if self._present.own(frozenset().union(*self._addresses.values())):
            self._stale = True

    # ------------------------------------------------------------ what is

    @property
    def settled(self) -> bool:
        """Whether there is nothing to write, as far as is known."""
        return not self._stale and self._present.settled

    @property
    def closed(self) -> bool:
        """Whether nothing that is to be blocked goes in clear, as far as that is for us to say."""
        return self._present.closed

    @property
    def spent(self) -> str:
        """Why keys have to become others before anything more is sent, "" if they need not."""
        return self._present.spent

    @property
    def doubtful(self) -> tuple[str, ...]:
        """What may be ours or somebody else's, in words; it is left alone."""
        return self._present.doubtful

    @property
    def has_anything(self) -> bool:
        """Whether states or policies of ours are there."""
        return any(self._present.sizes)

    @property
    def sizes(self) -> tuple[int, int]:
        """How many states and policies of ours are there."""
        return self._present.sizes

    @property
    def has_ways_out(self) -> bool:
        """Whether policies lead out through tunnels."""
        return bool(self._present.ways_out)

    @property
    def sending(self) -> int:
        """How many states of ours are for sending."""
        return self._present.sending

    def is_ours(self, state: StateId) -> bool:
        return self._present.has(state)

    def take_observed(
        self,
    ) -> tuple[dict[StateId, StateWish | None], dict[PolicyId, PolicyWish | None]]:
        """What has changed since the last time; of states, those count that are as wished."""
        return self._present.take_observed()

    def problems(self) -> dict[str, str]:
        if self.unavailable:
            return {f"IPv{self._family} IPsec": self.unavailable}
        found = dict.fromkeys(self._present.ahead, "somebody else's, and asked before ours")
        found |= dict.fromkeys(self._present.in_the_way, "somebody else's is in its place")
        return {f"IPv{self._family} IPsec {what}": why for what, why in found.items()}

    # ------------------------------------------------------------ looks

    async def adopt(self) -> dict[StateId, str]:
        """Read everything; states of ours, with their source.  Raises IpsecError."""
        async with self._lock:
            await self._read()
            return self._present.adopted

    @property
    def lost_ways(self) -> bool:
        """Whether a way out leads through a state that is not there."""
        return bool(self._present.lost_ways)

    def drifted(self) -> None:
        """Read again before anything is written."""
        self._stale = True

    def next_check(self) -> float:
        """When `check` is due, in the event loop's time; infinity for never."""
        if self._read_at is None or self.refresh_seconds <= 0:
            return float("inf")
        return self._read_at + self.refresh_seconds

    async def check(self) -> bool:
        """Read again.  True if something is not as it should be, which the next apply repairs."""
        async with self._lock:
            settled = self.settled
            self._read_at = asyncio.get_running_loop().time()  # also if it fails
            await self._read()
            if settled and not self.settled:
                log.warning("ipsec.drifted", family=self._family)
        return not self.settled

    async def look(self) -> Mapping[StateId, KernelState]:
        """All states of the family as they are now.  Raises IpsecError."""
        async with self._lock:
            self.states = {s.id: s for s in await self._listed_states()}
            return self.states

    async def _listed_states(self) -> list[KernelState]:
        try:
            return await self._kernel().read_states(self._family)
        except NetlinkError as error:
            self._give_up(error)
            raise IpsecError(f"IPv{self._family} states: {error}") from error

    async def _read(self) -> None:
        states = await self._listed_states()
        try:
            policies = await self._kernel().read_policies(self._family)
        except NetlinkError as error:
            self._give_up(error)
            raise IpsecError(f"IPv{self._family} policies: {error}") from error
        doubtful = self._present.doubtful
        self._present.found(states, policies)
        self._stale, self.unavailable = False, ""
        self.states = {state.id: state for state in states}
        self._read_at = asyncio.get_running_loop().time()
        if self.doubtful != doubtful:
            log.warning("ipsec.doubtful", family=self._family, what=list(self.doubtful)[:10])

    def _give_up(self, error: NetlinkError) -> None:
        self._stale = True
        if error.code in _NO_XFRM:
            self.unavailable = "this kernel has no IPsec (NETLINK_XFRM)"

    # ------------------------------------------------------------ writing

    async def additions(
        self, stages: Collection[Stage] = ADDITIONS, *, only_new: bool = False
    ) -> bool:
        """What closes, then states, then what opens.  Whether anything was written.

        `only_new`: nothing is exchanged.

        Raises IpsecError, after all that can be was written.
        """
        async with self._lock:
            if self._stale:
                await self._read()
            puts = [put for put in self._present.additions() if put.stage in stages]
            if only_new:
                puts = [put for put in puts if not put.exchanges]
            failures: list[str] = []
            for stage, group in groupby(puts, lambda put: put.stage):
                failures += await self._put(stage, list(group))
            self._complain(failures)
            return bool(puts)

    async def removals(self, *stages: Stage) -> None:
        """Of what goes, these stages.  Raises IpsecError, after all that can be was removed."""
        async with self._lock:
            if self._stale:
                await self._read()
            removals = [r for r in self._present.removals() if r.stage in stages]
            failures: list[str] = []
            for stage, group in groupby(removals, lambda removal: removal.stage):
                failures += await self._remove(stage, list(group))
            self._complain(failures)

    async def keep(
        self, state_stays: Callable[[StateWish], bool], policy_stays: Callable[[PolicyWish], bool]
    ) -> None:
        """Of what is there that is wished for, and nothing else.  Raises IpsecError."""
        async with self._lock:
            if self._stale and self.has_anything:
                await self._read()
            self._present.keep(state_stays, policy_stays)

    async def _put(self, stage: Stage, puts: list[Put]) -> list[str]:
        materials: list[Material] = []
        try:
            changes = [self._changes(put, materials) for put in puts]
            codes = await self._change([change for part in changes for change in part])
        finally:
            for material in materials:
                material.forget()
        failures: list[str] = []
        place = 0
        for put, part in zip(puts, changes, strict=True):
            place += len(part)
            code = codes[place - 1]
            if code:
                failures.append(f"{_text(put.wish.id)}: {os.strerror(code)}")
            else:
                self._present.done(put)
        self._note(stage, len(puts) - len(failures))
        return failures

    def _changes(self, put: Put, materials: list[Material]) -> list[Change]:
        wish = put.wish
        if isinstance(wish, PolicyWish):
            index = 0 if put.exchanges else self._present.new_index(wish.id)
            return [PolicyPut(wish, replace=put.exchanges, index=index)]
        materials.append(self._ring[wish.key].material(wish))
        add = StateAdd(wish, materials[-1])
        return [StateDelete(wish.id), add] if put.exchanges else [add]

    async def _remove(self, stage: Stage, removals: list[Remove]) -> list[str]:
        changes: list[Change] = [
            StateDelete(r.id) if isinstance(r.id, StateId) else PolicyDelete(r.id) for r in removals
        ]
        failures: list[str] = []
        for removal, code in zip(removals, await self._change(changes), strict=True):
            if code in _GONE:
                self._present.gone(removal.id)
            else:
                failures.append(f"{_text(removal.id)}: {os.strerror(code)}")
        self._note(stage, len(removals) - len(failures))
        return failures

    async def _change(self, changes: list[Change]) -> list[int]:
        try:
            return await self._kernel().change(changes)
        except NetlinkError as error:
            self._stale = True  # what was done of it is not known
            raise IpsecError(f"IPv{self._family} IPsec: {error}") from error

    def _note(self, stage: Stage, count: int) -> None:
        self.written += count
        if count:
            log.debug("ipsec.written", family=self._family, stage=stage, count=count)

    def _complain(self, failures: Iterable[str]) -> None:
        told = list(failures)
        if told:
            self._stale = True
            more = f" and {len(told) - 5} more" if len(told) > 5 else ""
            raise IpsecError(f"IPv{self._family} IPsec: {', '.join(told[:5])}{more}")


def _text(name: StateId | PolicyId) -> str:
    if isinstance(name, StateId):
        return f"state to {name.destination} SPI {name.spi:#x}"
    return f"policy {name.direction} {name.selector.source} to {name.selector.destination}"
