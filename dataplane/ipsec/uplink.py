"""Which interface faces the network, for what has to name one.

    in   IPsecInterface, the interfaces there are, the addresses of this node
         notice, lost     what others do to the default routes of the main table
    out  name             of the interface, "" while there is none
         problems         why it may be another one than is meant

Without the parameter it is that of the default route with the lowest metric, IPv4 before IPv6, as
the guide has it.  Where several are as good, that with this node's own address is taken, and told;
where there is no default route at all, too, and not told: a cluster may do without.
Source: section 1 of the IPsec reference, R8.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping

import structlog

from dataplane import rtnetlink
from dataplane.families import Family
from dataplane.interfaces import Interface
from dataplane.netlink import ROUTE, Message, NetlinkError, Socket
from dataplane.rtnetlink import KernelRoute

log = structlog.get_logger(__name__)

PARAMETER = "IPsecInterface"


class Uplink:
    def __init__(self, configured: str) -> None:
        self._configured = configured
        self._socket = Socket(ROUTE)
        self._interfaces: dict[str, Interface] = {}
        self._own: frozenset[str] = frozenset()
        self._defaults: list[KernelRoute] = []
        self._stale = not configured
        self.name = ""
        self.problems: Mapping[str, str] = {}

    @property
    def index(self) -> int:
        """0 while there is none that is up."""
        found = self._interfaces.get(self.name)
        return found.index if found is not None and found.up else 0

    def own(self, addresses: frozenset[str]) -> None:
        """Those of this node that are known to the others."""
        self._own = addresses

    def interface_changed(self, name: str, interface: Interface | None) -> None:
        """It came, went, changed, or is another one by the same name; None: it is gone."""
        before = self._interfaces.pop(name, None)
        if interface is not None:
            self._interfaces[name] = interface
        if before is None or interface is None or before.up != interface.up:
            self._stale |= not self._configured  # the kernel says nothing of routes that go with it

    def notice(self, message: Message) -> bool:
        """A notification of the kernel: true if it may be another interface now."""
        if self._configured or self._stale or message.body[1] != 0:
            return False
        found = rtnetlink.parse_route(message.body)
        if found is None or found.table != rtnetlink.MAIN:
            return False
        self._stale = True
        return True

    def lost(self) -> None:
        """Notifications were lost."""
        self._stale = not self._configured

    async def look(self) -> None:
        """Ask if anything may have changed, and choose.  Raises NetlinkError."""
        if self._stale:
            self._stale = False
            self._defaults = [r for f in rtnetlink.FAMILIES for r in await self._list(f)]
        name = self._configured or self._choose()
        if name != self.name:
            log.info("ipsec.interface", name=name or "none", configured=bool(self._configured))
        self.name = name
        self.problems = self._judge()

    def close(self) -> None:
        self._socket.close()

    async def _list(self, family: Family) -> list[KernelRoute]:
        """Its default routes."""
        request = rtnetlink.list_routes(family, rtnetlink.MAIN)
        try:
            messages = await self._socket.query(request, "listing default routes")
        except NetlinkError as error:
            if error.code not in (errno.ENOENT, errno.EAFNOSUPPORT):
                raise
            return []
        parsed = (rtnetlink.parse_route(m.body) for m in messages if m.body[1] == 0)
        routes = [p.route for p in parsed if p is not None and p.table == rtnetlink.MAIN]
        return [route for route in routes if route.type == rtnetlink.UNICAST]

    def _best(self) -> list[str]:
        """Interfaces of the best default routes."""
        names = {i.index: i.name for i in self._interfaces.values()}
        there = [route for route in self._defaults if route.device in names]
        if not there:
            return []
        best = min(map(_preference, there))
        return sorted({names[route.device] for route in there if _preference(route) == best})

    def _choose(self) -> str:
        best = self._best()
        if len(best) == 1:
            return best[0]
        having = sorted(i.name for i in self._interfaces.values() if i.addresses & self._own)
        among = [name for name in having if name in best or not best] or best or [""]
        return among[0]

    def _judge(self) -> dict[str, str]:
        if self._configured:
            there = self._configured in self._interfaces
            return {} if there else {PARAMETER: f"there is no interface {self._configured}"}
        best = self._best()
        if len(best) < 2:
            return {}
        return {PARAMETER: f"default routes lead over {', '.join(best)}: {self.name} was taken"}


def _preference(route: KernelRoute) -> tuple[int, int]:
    """The smaller, the better: IPv4 first, then by metric."""
    return len(route.key.destination), route.key.metric
