"""The routing table of WireGuard, one family: where packets to each destination go.

    in   desire              a destination and a kind of route
         interface_changed   which interfaces there are
         notice, lost        what others do to routes, as it happens
    out  apply               routes written, then others removed
         read                what the table says
         check               the background look

    device        to the device of WireGuard, straight: every peer is behind it
    throw         back to the tables that are asked later
    unreachable   refused here, with a word to whoever sent it

A change of kind replaces the route of the same key, so there is no moment between.  The kernel
drops the routes of a device that goes, or goes down, and without them the packets would go to the
next table, in clear.  So each route to the device has another below it, of a metric that counts
only when it is gone, and that one refuses.  While the device is not up, its routes refuse as well.

Everything is ours that leads to the device of WireGuard or to none, whoever made it; what leads
elsewhere stays, because nobody would make it by mistake.  Nothing has any grace, and flows are not
forgotten: all destinations are other nodes'.

A table exists once it has a route.  What cannot be written keeps what should go from going.
Source: projectcalico/calico felix/wireguard, felix/routetable; sections 1.3, 3.6 and 5.6 of the
routes reference.
"""

from __future__ import annotations

import asyncio
import errno
import os

import structlog

from dataplane import rtnetlink
from dataplane.delta_tracker import DeltaTracker
from dataplane.drivers.route_order import order_of_removal, order_of_writing
from dataplane.drivers.routes import RouteError
from dataplane.families import Family
from dataplane.interfaces import Interface
from dataplane.netlink import ROUTE, Message, NetlinkError, Socket
from dataplane.rtnetlink import KernelRoute, RouteKey
from dataplane.settings import Settings
from dataplane.wireguard.state import RouteKind

log = structlog.get_logger(__name__)

FLOOR_METRIC = 65535  # of the route below
_METRIC = {4: 0, 6: 1024}  # as the kernel numbers a route of which nothing was said
_TYPES: dict[RouteKind, int] = {
    "device": rtnetlink.UNICAST,
    "throw": rtnetlink.THROW,
    "unreachable": rtnetlink.UNREACHABLE,
}
_KINDS: dict[int, RouteKind] = {number: kind for kind, number in _TYPES.items()}


def routes_of(
    family: Family, net: str, kind: RouteKind | None, device: int, protocol: int
) -> dict[RouteKey, KernelRoute | None]:
    """What is to be under both keys of a destination.  `device` is 0 while it is not up.

    Raises ValueError for what is no net.
    """
    _, address, length = rtnetlink.parse_net(net)
    key = RouteKey(address, length, _METRIC[family])
    floor = RouteKey(address, length, FLOOR_METRIC)
    if kind is None:
        return {key: None, floor: None}
    if kind != "device":
        return {key: KernelRoute(key, 0, protocol, 0, type=_TYPES[kind]), floor: None}
    refusal = KernelRoute(floor, 0, protocol, 0, type=rtnetlink.UNREACHABLE)
    if not device:
        return {key: refusal._replace(key=key), floor: refusal}
    scope = rtnetlink.LINK_SCOPE if family == 4 else 0
    return {key: KernelRoute(key, device, protocol, scope), floor: refusal}


class WireguardRouteDriver:
    """`refresh_seconds` is the time between checks, 0 for never; it may be changed at any time."""

    def __init__(self, family: Family, settings: Settings) -> None:
        self._family: Family = family
        self._table = settings.wireguard.table
        self._name = settings.wireguard.devices[0 if family == 4 else 1]
        self._protocol = settings.device_route_protocol
        self._enabled = settings.route_sync
        self.refresh_seconds = settings.intervals.routes
        self.written = 0  # routes made or deleted, since the start
        self._socket = Socket(ROUTE)
        self._wishes: dict[str, RouteKind] = {}
        self._device: Interface | None = None
        self._routes: DeltaTracker[RouteKey, KernelRoute] = DeltaTracker()
        self._read_at: float | None = None
        self._lock = asyncio.Lock()

    # ------------------------------------------------------------ what should be

    def desire(self, net: str, kind: RouteKind | None) -> None:
        """A canonical CIDR of this family; None takes its route away.  Raises ValueError."""
        if self._wishes.get(net) == kind:
            return
        if rtnetlink.parse_net(net)[0] != self._family:
            raise ValueError(f"{net} is not of IPv{self._family}")
        if kind is None:
            del self._wishes[net]
        else:
            self._wishes[net] = kind
        self._resolve(net)

    def _resolve(self, net: str) -> None:
        device = self._device.index if self._device is not None and self._device.up else 0
        wanted = routes_of(self._family, net, self._wishes.get(net), device, self._protocol)
        for key, route in wanted.items():
            self._routes.desire(key, route)

    def is_written(self, net: str) -> bool:
        """Whether what is wanted for a destination is in the kernel, as far as the device lets it;
        without route synchronisation always.
        """
        keys = routes_of(self._family, net, None, 0, 0)
        known = not self._enabled or self._read_at is not None
        return known and not (self._enabled and any(map(self._routes.differs, keys)))

    def interface_changed(self, name: str, interface: Interface | None) -> None:
        """It came, went, changed, or is another one by the same name; None: it is gone."""
        if name != self._name:
            return
        old, self._device = self._device, interface
        if _life(old) == _life(interface):
            return
        if old is not None:
            # The kernel drops the routes of a device that goes down, in IPv4 without a word.
            for key in [k for k, r in self._routes.actual.items() if r.device == old.index]:
                self._routes.observe(key, None)
        self._read_at = None
        for net in [net for net, kind in self._wishes.items() if kind == "device"]:
            self._resolve(net)

    @property
    def pending(self) -> bool:
        """Whether an apply has anything to do."""
        return self._enabled and (self._read_at is None or not self._routes.in_sync)

    # ------------------------------------------------------------ what is there

    def notice(self, message: Message) -> bool:
        """A notification of the kernel: true if there is something to repair."""
        if not self._enabled or message.port == self._socket.port != 0:
            return False
        found = rtnetlink.parse_route(message.body)
        if found is None or (found.family, found.table) != (self._family, self._table):
            return False
        key, route = found.route.key, found.route
        if message.type == rtnetlink.NEWROUTE:
            self._routes.observe(key, route if self._concerns(route) else None)
        elif (known := self._routes.actual.get(key)) and known.device == route.device:
            self._routes.observe(key, None)
        return self._routes.differs(key)

    def lost(self) -> None:
        """Notifications were lost: everything is read again at the next apply."""
        self._read_at = None

    def next_check(self) -> float:
        """When `check` is due, in the event loop's time; infinity for never."""
        if not self._enabled or self._read_at is None or self.refresh_seconds <= 0:
            return float("inf")
        return self._read_at + self.refresh_seconds

    async def check(self) -> bool:
        """Read again if it is time to.  True if an apply has something to do."""
        if self.next_check() <= asyncio.get_running_loop().time():
            async with self._lock:
                self._read_at = asyncio.get_running_loop().time()  # also if it fails
                await self._read()
                drifted = len(self._routes.updates()) + len(self._routes.deletions())
                if drifted:
                    log.warning("wireguard_route.drifted", family=self._family, count=drifted)
        return self.pending

    async def read(self) -> dict[str, RouteKind]:
        """What the table says now of each destination, as far as that is ours: where an agent
        before this one has led it.  Raises NetlinkError.
        """
        if not self._enabled:
            return {}
        found = sorted((r for r in await self._list() if self._is_ours(r)), key=_by_preference)
        kinds: dict[str, RouteKind] = {}
        for route in found:
            if route.type in _KINDS:
                kinds.setdefault(_text(route), _KINDS[route.type])
        return kinds

    async def _read(self) -> None:
        found = await self._list()
        self._routes.observe_all({route.key: route for route in found if self._concerns(route)})
        self._read_at = asyncio.get_running_loop().time()

    async def _list(self) -> list[KernelRoute]:
        request = rtnetlink.list_routes(self._family, self._table)
        try:
            messages = await self._socket.query(request, "listing routes of WireGuard")
        except NetlinkError as error:
            if error.code != errno.ENOENT:
                raise
            return []  # nothing was ever written to the table
        parsed = (rtnetlink.parse_route(message.body) for message in messages)
        here = (self._family, self._table)
        return [p.route for p in parsed if p is not None and (p.family, p.table) == here]

    def _concerns(self, route: KernelRoute) -> bool:
        return route.key in self._routes.desired or self._is_ours(route)

    def _is_ours(self, route: KernelRoute) -> bool:
        if route.protocol == rtnetlink.BY_KERNEL:
            return False
        if route.type in rtnetlink.NOWHERE:
            return True
        return self._device is not None and route.device == self._device.index

    # ------------------------------------------------------------ writing

    async def apply(self) -> None:
        """Write what differs.  Raises RouteError for routes that the kernel refuses."""
        if not self._enabled:
            return
        async with self._lock:
            if self._read_at is None:
                await self._read()
            if self._routes.in_sync:
                return
            failures = await self._replace(list(self._routes.updates().values()))
            if not failures:
                actual = self._routes.actual
                strays = [actual[key] for key in self._routes.deletions()]
                failures = await self._delete(strays)
            if failures := [text for text in failures if text]:
                more = f" and {len(failures) - 5} more" if len(failures) > 5 else ""
                raise RouteError(f"routes of WireGuard: {', '.join(failures[:5])}{more}")

    async def remove_everything(self, *, dry_run: bool = False) -> int:
        """Leave nothing of ours in the table; nothing is desired any more.

        Returns how many routes there were.  Raises RouteError.
        """
        for net in list(self._wishes):
            self.desire(net, None)
        if not self._enabled:
            return 0
        async with self._lock:
            await self._read()
            ours = list(self._routes.actual.values())
            failures = [] if dry_run else await self._delete(ours)
        if failures:
            raise RouteError(f"routes of WireGuard: {', '.join(failures[:5])}")
        return len(ours)

    def close(self) -> None:
        self._socket.close()

    async def _replace(self, routes: list[KernelRoute]) -> list[str]:
        """What was refused; "" for what the device has gone too soon for, which is no failure."""
        routes = order_of_writing(routes)
        requests = [rtnetlink.replace_route(self._family, self._table, r) for r in routes]
        refused = []
        for route, code in zip(routes, await self._socket.execute(requests), strict=True):
            if not code:
                self._routes.observe(route.key, route)
                continue
            self._read_at = None  # what is there instead is not known
            gone = route.device and code in (errno.ENETDOWN, errno.ENODEV)
            refused.append("" if gone else f"{_text(route)}: {os.strerror(code)}")
        self._count("wireguard_route.written", len(routes) - len(refused))
        return refused

    async def _delete(self, routes: list[KernelRoute]) -> list[str]:
        routes = order_of_removal(routes)
        requests = [
            rtnetlink.delete_route(self._family, self._table, r.key, r.device, kind=r.type)
            for r in routes
        ]
        refused = []
        for route, code in zip(routes, await self._socket.execute(requests), strict=True):
            if code in (0, errno.ESRCH, errno.ENODEV, errno.ENOENT):
                self._routes.observe(route.key, None)
            else:
                refused.append(f"{_text(route)}: {os.strerror(code)}")
        self._count("wireguard_route.removed", len(routes) - len(refused))
        return refused

    def _count(self, event: str, count: int) -> None:
        self.written += count
        if count:
            log.debug(event, count=count, family=self._family)


def _life(interface: Interface | None) -> tuple[int, bool, int] | None:
    if interface is None:
        return None
    return interface.index, interface.up, interface.generation


def _by_preference(route: KernelRoute) -> int:
    return route.key.metric


def _text(route: KernelRoute) -> str:
    return f"{rtnetlink.render_address(route.key.destination)}/{route.key.length}"
