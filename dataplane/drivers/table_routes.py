"""Routes of one routing table that is not the main one, one family: written as they are told.

    in   desire              a key, and the route that is to be there
         device_lost         the kernel has dropped the routes of a device
         notice, lost        what others do to routes, as it happens
    out  apply               routes written, then others of ours removed
         read                what there is of ours
         check               the background look

Which routes are ours is told by who derives from this.  What stands in the place of one that is
wanted is replaced, unless the table is shared with others (`yields`): then it stays, and is told.

A table exists once it has a route.  What cannot be written keeps what should go from going.
Source: projectcalico/calico felix/routetable; sections 1.3 and 5.6 of the routes reference.
"""

from __future__ import annotations

import asyncio
import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping

import structlog

from dataplane import rtnetlink
from dataplane.delta_tracker import DeltaTracker
from dataplane.drivers.route_order import order_of_removal, order_of_writing
from dataplane.drivers.routes import RouteError
from dataplane.families import Family
from dataplane.netlink import ROUTE, Message, NetlinkError, Socket
from dataplane.rtnetlink import KernelRoute, RouteKey

log = structlog.get_logger(__name__)


class TableRoutes(ABC):
    """`refresh_seconds` is the time between checks, 0 for never; it may be changed at any time.

    `enabled` false: nothing is written, nor read.
    """

    yields = False

    def __init__(
        self, family: Family, table: int, refresh_seconds: float, *, enabled: bool = True
    ) -> None:
        self._family: Family = family
        self._table = table
        self._enabled = enabled
        self.refresh_seconds = refresh_seconds
        self.written = 0  # routes made or deleted, since the start
        self._socket = Socket(ROUTE)
        self._routes: DeltaTracker[RouteKey, KernelRoute] = DeltaTracker()
        self._read_at: float | None = None
        self._lock = asyncio.Lock()

    @abstractmethod
    def is_ours(self, route: KernelRoute) -> bool:
        """Whether a route that is not wanted is to be removed."""

    # ------------------------------------------------------------ what should be

    def desire_route(self, key: RouteKey, route: KernelRoute | None) -> None:
        self._routes.desire(key, route)

    def desire_routes(self, routes: Mapping[RouteKey, KernelRoute | None]) -> None:
        """Many at once."""
        self._routes.desire_these(routes)

    @property
    def wanted(self) -> Mapping[RouteKey, KernelRoute]:
        return self._routes.desired

    def device_lost(self, index: int) -> None:
        """It went, or went down: the kernel drops its routes, in IPv4 without a word."""
        for key in [k for k, r in self._routes.actual.items() if r.device == index]:
            self._routes.observe(key, None)

    def lost(self) -> None:
        """Notifications were lost: everything is read again at the next apply."""
        self._read_at = None

    @property
    def pending(self) -> bool:
        """Whether an apply has anything to do."""
        return self._enabled and (self._read_at is None or not self._routes.in_sync)

    # ------------------------------------------------------------ what is there

    def is_there(self, *keys: RouteKey) -> bool:
        """Whether what is wanted under these keys is in the kernel, as far as is known; without
        route synchronisation always.
        """
        known = not self._enabled or self._read_at is not None
        return known and not (self._enabled and any(map(self._routes.differs, keys)))

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
                    self._log("table_route.drifted", drifted, warn=True)
        return self.pending

    async def read_routes(self) -> list[KernelRoute]:
        """Those of ours that the table has now.  Raises NetlinkError."""
        if not self._enabled:
            return []
        return [route for route in await self._list() if self.is_ours(route)]

    async def _read(self) -> None:
        found = await self._list()
        self._routes.observe_all({route.key: route for route in found if self._concerns(route)})
        self._read_at = asyncio.get_running_loop().time()

    async def _list(self) -> list[KernelRoute]:
        request = rtnetlink.list_routes(self._family, self._table)
        try:
            messages = await self._socket.query(request, f"listing routes of table {self._table}")
        except NetlinkError as error:
            if error.code != errno.ENOENT:
                raise
            return []  # nothing was ever written to the table
        parsed = (rtnetlink.parse_route(message.body) for message in messages)
        here = (self._family, self._table)
        return [p.route for p in parsed if p is not None and (p.family, p.table) == here]

    def _concerns(self, route: KernelRoute) -> bool:
        return route.key in self._routes.desired or self.is_ours(route)

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
            refused = await self._replace(list(self._routes.updates().values()))
            if not refused:
                actual = self._routes.actual
                strays = [actual[key] for key in self._routes.deletions()]
                refused = await self._delete([r for r in strays if self.is_ours(r)])
                for foreign in [r for r in strays if not self.is_ours(r)]:
                    self._routes.observe(foreign.key, None)  # known only while it was in the place
            self._complain(refused)

    async def remove_everything(self, *, dry_run: bool = False) -> int:
        """Leave nothing of ours in the table; nothing is desired any more.

        Returns how many routes there were.  Raises RouteError.
        """
        for key in list(self._routes.desired):
            self._routes.desire(key, None)
        if not self._enabled:
            return 0
        async with self._lock:
            await self._read()
            ours = list(self._routes.actual.values())
            refused = [] if dry_run else await self._delete(ours)
        self._complain(refused)
        return len(ours)

    def close(self) -> None:
        self._socket.close()

    async def _replace(self, routes: list[KernelRoute]) -> list[str]:
        """What was refused; "" for what the device has gone too soon for, which is no failure."""
        actual = self._routes.actual
        routes = order_of_writing(routes)
        requests = [
            rtnetlink.replace_route(
                self._family,
                self._table,
                r,
                new=self.yields and not (r.key in actual and self.is_ours(actual[r.key])),
            )
            for r in routes
        ]
        refused: list[str] = []
        done: dict[RouteKey, KernelRoute] = {}
        for route, code in zip(routes, await self._socket.execute(requests), strict=True):
            if not code:
                done[route.key] = route
                continue
            self._read_at = None  # what is there instead is not known
            gone = route.device and code in (errno.ENETDOWN, errno.ENODEV)
            why = "somebody else's is in its place" if code == errno.EEXIST else os.strerror(code)
            refused.append("" if gone else f"{net_of(route)}: {why}")
        self._routes.observe_these(done)
        self._count("table_route.written", len(done))
        return refused

    async def _delete(self, routes: list[KernelRoute]) -> list[str]:
        routes = order_of_removal(routes)
        requests = [
            rtnetlink.delete_route(
                self._family, self._table, r.key, r.device, r.protocol, kind=r.type
            )
            for r in routes
        ]
        refused = []
        for route, code in zip(routes, await self._socket.execute(requests), strict=True):
            if code in (0, errno.ESRCH, errno.ENODEV, errno.ENOENT):
                self._routes.observe(route.key, None)
            else:
                refused.append(f"{net_of(route)}: {os.strerror(code)}")
        self._count("table_route.removed", len(routes) - len(refused))
        return refused

    def _complain(self, refused: list[str]) -> None:
        if failures := [text for text in refused if text]:
            more = f" and {len(failures) - 5} more" if len(failures) > 5 else ""
            raise RouteError(f"routes of table {self._table}: {', '.join(failures[:5])}{more}")

    def _count(self, event: str, count: int) -> None:
        self.written += count
        if count:
            self._log(event, count)

    def _log(self, event: str, count: int, *, warn: bool = False) -> None:
        (log.warning if warn else log.debug)(
            event, count=count, family=self._family, table=self._table
        )


def net_of(route: KernelRoute) -> str:
    """The canonical CIDR that it leads to."""
    return f"{rtnetlink.render_address(route.key.destination)}/{route.key.length}"
