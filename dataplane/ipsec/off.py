"""One family that IPsec is off for, and perhaps was on for before: what leaving.py wants, done.

    withdrawing, draining   what is no longer needed goes
    removing                routes of table 200, its rules, and whatever is left
    off                     nothing is there

Whether there is anything is asked in few words, so a node that never had IPsec needs nothing of it.
Rules and routes are looked for, too: there may be nothing else left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial

import structlog

from calc_graph.model import IpsecNode
from calc_graph.updates import HostRemove, HostUpdate, IpsecPeer, IpsecPeerRemove
from dataplane.families import Family
from dataplane.interfaces import Interface
from dataplane.ipsec.counts import count_states_and_policies
from dataplane.ipsec.driver import IpsecDriver
from dataplane.ipsec.leaving import Leaving, policy_stays, state_stays
from dataplane.ipsec.mesh import Event
from dataplane.ipsec.plan import (
    REMOVALS_AFTER_ROUTES,
    REMOVALS_BEFORE_MAIN,
    REMOVALS_BEFORE_ROUTES,
    Stage,
)
from dataplane.ipsec.status import Phase
from dataplane.ipsec.table import IpsecTable
from dataplane.parts import Step

log = structlog.get_logger(__name__)

# What asks for encryption goes before what encrypts.
_ORDER: tuple[tuple[Stage, ...], ...] = (("refuse",), ("unlock",), ("shut", "leave", "mute"))


class Off:
    def __init__(
        self, family: Family, hostname: str, driver: IpsecDriver, table: IpsecTable
    ) -> None:
        self._family: Family = family
        self._hostname = hostname
        self._driver = driver
        self._table = table
        self._hosts: dict[str, HostUpdate] = {}
        self._ends: dict[str, IpsecPeer] = {}
        self._looked = False  # for what an agent before this one has left
        self._leaving: Leaving | None = None
        self._routed = True  # rules and routes are there
        self._due = float("inf")

    # ------------------------------------------------------------ told

    def update(self, event: Event) -> None:
        match event:
            case HostUpdate(name):
                self._hosts[name] = event
            case HostRemove(name):
                self._hosts.pop(name, None)
            case IpsecPeer(name):
                self._ends[name] = event
            case IpsecPeerRemove(name):
                self._ends.pop(name, None)
            case _:
                return
        if self._leaving is not None:
            self._leaving.update(event)

    def interface_changed(self, name: str, interface: Interface | None) -> None:
        self._driver.interface_changed(name, interface)
        self._table.interface_changed(name, interface)

    # ------------------------------------------------------------ asked

    @property
    def phase(self) -> Phase:
        return "going" if self._leaving is not None else "off"

    @property
    def settled(self) -> bool:
        """Whether it is known that there is nothing, or that it goes."""
        return self._looked

    def record(self) -> IpsecNode | None:
        """To be published; None: nothing."""
        return None if self._leaving is None else self._leaving.record

    # ------------------------------------------------------------ looks

    def next_check(self) -> float:
        """When `check` is due, in the event loop's time; infinity for never."""
        return self._due

    async def check(self) -> bool:
        """It is time to go on, or it has come to its end."""
        self._due = float("inf")
        return True

    # ------------------------------------------------------------ writing

    async def before(self, step: Step) -> None:
        await step(f"IPv{self._family} IPsec off", self._leave())

    async def _leave(self) -> None:
        await self.find()
        if self._leaving is None:
            return
        await self._advance(self._leaving)
        phase = self._leaving.phase
        await self._driver.keep(
            lambda state: state_stays(phase, receives=state.receives), partial(policy_stays, phase)
        )
        if phase == "removing":
            await self._remove()
        else:
            for stages in _ORDER:
                await self._driver.removals(*stages)
        await self._advance(self._leaving)
        if self._leaving.phase == "off":
            self._leaving = None
            self._due = 0.0  # others ask for it
            log.info("ipsec.left", family=self._family)

    async def find(self) -> None:
        """Look for what an agent before this one has left, once.  Raises DataplaneError."""
        if self._looked:
            return
        self._routed = any(await self._table.count())
        if await count_states_and_policies():
            await self._driver.adopt()
        if self._routed or self._driver.has_anything:
            self._leaving = Leaving(self._hostname, asyncio.get_running_loop().time())
            for host in self._hosts.values():
                self._leaving.update(host)
            for end in self._ends.values():
                self._leaving.update(end)
            log.info("ipsec.leaving", family=self._family)
        self._looked = True

    async def _remove(self) -> None:
        await self._driver.removals(*REMOVALS_BEFORE_MAIN, *REMOVALS_BEFORE_ROUTES)
        await self._table.remove()
        self._routed = False
        await self._driver.removals(*REMOVALS_AFTER_ROUTES)

    async def _advance(self, leaving: Leaving) -> None:
        """Also when the ways out have gone."""
        before = leaving.phase
        left = self._routed or self._driver.has_anything
        now = asyncio.get_running_loop().time()
        self._due = leaving.advance(now, sends=self._driver.has_ways_out, left=left)
        if leaving.phase != before:
            log.info("ipsec.leaving", family=self._family, phase=leaving.phase)


def record_of(families: Iterable[Off]) -> IpsecNode | None:
    """Of the families that go, that of one that still sends by its ways out, if any does."""
    found = [record for each in families if (record := each.record()) is not None]
    return next((record for record in found if record.peers), found[0] if found else None)
