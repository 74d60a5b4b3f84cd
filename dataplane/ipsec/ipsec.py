"""IPsec of one node, both families: each is on or off, and those that are on share a mesh.

    update, interface_changed           what the dataplane is told
    offer_life, offer_keys, drop        what the shell is
        |
    on    Mesh, and what hands its wishes to          off   what an agent has left, and how it goes
          IpsecDriver   states and policies
          IpsecTable    table 200, and the rules that ask it
        |
    before, after     their steps, in the order of writes: around those of the main table
    checks            looks beside the writing; one of them waits for what the kernel tells
    record, settled, renewal, alive     what to publish, and to remember
    problems, known, status             what to complain of; for the command, metrics and the node

Where WireGuard is on for a family, IPsec does not begin: what it is to encrypt would be encrypted
by both, or by whichever comes first.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping

import structlog
from msgspec import structs

from calc_graph.model import IpsecNode
from calc_graph.updates import PoolRemove, PoolUpdate, RouteRemove, RouteUpdate
from dataplane.errors import DataplaneError
from dataplane.families import Family
from dataplane.interfaces import Interface, InterfaceMonitor
from dataplane.ipsec.driver import IpsecDriver
from dataplane.ipsec.kernel import Expired, KernelState, Xfrm, open_xfrm
from dataplane.ipsec.keys import KeyRing
from dataplane.ipsec.life import Life
from dataplane.ipsec.mesh import Event
from dataplane.ipsec.notices import Notices
from dataplane.ipsec.off import Off, record_of
from dataplane.ipsec.on import On
from dataplane.ipsec.status import FamilyStatus, IpsecStatus, Phase, StateStatus
from dataplane.ipsec.table import IpsecTable
from dataplane.ipsec.uplink import Uplink
from dataplane.ipsec.values import StateId
from dataplane.looks import Checked
from dataplane.parts import Step
from dataplane.settings import Settings

log = structlog.get_logger(__name__)

_BY_WIREGUARD = "WireGuard encrypts this family: one of the two has to be switched off"


class Ipsec:
    """`families` are those of this node; `kernel` is another one in tests."""

    def __init__(
        self,
        families: Iterable[Family],
        settings: Settings,
        kernel: Callable[[], Xfrm] | None = None,
    ) -> None:
        self._asked = settings.ipsec.families
        self._by_wireguard = self._asked & settings.wireguard.families
        self._families = tuple(families)
        ours = settings.ipsec
        self._layout = ours.layout
        opened = functools.cache(functools.partial(open_xfrm, ours.reqid))
        self._kernel = opened if kernel is None else kernel
        self._is_open = kernel is not None
        self._uplink = Uplink(ours.interface)
        seconds = settings.intervals.routes
        self._drivers = {
            family: IpsecDriver(family, ours.reqid, self._open, seconds)
            for family in self._families
        }
        self._tables = {
            family: IpsecTable(family, settings, self._uplink) for family in self._families
        }
        on = frozenset(self._families) & self._asked - self._by_wireguard
        self._on: On | None = None
        if on:
            self._on = On(
                settings.hostname,
                structs.replace(ours, families=on),
                {family: self._drivers[family] for family in self._families if family in on},
                {family: self._tables[family] for family in self._families if family in on},
                self._uplink,
            )
        self._off = {
            family: Off(family, settings.hostname, self._drivers[family], self._tables[family])
            for family in self._families
            if family not in on
        }
        self._notices = Notices(self._open, self._drifted, self._expired)

    def _open(self) -> Xfrm:
        self._is_open = True
        return self._kernel()

    def watch_routes(self, monitor: InterfaceMonitor) -> None:
        """Be told of what others do to routes and rules."""
        for family, table in self._tables.items():
            if family not in self._off:
                table.watch(monitor)
        if self._on is not None:
            monitor.watch_routes(self._uplink)

    def set_refresh(self, seconds: float) -> None:
        for family in self._families:
            self._drivers[family].refresh_seconds = seconds
            self._tables[family].set_refresh(seconds)

    def close(self) -> None:
        """The kernel stays as it is."""
        self._notices.close()
        for table in self._tables.values():
            table.close()
        self._uplink.close()
        if self._is_open:
            self._kernel().close()

    # ------------------------------------------------------------ told

    def update(self, event: Event) -> None:
        if self._on is not None:
            self._on.update(event)
        if self._off and not isinstance(event, RouteUpdate | RouteRemove | PoolUpdate | PoolRemove):
            for each in self._off.values():
                each.update(event)

    def interface_changed(self, name: str, interface: Interface | None) -> None:
        if self._on is not None:
            self._on.interface_changed(name, interface)
            self._uplink.interface_changed(name, interface)
        for each in self._off.values():
            each.interface_changed(name, interface)

    def offer_life(self, life: Life) -> None:
        """Counts from the next apply on."""
        if self._on is not None:
            self._on.offer_life(life)

    def offer_keys(self, ring: KeyRing) -> None:
        """Counts from the next apply on."""
        if self._on is not None:
            self._on.offer_keys(ring)

    def drop(self, key: int) -> None:
        """The operator waits no longer for those who use it; one in the ring stays."""
        if self._on is not None:
            self._on.drop(key)

    def _drifted(self) -> None:
        if self._on is not None:
            self._on.drifted()

    def _expired(self, notice: Expired) -> None:
        if self._on is not None:
            self._on.expired(notice)

    # ------------------------------------------------------------ writing

    async def find_leftovers(self) -> None:
        """What an agent before this one has left of families that are off: before anything else is
        resolved, for rules have to stay with it.
        """
        for family, off in self._off.items():
            try:
                await off.find()
            except DataplaneError as error:
                log.warning("ipsec.leftovers_unknown", family=family, reason=str(error))

    async def before(self, family: Family, step: Step) -> bool:
        """What comes before the main table.

        False: it failed, and no way to another node may open before it has come about.
        """
        if self._on is None or family in self._off:
            await self._off[family].before(step)
            return True
        closed = await self._on.before(family, step)
        if not self._on.unavailable:
            self._notices.begin()
        return closed

    async def after(self, family: Family, step: Step) -> None:
        """What comes once the main table is as it should be."""
        if self._on is not None and family not in self._off:
            await self._on.after(family, step)

    @property
    def written(self) -> int:
        """States, policies, routes and rules made, exchanged or deleted, since the start."""
        states = sum(driver.written for driver in self._drivers.values())
        return states + sum(table.written for table in self._tables.values())

    # ------------------------------------------------------------ asked

    @property
    def going(self) -> frozenset[Family]:
        """Families that are off, and not yet at their end."""
        return frozenset(family for family, off in self._off.items() if off.phase == "going")

    def checks(self) -> dict[str, Checked]:
        found: dict[str, Checked] = {f"IPv{f} IPsec": off for f, off in self._off.items()}
        if self._on is None:
            return found
        for family in self._drivers.keys() - self._off.keys():
            found[f"IPv{family} IPsec"] = self._drivers[family]
            found[f"IPv{family} IPsec routes"] = self._tables[family]
        return found | {"IPsec": self._on, "IPsec notices": self._notices}

    @property
    def settled(self) -> bool:
        """Whether `record` can be believed."""
        on = self._on is None or self._on.settled
        return on and all(each.settled for each in self._off.values())

    def record(self) -> IpsecNode | None:
        """What to publish; None: nothing, and what is published goes."""
        return record_of(self._off.values()) if self._on is None else self._on.record()

    def renewal(self) -> str:
        """Why another life has to begin before anything more is sent, "" while this one goes on."""
        return "" if self._on is None else self._on.renewal()

    def alive(self) -> Mapping[int, str]:
        """Key ID -> check value, of keys that are in states of ours, or are to be."""
        return {} if self._on is None else self._on.alive

    def workload_mtu(self, link: int) -> int:
        """How large packets of workloads may be on links of that size."""
        return (0 if self._on is None else self._on.workload_mtu(link)) or link

    def problems(self) -> dict[str, str]:
        found = {
            f"IPv{family} IPsec": "this node does without this family"
            for family in self._asked - frozenset(self._families)
        }
        found |= {f"IPv{family} IPsec": _BY_WIREGUARD for family in self._by_wireguard}
        return found if self._on is None else found | self._on.problems()

    def known(self) -> IpsecStatus:
        """The same as of the last look at the kernel."""
        return self._status({f: driver.states for f, driver in self._drivers.items()})

    async def status(self) -> IpsecStatus:
        """As it is now.  Raises DataplaneError."""
        looked = [f for f in self._families if f not in self._off or self._drivers[f].has_anything]
        return self._status({family: await self._drivers[family].look() for family in looked})

    def _status(self, states: Mapping[Family, Mapping[StateId, KernelState]]) -> IpsecStatus:
        on = self._on
        found = [
            self._state(family, state)
            for family, each in states.items()
            for name, state in each.items()
            if self._drivers[family].is_ours(name)
        ]
        return IpsecStatus(
            families=tuple(self._family(family) for family in self._families),
            layout=self._layout,
            tag=0 if on is None else on.tag,
            peers=() if on is None else on.peers,
            states=tuple(sorted(found, key=lambda s: (s.peer, s.family, s.spi, s.destination))),
            doubtful=tuple(text for driver in self._drivers.values() for text in driver.doubtful),
        )

    def _family(self, family: Family) -> FamilyStatus:
        off, on = self._off.get(family), self._on
        if off is not None:
            reason = _BY_WIREGUARD if family in self._by_wireguard else ""
            return FamilyStatus(family, off.phase, reason=reason)
        assert on is not None  # a family is one or the other
        phase: Phase = "unavailable" if on.unavailable else "on"
        address, interface = on.address(family), self._uplink.name
        return FamilyStatus(family, phase, address, interface, on.unavailable)

    def _state(self, family: Family, state: KernelState) -> StateStatus:
        wish = None if self._on is None or family in self._off else self._on.wishes(family)
        found = None if wish is None else wish.get(state.id)
        counters = state.counters
        return StateStatus(
            state.id.destination,
            state.id.spi,
            state.id.spi & 0xF,
            family,
            receives=state.set_mark != 0,
            peer="" if found is None else found.peer,
            bytes=counters.bytes,
            packets=counters.packets,
            added=counters.added,
            used=counters.used,
            last_used=state.last_used,
            replayed=state.replayed,
            integrity_failed=state.integrity_failed,
            used_up=self._on is not None and self._on.is_used_up(state.id),
        )
