"""Other nodes as they were told, in one address family, and what drivers should hold by that.

    in   RouteUpdate, RouteRemove, VtepUpdate, VtepRemove     kept as they are
         Node                                                 what this node is like
    out  routes, ends of tunnels; `senders`: who may speak VXLAN to us

A change of one destination or of one node costs what that touches; a change of this node itself
(another device, another MTU, a tunnel on or off) goes through all destinations.
"""

from __future__ import annotations

from collections.abc import Mapping

from calc_graph.multimap import Multimap
from calc_graph.updates import RouteRemove, RouteUpdate
from dataplane.desired.sinks import Routes, Vteps
from dataplane.drivers.route_wishes import Owner, Route
from dataplane.drivers.vteps import Vtep
from dataplane.families import Family
from dataplane.overlay.choice import Ways, route_for


class Cluster:
    """`routes` and `vteps` are told what differs from what they were told last."""

    def __init__(self, family: Family, routes: Routes, vteps: Vteps) -> None:
        self._routes = routes
        self._vteps = vteps
        self._ways = Ways(family)
        self._told: dict[str, RouteUpdate] = {}
        self._on: Multimap[str, str] = Multimap()  # node -> destinations
        self._ends: dict[str, Vtep] = {}  # node -> end of VXLAN there
        self._wanted: dict[str, Route] = {}
        self._dirty: dict[str, None] = {}

    @property
    def ends(self) -> Mapping[str, Vtep]:
        return self._ends

    def update(self, event: RouteUpdate | RouteRemove) -> None:
        old = self._told.pop(event.cidr, None)
        if old is not None:
            self._on.discard(old.node, event.cidr)
        if isinstance(event, RouteUpdate):
            self._told[event.cidr] = event
            self._on.add(event.node, event.cidr)
        self._dirty[event.cidr] = None

    def end(self, node: str, vtep: Vtep | None) -> None:
        """Where VXLAN ends on another node; None: it does not.

        The driver is told whether there is a tunnel or not: one that is to go is still in use.
        """
        if self._ends.get(node) == vtep:
            return
        if vtep is None:
            del self._ends[node]
        else:
            self._ends[node] = vtep
        self._vteps.desire(node, vtep)
        self._dirty.update(dict.fromkeys(self._on.get(node)))

    def resolve(self, ways: Ways) -> None:
        """Hand what has changed to the drivers."""
        if ways != self._ways:
            self._ways = ways
            self._dirty = dict.fromkeys(self._told | self._wanted)
        for dst in self._dirty:
            self._resolve(dst)
        self._dirty.clear()

    def _resolve(self, dst: str) -> None:
        update = self._told.get(dst)
        route = None
        if update is not None:
            end = self._ends.get(update.node)
            route = route_for(update, end.address if end else "", self._ways)
        if self._wanted.get(dst) == route:
            return
        if route is None:
            del self._wanted[dst]
        else:
            self._wanted[dst] = route
        self._routes.desire(dst, route, Owner.CLUSTER)
