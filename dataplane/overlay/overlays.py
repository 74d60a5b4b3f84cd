"""Tunnels and the ways to other nodes, both address families: from what is told to what the drivers
should hold.

    in   updates of the graph; the interfaces of this host
    out  devices, ends of tunnels, routes     drivers
         tunnels                              what the fixed rules should say of tunnels
         all-vxlan-net                        who may speak VXLAN to us
         workload_mtu                         for the CNI plugin
         problems                             what a tunnel waits for

WireGuard's peers and routes are its own matter (dataplane.wireguard), and so is when its device may
go; its rules are those of desired.fixed.  Here are its device and its MTU.

A tunnel is on where a pool or a parameter asks for it.  While its device is still there, its rules
are too: a pool that changes its mode leaves no moment in which anybody may speak to it.

The parent is the device that has this node's own address.  While none has, the last one stays, as
long as it is up: addresses that bounce take no route away.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol, assert_never

from msgspec import Struct, structs

from calc_graph.updates import (
    EncapUpdate,
    HostRemove,
    HostUpdate,
    IpsetType,
    PoolType,
    RouteRemove,
    RouteUpdate,
    TunnelAddresses,
    VtepRemove,
    VtepUpdate,
    WireguardEndpoint,
    WireguardEndpointRemove,
)
from dataplane import rtnetlink
from dataplane.desired.sets import net_members, of_family
from dataplane.desired.sinks import Sinks
from dataplane.drivers.vteps import Vtep
from dataplane.families import Family, family_of
from dataplane.interfaces import Interface
from dataplane.overlay.choice import Ways
from dataplane.overlay.cluster import Cluster
from dataplane.overlay.devices import Tunnel
from dataplane.overlay.mtu import host_mtu, tunnel_mtu, workload_mtu
from dataplane.render.names import ALL_VXLAN_SET, ipset_name
from dataplane.render.overlays import NO_OVERLAYS
from dataplane.render.overlays import Overlays as TunnelRules
from dataplane.settings import IPIP_DEVICE, VXLAN_DEVICES, Settings

_MAC = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")

Event = (
    RouteUpdate
    | RouteRemove
    | VtepUpdate
    | VtepRemove
    | EncapUpdate
    | TunnelAddresses
    | HostUpdate
    | HostRemove
    | WireguardEndpoint
    | WireguardEndpointRemove
)


class Encryption(Protocol):
    """What has to be known of WireGuard, which makes no device itself."""

    def device_goes(self, family: Family) -> bool:
        """Whether the device of a family that is off is ours, and needed no more."""


class _Parent(Struct, frozen=True):
    """Of one family: this node's own address, and the device that has it; "" and 0 for none."""

    address: str = ""
    device: str = ""
    index: int = 0


class Overlays:
    """`update` and `interfaces_changed` tell, `resolve` works out what that comes to."""

    def __init__(self, sinks: Sinks, settings: Settings, encryption: Encryption) -> None:
        self._sinks = sinks
        self._settings = settings
        self._tunnels = settings.tunnels
        self._wireguard = settings.wireguard
        self._encryption = encryption
        self._going: list[Family] = []  # whose device of WireGuard goes, as last resolved
        self._pattern = re.compile(settings.tunnels.mtu_interfaces)
        self._clusters = {
            family: Cluster(family, sinks.routes[family], sinks.vteps[family])
            for family in sinks.families
        }
        self._encap = EncapUpdate(ipip=False, vxlan=False, vxlan_v6=False)
        self._addresses = TunnelAddresses()
        self._own_end = VtepUpdate(settings.hostname)
        self._own_host = HostUpdate(settings.hostname, "", "")
        self._own_wireguard = WireguardEndpoint(settings.hostname)
        self._interfaces: Mapping[str, Interface] = {}
        self._parents: dict[Family, _Parent] = {family: _Parent() for family in sinks.families}
        self._bad_macs: dict[tuple[str, Family], str] = {}
        self._offered: dict[Family, frozenset[str]] = {}  # members of the set, where there is one
        self._rules: dict[Family, TunnelRules] = dict.fromkeys(sinks.families, NO_OVERLAYS)
        self._host_mtu = 0
        self._dirty = True  # this node, its interfaces, or the ends of tunnels
        self.problems: dict[str, str] = {}
        self.workload_mtu = 0

    # ---------------------------------------------------------------- told

    def update(self, event: Event) -> None:
        match event:
            case RouteUpdate() | RouteRemove():
                cluster = self._clusters.get(family_of(event.cidr))
                if cluster is not None:
                    cluster.update(event)
                return
            case VtepUpdate():
                self._note_end(event)
            case VtepRemove(node):
                self._note_end(VtepUpdate(node))
            case EncapUpdate():
                self._encap = event
            case TunnelAddresses():
                self._addresses = event
            case HostUpdate():
                self._note_host(event)
            case HostRemove(name):
                self._note_host(HostUpdate(name, "", ""))
            case WireguardEndpoint():
                self._note_wireguard(event)
            case WireguardEndpointRemove(node):
                self._note_wireguard(WireguardEndpoint(node))
            case _:
                assert_never(event)
        self._dirty = True

    def _note_host(self, event: HostUpdate) -> None:
        if event.name == self._settings.hostname:
            self._own_host = event

    def _note_wireguard(self, event: WireguardEndpoint) -> None:
        if event.node == self._settings.hostname:
            self._own_wireguard = event

    def _note_end(self, event: VtepUpdate) -> None:
        if event.node == self._settings.hostname:
            self._own_end = event
            return
        ends = {
            4: (event.address, event.mac, event.parent),
            6: (event.address_v6, event.mac_v6, event.parent_v6),
        }
        for family, cluster in self._clusters.items():
            address, mac, parent = ends[family]
            self._bad_macs.pop((event.node, family), None)
            if address and not _MAC.fullmatch(mac):
                self._bad_macs[event.node, family] = mac
            known = address and parent and (event.node, family) not in self._bad_macs
            cluster.end(event.node, Vtep(address, mac, parent) if known else None)

    def interfaces_changed(self, interfaces: Mapping[str, Interface]) -> None:
        """`interfaces` are all there are; those of workloads do not concern us."""
        prefixes = self._settings.render.interface_prefixes
        now = {name: i for name, i in interfaces.items() if not name.startswith(prefixes)}
        self._dirty |= now != self._interfaces
        self._interfaces = now

    # ---------------------------------------------------------------- asked

    def tunnels(self, family: Family) -> TunnelRules:
        """What the fixed rules should say of tunnels, as of the last resolve."""
        return self._rules[family]

    @property
    def hosts_matter(self) -> bool:
        """Whether rules ask who is a node of the cluster."""
        return bool(self._rules[4].ipip_device)

    # ---------------------------------------------------------------- worked out

    def resolve(self) -> None:
        """Hand what has changed to the drivers."""
        going = [family for family in self._clusters if self._encryption.device_goes(family)]
        if self._dirty or going != self._going:
            self._dirty, self._going = False, going
            self._resolve_node()
        for family, cluster in self._clusters.items():
            cluster.resolve(self._ways(family))

    def _resolve_node(self) -> None:
        self.problems = {
            f"VXLAN to {node}": f"{mac!r} is not a MAC address"
            for (node, _), mac in self._bad_macs.items()
        }
        self._host_mtu = host_mtu(self._interfaces.values(), self._pattern)
        for family in self._clusters:
            self._parents[family] = self._find_parent(family)
            self._place_vxlan(family)
            self._place_wireguard(family)
        self._place_ipip()
        for family in self._clusters:
            self._rules[family] = self._rules_of(family)
            self._place_senders(family)
        self.workload_mtu = workload_mtu(self._host_mtu, self._mtus_in_use())

    def _find_parent(self, family: Family) -> _Parent:
        own_end, own_host = self._own_end, self._own_host
        address = (
            own_end.parent or own_host.ipv4 if family == 4 else own_end.parent_v6 or own_host.ipv6
        )
        having = [i for i in self._interfaces.values() if address and address in i.addresses]
        if having:
            # Where lo has it as well, the packets leave by the other one.
            found = min(having, key=lambda i: (i.name == "lo", i.index))
            return _Parent(address, found.name, found.index)
        # An address that is away for a moment comes back to the device that had it; of another
        # address that says nothing.
        known = self._parents[family]
        before = self._interfaces.get(known.device)
        if known.address == address and before is not None and before.up:
            return _Parent(address, before.name, before.index)
        return _Parent(address)

    # ---------------------------------------------------------------- devices

    def _vxlan_on(self, family: Family) -> bool:
        if family == 6:
            return self._encap.vxlan_v6
        enabled = self._tunnels.vxlan_enabled
        return self._encap.vxlan if enabled is None else enabled

    def _ipip_on(self) -> bool:
        enabled = self._tunnels.ipip_enabled
        return self._encap.ipip if enabled is None else enabled

    def _place_vxlan(self, family: Family) -> None:
        name = VXLAN_DEVICES[family]
        if not self._vxlan_on(family):
            self._sinks.links.discard(name, family)
            return
        parent = self._parents[family]
        address, mac = self._vxlan_address(family)
        missing = self._missing(parent, address)
        if not missing and not _MAC.fullmatch(mac):
            missing = f"{mac!r} is not a MAC address"
        if missing:
            self.problems[name] = missing
            self._sinks.links.leave(name)
            return
        tunnel = Tunnel(
            name,
            "vxlan",
            family,
            address,
            self._vxlan_mtu(family),
            mac=mac.lower(),
            vni=self._tunnels.vxlan_vni,
            port=self._settings.render.vxlan_port,
            local=parent.address,
            lower=parent.index,
        )
        self._sinks.links.desire(tunnel)

    def _place_ipip(self) -> None:
        if not self._ipip_on():
            # A parameter that says no leaves it to whoever uses it then.
            if self._tunnels.ipip_enabled is None:
                self._sinks.links.discard(IPIP_DEVICE, 4)
            else:
                self._sinks.links.leave(IPIP_DEVICE)
            return
        address = self._ipip_address()
        if not address:
            self.problems[IPIP_DEVICE] = "this node has no address inside the tunnel yet"
            self._sinks.links.leave(IPIP_DEVICE)
            return
        self._sinks.links.desire(Tunnel(IPIP_DEVICE, "ipip", 4, address, self._ipip_mtu()))

    def _place_wireguard(self, family: Family) -> None:
        name = self._wireguard.device_of(family)
        if family not in self._wireguard.families:
            if family in self._going:
                self._sinks.links.discard(name, family)
            else:
                self._sinks.links.leave(name)
            return
        if family in self._wireguard.held:
            self._sinks.links.leave(name)
            return
        address = self._wireguard_address(family)
        if not address:
            # Without one the device forwards what workloads send; the address is given out only
            # once the key is published.
            self.problems[name] = (
                "this node has no address inside the tunnel yet: what it says itself to workloads "
                "of other nodes is not answered"
            )
        mtu = self._wireguard_mtu(family)
        self._sinks.links.desire(Tunnel(name, "wireguard", family, address, mtu))

    def _missing(self, parent: _Parent, address: str) -> str:
        if not address:
            return "this node has no address inside the tunnel yet"
        if not parent.address:
            return "this node's own address is not known"
        return "" if parent.device else f"no interface has {parent.address}"

    def _vxlan_address(self, family: Family) -> tuple[str, str]:
        """This node's own inside the tunnel, and its MAC there."""
        ours, told, end = self._tunnels, self._addresses, self._own_end
        if family == 6:
            address = ours.vxlan_address_v6 or told.vxlan_v6
            return address, ours.vxlan_mac_v6 or told.vxlan_mac_v6 or end.mac_v6
        return ours.vxlan_address or told.vxlan, ours.vxlan_mac or told.vxlan_mac or end.mac

    def _ipip_address(self) -> str:
        return self._tunnels.ipip_address or self._addresses.ipip

    def _wireguard_address(self, family: Family) -> str:
        """With encryption between hosts nobody gives out another than the node's own."""
        told, host = self._own_wireguard, self._own_host
        address, own = (told.address, host.ipv4) if family == 4 else (told.address_v6, host.ipv6)
        return address or (own if self._wireguard.host_encryption else "")

    # ---------------------------------------------------------------- sizes

    def _vxlan_mtu(self, family: Family) -> int:
        if family == 6:
            return tunnel_mtu("vxlan_v6", self._host_mtu, self._tunnels.vxlan_mtu_v6)
        return tunnel_mtu("vxlan", self._host_mtu, self._tunnels.vxlan_mtu)

    def _ipip_mtu(self) -> int:
        return tunnel_mtu("ipip", self._host_mtu, self._tunnels.ipip_mtu)

    def _wireguard_mtu(self, family: Family) -> int:
        if family == 6:
            return tunnel_mtu("wireguard_v6", self._host_mtu, self._wireguard.mtus[1])
        return tunnel_mtu("wireguard", self._host_mtu, self._wireguard.mtus[0])

    def _mtus_in_use(self) -> list[int]:
        """WireGuard counts where it is asked for, even if this kernel has none: workloads keep
        their MTU for life, and the next kernel may have it.
        """
        in_use = [self._vxlan_mtu(f) for f in self._clusters if self._vxlan_on(f)]
        in_use += [self._wireguard_mtu(f) for f in self._clusters if f in self._wireguard.families]
        return [*in_use, self._ipip_mtu()] if self._ipip_on() else in_use

    # ---------------------------------------------------------------- routes

    def _ways(self, family: Family) -> Ways:
        settings, tunnels = self._settings, self._tunnels
        modes: set[PoolType] = set()
        if self._vxlan_on(family):
            modes.add("vxlan")
        if family == 4 and self._ipip_on() and tunnels.program_ipip:
            modes.add("ipip")
        if tunnels.program_no_encap:
            modes.add("no-encap")
        given = settings.device_route_protocol
        return Ways(
            family,
            modes=frozenset(modes),
            parent=self._parents[family].device,
            vxlan_device=VXLAN_DEVICES[family],
            vxlan_mtu=self._vxlan_mtu(family),
            ipip_device=IPIP_DEVICE,
            ipip_mtu=self._ipip_mtu(),
            source=(
                settings.device_route_source_v6 if family == 6 else settings.device_route_source_v4
            ),
            protocol=rtnetlink.BY_CALICO if given == rtnetlink.BY_BOOT else given,
            vxlan_protocol=given,
        )

    # ---------------------------------------------------------------- rules

    def _rules_of(self, family: Family) -> TunnelRules:
        rules = NO_OVERLAYS
        name = VXLAN_DEVICES[family]
        if self._vxlan_on(family) or name in self._interfaces:
            addressed = bool(self._vxlan_address(family)[0]) and self._vxlan_on(family)
            rules = structs.replace(rules, vxlan_device=name, vxlan_addressed=addressed)
        if family == 4 and (self._ipip_on() or self._ipip_ends()):
            addressed = bool(self._ipip_address()) and self._ipip_on()
            rules = structs.replace(rules, ipip_device=IPIP_DEVICE, ipip_addressed=addressed)
        return rules

    def _ipip_ends(self) -> bool:
        """Whether tunl0 is ours to set down, and has not been yet."""
        device = self._interfaces.get(IPIP_DEVICE)
        ours = self._tunnels.ipip_enabled is None
        has_address = device is not None and any(":" not in a for a in device.addresses)
        return ours and device is not None and device.up and has_address

    def _place_senders(self, family: Family) -> None:
        """Who may speak VXLAN to us: the other nodes, and those that a parameter names."""
        name = ipset_name(ALL_VXLAN_SET, family)
        if not self._rules[family].vxlan_device:
            if self._offered.pop(family, None) is not None:
                self._sinks.ipsets[family].drop(name)
            return
        bits = rtnetlink.BITS[family]
        nodes = (f"{end.node}/{bits}" for end in self._clusters[family].ends.values())
        external = of_family(self._settings.external_node_cidrs, family)
        members = frozenset((*nodes, *net_members(external)))
        if self._offered.get(family) != members:
            self._offered[family] = members
            self._sinks.ipsets[family].desire(name, IpsetType.NET, members)
