"""What the kernel has to be told of the host itself, for WireGuard to get through.

    in   settings, and whether reverse-path filtering is strict on this host
    out  settings of the kernel, wished for

The two ends of a peer never turn to WireGuard in the same moment, so for a while packets come out
of the device whose answers take another way, or none as yet.  Reverse-path filtering there has
nothing to add: the device lets every peer speak only for its own AllowedIPs, so the filter is off.

Loose, which asks only for any way back, would not do: it refuses what is routed as unreachable, and
all that takes another way while the device has no address (linux net/ipv4/fib_frontend.c,
`__fib_validate_source`; measured with 6.18), which it gets after its key is known.  But the kernel
takes the larger of a device's value and that of `all`.  Where `all` is strict (1), loose (2) is
what is left; where it is loose, it is loose here.

With host encryption the outer packets come from addresses that are routed into the device.  They
carry the mark by then, and only with `src_valid_mark` does reverse-path filtering look at it.  It
is not taken back: others may rely on it, and without marks it changes nothing.

IPv6 has no such filter of the kernel's.
Source: linux Documentation/networking/ip-sysctl.rst; sections 3.3, 3.8 and 4.2 of the routes
reference.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from dataplane.desired.sinks import Sysctls
from dataplane.settings import WireguardSettings

_ALL: Final = "net/ipv4/conf/all"
_OFF, _STRICT, _LOOSE = "0", "1", "2"


def desire_host_settings(
    sysctls: Sysctls, settings: WireguardSettings, root: Path = Path("/proc/sys")
) -> None:
    """They are written when the device comes, and again when it comes anew."""
    if 4 not in settings.families:
        return
    device = settings.devices[0]
    value = _LOOSE if _read(root / _ALL / "rp_filter") == _STRICT else _OFF
    sysctls.desire_interface(device, {f"net/ipv4/conf/{device}/rp_filter": value})
    if settings.host_encryption:
        sysctls.desire_global(f"{_ALL}/src_valid_mark", "1")


def _read(path: Path) -> str:
    """ "" where there is nothing to read; then nothing is strict either."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
