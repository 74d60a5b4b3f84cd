"""Whose is a route of the kernel?  Settings and the name of its device in, an answer out.

Ours are, first hit decides:

    1  never     what the kernel made for addresses, and fe80::/64
    2  ours      protocol 80, or DeviceRouteProtocol if it is not 3, wherever it leads
    3  not ours  other types than unicast
    4  ours      on interfaces of workloads: all (RemoveExternalRoutes), or else only those of
                 protocols 3, 80 and DeviceRouteProtocol
    5  ours      on our VXLAN devices, whoever made it
                 protocols 3, 80 and DeviceRouteProtocol; but BIRD's where the workload speaks BGP
                 with it
    6  ours      of BIRD on tunl0, where the routes over IPIP are ours to write: BIRD leaves its
                 own behind, and may never come back
Source: projectcalico/calico felix/routetable/ownershippol; section 1.3 of the routes reference.
"""

from __future__ import annotations

from dataplane import rtnetlink
from dataplane.families import Family
from dataplane.rtnetlink import KernelRoute
from dataplane.settings import IPIP_DEVICE, VXLAN_DEVICES, Settings

_LINK_LOCAL = bytes.fromhex("fe80" + 14 * "00")


class Ownership:
    def __init__(self, family: Family, settings: Settings) -> None:
        self._prefixes = settings.render.interface_prefixes
        self._exclusive = settings.remove_external_routes
        protocol = settings.device_route_protocol
        self._own = {rtnetlink.BY_CALICO} | ({protocol} - {rtnetlink.BY_BOOT})
        self._shared = self._own | {rtnetlink.BY_BOOT, protocol}
        self._vxlan = VXLAN_DEVICES[family]
        self._shared_with_bird: set[str] = set()
        self._takes_over = family == 4 and settings.tunnels.program_ipip

    def share_with_bird(self, interface: str, *, shared: bool) -> None:
        """What BIRD learns from the workload behind this interface leads over it."""
        if shared:
            self._shared_with_bird.add(interface)
        else:
            self._shared_with_bird.discard(interface)

    def is_workload(self, device_name: str) -> bool:
        return device_name.startswith(self._prefixes)

    def is_ours(self, route: KernelRoute, device_name: str) -> bool:
        """`device_name` is "" for a device that nobody has told of."""
        if route.protocol == rtnetlink.BY_KERNEL or (
            route.key.destination == _LINK_LOCAL and route.key.length == 64
        ):
            return False
        if route.protocol in self._own:
            return route.device == 0 or bool(device_name)
        if route.type != rtnetlink.UNICAST:
            return False
        if self.is_workload(device_name):
            if route.protocol == rtnetlink.BY_BIRD and device_name in self._shared_with_bird:
                return False
            return self._exclusive or route.protocol in self._shared
        if device_name == self._vxlan:
            return True
        from_bird = device_name == IPIP_DEVICE and route.protocol == rtnetlink.BY_BIRD
        return from_bird and self._takes_over

    def is_made_by_us(self, route: KernelRoute, device_name: str) -> bool:
        """Ours, and not only because it is where ours are to be."""
        return self.is_ours(route, device_name) and route.protocol in self._shared
