"""States and policies of IPsec in the kernel, one family: what is there, and the difference.

    in   desire                 wishes that have changed
         offer_keys             the ring that states are made from
         interface_changed      addresses of this node
         drifted                somebody else's hand was in it, or may have been
    out  adopt                  what an agent before this one has left
         take_observed          what has come to be there as wished, or has gone
         additions, removals    the difference, in the order of writes: plan.py, writer.py
         look, check            read it all

Nothing is written that is there already, and nothing is touched that is not ours (ours.py).  What
the kernel refuses is told, keeps nobody else waiting, and is tried again after all was read anew;
what depends on it is wished for only once it is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Callable, Collection, Iterator, Mapping

import structlog

from dataplane.errors import DataplaneError
from dataplane.families import Family
from dataplane.interfaces import Interface
from dataplane.ipsec.kernel import KernelState, Xfrm
from dataplane.ipsec.keys import KeyRing
from dataplane.ipsec.plan import ADDITIONS, Stage
from dataplane.ipsec.present import Present
from dataplane.ipsec.values import PolicyId, PolicyWish, StateId, StateWish
from dataplane.ipsec.writer import Writer
from dataplane.netlink import NetlinkError

log = structlog.get_logger(__name__)

_NO_XFRM = (errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT)


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
        self.unavailable = ""  # why there can be none
        self._family: Family = family
        self._kernel = kernel
        self._present = Present(reqid)
        self._writer = Writer(family, self._present, kernel)
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
        self._writer.ring = ring
        self._present.states.offer_keys(ring)

    def begin_life(self) -> None:
        """No key of a sending state is one that was used before."""
        self._present.states.begin_life()

    def interface_changed(self, name: str, interface: Interface | None) -> None:
        """It came, went, changed, or is another one by the same name; None: it is gone."""
        addresses = frozenset[str]() if interface is None else interface.addresses
        if self._addresses.get(name, frozenset()) == addresses:
            return
        self._addresses[name] = addresses
        if self._present.states.own(frozenset().union(*self._addresses.values())):
            self._stale = True

    # ------------------------------------------------------------ what is

    @property
    def written(self) -> int:
        """States and policies made, exchanged or deleted, since the start."""
        return self._writer.written

    @property
    def settled(self) -> bool:
        """Whether there is nothing to write, as far as is known."""
        return not self._stale and self._present.settled

    @property
    def closed(self) -> bool:
        """Whether nothing that is to be blocked goes in clear, as far as that is for us to say."""
        return self._present.policies.closed

    @property
    def spent(self) -> str:
        """Why keys have to become others before anything more is sent, "" if they need not."""
        return self._present.states.spent

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
        return bool(self._present.policies.ways_out)

    @property
    def will_send(self) -> bool:
        """Whether states to send with are to be made, which ways may open through."""
        return False in {wish.receives for wish in self._present.states.wanting()}

    @property
    def sending(self) -> int:
        """How many states of ours are for sending."""
        return self._present.states.sending

    def is_ours(self, state: StateId) -> bool:
        return state in self._present.states.actual

    def take_observed(
        self,
    ) -> tuple[dict[StateId, StateWish | None], dict[PolicyId, PolicyWish | None]]:
        """What has changed since the last time; of states, those count that are as wished."""
        return self._present.take_observed()

    def problems(self) -> dict[str, str]:
        if self.unavailable:
            return {f"IPv{self._family} IPsec": self.unavailable}
        found = dict.fromkeys(
            self._present.policies.ahead, "somebody else's, and asked before ours"
        )
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
        return self._present.lost_ways

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
            planned = self._present.additions(only_new=only_new)
            puts = [each for each in planned if each.stage in stages]
            with self._asking():
                failures = await self._writer.put(puts)
            self._complain(failures)
            return bool(puts)

    async def removals(self, *stages: Stage) -> None:
        """Of what goes, these stages.  Raises IpsecError, after all that can be was removed."""
        async with self._lock:
            if self._stale:
                await self._read()
            removals = [each for each in self._present.removals() if each.stage in stages]
            with self._asking():
                failures = await self._writer.remove(removals)
            self._complain(failures)

    async def keep(
        self, state_stays: Callable[[StateWish], bool], policy_stays: Callable[[PolicyWish], bool]
    ) -> None:
        """Of what is there that is wished for, and nothing else.  Raises IpsecError."""
        async with self._lock:
            if self._stale and self.has_anything:
                await self._read()
            self._present.keep(state_stays, policy_stays)

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except NetlinkError as error:
            self._stale = True  # what was done is not known
            raise IpsecError(f"IPv{self._family} IPsec: {error}") from error

    def _complain(self, failures: list[str]) -> None:
        if failures:
            self._stale = True
            more = f" and {len(failures) - 5} more" if len(failures) > 5 else ""
            raise IpsecError(f"IPv{self._family} IPsec: {', '.join(failures[:5])}{more}")
