"""One family that WireGuard is off for, and perhaps was on for before: how it goes.

    withdrawing   the published key is withdrawn (`key` is ""), until this node's own end is told
                  without one: whoever reads the datastore can know it then
    draining      the rule is gone, so we send as the others do who have heard of it; what still
                  comes encrypted is decrypted, until nothing has come for a while
    removing      routes, then the device
    off           nothing is there, and the table is not ours

The rule does not wait for silence: a peer that has heard drops what we encrypt for it from then on,
and hears in the same moment as we do.

Both waits are bounded: a datastore that is away, or a node that is, does not keep WireGuard on for
ever.  An agent that is started again in the middle begins anew, with what it finds.
Source: section 3.10 of the routes reference; Felix does all of it at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog

from calc_graph.updates import WireguardEndpoint, WireguardEndpointRemove
from dataplane.families import Family
from dataplane.interfaces import Interface
from dataplane.parts import Step
from dataplane.settings import WIREGUARD_DEVICES, Settings
from dataplane.wireguard.mesh import Event
from dataplane.wireguard.sinks import Formers, Peers, Table
from dataplane.wireguard.state import DeviceState
from dataplane.wireguard.status import FamilyStatus, Phase

log = structlog.get_logger(__name__)

# The datastore answers within milliseconds, but its writer may be in the middle of a retry, and
# with a datastore of files somebody else's tooling carries the word.
WITHDRAW_SECONDS: Final = 30.0
# A node that still sends does so with every packet of its workloads; several times the interval at
# which most of what is long-lived says something.
QUIET_SECONDS: Final = 5.0
# By then a node that has not heard will not: it is decrypted for as long as a node's own retries
# towards its datastore commonly take.
DRAIN_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 0.5


class Leaving:
    """The clock of it: what is known at a time in, the phase out.  Pure."""

    def __init__(self, now: float) -> None:
        self.phase: Phase = "withdrawing"
        self._since = now
        self._received = -1
        self._heard_at = now

    def advance(self, now: float, *, published: bool, received: int) -> Phase:
        """`published`: others may read a key of ours; `received`: bytes, ever."""
        if self.phase == "withdrawing" and (not published or now - self._since >= WITHDRAW_SECONDS):
            self.phase, self._since, self._heard_at = "draining", now, now
        if received != self._received:
            self._received, self._heard_at = received, now
        quiet = now - self._heard_at >= QUIET_SECONDS
        if self.phase == "draining" and (quiet or now - self._since >= DRAIN_SECONDS):
            self.phase = "removing"
        return self.phase


class Off:
    def __init__(
        self, family: Family, settings: Settings, peers: Peers, table: Table, former: Formers
    ) -> None:
        self._family: Family = family
        self._name = settings.wireguard.device_of(family)
        self._mark = settings.wireguard.mark
        self._hostname = settings.hostname
        self._peers = peers
        self._table = table
        self._former = former
        self._device: Interface | None = None
        self._published = False
        self._looked = False  # for what an agent before this one has left
        self._leaving: Leaving | None = None
        self._cleared = False  # rule and routes are gone
        self._looked_at = 0.0
        self._again = False  # something has changed that others ask for

    # ------------------------------------------------------------ told

    def update(self, event: Event) -> None:
        match event:
            case WireguardEndpoint() if event.node == self._hostname:
                self._published = bool(event.key_v6 if self._family == 6 else event.key)
            case WireguardEndpointRemove(self._hostname):
                self._published = False

    def interface_changed(self, name: str, interface: Interface | None) -> None:
        self._peers.interface_changed(name, interface)
        self._table.interface_changed(name, interface)
        if name == self._name:
            self._device = interface
            self._looked &= interface is None  # one that comes is looked at

    def set_refresh(self, seconds: float) -> None:
        """There is nothing to keep as it is."""

    # ------------------------------------------------------------ asked

    @property
    def device_goes(self) -> bool:
        """Whether the device is ours, and nothing needs it any more."""
        return self._cleared and self._leaving is not None

    @property
    def written(self) -> int:
        return self._table.written

    @property
    def key(self) -> str | None:
        return ""

    @property
    def unavailable(self) -> str:
        return ""

    def problems(self) -> dict[str, str]:
        return {}

    def known(self) -> FamilyStatus:
        phase: Phase = "off" if self._leaving is None else self._leaving.phase
        return FamilyStatus(self._family, self._name, phase)

    async def status(self, clear: Mapping[str, tuple[int, int]]) -> FamilyStatus:
        """Nothing is counted any more."""
        return self.known()

    # ------------------------------------------------------------ looks

    def next_check(self) -> float:
        if self._again:
            return 0.0
        if self._leaving is None or self._cleared:
            return float("inf")
        return self._looked_at + LOOK_SECONDS

    async def check(self) -> bool:
        """Whether a phase has ended."""
        again, self._again = self._again, False
        if self._leaving is None or self._cleared:
            return again
        before = self._leaving.phase
        return await self._advance(self._leaving) != before or again

    # ------------------------------------------------------------ writing

    async def before(self, step: Step) -> bool:
        await step(f"IPv{self._family} WireGuard off", self._leave())
        return True

    async def after(self, step: Step) -> None:
        """Nothing: what goes does not wait for what comes."""

    async def _leave(self) -> None:
        before = self.device_goes
        if not self._looked:
            await self._find()
        if self._leaving is not None:
            await self._go_on(self._leaving)
        self._again = self.device_goes != before

    async def _find(self) -> None:
        """Whether there is anything of ours: a device, or a rule without one."""
        state = await self._peers.look()
        if self._leaving is None and (
            self._is_ours(state) or await self._table.asking() != "nobody"
        ):
            self._leaving = Leaving(asyncio.get_running_loop().time())
            log.info("wireguard.leaving", device=self._name)
        self._looked = True

    async def _go_on(self, leaving: Leaving) -> None:
        phase = await self._advance(leaving)
        if self._device is None:
            phase = "removing"  # nothing is decrypted any more
        if phase == "withdrawing":
            return
        await self._table.ask("nobody")
        if phase == "removing" and not self._cleared:
            await self._table.write_routes()
            await self._former.remove()
            self._cleared = True
        if self._cleared and self._device is None:
            self._leaving, self._cleared = None, False
            log.info("wireguard.left", device=self._name)

    def _is_ours(self, state: DeviceState | None) -> bool:
        """A name that an operator chose may be that of a device of the operator's own."""
        if state is None:
            return False
        return self._name in WIREGUARD_DEVICES or state.mark == self._mark

    async def _advance(self, leaving: Leaving) -> Phase:
        self._looked_at = now = asyncio.get_running_loop().time()
        state = await self._peers.look()
        received = 0 if state is None else sum(peer.received for peer in state.peers.values())
        before = leaving.phase
        phase = leaving.advance(now, published=self._published, received=received)
        if phase != before:
            log.info("wireguard.leaving", device=self._name, phase=phase)
        return phase
