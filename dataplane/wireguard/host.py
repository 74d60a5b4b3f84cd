"""What the kernel has to be told of the host itself, for WireGuard to get through.

    in   settings
    out  settings of the kernel, wished for

The two ends of a peer never turn to WireGuard in the same moment, so for a while packets come out
of the device whose answers take another way: reverse-path filtering there is loose, which asks only
that there is a way back at all.  The device itself lets nobody speak but for their own AllowedIPs.
The kernel takes the larger of a device's value and that of `all`, and loose is the larger: so
whatever `all` says, it is loose here, and as strict as before elsewhere.

With host encryption the outer packets come from addresses that are routed into the device.  They
carry the mark by then, and only with `src_valid_mark` does reverse-path filtering look at it.  It
is not taken back: others may rely on it, and without marks it changes nothing.

IPv6 has no such filter of the kernel's.
Source: linux Documentation/networking/ip-sysctl.rst; sections 3.3, 3.8 and 4.2 of the routes
reference.
"""

from __future__ import annotations

from typing import Final

from dataplane.desired.sinks import Sysctls
from dataplane.settings import WireguardSettings

_LOOSE: Final = "2"


def desire_host_settings(sysctls: Sysctls, settings: WireguardSettings) -> None:
    """They are written when the device comes, and again when it comes anew."""
    if 4 not in settings.families:
        return
    device = settings.devices[0]
    sysctls.desire_interface(device, {f"net/ipv4/conf/{device}/rp_filter": _LOOSE})
    if settings.host_encryption:
        sysctls.desire_global("net/ipv4/conf/all/src_valid_mark", "1")
