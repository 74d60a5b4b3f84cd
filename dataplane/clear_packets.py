"""What has left this node in clear for workloads of other nodes: counted by the kernel, by the net
that it was for.

    in   families that WireGuard is on for
    out  by family and net: packets, bytes

A packet counts for the smallest net around its destination.  Counted is what leaves by any device
but WireGuard's, whoever sends it; not what stays on this host, and not the encrypted packets
themselves, which are for nodes.  The kernel counts from when a net became known, beyond restarts of
the agent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from calc_graph.updates import IpsetType
from dataplane.drivers.ipset_counts import read_counts
from dataplane.families import Family
from dataplane.render.names import REMOTE_WORKLOADS_SET, ipset_name

ClearPackets: TypeAlias = Mapping[Family, Mapping[str, tuple[int, int]]]


async def read_clear_packets(families: Iterable[Family]) -> ClearPackets:
    """As the kernel has it now; takes the right to ask it (CAP_NET_ADMIN).  Raises DataplaneError.

    Nets of 0 packets are there too; a family without its set is empty.  May be awaited in another
    thread's loop.
    """
    found = {}
    for family in families:
        name = ipset_name(REMOTE_WORKLOADS_SET, family)
        counted = await read_counts(family, name, IpsetType.NET)
        found[family] = {each.member: (each.packets, each.bytes) for each in counted}
    return found
