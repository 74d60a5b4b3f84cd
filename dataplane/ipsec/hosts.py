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
        self._with_nodes = settings.node_encryption
        self._ports = settings.clear_ports

    def set_here(self, here: str) -> None:
        wishes: list[PolicyWish] = []
        if here:
            wishes += policies.rest_policies(self._family, here)
            if self._with_nodes:
                wishes += policies.exceptions(self._family, here, self._ports)
        self._wishes.put(_HERE, {wish.id: wish for wish in wishes})

    def set_host(self, name: str, peer: Peer, way: Way) -> None:
        """Between our nets and a peer's own address."""
        wishes: list[PolicyWish] = []
        if peer.enabled and way.there:
            wishes += policies.host_policies(self._nets.own, way)
        self._wishes.put(("host", name), {wish.id: wish for wish in wishes})

    def set_node(self, name: str, peer: Peer, way: Way) -> None:
        """Between the two nodes, where both ask for it."""
        if not self._with_nodes:
            return
        wishes: list[PolicyWish] = []
        if peer.enabled and peer.nodes and way.here and way.there:
            into, _ = policies.node_names(way)
            settled = peer.hosts or self._seen.is_strict(into)
            wishes += policies.node_policies(way, settled=settled)
        self._wishes.put(("node", name), {wish.id: wish for wish in wishes})

    def is_encrypted(self, way: Way) -> bool:
        """Whether what this node itself says to a peer goes encrypted."""
        if not (self._with_nodes and way.here and way.there):
            return False
        _, out = policies.node_names(way)
        return self._seen.leads_out(out)
