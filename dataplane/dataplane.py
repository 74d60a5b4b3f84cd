"""The dataplane of one node: updates in, a kernel that agrees with them out.

    desire(updates) -- desired/ --> drivers/     what should be there
    apply()                                      what is there; the difference is written in the
                                                 order that write_order.py draws
    interfaces.py                                tells both which interfaces there are
    looks.py                                     beside the writing: what others may have changed

What goes wrong is said, stays pending, and is tried again with growing delays; what cannot be had,
whatever is tried, is only said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, NoReturn

import structlog

from calc_graph.updates import Update
from dataplane.clear_packets import ClearPackets, read_clear_packets
from dataplane.desired.desired import Desired, Summary
from dataplane.desired.unwritten import Unwritten, tables_step
from dataplane.drivers.drivers import Drivers
from dataplane.drivers.iptables.driver import IptablesDriver
from dataplane.dropped import Dropped, read_dropped
from dataplane.endpoint_states import EndpointKey, EndpointStates, LocalEndpoint
from dataplane.families import Family
from dataplane.interfaces import Changes, Interface, InterfaceMonitor
from dataplane.looks import Looks
from dataplane.mtu_file import MtuFile
from dataplane.settings import Intervals, Settings
from dataplane.wireguard.wireguard import Wireguard
from dataplane.write_order import WriteOrder

log = structlog.get_logger(__name__)

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


class Dataplane:
    """`wake` is called whenever there may be work: an interface has changed, or somebody's hand was
    in our tables.
    """

    def __init__(
        self,
        settings: Settings,
        tables: Mapping[Family, IptablesDriver],
        monitor: InterfaceMonitor,
        wake: Callable[[], None],
    ) -> None:
        self._wake = wake
        self._settings = settings
        self._monitor = monitor
        self._drivers = drivers = Drivers(settings, tables)
        self._unwritten = Unwritten(drivers.families)
        self._desired = Desired(
            drivers, settings, drivers.wireguard, self._unwritten, monitor.interfaces
        )
        self._mtu_file = MtuFile(
            settings.tunnels.mtu_file, required=settings.tunnels.mtu_file_required
        )
        self._states = EndpointStates(
            self._desired.workloads,
            self._desired.hosts,
            self._unwritten,
            monitor.interfaces.get,
            drivers.sysctls.configured,
        )
        self._looks = Looks(
            drivers.checks(),
            {tables_step(family): driver for family, driver in tables.items()},
            self._note_found,
            wake,
        )
        self._order = WriteOrder(
            drivers, self._mtu_file, self._unwritten, self._desired.served(), self._looks
        )
        self._retry = FIRST_RETRY
        self._retry_at: float | None = None
        self._pending = True  # there is something to write
        self._told = False  # and some of it is new since the last apply
        self._listening: asyncio.Task[NoReturn] | None = None
        self.set_intervals(settings.intervals)

    async def start(self) -> None:
        """List the interfaces.  Raises DataplaneError."""
        self._drivers.watch_routes(self._monitor)
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
        await self._drivers.close()

    def set_intervals(self, intervals: Intervals) -> None:
        """Exchange the refresh intervals; the only settings that can be exchanged in place."""
        self._drivers.set_intervals(intervals)
        self._monitor.refresh_seconds = intervals.interfaces

    # ---------------------------------------------------------------- asked

    @property
    def backend(self) -> str:
        kind = self._drivers.tables[4].backend
        families = "IPv4 and IPv6" if 6 in self._drivers.tables else "IPv4 only"
        return f"iptables {kind.kind} {'.'.join(map(str, kind.version))}, {families}"

    @property
    def in_force(self) -> bool:
        """Whether an apply has had no problem with tables and sets, at least once."""
        return self._order.in_force

    @property
    def interfaces(self) -> Mapping[str, Interface]:
        """Those of the machine, by name; it changes with them."""
        return self._monitor.interfaces

    @property
    def wireguard(self) -> Wireguard:
        """To be asked for its keys and status."""
        return self._drivers.wireguard

    def summary(self) -> Summary:
        return self._desired.summary()

    def ipsets(self) -> dict[Family, int]:
        """Sets of ours in the kernel; may be asked by a thread."""
        return {family: sets.size() for family, sets in self._drivers.ipsets.items()}

    def tables(self) -> dict[tuple[Family, str], tuple[int, int]]:
        """Chains and rules of ours in the kernel, by family and table; may be asked by a thread."""
        return {
            (family, name): size
            for family, tables in self._drivers.tables.items()
            for name, size in tables.sizes().items()
        }

    async def dropped(self) -> Dropped:
        """What was refused besides policy, asked of the kernel; nothing where nothing can be.

        May be awaited in another thread's loop.  Raises DataplaneError.
        """
        render = self._settings.render
        counts = render.workload_to_host_rate > 0 or render.fabric_spoof_protection != "Off"
        if counts or self._desired.encryption.required:
            return await read_dropped(self._drivers.families)
        return Dropped()

    async def clear_packets(self) -> ClearPackets:
        """What has left in clear to workloads of other nodes, for families with WireGuard.

        As `read_clear_packets`.
        """
        return await read_clear_packets(sorted(self._settings.wireguard.families))

    def take_endpoint_changes(self) -> dict[EndpointKey, LocalEndpoint | None]:
        """The local endpoints whose state, or what is told of them, differs from what was taken
        last; None for those that are gone.

        Empty before `in_force`; then and after each apply it tells what that has come to.  Costs
        nothing when nothing has changed.
        """
        return self._states.take()

    # ---------------------------------------------------------------- told

    def desire(self, updates: Iterable[Update]) -> None:
        """Note what should be; nothing is written before `apply`."""
        self._pending = self._told = True
        self._desired.update(updates)

    def _note_interfaces(self, changes: Changes) -> None:
        """What the monitor has to say, as it happens."""
        names = [*changes.changed, *changes.gone]
        for name in names:
            self._drivers.interface_changed(name, changes.changed.get(name))
        if names:
            self._desired.interfaces_changed(names)
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
        dirty = self._pending or any(t.dirty() for t in self._drivers.tables.values())
        if not dirty or (self._retry_at is not None and now < self._retry_at and not self._told):
            return None
        self._pending = self._told = False
        self._resolve()
        before = self._drivers.written()
        failures = await self._order.write()
        seconds = asyncio.get_running_loop().time() - now
        if failures:
            self._pending = True
            self._retry_at = asyncio.get_running_loop().time() + self._retry
            self._retry = min(self._retry * 2, LAST_RETRY)
        else:
            self._retry, self._retry_at = FIRST_RETRY, None
        if self.in_force:
            self._states.judge()
        return Applied(seconds, failures, self._drivers.written() - before, self._refused())

    def _resolve(self) -> None:
        self._desired.resolve()
        self._mtu_file.desire(self._desired.overlays.workload_mtu)

    def _refused(self) -> dict[str, str]:
        """What was asked for and cannot be had, whatever the kernel does."""
        return self._desired.problems() | self._drivers.problems()
