"""IPIP: tunl0, which is IPv4's alone.

It is on where a pool or a parameter asks for it.  While the device is still up its rules are there
too: a pool that changes its mode leaves no moment in which anybody may speak to it.
"""

from __future__ import annotations

from msgspec import structs

from dataplane.desired.sinks import Links
from dataplane.families import Family
from dataplane.overlay.devices import Tunnel
from dataplane.overlay.here import Here
from dataplane.overlay.mtu import tunnel_mtu
from dataplane.render.overlays import Overlays as TunnelRules
from dataplane.settings import IPIP_DEVICE, TunnelSettings


class IpipTunnel:
    def __init__(self, links: Links, settings: TunnelSettings, here: Here) -> None:
        self._links = links
        self._settings = settings
        self._here = here

    def on(self) -> bool:
        enabled = self._settings.ipip_enabled
        return self._here.encap.ipip if enabled is None else enabled

    def mtu(self) -> int:
        return tunnel_mtu("ipip", self._here.host_mtu, self._settings.ipip_mtu)

    def mtus(self) -> list[int]:
        """Of those in use."""
        return [self.mtu()] if self.on() else []

    def place(self) -> dict[str, str]:
        """Ask for the device, or not; what keeps it from being made."""
        if not self.on():
            # A parameter that says no leaves it to whoever uses it then.
            if self._settings.ipip_enabled is None:
                self._links.discard(IPIP_DEVICE, 4)
            else:
                self._links.leave(IPIP_DEVICE)
            return {}
        address = self._address()
        if not address:
            self._links.leave(IPIP_DEVICE)
            return {IPIP_DEVICE: "this node has no address inside the tunnel yet"}
        self._links.desire(Tunnel(IPIP_DEVICE, "ipip", 4, address, self.mtu()))
        return {}

    def rules(self, family: Family, rules: TunnelRules) -> TunnelRules:
        """With what they should say of IPIP."""
        if family != 4 or not (self.on() or self._ends()):
            return rules
        addressed = bool(self._address()) and self.on()
        return structs.replace(rules, ipip_device=IPIP_DEVICE, ipip_addressed=addressed)

    def _address(self) -> str:
        return self._settings.ipip_address or self._here.addresses.ipip

    def _ends(self) -> bool:
        """Whether tunl0 is ours to set down, and has not been yet."""
        device = self._here.interfaces.get(IPIP_DEVICE)
        ours = self._settings.ipip_enabled is None
        has_address = device is not None and any(":" not in a for a in device.addresses)
        return ours and device is not None and device.up and has_address
