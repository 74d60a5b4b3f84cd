"""Routes of one address family in the main table: to workloads of this node, and to other nodes.

    in   desire              a destination, and where packets to it go
         interface_changed   which interfaces there are
         notice, lost        what others do to routes, as it happens
    out  apply               routes written, routes and conntrack entries of former owners removed
         check               the background look, and strays whose grace is over

    route_wishes      which of several routes to one destination is to be there
    route_ownership   which routes of the kernel are ours to remove
    route_order       what is written and removed first

A route is written once its interface is up; until then it waits, and that is no error.

A stray on an interface of a workload has ten seconds from when the interface was first seen, unless
we have a route there: a CNI plugin may be about to register it.  A route to other nodes that leads
elsewhere than it should has thirty seconds while the interface that it should lead over is not up:
so a pool that changes its mode keeps its old path until the new one is there.

New routes come first, then removals, then conntrack entries, then routes to an address that move
between workloads, or between here and elsewhere: they wait until no flow let through to the former
owner is remembered for the new one.
Source: projectcalico/calico felix/routetable; sections 6.3 of the rules and 1 of the routes
reference.  10,000 routes take 0.2 s (`tests/bench/routes.py`).
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Sequence

import structlog

from dataplane import rtnetlink
from dataplane.delta_tracker import DeltaTracker
from dataplane.drivers.conntrack import Conntrack
from dataplane.drivers.route_order import order_of_removal, order_of_writing
from dataplane.drivers.route_ownership import Ownership
from dataplane.drivers.route_wishes import Owner, RouteWishes
from dataplane.drivers.route_wishes import Route as Route
from dataplane.errors import DataplaneError
from dataplane.families import Family
from dataplane.interfaces import Interface
from dataplane.netlink import ROUTE, Message, NetlinkError, Socket
from dataplane.rtnetlink import BITS, MAIN, KernelRoute, RouteKey
from dataplane.settings import Settings

log = structlog.get_logger(__name__)

GRACE_SECONDS = 10.0
HOLD_SECONDS = 30.0
_ELSEWHERE = 0  # in place of a device: the address is not a workload's of this node
_MANY_DEVICES = 8  # from here on one listing of the table is cheaper than one for each


class RouteError(DataplaneError):
    """The kernel refused routes; they stay pending."""


class RouteDriver:
    """`refresh_seconds` is the time between checks, 0 for never; it may be changed at any time."""

    def __init__(self, family: Family, settings: Settings) -> None:
        self._family: Family = family
        self._enabled = settings.route_sync
        self._ownership = Ownership(family, settings)
        self.refresh_seconds = settings.intervals.routes
        self.written = 0  # routes made or deleted, since the start
        self._socket = Socket(ROUTE)
        self._conntrack = Conntrack()
        self._wishes = RouteWishes(family)
        self._interfaces: dict[str, Interface] = {}
        self._names: dict[int, str] = {}
        self._routes: DeltaTracker[RouteKey, KernelRoute] = DeltaTracker()
        self._keys: dict[str, RouteKey] = {}  # destination -> key of its route, while that is up
        self._unread: set[int] = set()  # devices whose routes have to be listed again
        self._grace: dict[int, float] = {}  # device -> until when strays are let be
        self._holds: dict[str, float] = {}  # destination that waits -> until when
        self._owners: dict[bytes, int] = {}  # address -> device that it was last behind
        self._left: set[bytes] = set()  # addresses that are nobody's any more
        self._read_at: float | None = None
        self._lock = asyncio.Lock()

    # ------------------------------------------------------------ what should be

    def desire(self, dst: str, route: Route | None, owner: Owner = Owner.WORKLOAD) -> None:
        """The route to a destination of this family; None takes it away.  Raises ValueError."""
        if not self._wishes.put(dst, owner, route):
            return
        if dst not in self._wishes:
            _, address, _ = rtnetlink.parse_net(dst)
            if address in self._owners:
                self._left.add(address)
        self._resolve(dst)

    def is_written(self, dst: str) -> bool:
        """Whether what is wanted for a destination is in the kernel, as far as its interface lets
        it; without route synchronisation always.
        """
        key = self._keys.get(dst)
        return not self._enabled or key is None or not self._routes.differs(key)

    def share_with_bird(self, interface: str, *, shared: bool) -> None:
        """Whether routes of BIRD over an interface of a workload are BIRD's to keep."""
        self._ownership.share_with_bird(interface, shared=shared)
        known = self._interfaces.get(interface)
        if known is not None and known.up:
            self._unread.add(known.index)

    def leads_over(self, interface: str) -> bool:
        """Whether routes in the kernel, besides the kernel's own, are known to lead over it."""
        known = self._interfaces.get(interface)
        return known is not None and any(
            route.device == known.index and route.protocol != rtnetlink.BY_KERNEL
            for route in self._routes.actual.values()
        )

    def interface_changed(self, name: str, interface: Interface | None) -> None:
        """It came, went, changed, or is another one by the same name; None: it is gone."""
        old = self._interfaces.pop(name, None)
        if old == interface:
            self._put(name, interface)
            return
        if old is not None and (interface is None or interface.generation != old.generation):
            self._forget(old.index, gone=interface is None or interface.index != old.index)
        self._put(name, interface)
        for dst in tuple(self._wishes.over(name)):
            self._resolve(dst)

    def _put(self, name: str, interface: Interface | None) -> None:
        if interface is None:
            return
        self._interfaces[name] = interface
        self._names[interface.index] = name
        if self._ownership.is_workload(name):
            now = asyncio.get_running_loop().time()
            self._grace.setdefault(interface.index, now + GRACE_SECONDS)
        if interface.up:
            self._unread.add(interface.index)

    def _forget(self, device: int, *, gone: bool) -> None:
        """The routes of a device that went down: the kernel drops them without a word."""
        for key in [k for k, route in self._routes.actual.items() if route.device == device]:
            self._routes.observe(key, None)
        if gone:
            self._names.pop(device, None)
            self._grace.pop(device, None)
            self._unread.discard(device)

    def _resolve(self, dst: str) -> None:
        """Tell the tracker what a destination comes to with the interfaces there are."""
        wanted = self._wishes.choose(dst, self._interfaces.get)
        before, after = self._keys.get(dst), wanted.key if wanted is not None else None
        if before is not None and before != after:
            del self._keys[dst]
            self._routes.desire(before, None)
        if wanted is None:
            if self._wishes.awaits(dst):
                until = asyncio.get_running_loop().time() + HOLD_SECONDS
                self._holds.setdefault(dst, until)
            else:
                self._holds.pop(dst, None)
            return
        self._holds.pop(dst, None)
        self._keys[dst] = wanted.key
        self._routes.desire(wanted.key, wanted)
        if wanted.device:
            self._grace[wanted.device] = 0.0

    @property
    def pending(self) -> bool:
        """Whether an apply has anything to do now; strays in their grace do not count."""
        if not self._enabled:
            return False
        if self._read_at is None or self._unread or self._left or self._routes.updates():
            return True
        return bool(self._strays(asyncio.get_running_loop().time()))

    # ------------------------------------------------------------ what is there

    def notice(self, message: Message) -> bool:
        """A notification of the kernel: true if there is something to repair."""
        if not self._enabled or message.port == self._socket.port != 0:
            return False
        if not rtnetlink.is_of(message.body, self._family, MAIN):
            return False
        found = rtnetlink.parse_route(message.body)
        if found is None:
            return False
        key, route = found.route.key, found.route
        if message.type == rtnetlink.NEWROUTE:
            self._observe(key, route)
        elif (known := self._routes.actual.get(key)) and known.device == route.device:
            self._routes.observe(key, None)
        return self._routes.differs(key)

    def lost(self) -> None:
        """Notifications were lost: everything is read again at the next apply."""
        self._read_at = None

    def next_check(self) -> float:
        """When `check` is due, in the event loop's time; infinity for never."""
        if not self._enabled or self._read_at is None:
            return float("inf")
        moments = [self._grace_of(key) for key in self._routes.deletions()]
        if self.refresh_seconds > 0:
            moments.append(self._read_at + self.refresh_seconds)
        return min(moments, default=float("inf"))

    async def check(self) -> bool:
        """Read again if it is time to.  True if an apply has something to do."""
        if not self._enabled:
            return False
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if self.refresh_seconds > 0 and self._read_at is not None:
                if now < self._read_at + self.refresh_seconds:
                    return self.pending
                self._read_at = now  # also if it fails: the next one is an interval away
                await self._read()
                drifted = len(self._routes.updates()) + len(self._strays(now))
                if drifted:
                    log.warning("route.drifted", family=self._family, count=drifted)
        return self.pending

    async def _read(self) -> None:
        found = await self._list(0)
        actual = {route.key: route for route in found if self._concerns(route)}
        self._routes.observe_all(actual)
        for route in actual.values():
            self._note_owner(route)
        self._unread.clear()
        self._read_at = asyncio.get_running_loop().time()

    async def _read_device(self, device: int) -> None:
        found = {route.key: route for route in await self._list(device)}
        for key, known in list(self._routes.actual.items()):
            if known.device == device and key not in found:
                self._routes.observe(key, None)
        for key, route in found.items():
            self._observe(key, route)

    async def _list(self, device: int) -> list[KernelRoute]:
        request = rtnetlink.list_routes(self._family, MAIN, device)
        try:
            messages = await self._socket.query(request, f"listing IPv{self._family} routes")
        except NetlinkError as error:
            if error.code != errno.ENOENT:
                raise
            return []  # there never was a route of this family, so there is no table
        parsed = (rtnetlink.parse_route(message.body) for message in messages)
        return [p.route for p in parsed if p is not None and p.table == MAIN]

    def _observe(self, key: RouteKey, route: KernelRoute) -> None:
        if self._concerns(route):
            self._routes.observe(key, route)
            self._note_owner(route)
        elif key in self._routes.actual:
            self._routes.observe(key, None)

    def _note_owner(self, route: KernelRoute) -> None:
        """Of a route that was found: one of others' is no reason to forget flows."""
        if route.key.length == BITS[self._family] and self._is_ours(route):
            self._owners.setdefault(route.key.destination, self._owner(route))

    def _concerns(self, route: KernelRoute) -> bool:
        return route.key in self._routes.desired or self._is_ours(route)

    def _is_ours(self, route: KernelRoute) -> bool:
        return self._ownership.is_ours(route, self._names.get(route.device, ""))

    def _is_workload(self, device: int) -> bool:
        return self._ownership.is_workload(self._names.get(device, ""))

    def _grace_of(self, key: RouteKey) -> float:
        device = self._routes.actual[key].device
        if self._is_workload(device):
            return self._grace.get(device, 0.0)
        if not self._holds:
            return 0.0
        dst = f"{rtnetlink.render_address(key.destination)}/{key.length}"
        until = self._holds.get(dst, 0.0)
        return 0.0 if self._names.get(device) == self._wishes.awaits(dst) else until

    def _strays(self, now: float) -> list[KernelRoute]:
        """What is ours to remove, and due."""
        actual = self._routes.actual
        return [actual[key] for key in self._routes.deletions() if self._grace_of(key) <= now]

    # ------------------------------------------------------------ writing

    async def apply(self, *, hold: bool = False) -> None:
        """Write what differs.  Raises RouteError for routes that the kernel refuses.

        `hold`: what would lead to other nodes stays as it is.
        """
        if not self._enabled:
            return
        async with self._lock:
            if self._read_at is None or len(self._unread) > _MANY_DEVICES:
                await self._read()
            while self._unread:
                await self._read_device(self._unread.pop())
            await self._write(asyncio.get_running_loop().time(), hold=hold)

    async def remove_everything(self, *, dry_run: bool = False) -> list[KernelRoute]:
        """Remove the routes that an agent makes; nothing is desired any more.

        Returns those there were.  Those of other makers stay, on interfaces of workloads too.
        Raises RouteError for routes that the kernel will not remove.
        """
        if not self._enabled:
            return []
        for dst, owner in self._wishes.all():
            self.desire(dst, None, owner)
        async with self._lock:
            await self._read()
            ours = [
                route
                for route in self._routes.actual.values()
                if self._ownership.is_made_by_us(route, self._names.get(route.device, ""))
            ]
            failures = [] if dry_run else await self._delete(ours)
        if failures:
            raise RouteError(f"routes: {', '.join(failures[:5])}")
        return ours

    def close(self) -> None:
        self._socket.close()
        self._conntrack.close()

    async def _write(self, now: float, *, hold: bool) -> None:
        updates = list(self._routes.updates().values())
        if hold:
            updates = [r for r in updates if not r.device or self._is_workload(r.device)]
        moving = [route for route in updates if self._moves(route)]
        failures = await self._replace([route for route in updates if not self._moves(route)])
        actual = self._routes.actual
        former = [actual[route.key] for route in moving if route.key in actual]
        strays = self._strays(now)
        for foreign in [route for route in strays if not self._is_ours(route)]:
            strays.remove(foreign)  # known only because ours was to take its place
            self._routes.observe(foreign.key, None)
        failures += await self._delete(strays + former)
        gone = {route.key.destination for route in strays} | self._left
        self._left.clear()
        leaving = {a for a in gone if a in self._owners and self._text(a) not in self._wishes}
        await self._forget_flows({route.key.destination for route in moving})
        failures += await self._replace(moving)
        await self._forget_flows(leaving)
        if failures:
            more = f" and {len(failures) - 5} more" if len(failures) > 5 else ""
            raise RouteError(f"routes: {', '.join(failures[:5])}{more}")

    async def _forget_flows(self, addresses: set[bytes]) -> None:
        await self._conntrack.forget(sorted(addresses))
        for address in addresses:
            self._owners.pop(address, None)

    def _moves(self, route: KernelRoute) -> bool:
        """Whether flows of an address are remembered that belong to another owner."""
        owner = self._owner(route)
        return (
            route.key.length == BITS[self._family]
            and self._owners.get(route.key.destination, owner) != owner
        )

    def _owner(self, route: KernelRoute) -> int:
        """Who a single address belongs to: between other nodes it may move as it likes."""
        return route.device if self._is_workload(route.device) else _ELSEWHERE

    def _text(self, address: bytes) -> str:
        return f"{rtnetlink.render_address(address)}/{BITS[self._family]}"

    async def _replace(self, routes: list[KernelRoute]) -> list[str]:
        """Returns what was refused; a device that has just gone is no refusal."""
        routes = order_of_writing(routes)
        requests = [rtnetlink.replace_route(self._family, MAIN, route) for route in routes]
        failures = []
        codes = await self._socket.execute(requests)
        if self._family == 6 and errno.EINVAL in codes:
            codes = await self._replace_with_help(routes, codes)
        for route, code in zip(routes, codes, strict=True):
            if not code:
                self._routes.observe(route.key, route)
                if route.key.length == BITS[self._family]:
                    self._owners[route.key.destination] = self._owner(route)
                continue
            self._routes.observe(route.key, None)
            if code != errno.ENETDOWN and (not route.device or _exists(route.device)):
                failures.append(self._refusal(route, code))
        self.written += len(routes) - len(failures)
        if routes:
            log.debug("route.written", count=len(routes) - len(failures), family=self._family)
        return failures

    async def _replace_with_help(
        self, routes: list[KernelRoute], codes: Sequence[int]
    ) -> list[int]:
        """IPv6 refuses a gateway that it knows to be behind another device, even if told otherwise:
        such as the end of a tunnel that is in the block which has just been reached directly.  So
        it is told that this one address is behind the device, as long as it takes.

        Source: linux net/ipv6/route.c, ip6_route_check_nh_onlink; seen with 6.18.
        """
        results = list(codes)
        for index, route in enumerate(routes):
            if codes[index] != errno.EINVAL or not route.on_link:
                continue
            key = RouteKey(route.gateway, BITS[6], 1)  # a metric before those of everybody else
            help_ = KernelRoute(key, route.device, rtnetlink.BY_CALICO, 0)
            _, results[index], _ = await self._socket.execute(
                [
                    rtnetlink.replace_route(6, MAIN, help_),
                    rtnetlink.replace_route(6, MAIN, route),
                    rtnetlink.delete_route(6, MAIN, key, route.device),
                ]
            )
        return results

    async def _delete(self, routes: list[KernelRoute]) -> list[str]:
        routes = order_of_removal(routes)
        requests = [
            rtnetlink.delete_route(self._family, MAIN, route.key, route.device) for route in routes
        ]
        failures = []
        for route, code in zip(routes, await self._socket.execute(requests), strict=True):
            if code in (0, errno.ESRCH, errno.ENODEV, errno.ENOENT):
                self._routes.observe(route.key, None)
            else:
                failures.append(self._refusal(route, code))
        self.written += len(routes) - len(failures)
        if routes:
            log.debug("route.removed", count=len(routes) - len(failures), family=self._family)
        return failures

    def _refusal(self, route: KernelRoute, code: int) -> str:
        address = rtnetlink.render_address(route.key.destination)
        device = self._names.get(route.device, route.device)
        over = f" dev {device}" if route.device else ""
        return f"{address}/{route.key.length}{over}: {os.strerror(code)}"


def _exists(device: int) -> bool:
    try:
        socket.if_indextoname(device)
    except OSError:
        return False
    return True
