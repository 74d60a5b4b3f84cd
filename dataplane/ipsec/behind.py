"""Policies and routes of nets, one address family: of those behind other nodes, of ours, of pools.

    in   turn     a peer whose way is another than before
         resolve  works out those nets, and those that Nets was told something of
    out  wishes for policies and routes

Pure.  Source: sections 4.3, 4.5 and 6.1 of the IPsec reference.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from dataplane.ipsec import policies
from dataplane.ipsec.nets import Nets
from dataplane.ipsec.policies import Between, Way
from dataplane.ipsec.values import PolicyId, PolicyWish
from dataplane.ipsec.wishes import Wishes
from dataplane.settings import IpsecSettings

# Who wishes: for the net, the peer, or the node of that name.
Owner: TypeAlias = tuple[
    Literal["net", "into", "own", "host", "node", "here", "send", "receive", "former"], str
]


class _Net:
    """Behind another node: its names, and what the policies for what comes from it, and its route,
    were made for; those do not follow from the choice of a key.
    """

    __slots__ = ("between", "names", "route")

    def __init__(self, net: str) -> None:
        self.names = policies.names_of(net)
        self.between: Between | None = None
        self.route = ""


class Behind:
    def __init__(
        self,
        nets: Nets,
        policies: Wishes[Owner, PolicyId, PolicyWish],
        routes: Wishes[Owner, str, str],
        settings: IpsecSettings,
    ) -> None:
        self._nets = nets
        self._policies = policies
        self._routes = routes
        self._shared = settings.layout == "shared"
        self._guarded = not settings.allow_clear
        self._behind: dict[str, _Net] = {}
        self._turned: dict[str, None] = {}  # nets whose way is another

    def turn(self, name: str) -> None:
        """The way to a peer is another."""
        for net in self._nets.on(name):
            self._turned[net] = None

    def turn_all(self) -> None:
        """Our own nets are others, which are named in each policy of the layout "shared"."""
        for name in self._nets.nodes():
            self.turn(name)

    def resolve(self, way: Callable[[str], Way]) -> None:
        """`way`: to a node."""
        turned, self._turned = self._turned, {}
        told = self._nets.take_dirty()
        for net in turned | told:
            self._set_net(net, way)
        for net in told:
            self._set_own(net)

    def _set_net(self, net: str, way_to: Callable[[str], Way]) -> None:
        name = self._nets.node_of(net)
        if not name:
            if self._behind.pop(net, None) is not None:
                self._policies.put(("net", net), {})
                self._policies.put(("into", net), {})
                self._routes.put(("net", net), {})
            return
        way = way_to(name)
        between = way.between
        behind = self._behind.get(net)
        if behind is None:
            behind = self._behind[net] = _Net(net)
        if behind.between is not between:
            behind.between = between
            self._policies.put(("into", net), policies.inward(behind.names, between))
        wishes = policies.outward(behind.names.out, way, behind.names.free)
        if self._shared:
            more = policies.guide_policies(behind.names, self._nets.own, way)
            wishes.update({wish.id: wish for wish in more})
        self._policies.put(("net", net), wishes)
        route = between.there if way.spi else ""
        if route != behind.route:
            behind.route = route
            self._routes.put(("net", net), {net: route} if route else {})

    def _set_own(self, net: str) -> None:
        """A pool that is ours alone has nothing that would have to be closed."""
        wishes: list[PolicyWish] = []
        if self._nets.is_own(net):
            borrowed = self._nets.is_borrowed(net)
            wishes += policies.own_policies(net, borrowed=borrowed, guarded=self._guarded)
        elif self._guarded and self._nets.is_pool(net):
            wishes += policies.pool_policies(net)
        self._policies.put(("own", net), {wish.id: wish for wish in wishes})
