"""The families that IPsec is on for: what the mesh wants, handed to the drivers in its order.

    before   what the kernel has is known, of all families; then what comes: it closes, receives,
             sends, opens; routes of table 200, and the rules
    (here the main table is written: a net that comes is never there first, one that goes last)
    after    what goes: ways out and sending states, routes of table 200, ways in and receiving
             states, and last of all what has closed

Each step asks the mesh again, with what the kernel has taken in the steps before it, until it has
nothing more to say: only then is there a state to send with that a way may open through.

Until both life and keys were offered nothing that is there is touched, or an agent that has just
begun would close what is open.  But what is not there at all is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from calc_graph.model import IpsecNode
from calc_graph.updates import HostRemove, HostUpdate
from dataplane.families import Family
from dataplane.interfaces import Interface
from dataplane.ipsec import mtu
from dataplane.ipsec.driver import IpsecDriver, IpsecError
from dataplane.ipsec.handover import Handover
from dataplane.ipsec.kernel import Expired
from dataplane.ipsec.keys import Algorithm, KeyRing
from dataplane.ipsec.life import Life
from dataplane.ipsec.mesh import Event, Mesh
from dataplane.ipsec.plan import (
    ADDITIONS_AFTER_MAIN,
    CLOSING,
    PREPARING,
    REMOVALS_AFTER_ROUTES,
    REMOVALS_BEFORE_MAIN,
    REMOVALS_BEFORE_ROUTES,
)
from dataplane.ipsec.progress import PeerProgress
from dataplane.ipsec.states import key_of
from dataplane.ipsec.switches import switched_off
from dataplane.ipsec.table import IpsecTable
from dataplane.ipsec.uplink import Uplink
from dataplane.ipsec.values import StateId, StateWish
from dataplane.parts import Step
from dataplane.settings import IpsecSettings

log = structlog.get_logger(__name__)

_ROUNDS = 10  # a way in, a state, a way out, and whatever a mesh may think of


class On:
    """`settings.families` are those of `drivers` and `tables`."""

    def __init__(
        self,
        hostname: str,
        settings: IpsecSettings,
        drivers: Mapping[Family, IpsecDriver],
        tables: Mapping[Family, IpsecTable],
        uplink: Uplink,
    ) -> None:
        self._hostname = hostname
        self._allow_clear = settings.allow_clear
        self._drivers = drivers
        self._tables = tables
        self._uplink = uplink
        self._mesh = Mesh(hostname, settings)
        self._handover = Handover(self._mesh, drivers, tables)
        self._here: dict[Family, str] = {}
        self._life: Life | None = None
        self._adopted = False
        self._lock = asyncio.Lock()
        self._flushed = ""  # what was missing when an agent began
        self._rested: set[Family] = set()  # what was to come was tried
        self._switches: dict[Family, dict[str, str]] = {}
        self._used_up: set[StateId] = set()
        self._again = False  # something was offered, or the last step has made work

    # ------------------------------------------------------------ told

    def update(self, event: Event) -> None:
        self._mesh.update(event)
        match event:
            case HostUpdate() if event.name == self._hostname:
                self._here = {4: event.ipv4, 6: event.ipv6}
            case HostRemove(self._hostname):
                self._here = {}
            case _:
                return
        self._uplink.own(frozenset(filter(None, self._here.values())))

    def interface_changed(self, name: str, interface: Interface | None) -> None:
        for family, driver in self._drivers.items():
            driver.interface_changed(name, interface)
            self._tables[family].interface_changed(name, interface)

    def offer_life(self, life: Life) -> None:
        """Counts from the next step on."""
        if self._life is not None and self._life.boot != life.boot:
            self._flushed = ""
            for driver in self._drivers.values():
                driver.begin_life()
        self._life = life
        self._mesh.life(life)
        self._again = True

    def offer_keys(self, ring: KeyRing) -> None:
        """Counts from the next step on."""
        self._handover.ring = ring
        self._mesh.keys(ring.checks)
        self._again = True

    def drop(self, key: int) -> None:
        """The operator waits no longer for those who use it."""
        self._mesh.drop(key)
        self._again = True

    def expired(self, notice: Expired) -> None:
        if not notice.hard and notice.id not in self._used_up:
            self._used_up.add(notice.id)
            log.warning("ipsec.used_up", destination=notice.id.destination, spi=notice.id.spi)

    def drifted(self) -> None:
        for driver in self._drivers.values():
            driver.drifted()

    # ------------------------------------------------------------ looks

    def next_check(self) -> float:
        """When `check` is due, in the event loop's time; infinity for never."""
        return 0.0 if self._again else self._handover.due

    async def check(self) -> bool:
        """True: the mesh is to be asked again, for the time or for what was offered."""
        self._again, self._handover.due = False, float("inf")
        return True

    # ------------------------------------------------------------ writing

    async def before(self, family: Family, step: Step) -> bool:
        """What comes before the main table.  False: something that has to be closed is not."""
        await step(f"IPv{family} IPsec", self._adopt())
        if not self._adopted:
            return self._allow_clear
        if await step(f"IPv{family} IPsec", self._add(family)):
            await step(f"IPv{family} IPsec routes", self._lead(family))
        return self._allow_clear or self._drivers[family].closed

    async def after(self, family: Family, step: Step) -> None:
        """What comes once nothing of the main table is to be written any more."""
        if not self._adopted or self._is_held:
            return
        driver = self._drivers[family]
        self._settle(family)
        if not await step(f"IPv{family} IPsec", self._stay_and_shut(driver)):
            return
        self._handover.let_go(family)
        if await step(f"IPv{family} IPsec routes", self._lead(family)):
            await step(f"IPv{family} IPsec", driver.removals(*REMOVALS_AFTER_ROUTES))
        changed = [self._settle(each) for each in self._drivers]  # keys are of all families
        self._again |= any(changed)

    async def _stay_and_shut(self, driver: IpsecDriver) -> None:
        await driver.additions(ADDITIONS_AFTER_MAIN)
        await driver.removals(*REMOVALS_BEFORE_ROUTES)

    @property
    def _is_held(self) -> bool:
        return self._life is None or self._handover.ring is None

    async def _adopt(self) -> None:
        """Of all families at once: the mesh is to know of everything before it says anything."""
        async with self._lock:
            if self._adopted:
                return
            found = 0
            try:
                for family, driver in self._drivers.items():
                    self._mesh.adopt(family, await driver.adopt())
                    found += driver.sending
            except IpsecError:
                if any(driver.unavailable for driver in self._drivers.values()):
                    return  # it is told, and no failure of anything that is tried
                raise
            lost = any(driver.lost_ways for driver in self._drivers.values())
            known = self._life is not None and bool(self._life.known)
            if lost or (known and not found):
                self._flushed = "sending states were taken away while no agent ran"
            self._adopted = True

    async def _add(self, family: Family) -> None:
        driver = self._drivers[family]
        try:
            for _ in range(_ROUNDS):
                self._settle(family)
                if self._is_held:
                    await driver.additions(CLOSING, only_new=True)
                    break
                if not await self._prepare_and_open(family):
                    await driver.removals(*REMOVALS_BEFORE_MAIN)
                    break
        finally:
            # What is there is known even if something was refused.
            self._settle(family)
            if not self._is_held:
                self._rested.add(family)

    async def _prepare_and_open(self, family: Family) -> bool:
        """Whether anything was written.  Bars are there, whatever else the kernel refuses."""
        driver = self._drivers[family]
        if not driver.will_send:
            return await driver.additions()
        try:
            prepared = await driver.additions(PREPARING)
        except IpsecError:
            await driver.additions(CLOSING)
            raise
        if prepared:
            self._settle(family)
        return await driver.additions() or prepared

    def _settle(self, family: Family) -> bool:
        """Whether the mesh had anything to say."""
        return self._handover.settle(family, asyncio.get_running_loop().time())

    async def _lead(self, family: Family) -> None:
        if self._is_held:
            return
        table = self._tables[family]
        await self._uplink.look()
        table.own(self._here.get(family, ""))
        table.use(self.algorithms)
        await table.write()
        names = {*table.devices, self._uplink.name} - {""}
        self._switches[family] = switched_off(family, names)

    # ------------------------------------------------------------ asked

    @property
    def algorithms(self) -> frozenset[Algorithm]:
        """What packets may be encrypted with."""
        return self._handover.algorithms

    @property
    def settled(self) -> bool:
        """Whether `record` can be believed."""
        return self._rested == self._drivers.keys() or bool(self.unavailable)

    @property
    def unavailable(self) -> str:
        reasons = [driver.unavailable for driver in self._drivers.values()]
        return next(filter(None, reasons), "")

    def record(self) -> IpsecNode | None:
        return None if self.unavailable else self._mesh.record

    def renewal(self) -> str:
        if self._mesh.needs_new_life:
            return "another node has the same tag"
        reasons = [driver.spent for driver in self._drivers.values()]
        return next(filter(None, reasons), self._flushed)

    @property
    def alive(self) -> Mapping[int, str]:
        return self._mesh.alive

    @property
    def tag(self) -> int:
        return 0 if self._life is None else self._life.tag

    def address(self, family: Family) -> str:
        return self._here.get(family, "")

    @property
    def peers(self) -> tuple[PeerProgress, ...]:
        return tuple(self._mesh.progress().values())

    def wishes(self, family: Family) -> Mapping[StateId, StateWish]:
        return self._mesh.states(family)

    def is_used_up(self, state: StateId) -> bool:
        return state in self._used_up

    def workload_mtu(self, link: int) -> int:
        """What fits into every link whatever the key; 0 while no key is known."""
        return mtu.workload_mtu(link, self._drivers, self.algorithms)

    def _used_up_keys(self) -> list[int]:
        if self._used_up:
            there = (self._mesh.states(family).keys() for family in self._drivers)
            self._used_up &= set().union(*there)
        return sorted({key_of(state.spi) for state in self._used_up})

    def problems(self) -> dict[str, str]:
        found = {f"IPsec {what}": text for what, text in self._mesh.problems().items()}
        if self._is_held:
            found["IPsec keys"] = "none are known: what is there stays, and nothing more opens"
        for key in self._used_up_keys():
            found[f"IPsec key {key}"] = "has encrypted so much that another one is due"
        found.update(self._uplink.problems)
        for family, table in self._tables.items():
            found |= self._drivers[family].problems()
            found |= {f"IPsec {what}": text for what, text in table.problems().items()}
            found |= self._switches.get(family, {})
        return found
