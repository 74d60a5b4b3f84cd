"""The dataplane of one node: updates in, a kernel that agrees with them out.

    desire(updates) -- desired/ --> drivers: what should be there
    apply()                         drivers: what is there; the difference is written in this order

      1  interfaces known                      nothing is written before the monitor has listed them
  2  tables of all families, once          until then nothing below is done: see `_guard`
  3  settings of interfaces and the host   an interface without chains is closed by the dispatch
     and then, for each family by itself:
  4  IP sets made and grown                rules may ask them from now on
  5  tables                                chains and the hooks to them, one transaction a table
  6  tunnel devices and their ends         what guards a tunnel is there before it is
  7  WireGuard's peers, routes, rule       what is to be encrypted finds no other way first
  8  routes, neighbours, addresses         what leads to workloads comes after what judges them
     for workloads that speak BGP
  9  routes and peers of WireGuard, ends   nothing leads over them any more
     and devices removed
 10  IP sets shrunk and destroyed          nothing asks them any more

The tables of IPv6 wait for those of IPv4: the kernel lets a second transaction wait for about 12 ms
while it frees what the first one has deleted, and it must not be chance which family that is.

A step that fails stays pending, is said to be a problem, and is tried again with growing delays.
Without its sets a family's tables stay as they were, and before every table has our hooks nothing
after them is done: what is closed stays closed.  A setting that cannot be written keeps no route
back, because the rules in raw look at sources too.  Without its tables a family gets no new tunnel,
and without its routes it keeps the old ones.  A tunnel that this kernel does not have, or for which
something is not known yet, is a problem to be told, and no failure.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, NoReturn, assert_never

import structlog

from calc_graph.model import PolicyKey, ProfileKey
from calc_graph.updates import (
    EncapUpdate,
    HostEndpointRemove,
    HostEndpointUpdate,
    HostRemove,
    HostUpdate,
    IpsetDelta,
    IpsetRemove,
    IpsetUpdate,
    PolicyRemove,
    PolicyUpdate,
    PoolRemove,
    PoolUpdate,
    ProfileRemove,
    ProfileUpdate,
    RouteRemove,
    RouteUpdate,
    ServiceCidrsUpdate,
    TunnelAddresses,
    Update,
    VtepRemove,
    VtepUpdate,
    WireguardEndpoint,
    WireguardEndpointRemove,
    WorkloadEndpointRemove,
    WorkloadEndpointUpdate,
)
from dataplane.clear_packets import ClearPackets, read_clear_packets
from dataplane.desired.addresses import Addresses
from dataplane.desired.encryption import Encryption
from dataplane.desired.fixed import desire_fixed, desire_static_chains, with_wireguard
from dataplane.desired.hosts import Hosts
from dataplane.desired.policies import Policies
from dataplane.desired.sets import RuleSets
from dataplane.desired.shared import SharedChains
from dataplane.desired.sinks import Sinks
from dataplane.desired.unwritten import NEIGHBOURS, Unwritten, routes_step, tables_step
from dataplane.desired.workloads import Workloads
from dataplane.drivers.ipsets import IpsetDriver
from dataplane.drivers.iptables.driver import IptablesDriver
from dataplane.drivers.links import LinkDriver
from dataplane.drivers.neighbours import NeighbourDriver
from dataplane.drivers.peer_addresses import PeerAddressDriver
from dataplane.drivers.routes import RouteDriver
from dataplane.drivers.sysctls import SysctlDriver
from dataplane.drivers.vteps import VtepDriver
from dataplane.dropped import Dropped, read_dropped
from dataplane.endpoint_states import EndpointKey, EndpointStates, LocalEndpoint
from dataplane.errors import ChainsRefusedError, DataplaneError
from dataplane.families import Family
from dataplane.interfaces import Changes, Interface, InterfaceMonitor
from dataplane.looks import Looks
from dataplane.mtu_file import MtuFile
from dataplane.overlay.overlays import Overlays
from dataplane.render.encryption import NO_GUARDS
from dataplane.render.overlays import NO_OVERLAYS
from dataplane.settings import VXLAN_DEVICES, Intervals, Settings
from dataplane.wireguard.host import desire_host_settings
from dataplane.wireguard.status import FamilyStatus
from dataplane.wireguard.wireguard import Wireguard

log = structlog.get_logger(__name__)

PEER_ADDRESSES = "addresses for BGP"
FIRST_RETRY, LAST_RETRY = 0.1, 10.0  # seconds


class Applied(NamedTuple):
    """One apply: how long it took, which steps failed and are tried again, how much of what was
    written, and what was asked for and cannot be had, whatever the kernel does.
    """

    seconds: float
    failures: Mapping[str, str]  # by step
    written: Mapping[str, int] = {}
    refused: Mapping[str, str] = {}  # by what was asked

    @property
    def problems(self) -> dict[str, str]:
        """All that is wrong after it."""
        return {**self.failures, **self.refused}

    @property
    def complete(self) -> bool:
        """Whether what was asked for before, and can be had, is in the kernel."""
        return not self.failures


class Summary(NamedTuple):
    """What is in force, in figures."""

    workload_endpoints: int
    host_endpoints: int
    policies: int
    ipsets: int


class Dataplane:
    """`wake` is called whenever there may be work: an interface has changed, or somebody's hand was
    in our tables.
    """

    def __init__(
        self,
        settings: Settings,
        tables: dict[Family, IptablesDriver],
        monitor: InterfaceMonitor,
        wake: Callable[[], None],
    ) -> None:
        self._wake = wake
        self._tables = tables
        self._monitor = monitor
        self._ipsets: dict[Family, IpsetDriver] = {
            family: IpsetDriver(family, settings.max_ipset_size) for family in tables
        }
        self._routes: dict[Family, RouteDriver] = {f: RouteDriver(f, settings) for f in tables}
        self._neighbours = NeighbourDriver()
        self._sysctls = SysctlDriver()
        self._vteps = {family: VtepDriver(family, VXLAN_DEVICES[family]) for family in tables}
        self._links = LinkDriver()
        self._peer_addresses = PeerAddressDriver(settings)
        self._sinks = sinks = Sinks(
            tables,
            self._ipsets,
            self._routes,
            self._neighbours,
            self._sysctls,
            self._vteps,
            self._links,
            self._peer_addresses,
        )
        self._settings = settings
        shared = SharedChains(sinks)
        render = settings.render
        self._counts = render.workload_to_host_rate > 0 or render.fabric_spoof_protection != "Off"
        self._sets = RuleSets(sinks)
        self._policies = Policies(sinks, render)
        selector_of = self._policies.selectors.__getitem__
        self._unwritten = Unwritten(sinks.families)
        self._workloads = Workloads(
            sinks, settings, selector_of, shared, self._index_of, self._unwritten
        )
        self._hosts = Hosts(sinks, settings, selector_of, shared, self._unwritten)
        self._addresses = Addresses(sinks, settings)
        self._encryption = Encryption(sinks, settings)
        self._wireguard = Wireguard(tables, settings, lambda: self._links.unavailable)
        self._overlays = Overlays(sinks, settings, self._wireguard)
        self._fixed_rules = dict.fromkeys(tables, (NO_OVERLAYS, NO_GUARDS))
        self._mtu_file = MtuFile(
            settings.tunnels.mtu_file, required=settings.tunnels.mtu_file_required
        )
        self._complete: dict[str, Callable[[str], bool]] = {
            NEIGHBOURS: self._workloads.has_neighbours,
            **{
                routes_step(family): partial(self._workloads.is_routed, family=family)
                for family in tables
            },
        }
        self._states = EndpointStates(
            self._workloads,
            self._hosts,
            self._unwritten,
            lambda name: self._monitor.interfaces.get(name),
            self._sysctls.configured,
        )
        self._used_ipsets: set[str] = set()
        desire_fixed(sinks, settings)
        desire_host_settings(self._sysctls, settings.wireguard)
        self._guarded = False  # the tables have been written at least once
        self._guards = {s for f in tables for s in (tables_step(f), f"IPv{f} sets")}
        self._in_force = False  # and an apply has had no problem with these steps
        self._retry = FIRST_RETRY
        self._retry_at: float | None = None
        self._pending = True  # there is something to write
        self._told = False  # and some of it is new since the last apply
        self._problems: dict[str, str] = {}  # step -> what is wrong with it
        self._partly: set[str] = set()  # of these, those that have written what they could
        self._looks = Looks(
            {
                "neighbours": self._neighbours,
                PEER_ADDRESSES: self._peer_addresses,
                "settings": self._sysctls,
                "tunnels": self._links,
                **{f"IPv{family} tunnel ends": driver for family, driver in self._vteps.items()},
                **{f"IPv{family} sets": driver for family, driver in self._ipsets.items()},
                **{routes_step(family): driver for family, driver in self._routes.items()},
                **self._wireguard.checks(),
            },
            {tables_step(family): driver for family, driver in tables.items()},
            self._note_found,
            wake,
        )
        self._listening: asyncio.Task[NoReturn] | None = None
        self.set_intervals(settings.intervals)

    async def start(self) -> None:
        """List the interfaces.  Raises DataplaneError."""
        for routes in self._routes.values():
            self._monitor.watch_routes(routes)
        self._wireguard.watch_routes(self._monitor)
        self._note_interfaces(Changes(await self._monitor.start()))
        self._listening = asyncio.create_task(
            self._monitor.run(self._note_interfaces), name="interfaces"
        )
        self._listening.add_done_callback(lambda _: self._wake())

    async def close(self) -> None:
        """End processes and sockets; the kernel stays as it is."""
        await self._looks.close()
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        self._monitor.close()
        for tables in self._tables.values():
            await tables.close()
        for sets in self._ipsets.values():
            sets.close()
        for routes in self._routes.values():
            routes.close()
        for vteps in self._vteps.values():
            vteps.close()
        self._wireguard.close()
        self._links.close()
        self._neighbours.close()
        self._peer_addresses.close()

    @property
    def backend(self) -> str:
        kind = self._tables[4].backend
        families = "IPv4 and IPv6" if 6 in self._tables else "IPv4 only"
        return f"iptables {kind.kind} {'.'.join(map(str, kind.version))}, {families}"

    def set_intervals(self, intervals: Intervals) -> None:
        """Exchange the refresh intervals; the only settings that can be exchanged in place."""
        for tables in self._tables.values():
            tables.set_intervals(intervals)
        for ipsets in self._ipsets.values():
            ipsets.refresh_seconds = intervals.ipsets
        for routes in self._routes.values():
            routes.refresh_seconds = intervals.routes
        for vteps in self._vteps.values():
            vteps.refresh_seconds = intervals.routes
        self._wireguard.set_refresh(intervals.routes)
        self._neighbours.refresh_seconds = intervals.routes
        self._links.refresh_seconds = intervals.interfaces
        self._peer_addresses.refresh_seconds = intervals.interfaces
        self._sysctls.refresh_seconds = intervals.interfaces
        self._monitor.refresh_seconds = intervals.interfaces

    # ---------------------------------------------------------------- desired

    def desire(self, updates: Iterable[Update]) -> None:
        """Note what should be; nothing is written before `apply`."""
        self._pending = self._told = True
        for update in updates:
            match update:
                case IpsetUpdate() | IpsetDelta() | IpsetRemove():
                    self._sets.update(update)
                    self._count_ipset(update)
                case PolicyUpdate() | PolicyRemove() | ProfileUpdate() | ProfileRemove():
                    if isinstance(update, PolicyUpdate | PolicyRemove):
                        self._encryption.update(update)
                    if self._policies.update(update) and isinstance(update, PolicyUpdate):
                        self._workloads.policy_regrouped(update.key)
                        self._hosts.policy_regrouped(update.key)
                case WorkloadEndpointUpdate() | WorkloadEndpointRemove():
                    self._workloads.update(update)
                case HostEndpointUpdate() | HostEndpointRemove():
                    self._hosts.update(update)
                case PoolUpdate() | PoolRemove():
                    self._addresses.update(update)
                    self._encryption.update(update)
                    self._wireguard.update(update)
                case ServiceCidrsUpdate():
                    self._addresses.update(update)
                case HostUpdate() | HostRemove():
                    self._addresses.update(update)
                    self._overlays.update(update)
                    self._wireguard.update(update)
                case RouteUpdate() | RouteRemove():
                    self._encryption.update(update)
                    self._overlays.update(update)
                    self._wireguard.update(update)
                case WireguardEndpoint() | WireguardEndpointRemove():
                    self._overlays.update(update)
                    self._wireguard.update(update)
                case VtepUpdate() | VtepRemove() | TunnelAddresses() | EncapUpdate():
                    self._overlays.update(update)
                case _:
                    assert_never(update)

    def _count_ipset(self, update: IpsetUpdate | IpsetDelta | IpsetRemove) -> None:
        if isinstance(update, IpsetRemove):
            self._used_ipsets.discard(update.id)
        else:
            self._used_ipsets.add(update.id)

    def summary(self) -> Summary:
        return Summary(
            len(self._workloads.endpoints()),
            len(self._hosts.governed),
            sum(not key.staged for key in self._policies.selectors),
            len(self._used_ipsets),
        )

    def ipsets(self) -> dict[Family, int]:
        """Sets of ours in the kernel; may be asked by a thread."""
        return {family: sets.size() for family, sets in self._ipsets.items()}

    def tables(self) -> dict[tuple[Family, str], tuple[int, int]]:
        """Chains and rules of ours in the kernel, by family and table; may be asked by a thread."""
        return {
            (family, name): size
            for family, tables in self._tables.items()
            for name, size in tables.sizes().items()
        }

    async def dropped(self) -> Dropped:
        """What was refused besides policy, asked of the kernel; nothing where nothing can be.

        May be awaited in another thread's loop.  Raises DataplaneError.
        """
        counts = self._counts or self._encryption.required
        return await read_dropped(self._tables) if counts else Dropped()

    async def clear_packets(self) -> ClearPackets:
        """What has left in clear to workloads of other nodes, for families with WireGuard.

        As `read_clear_packets`.
        """
        return await read_clear_packets(sorted(self._settings.wireguard.families))

    @property
    def in_force(self) -> bool:
        """Whether an apply has had no problem with tables and sets, at least once."""
        return self._in_force

    @property
    def interfaces(self) -> Mapping[str, Interface]:
        """Those of the machine, by name; it changes with them."""
        return self._monitor.interfaces

    def wireguard_keys(self) -> dict[Family, str]:
        """The public keys to publish, in base64: "" where there is to be none.

        A family is left out while that is not known: what is published then stays.
        """
        return self._wireguard.keys()

    async def wireguard_status(self) -> tuple[FamilyStatus, ...]:
        """As the kernel has it now, family by family; for the loop that applies, not a thread's.

        Raises DataplaneError.
        """
        return await self._wireguard.status(await self.clear_packets())

    def wireguard_known(self) -> tuple[FamilyStatus, ...]:
        """The same as of the last look, without what has left in clear; costs no word to the
        kernel.
        """
        return self._wireguard.known()

    def take_endpoint_changes(self) -> dict[EndpointKey, LocalEndpoint | None]:
        """The local endpoints whose state, or what is told of them, differs from what was taken
        last; None for those that are gone.

        Empty before `in_force`; then and after each apply it tells what that has come to.  Costs
        nothing when nothing has changed.
        """
        return self._states.take()

    # ---------------------------------------------------------------- interfaces

    def _index_of(self, name: str) -> int | None:
        interface = self._monitor.interfaces.get(name)
        return None if interface is None else interface.index

    def _note_interfaces(self, changes: Changes) -> None:
        """What the monitor has to say, as it happens."""
        names = [*changes.changed, *changes.gone]
        for name in names:
            interface = changes.changed.get(name)
            for routes in self._routes.values():
                routes.interface_changed(name, interface)
            for vteps in self._vteps.values():
                vteps.interface_changed(name, interface)
            self._links.interface_changed(name, interface)
            self._wireguard.interface_changed(name, interface)
            self._neighbours.interface_changed(name, interface)
            self._peer_addresses.interface_changed(name, interface)
            self._sysctls.interface_changed(name, interface)
            self._workloads.interface_changed(name)
        if names:
            everything = list(self._monitor.interfaces.values())
            self._hosts.interfaces_changed(everything)
            self._addresses.interfaces_changed(everything)
            self._overlays.interfaces_changed(self._monitor.interfaces)
            self._told = True
            log.debug("interfaces.changed", names=sorted(names))
        self._pending = True
        self._wake()

    def _note_found(self) -> None:
        self._pending = True

    # ---------------------------------------------------------------- writing

    def seconds_to_next(self) -> float:
        """How long nothing needs to be done unless something happens; perhaps infinite."""
        now = asyncio.get_running_loop().time()
        if self._pending:
            if self._retry_at is None or self._told:
                return 0.0
            return max(0.0, self._retry_at - now)
        return self._looks.seconds_to_next(now)

    async def apply(self) -> Applied | None:
        """Write what is pending, and look at what is due to be looked at.  None: nothing was.

        Never raises DataplaneError: what went wrong is in the result, stays pending, and is tried
        again when `seconds_to_next` says so.
        """
        if self._listening is not None and self._listening.done():
            self._listening.result()  # it listens for ever; its end is a failure, and is raised
        self._looks.end()
        now = asyncio.get_running_loop().time()
        self._looks.begin(now)
        dirty = self._pending or any(t.dirty() for t in self._tables.values())
        if not dirty or (self._retry_at is not None and now < self._retry_at and not self._told):
            return None
        self._pending = self._told = False
        self._problems = {}
        self._partly.clear()
        self._resolve()
        before = self._written()
        await self._write()
        seconds = asyncio.get_running_loop().time() - now
        if self._problems:
            self._pending = True
            self._retry_at = asyncio.get_running_loop().time() + self._retry
            self._retry = min(self._retry * 2, LAST_RETRY)
        else:
            self._retry, self._retry_at = FIRST_RETRY, None
        # Routes and the like are asked of each endpoint: one that is refused is no other's matter.
        self._in_force |= not any(name in self._problems for name in self._guards)
        if self._in_force:
            self._states.judge()
        return Applied(seconds, self._problems, self._written() - before, self._refused())

    def _written(self) -> Counter[str]:
        return Counter(
            chains=sum(tables.written for tables in self._tables.values()),
            members=sum(sets.written for sets in self._ipsets.values()),
            settings=self._sysctls.written,
            routes=sum(routes.written for routes in self._routes.values()),
            neighbours=self._neighbours.written,
            peer_addresses=self._peer_addresses.written,
            tunnels=self._links.written,
            tunnel_ends=sum(vteps.written for vteps in self._vteps.values()),
            wireguard=self._wireguard.written,
        )

    def _resolve(self) -> None:
        self._overlays.resolve()
        self._addresses.need_hosts(needed=self._overlays.hosts_matter)
        for part in (self._workloads, self._hosts, self._addresses, self._encryption):
            part.resolve()
        for family, before in self._fixed_rules.items():
            tunnels = self._overlays.tunnels(family)
            rules = (
                with_wireguard(tunnels, self._settings, family, self._monitor.interfaces),
                self._encryption.guards(family),
            )
            if rules != before:
                self._fixed_rules[family] = rules
                desire_static_chains(self._sinks, self._settings, family, *rules)
        self._mtu_file.desire(self._overlays.workload_mtu)

    def _refused(self) -> dict[str, str]:
        """What was asked for and cannot be had, whatever the kernel does."""
        found = {_named(key): text for key, text in self._policies.problems.items()}
        for key, text in self._workloads.problems.items():
            found[f"workload endpoint {key.workload}"] = text
        for endpoint in self._hosts.unmatched():
            found[f"host endpoint {endpoint.name}"] = "governs no interface of this host"
        for vteps in self._vteps.values():
            found |= vteps.problems()
        return (
            found | self._overlays.problems | self._wireguard.problems() | self._links.unavailable
        )

    async def _write(self) -> None:
        """In the order of the module's drawing."""
        done: dict[Family, bool] = {}
        if not self._guarded:
            done = await self._guard()
            if not self._guarded:
                return
        await self._step("settings", self._sysctls.apply())
        await self._step("MTU file", self._mtu_file.apply())
        turns = [asyncio.Event() for _ in range(len(self._tables) + 1)]
        turns[0].set()
        await asyncio.gather(
            *(
                self._write_family(family, *pair, done.get(family))
                for family, pair in zip(self._tables, pairwise(turns), strict=True)
            )
        )

    async def _guard(self) -> dict[Family, bool]:
        """The first rules of all families, side by side; which of them are as they should be."""
        written = await asyncio.gather(*(self._write_rules(family) for family in self._tables))
        if all(tables.guards() for tables in self._tables.values()):
            self._guarded = True
            for family, tables in self._tables.items():
                self._looks.start(f"IPv{family} leftovers", _swept(tables))
        return dict(zip(self._tables, written, strict=True))

    async def _write_family(
        self, family: Family, turn: asyncio.Event, next_turn: asyncio.Event, written: bool | None
    ) -> None:
        """`written`: what has become of its rules already; None where they are still to come."""
        if written is None:
            written = await self._write_rules(family, turn)
        next_turn.set()
        links, ends = self._links, self._vteps[family]
        guarded = written or tables_step(family) in self._partly
        await self._step(f"IPv{family} tunnels", links.apply(family, make=guarded))
        await self._step(f"IPv{family} tunnel ends", ends.apply_additions())
        await self._wireguard.before(family, self._step)
        routed = await self._step(routes_step(family), self._routes[family].apply())
        if family == 4:
            await self._step(NEIGHBOURS, self._neighbours.apply())
            await self._step(PEER_ADDRESSES, self._peer_addresses.apply())
        if routed:
            await self._wireguard.after(family, self._step)
            await self._step(f"IPv{family} tunnel ends", ends.apply_removals())
            leads_over = self._routes[family].leads_over
            await self._step(f"IPv{family} tunnels", links.remove(family, leads_over))
        if written:
            await self._step(f"IPv{family} sets", self._ipsets[family].apply_removals())

    async def _write_rules(self, family: Family, turn: asyncio.Event | None = None) -> bool:
        """IP sets, then tables when it is their turn; whether the tables are as they should be."""
        name, sets = f"IPv{family} sets", self._ipsets[family]
        grown = await self._step(name, sets.apply_additions())
        if turn is not None:
            await turn.wait()
        if grown and await self._step(tables_step(family), self._tables[family].apply()):
            return True
        await self._step(name, sets.shrink())  # no permission outlives its reason
        return False

    async def _step(self, name: str, work: Coroutine[Any, Any, None]) -> bool:
        begun = self._unwritten.begin(name)
        try:
            await work
        except DataplaneError as error:
            if isinstance(error, ChainsRefusedError):
                self._unwritten.end_refused(name, begun, error.refused)
                self._partly.add(name)
            else:
                complete = self._complete.get(name)
                missing = {i for i in begun if complete is None or not complete(i)}
                self._unwritten.end(name, begun, missing)
            self._problems[name] = str(error)
            log.error("dataplane.step_failed", step=name, reason=str(error))
            return False
        self._unwritten.end(name, begun)
        return True


async def _swept(tables: IptablesDriver) -> bool:
    """What an agent on the other backend has left goes once ours is in force.

    True if that may have set IP sets free.
    """
    return await tables.sweep_other_backend() > 0


def _named(key: PolicyKey | ProfileKey) -> str:
    if isinstance(key, ProfileKey):
        return f"profile {key.name}"
    return f"{key.kind} {key.namespace}/{key.name}" if key.namespace else f"{key.kind} {key.name}"
