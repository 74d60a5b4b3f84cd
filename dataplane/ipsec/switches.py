"""Settings of interfaces that switch IPsec's policies off.

    policies_count   what they should be, for an interface of a workload, which is ours to set up
    switched_off     what is wrong with those of interfaces that face the network, in words

The latter are an operator's own decision, or somebody's mistake, and never changed; what they
switch off goes, and is taken, in clear.  `all` counts for every interface.
Source: section 4.5 of the IPsec reference; linux Documentation/networking/ip-sysctl.rst.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from dataplane.families import Family

_SETTINGS: Final[dict[Family, tuple[str, ...]]] = {
    4: ("ipv4/conf/{}/disable_policy", "ipv4/conf/{}/disable_xfrm"),
    6: ("ipv6/conf/{}/disable_policy",),
}


_VALUE_BYTES: Final = 64


def policies_count(family: Family, interface: str) -> dict[str, str]:
    """Path below /proc/sys -> value."""
    return {f"net/{setting.format(interface)}": "0" for setting in _SETTINGS[family]}


def switched_off(
    family: Family, interfaces: Iterable[str], root: Path | str = "/proc/sys/net"
) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in ("all", *sorted(set(interfaces))):
        for setting in _SETTINGS[family]:
            path = setting.format(name)
            if _read(f"{root}/{path}") not in (b"", b"0"):
                found[f"net/{path}"] = "is not 0: IPsec's policies do not count there"
    return found


def _read(path: str) -> bytes:
    """b"" where there is no such setting.

    They are looked at in every step: a file object, with its text and buffers, takes four times as
    long.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, _VALUE_BYTES).strip()
    except OSError:
        return b""
    finally:
        os.close(descriptor)
