"""Table 200 and the rules that ask it, one family: where what is to be encrypted goes.

    1: from all fwmark 0xd00/0xf00 lookup 200 proto 50
    1: from all fwmark 0xe00/0xf00 lookup 200 proto 50

    local N dev IFACE proto 50 scope host         this node's own end
    NET via R dev DEVICE proto 50 mtu M           for each net behind another node R

The gateway is R where R is on the link, else the main table's next hop towards R, and the device is
where that leads.  The MTU is what fits into ESP there: the packets outside take other routes, which
keep theirs.  What leads nowhere has no route, and takes the main table's; whether it is encrypted
is not said here.

Rules and routes of protocol 50 are ours, those to this table with our marks; others stay, and what
stands in the place of ours is told.
Source: sections 3.3, 4.5 and 6.4 of the IPsec reference.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from dataplane import rtnetlink
from dataplane.drivers.rules import Rule, RuleDriver, made_by
from dataplane.drivers.table_routes import TableRoutes
from dataplane.families import Family
from dataplane.interfaces import Interface, InterfaceMonitor, life_of
from dataplane.ipsec.keys import Algorithm
from dataplane.ipsec.mtu import inner_mtu
from dataplane.ipsec.nexthop import NextHops
from dataplane.ipsec.uplink import PARAMETER, Uplink
from dataplane.ipsec.values import DECRYPTED, ENCRYPT, MARK_MASK, PROTOCOL, TABLE
from dataplane.rtnetlink import KernelRoute, NextHop, RouteKey
from dataplane.settings import Settings

_MARKS: Final = (DECRYPTED, ENCRYPT)
_RULES: Final = tuple(
    Rule(1, TABLE, mark, MARK_MASK, inverted=False, protocol=PROTOCOL) for mark in _MARKS
)
_METRIC: Final[dict[Family, int]] = {
    4: 0,
    6: 1024,
}  # as the kernel numbers what nobody has numbered


class IpsecRoutes(TableRoutes):
    """Of table 200, which others may use too."""

    yields = True

    def is_ours(self, route: KernelRoute) -> bool:
        return route.protocol == PROTOCOL


class IpsecTable:
    """`uplink` is shared by both families, and looked at before."""

    def __init__(self, family: Family, settings: Settings, uplink: Uplink) -> None:
        self._family: Family = family
        self._uplink = uplink
        seconds = settings.intervals.routes
        self._enabled = settings.route_sync
        self._routes = IpsecRoutes(family, TABLE, seconds, enabled=settings.route_sync)
        owned = made_by(TABLE, PROTOCOL, {(mark, MARK_MASK) for mark in _MARKS})
        self._rules = RuleDriver(family, TABLE, seconds, owned)
        self._ways = NextHops(family, seconds)
        self._links: dict[int, Interface] = {}
        self._nets: dict[str, str] = {}  # -> address of the node
        self._own = ""
        self._algorithms: tuple[Algorithm, ...] = ()
        self._changed = True  # something that routes are made of
        self._made_of: tuple[Mapping[str, NextHop], int] = ({}, 0)  # ways, and the uplink

    # ------------------------------------------------------------ told

    def desire(self, nets: Mapping[str, str]) -> None:
        """Nets, each behind the node of its address."""
        self._changed |= bool(nets)
        self._nets |= nets

    def let_go(self, nets: Iterable[str]) -> None:
        """They are behind no node any more."""
        for net in nets:
            self._changed = True
            self._nets.pop(net, None)

    def own(self, address: str) -> None:
        """This node's end of all tunnels; "" while it has none."""
        self._changed |= address != self._own
        self._own = address

    def use(self, algorithms: Collection[Algorithm]) -> None:
        """What packets may be encrypted with, which says how large they may be."""
        known = tuple(algorithms)
        self._changed |= known != self._algorithms
        self._algorithms = known

    def watch(self, monitor: InterfaceMonitor) -> None:
        """Be told of what others do here."""
        monitor.watch_routes(self._routes)
        monitor.watch_routes(self._ways)
        monitor.watch_rules(self._rules)

    def interface_changed(self, name: str, interface: Interface | None) -> None:
        """It came, went, changed, or is another one by the same name; None: it is gone."""
        self._ways.interface_changed(name, interface)
        self._changed = True
        before = next((i for i in self._links.values() if i.name == name), None)
        if before is not None:
            del self._links[before.index]
        if interface is not None:
            self._links[interface.index] = interface
        if before is not None and life_of(before) != life_of(interface):
            self._routes.device_lost(before.index)
            self._routes.lost()

    # ------------------------------------------------------------ looks

    def set_refresh(self, seconds: float) -> None:
        self._routes.refresh_seconds = self._rules.refresh_seconds = seconds
        self._ways.refresh_seconds = seconds

    def next_check(self) -> float:
        """When `check` is due, in the event loop's time; infinity for never."""
        each = (self._routes, self._rules, self._ways)
        return min(looking.next_check() for looking in each)

    async def check(self) -> bool:
        """True if the next apply has something to repair."""
        routes, rules = await self._routes.check(), await self._rules.check()
        ways = await self._ways.check()
        return routes or rules or ways

    # ------------------------------------------------------------ written

    @property
    def written(self) -> int:
        """Routes and rules made or deleted, since the start."""
        return self._routes.written + self._rules.written

    async def write(self) -> None:
        """Routes, then the rules that ask for them.  Raises RouteError, RuleError, NetlinkError.

        Not before it is known what packets are encrypted with: until then what is there stays.
        """
        if not self._enabled or not self._algorithms:
            return
        self._ways.desire(frozenset(self._nets.values()))
        await self._ways.look()
        made_of = self._ways.ways, self._uplink.index
        if self._changed or made_of != self._made_of:
            self._changed, self._made_of = False, made_of
            self._desire_routes()
        await self._routes.apply()
        self._rules.desire(*_RULES)
        await self._rules.apply()

    async def remove(self) -> None:
        """The rules, then all routes of ours.  Raises RouteError, RuleError, NetlinkError."""
        if self._enabled:
            self._nets.clear()
            self._rules.desire()
            await self._rules.apply()
            await self._routes.remove_everything()

    async def count(self) -> tuple[int, int]:
        """Rules and routes of ours that are there.  Raises NetlinkError."""
        if not self._enabled:
            return 0, 0
        return len(await self._rules.read()), len(await self._routes.read_routes())

    def close(self) -> None:
        self._routes.close()
        self._rules.close()
        self._ways.close()

    def _desire_routes(self) -> None:
        wanted = {route.key: route for route in self._wanted()}
        self._routes.desire_routes(dict.fromkeys(self._routes.wanted.keys() - wanted.keys()))
        self._routes.desire_routes(wanted)

    def _wanted(self) -> list[KernelRoute]:
        found = [self._local(self._own)] if self._own and self._uplink.index else []
        ways = self._ways.ways
        sizes = {place: self._mtu(*place) for place in {(w.device, w.mtu) for w in ways.values()}}
        for net, node in self._nets.items():
            way = ways.get(node)
            if way is None:
                continue
            _, address, length = rtnetlink.parse_net(net)
            end = rtnetlink.parse_address(node)[1]
            if address == end:
                continue
            key = RouteKey(address, length, _METRIC[self._family])
            mtu = sizes[way.device, way.mtu]
            gateway = way.gateway or end
            found.append(KernelRoute(key, way.device, PROTOCOL, 0, gateway=gateway, mtu=mtu))
        return found

    def _local(self, own: str) -> KernelRoute:
        address = rtnetlink.parse_address(own)[1]
        key = RouteKey(address, rtnetlink.BITS[self._family], _METRIC[self._family])
        scope = rtnetlink.HOST_SCOPE if self._family == 4 else 0
        kind = rtnetlink.LOCAL_TYPE
        return KernelRoute(key, self._uplink.index, PROTOCOL, scope, type=kind)

    def _mtu(self, device: int, mtu: int) -> int:
        """What fits into ESP on a way over that device, with that MTU of its own; 0: not known."""
        link = self._links.get(device)
        sizes = [size for size in (mtu, link.mtu if link is not None else 0) if size]
        return inner_mtu(min(sizes), self._family, self._algorithms) if sizes else 0

    # ------------------------------------------------------------ asked

    @property
    def devices(self) -> frozenset[str]:
        """Those over which other nodes are reached."""
        devices = {way.device for way in self._ways.ways.values()}
        return frozenset(self._links[device].name for device in devices & self._links.keys())

    def problems(self) -> dict[str, str]:
        found = {
            f"way to {node}": f"{why}: what goes there takes the main table"
            for node, why in self._ways.unreachable.items()
        }
        others = sorted(self.devices - {self._uplink.name})
        if self._uplink.name and others:
            found[PARAMETER] = f"nodes are reached over {', '.join(others)}, which was taken there"
        return found
