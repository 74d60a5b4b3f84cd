"""How large a packet may be, inside tunnels and from workloads: pure.

The host's MTU is the smallest of its interfaces that are up and match MTUIfacePattern.  A tunnel
takes its headers off that, unless a parameter says how much to use.  Workloads get the smallest of
the tunnels in use, as one packet goes through one tunnel at most.
Source: projectcalico/calico felix/dataplane/linux/int_dataplane.go; section 2.6 of the routes
reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

from dataplane.interfaces import Interface

TunnelKind: TypeAlias = Literal["ipip", "vxlan", "vxlan_v6", "wireguard", "wireguard_v6"]

UNKNOWN_HOST_MTU = 1460  # no interface matches
OVERHEADS: Mapping[TunnelKind, int] = {
    "ipip": 20,
    "vxlan": 50,
    "vxlan_v6": 70,
    "wireguard": 60,
    "wireguard_v6": 80,
}


def host_mtu(interfaces: Iterable[Interface], pattern: re.Pattern[str]) -> int:
    mtus = (i.mtu for i in interfaces if i.up and i.mtu and pattern.search(i.name))
    return min(mtus, default=UNKNOWN_HOST_MTU)


def tunnel_mtu(kind: TunnelKind, host: int, configured: int) -> int:
    """`configured` 0: worked out."""
    return configured or host - OVERHEADS[kind]


def workload_mtu(host: int, in_use: Iterable[int]) -> int:
    """`in_use`: the MTUs of the tunnels that are."""
    return min(in_use, default=host)
