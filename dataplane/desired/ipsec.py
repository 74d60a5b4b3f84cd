"""Which families have IPsec's rules, and the nodes that ESP is taken from and sent to.

in   IpsecPeer, IpsecPeerRemove, HostUpdate, HostRemove
     keep     IPsec is off, and has not come to its end yet
out  on       of a family: its fixed rules are to be there
     sets     ipsec-nodes, of such a family

A node is in the set while it publishes an end of IPsec, on or off: one that is going off has
packets on their way.  It counts only as long as its Node has an address, as everywhere.
"""

from __future__ import annotations

from typing import assert_never

from calc_graph.model import IpsecNode
from calc_graph.updates import HostRemove, HostUpdate, IpsecPeer, IpsecPeerRemove, IpsetType
from dataplane.desired.sinks import Sinks
from dataplane.families import Family
from dataplane.render.names import IPSEC_NODES_SET, ipset_name
from dataplane.settings import Settings

Event = IpsecPeer | IpsecPeerRemove | HostUpdate | HostRemove


class IpsecRules:
    def __init__(self, sinks: Sinks, settings: Settings) -> None:
        self._sinks = sinks
        self._hostname = settings.hostname
        self._on = settings.ipsec.families
        self._kept: frozenset[Family] = frozenset()
        self._ends: dict[str, IpsecNode] = {}
        self._hosts: dict[str, HostUpdate] = {}
        self._dirty = True

    def keep(self, families: frozenset[Family]) -> None:
        """Of these the rules stay, though it is off: its states are still there."""
        self._dirty |= families != self._kept
        self._kept = families

    def on(self, family: Family) -> bool:
        return family in self._on or family in self._kept

    def update(self, event: Event) -> None:
        match event:
            case IpsecPeer(node, end):
                self._ends[node] = end
            case IpsecPeerRemove(node):
                del self._ends[node]
            case HostUpdate():
                self._hosts[event.name] = event
            case HostRemove(name):
                del self._hosts[name]
            case _:
                assert_never(event)
        self._dirty = True

    def resolve(self) -> None:
        if not self._dirty:
            return
        self._dirty = False
        for family in self._sinks.families:
            name = ipset_name(IPSEC_NODES_SET, family)
            if self.on(family):
                self._sinks.ipsets[family].desire(name, IpsetType.IP, self._addresses(family))
            else:
                self._sinks.ipsets[family].drop(name)

    def _addresses(self, family: Family) -> set[str]:
        found = set()
        for node, end in self._ends.items():
            host = self._hosts.get(node)
            own = _address(host, family) if host else ""
            if own and node != self._hostname:
                found.add((_address(end, family) if end.enabled else "") or own)
        return found


def _address(of: HostUpdate | IpsecNode, family: Family) -> str:
    return of.ipv6 if family == 6 else of.ipv4
