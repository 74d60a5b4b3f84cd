"""Policies of the nodes' own addresses, one address family: of this node, between our nets and a
peer's address, and between the two nodes.  Pure.

Source: sections 4.3 and 7 of the IPsec reference.
"""

from __future__ import annotations

from dataplane.families import Family
from dataplane.ipsec import policies
from dataplane.ipsec.behind import Owner
from dataplane.ipsec.nets import Nets
from dataplane.ipsec.peer import Peer
from dataplane.ipsec.policies import Way
from dataplane.ipsec.seen import Seen
from dataplane.ipsec.values import PolicyId, PolicyWish
from dataplane.ipsec.wishes import Wishes
from dataplane.settings import IpsecSettings

_HERE: Owner = ("here", "")


class Hosts:
    """`wishes`: all policies of the family; `seen`: what of them is there."""

    def __init__(
        self,
        family: Family,
        nets: Nets,
        wishes: Wishes[Owner, PolicyId, PolicyWish],
        seen: Seen,
        settings: IpsecSettings,
    ) -> None:
        self._family: Family = family
        self._nets = nets
        self._wishes = wishes
        self._seen = seen
        self.with_nodes = settings.node_encryption
        self._ports = settings.clear_ports
        self._names: dict[str, tuple[str, tuple[PolicyId, ...]]] = {}  # peer -> address, ways out

    def set_here(self, here: str) -> None:
        wishes: list[PolicyWish] = []
        if here:
            wishes += policies.rest_policies(self._family, here)
            if self.with_nodes:
                wishes += policies.exceptions(self._family, here, self._ports)
        self._wishes.put(_HERE, {wish.id: wish for wish in wishes})

    def own_changed(self) -> None:
        """Our nets are others: all peers are to be set after."""
        self._names.clear()

    def set_host(self, name: str, peer: Peer, way: Way) -> None:
        """Between our nets and a peer's own address."""
        there = way.between.there
        if not (peer.enabled and there):
            self._names.pop(name, None)
            self._wishes.put(("host", name), {})
            return
        known = self._names.get(name)
        if known is None or known[0] != there:
            known = self._names[name] = there, policies.host_names(self._nets.own, there)
        self._wishes.put(("host", name), policies.outward(known[1], way))

    def set_node(self, name: str, peer: Peer, way: Way) -> None:
        """Between the two nodes, where both ask for it; only with node encryption."""
        wishes: list[PolicyWish] = []
        between = way.between
        if peer.enabled and peer.nodes and between.here and between.there:
            into, _ = policies.node_names(between)
            settled = peer.hosts or self._seen.is_strict(into)
            wishes += policies.node_policies(way, settled=settled)
        self._wishes.put(("node", name), {wish.id: wish for wish in wishes})

    def is_encrypted(self, way: Way) -> bool:
        """Whether what this node itself says to a peer goes encrypted."""
        between = way.between
        if not (self.with_nodes and between.here and between.there):
            return False
        _, out = policies.node_names(between)
        return self._seen.leads_out(out)
