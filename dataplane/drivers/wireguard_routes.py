"""The routing table of WireGuard, one family: where packets to each destination go.

    in   desire              a destination and a kind of route
         interface_changed   which interfaces there are
    out  read                what the table says
         and what every table does: table_routes

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
Source: projectcalico/calico felix/wireguard, felix/routetable; sections 1.3, 3.6 and 5.6 of the
routes reference.
"""

from __future__ import annotations

from msgspec import structs

from dataplane import rtnetlink
from dataplane.drivers.table_routes import TableRoutes, net_of
from dataplane.families import Family
from dataplane.interfaces import Interface, life_of
from dataplane.rtnetlink import KernelRoute, RouteKey
from dataplane.settings import Settings
from dataplane.wireguard.state import RouteKind

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
        return {key: structs.replace(refusal, key=key), floor: refusal}
    scope = rtnetlink.LINK_SCOPE if family == 4 else 0
    return {key: KernelRoute(key, device, protocol, scope), floor: refusal}


class WireguardRouteDriver(TableRoutes):
    """`refresh_seconds` is the time between checks, 0 for never; it may be changed at any time."""

    def __init__(self, family: Family, settings: Settings) -> None:
        ours = settings.wireguard
        super().__init__(family, ours.table, settings.intervals.routes, enabled=settings.route_sync)
        self._name = ours.devices[0 if family == 4 else 1]
        self._protocol = settings.device_route_protocol
        self._wishes: dict[str, RouteKind] = {}
        self._device: Interface | None = None

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
            self.desire_route(key, route)

    def is_written(self, net: str) -> bool:
        """Whether what is wanted for a destination is in the kernel, as far as the device lets it;
        without route synchronisation always.
        """
        return self.is_there(*routes_of(self._family, net, None, 0, 0))

    def interface_changed(self, name: str, interface: Interface | None) -> None:
        """It came, went, changed, or is another one by the same name; None: it is gone."""
        if name != self._name:
            return
        old, self._device = self._device, interface
        if life_of(old) == life_of(interface):
            return
        if old is not None:
            self.device_lost(old.index)
        self.lost()
        for net in [net for net, kind in self._wishes.items() if kind == "device"]:
            self._resolve(net)

    # ------------------------------------------------------------ what is there

    async def read(self) -> dict[str, RouteKind]:
        """What the table says now of each destination, as far as that is ours: where an agent
        before this one has led it.  Raises NetlinkError.
        """
        kinds: dict[str, RouteKind] = {}
        for route in sorted(await self.read_routes(), key=_by_preference):
            if route.type in _KINDS:
                kinds.setdefault(net_of(route), _KINDS[route.type])
        return kinds

    def is_ours(self, route: KernelRoute) -> bool:
        if route.protocol == rtnetlink.BY_KERNEL:
            return False
        if route.type in rtnetlink.NOWHERE:
            return True
        return self._device is not None and route.device == self._device.index


def _by_preference(route: KernelRoute) -> int:
    return route.key.metric
