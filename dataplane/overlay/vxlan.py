"""VXLAN: a device in each family, its ends on other nodes, and who may speak it to us.

It is on where a pool or a parameter asks for it.  While its device is still there its rules are
too: a pool that changes its mode leaves no moment in which anybody may speak to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import structs

from calc_graph.updates import IpsetType, VtepUpdate
from dataplane import rtnetlink
from dataplane.desired.sets import net_members, of_family
from dataplane.desired.sinks import Sinks
from dataplane.drivers.vteps import Vtep
from dataplane.families import Family
from dataplane.overlay.devices import Tunnel
from dataplane.overlay.here import Here, Parent
from dataplane.overlay.mtu import tunnel_mtu
from dataplane.render.names import ALL_VXLAN_SET, ipset_name
from dataplane.render.overlays import Overlays as TunnelRules
from dataplane.settings import VXLAN_DEVICES, Settings

_MAC = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")


class VxlanTunnels:
    def __init__(self, sinks: Sinks, settings: Settings, here: Here) -> None:
        self._sinks = sinks
        self._tunnels = settings.tunnels
        self._port = settings.render.vxlan_port
        self._external = settings.external_node_cidrs
        self._here = here
        self._bad_macs: dict[tuple[str, Family], str] = {}
        self._offered: dict[Family, frozenset[str]] = {}  # members of the set, where there is one

    def on(self, family: Family) -> bool:
        encap, enabled = self._here.encap, self._tunnels.vxlan_enabled
        if family == 6:
            return encap.vxlan_v6
        return encap.vxlan if enabled is None else enabled

    def mtu(self, family: Family) -> int:
        if family == 6:
            return tunnel_mtu("vxlan_v6", self._here.host_mtu, self._tunnels.vxlan_mtu_v6)
        return tunnel_mtu("vxlan", self._here.host_mtu, self._tunnels.vxlan_mtu)

    def mtus(self) -> list[int]:
        """Of those in use."""
        return [self.mtu(family) for family in self._sinks.families if self.on(family)]

    # ---------------------------------------------------------------- the device

    def place(self, family: Family) -> dict[str, str]:
        """Ask for the device, or not; what keeps it from being made."""
        name = VXLAN_DEVICES[family]
        if not self.on(family):
            self._sinks.links.discard(name, family)
            return {}
        parent = self._here.parents[family]
        address, mac = self._address(family)
        missing = _missing(parent, address, mac)
        if missing:
            self._sinks.links.leave(name)
            return {name: missing}
        tunnel = Tunnel(
            name,
            "vxlan",
            family,
            address,
            self.mtu(family),
            mac=mac.lower(),
            vni=self._tunnels.vxlan_vni,
            port=self._port,
            local=parent.address,
            lower=parent.index,
        )
        self._sinks.links.desire(tunnel)
        return {}

    def _address(self, family: Family) -> tuple[str, str]:
        """This node's own inside the tunnel, and its MAC there."""
        ours, told, end = self._tunnels, self._here.addresses, self._here.end
        if family == 6:
            address = ours.vxlan_address_v6 or told.vxlan_v6
            return address, ours.vxlan_mac_v6 or told.vxlan_mac_v6 or end.mac_v6
        return ours.vxlan_address or told.vxlan, ours.vxlan_mac or told.vxlan_mac or end.mac

    # ---------------------------------------------------------------- other nodes

    def end(self, event: VtepUpdate, family: Family) -> Vtep | None:
        """Where it ends on another node; None: nowhere, or not where anything can be sent."""
        address, mac, parent = (
            (event.address, event.mac, event.parent)
            if family == 4
            else (event.address_v6, event.mac_v6, event.parent_v6)
        )
        self._bad_macs.pop((event.node, family), None)
        if address and not _MAC.fullmatch(mac):
            self._bad_macs[event.node, family] = mac
            return None
        return Vtep(address, mac, parent) if address and parent else None

    def problems(self) -> dict[str, str]:
        """Of other nodes' ends."""
        return {
            f"VXLAN to {node}": f"{mac!r} is not a MAC address"
            for (node, _), mac in self._bad_macs.items()
        }

    # ---------------------------------------------------------------- rules

    def rules(self, family: Family, rules: TunnelRules) -> TunnelRules:
        """With what they should say of VXLAN."""
        name = VXLAN_DEVICES[family]
        if not self.on(family) and name not in self._here.interfaces:
            return rules
        addressed = bool(self._address(family)[0]) and self.on(family)
        return structs.replace(rules, vxlan_device=name, vxlan_addressed=addressed)

    def place_senders(self, family: Family, rules: TunnelRules, ends: Iterable[Vtep]) -> None:
        """Who may speak VXLAN to us: the other nodes, and those that a parameter names."""
        name = ipset_name(ALL_VXLAN_SET, family)
        if not rules.vxlan_device:
            if self._offered.pop(family, None) is not None:
                self._sinks.ipsets[family].drop(name)
            return
        bits = rtnetlink.BITS[family]
        nodes = (f"{end.node}/{bits}" for end in ends)
        members = frozenset((*nodes, *net_members(of_family(self._external, family))))
        if self._offered.get(family) != members:
            self._offered[family] = members
            self._sinks.ipsets[family].desire(name, IpsetType.NET, members)


def _missing(parent: Parent, address: str, mac: str) -> str:
    if not address:
        return "this node has no address inside the tunnel yet"
    if not parent.address:
        return "this node's own address is not known"
    if not parent.device:
        return f"no interface has {parent.address}"
    return "" if _MAC.fullmatch(mac) else f"{mac!r} is not a MAC address"
