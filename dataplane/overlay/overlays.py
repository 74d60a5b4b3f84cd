"""Tunnels and the ways to other nodes, both address families: from what is told to what the drivers
should hold.

    in   updates of the graph; the interfaces of this host
    out  devices, ends of tunnels, routes     drivers
         tunnels                              what the fixed rules should say of tunnels
         workload_mtu                         for the CNI plugin
         problems                             what a tunnel waits for

Each kind of tunnel is told apart by its own module, all alike: `place` asks for devices, `mtus` are
those in use, `rules` says what rules should say of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from calc_graph.updates import (
    EncapUpdate,
    HostRemove,
    HostUpdate,
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
from dataplane.desired.sinks import Sinks
from dataplane.families import Family, family_of
from dataplane.interfaces import Interface
from dataplane.overlay.choice import Ways
from dataplane.overlay.cluster import Cluster
from dataplane.overlay.here import Here
from dataplane.overlay.ipip import IpipTunnel
from dataplane.overlay.mtu import workload_mtu
from dataplane.overlay.vxlan import VxlanTunnels
from dataplane.overlay.wireguard import Departures, WireguardDevices
from dataplane.render.overlays import NO_OVERLAYS
from dataplane.render.overlays import Overlays as TunnelRules
from dataplane.settings import IPIP_DEVICE, VXLAN_DEVICES, Settings

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


class Overlays:
    """`update` and `interfaces_changed` tell, `resolve` works out what that comes to."""

    def __init__(self, sinks: Sinks, settings: Settings, wireguard: Departures) -> None:
        self._settings = settings
        self._here = here = Here(sinks.families, settings)
        self._vxlan = VxlanTunnels(sinks, settings, here)
        self._ipip = IpipTunnel(sinks.links, settings.tunnels, here)
        self._wireguard = WireguardDevices(sinks, settings.wireguard, here, wireguard)
        self._clusters = {
            family: Cluster(family, sinks.routes[family], sinks.vteps[family])
            for family in sinks.families
        }
        self._rules: dict[Family, TunnelRules] = dict.fromkeys(sinks.families, NO_OVERLAYS)
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
                self._here.encap = event
            case TunnelAddresses():
                self._here.addresses = event
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
            self._here.host = event

    def _note_wireguard(self, event: WireguardEndpoint) -> None:
        if event.node == self._settings.hostname:
            self._here.wireguard = event

    def _note_end(self, event: VtepUpdate) -> None:
        if event.node == self._settings.hostname:
            self._here.end = event
            return
        for family, cluster in self._clusters.items():
            cluster.end(event.node, self._vxlan.end(event, family))

    def interfaces_changed(self, interfaces: Mapping[str, Interface]) -> None:
        """`interfaces` are all there are; those of workloads do not concern us."""
        self._dirty |= self._here.interfaces_changed(interfaces)

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
        if self._wireguard.look() or self._dirty:
            self._dirty = False
            self._resolve_node()
        for family, cluster in self._clusters.items():
            cluster.resolve(self._ways(family))

    def _resolve_node(self) -> None:
        self._here.resolve()
        self.problems = self._vxlan.problems()
        for family in self._clusters:
            self.problems |= self._vxlan.place(family) | self._wireguard.place(family)
        self.problems |= self._ipip.place()
        for family, cluster in self._clusters.items():
            rules = self._ipip.rules(family, self._vxlan.rules(family, NO_OVERLAYS))
            self._rules[family] = rules
            self._vxlan.place_senders(family, rules, cluster.ends.values())
        in_use = (*self._vxlan.mtus(), *self._wireguard.mtus(), *self._ipip.mtus())
        self.workload_mtu = workload_mtu(self._here.host_mtu, in_use)

    def _ways(self, family: Family) -> Ways:
        settings, tunnels = self._settings, self._settings.tunnels
        modes: set[PoolType] = set()
        if self._vxlan.on(family):
            modes.add("vxlan")
        if family == 4 and self._ipip.on() and tunnels.program_ipip:
            modes.add("ipip")
        if tunnels.program_no_encap:
            modes.add("no-encap")
        given = settings.device_route_protocol
        return Ways(
            family,
            modes=frozenset(modes),
            parent=self._here.parents[family].device,
            vxlan_device=VXLAN_DEVICES[family],
            vxlan_mtu=self._vxlan.mtu(family),
            ipip_device=IPIP_DEVICE,
            ipip_mtu=self._ipip.mtu(),
            source=(
                settings.device_route_source_v6 if family == 6 else settings.device_route_source_v4
            ),
            protocol=rtnetlink.BY_CALICO if given == rtnetlink.BY_BOOT else given,
            vxlan_protocol=given,
        )
