"""The routes that are wanted, and which of them is to be in the kernel: pure.

    in   put      a destination, who wants the route, and the route
    out  choose   the route of a destination, with the interfaces there are
         awaits   the interface that a destination without a route waits for

Several may want a route to one destination: a workload of this node comes before the rest of the
cluster.  A route counts once its interface is there and up; until then the next one has the
destination, though the kernel would prefer another by metric.
Source: section 1.5 of the routes reference, where the metric tells routes of one destination apart:
the kernel would then send what is for a workload here to another node.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from enum import IntEnum
from typing import Literal

from msgspec import Struct

from calc_graph.multimap import Multimap
from dataplane import rtnetlink
from dataplane.families import Family
from dataplane.interfaces import Interface
from dataplane.rtnetlink import KernelRoute, RouteKey

_NONE: Mapping[Owner, Route] = {}


class Owner(IntEnum):
    """Who wants a route; the lower one has the destination."""

    WORKLOAD = 0  # it leads to an endpoint of this node
    CLUSTER = 1  # it leads to other nodes, or keeps this node's blocks together


class Route(Struct, frozen=True):
    """`dst` is a canonical CIDR; `metric` 0 is the kernel's own default; `source` may be "".

    A `gateway` is taken to be behind the interface, whatever the addresses there.  A blackhole has
    no interface.  `known` is false while it is not known where the interface is to lead.
    """

    dst: str
    interface: str
    source: str = ""
    metric: int = 1024
    protocol: int = rtnetlink.BY_BOOT
    gateway: str = ""
    mtu: int = 0
    kind: Literal["unicast", "blackhole"] = "unicast"
    known: bool = True


class RouteWishes:
    def __init__(self, family: Family) -> None:
        self._family: Family = family
        self._wanted: dict[str, Mapping[Owner, Route]] = {}
        self._by_interface: Multimap[str, str] = Multimap()

    def __contains__(self, dst: str) -> bool:
        return dst in self._wanted

    def put(self, dst: str, owner: Owner, route: Route | None) -> bool:
        """None takes it away.  Whether anything is different.

        Raises ValueError for a destination of the other family, or none.
        """
        family, _, _ = rtnetlink.parse_net(dst)
        if family != self._family:
            raise ValueError(f"{dst} is not of IPv{self._family}")
        before = self._wanted.pop(dst, _NONE)
        after = {o: r for o, r in before.items() if o != owner}
        if route is not None:
            after[owner] = route
        if after:
            self._wanted[dst] = after
        for old in before.values():
            self._by_interface.discard(old.interface, dst)
        for new in after.values():
            self._by_interface.add(new.interface, dst)
        return before.get(owner) != route

    def all(self) -> list[tuple[str, Owner]]:
        return [(dst, owner) for dst, wanted in self._wanted.items() for owner in wanted]

    def over(self, interface: str) -> Set[str]:
        """The destinations of which a route leads over an interface."""
        return self._by_interface.get(interface)

    def choose(
        self, dst: str, interface_of: Callable[[str], Interface | None]
    ) -> KernelRoute | None:
        """None while there is none, or none that can be used."""
        wanted = self._wanted.get(dst, _NONE)
        for owner in sorted(wanted) if len(wanted) > 1 else wanted:
            route = wanted[owner]
            if route.kind == "blackhole":
                return self._in_kernel(route, 0)
            interface = interface_of(route.interface)
            if route.known and interface is not None and interface.up:
                return self._in_kernel(route, interface.index)
        return None

    def awaits(self, dst: str) -> str:
        """The interface by which the cluster is to be reached there, once it can be."""
        route = self._wanted.get(dst, _NONE).get(Owner.CLUSTER)
        return "" if route is None else route.interface

    def _in_kernel(self, route: Route, device: int) -> KernelRoute:
        _, address, length = rtnetlink.parse_net(route.dst)
        metric = route.metric or (1024 if self._family == 6 else 0)
        linked = self._family == 4 and device and not route.gateway
        return KernelRoute(
            RouteKey(address, length, metric),
            device,
            route.protocol,
            rtnetlink.LINK_SCOPE if linked else 0,
            _packed(route.source),
            rtnetlink.UNICAST if device else rtnetlink.BLACKHOLE,
            _packed(route.gateway),
            bool(route.gateway),
            route.mtu,
        )


def _packed(address: str) -> bytes:
    return rtnetlink.parse_address(address)[1] if address else b""
