"""This node as its tunnels see it.

    in   what is told of it; the interfaces of this host
    out  addresses, whether pools ask for tunnels, its interfaces, their MTU
         parents    of each family: the device that has this node's own address

While no device has that address, the last one stays, as long as it is up: addresses that bounce
take no route away.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from msgspec import Struct

from calc_graph.updates import (
    EncapUpdate,
    HostUpdate,
    TunnelAddresses,
    VtepUpdate,
    WireguardEndpoint,
)
from dataplane.families import Family
from dataplane.interfaces import Interface
from dataplane.overlay.mtu import host_mtu
from dataplane.settings import Settings


class Parent(Struct, frozen=True):
    """Of one family: this node's own address, and the device that has it; "" and 0 for none."""

    address: str = ""
    device: str = ""
    index: int = 0


class Here:
    """`parents` and `host_mtu` are as of the last `resolve`; the rest is as it was told last."""

    def __init__(self, families: Iterable[Family], settings: Settings) -> None:
        self._prefixes = settings.render.interface_prefixes
        self._pattern = re.compile(settings.tunnels.mtu_interfaces)
        self.encap = EncapUpdate(ipip=False, vxlan=False, vxlan_v6=False)
        self.addresses = TunnelAddresses()
        self.end = VtepUpdate(settings.hostname)
        self.host = HostUpdate(settings.hostname, "", "")
        self.wireguard = WireguardEndpoint(settings.hostname)
        self.interfaces: Mapping[str, Interface] = {}
        self.parents: dict[Family, Parent] = {family: Parent() for family in families}
        self.host_mtu = 0

    def interfaces_changed(self, interfaces: Mapping[str, Interface]) -> bool:
        """Whether that concerns tunnels; `interfaces` are all there are."""
        now = {n: each for n, each in interfaces.items() if not n.startswith(self._prefixes)}
        changed = now != self.interfaces
        self.interfaces = now
        return changed

    def resolve(self) -> None:
        self.host_mtu = host_mtu(self.interfaces.values(), self._pattern)
        for family in self.parents:
            self.parents[family] = self._find_parent(family)

    def _find_parent(self, family: Family) -> Parent:
        end, host = self.end, self.host
        address = end.parent or host.ipv4 if family == 4 else end.parent_v6 or host.ipv6
        having = [i for i in self.interfaces.values() if address and address in i.addresses]
        if having:
            # Where lo has it as well, the packets leave by the other one.
            found = min(having, key=lambda i: (i.name == "lo", i.index))
            return Parent(address, found.name, found.index)
        # An address that is away for a moment comes back to the device that had it; of another
        # address that says nothing.
        known = self.parents[family]
        before = self.interfaces.get(known.device)
        if known.address == address and before is not None and before.up:
            return Parent(address, before.name, before.index)
        return Parent(address)
