"""WireGuard's devices and their MTU.

Its peers and routes are its own matter (dataplane.wireguard), and so is when its device may go; its
rules are those of desired.fixed.
"""

from __future__ import annotations

from typing import Final, Protocol

from dataplane.desired.sinks import Sinks
from dataplane.families import Family
from dataplane.overlay.devices import Tunnel
from dataplane.overlay.here import Here
from dataplane.overlay.mtu import tunnel_mtu
from dataplane.settings import WireguardSettings

_NO_ADDRESS: Final = (
    "this node has no address inside the tunnel yet: what it says itself to workloads of other "
    "nodes goes in clear, or, where it must not, nowhere"
)


class Departures(Protocol):
    """What has to be known of WireGuard, which makes no device itself."""

    def device_goes(self, family: Family) -> bool:
        """Whether the device of a family that is off is ours, and needed no more."""


class WireguardDevices:
    def __init__(
        self, sinks: Sinks, settings: WireguardSettings, here: Here, departures: Departures
    ) -> None:
        self._families = sinks.families
        self._links = sinks.links
        self._settings = settings
        self._here = here
        self._departures = departures
        self._going: list[Family] = []  # whose device goes, as last looked at

    def look(self) -> bool:
        """Whether others go than before; `place` asks for what this has found."""
        before = self._going
        self._going = [f for f in self._families if self._departures.device_goes(f)]
        return self._going != before

    def mtus(self) -> list[int]:
        """Where it is asked for, even if this kernel has none: workloads keep their MTU for life,
        and the next kernel may have it.
        """
        return [self._mtu(family) for family in self._families if family in self._settings.families]

    def place(self, family: Family) -> dict[str, str]:
        """Ask for the device, or not; what it does without."""
        name = self._settings.device_of(family)
        if family not in self._settings.families:
            if family in self._going:
                self._links.discard(name, family)
            else:
                self._links.leave(name)
            return {}
        if family in self._settings.held:
            self._links.leave(name)
            return {}
        address = self._address(family)
        self._links.desire(Tunnel(name, "wireguard", family, address, self._mtu(family)))
        if address:
            return {}
        # Without one the device forwards what workloads send; the address is given out only once
        # the key is published.
        return {name: _NO_ADDRESS}

    def _address(self, family: Family) -> str:
        """With encryption between hosts nobody gives out another than the node's own."""
        told, host = self._here.wireguard, self._here.host
        address, own = (told.address, host.ipv4) if family == 4 else (told.address_v6, host.ipv6)
        return address or (own if self._settings.host_encryption else "")

    def _mtu(self, family: Family) -> int:
        if family == 6:
            return tunnel_mtu("wireguard_v6", self._here.host_mtu, self._settings.mtus[1])
        return tunnel_mtu("wireguard", self._here.host_mtu, self._settings.mtus[0])
