"""What the kernel has refused besides policy: read out of the counters of the rules that did it.

    limited   what workloads sent to their host over WorkloadToHostPacketRate
    forged    packets from the fabric with a source that cannot be (FabricSpoofProtection), dropped
              or, in Warn, logged
    clear     what must be encrypted, and came or would have left in clear

The kernel counts from when a rule was written: an endpoint that changes, or an agent that writes a
table anew, begins at 0, as counters do for whoever collects them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from msgspec import Struct

from dataplane.drivers.iptables.counters import read_counters
from dataplane.families import Family
from dataplane.render.encryption import ENCRYPTED_PREFIX, IN_CLEAR, POLICING
from dataplane.render.fabric import FORGED
from dataplane.render.names import FABRIC_SPOOF, WORKLOAD_LIMIT_PREFIX
from dataplane.render.workload_limit import OVER_LIMIT

Counts: TypeAlias = Mapping[tuple[Family, str], int]


class Dropped(Struct, frozen=True):
    """Packets by family and workload, by family and reason, by family and way; those of 0 are
    there too.
    """

    limited: Counts = {}
    forged: Counts = {}
    clear: Counts = {}


async def read_dropped(families: Iterable[Family]) -> Dropped:
    """As the kernel has it now; takes the right to ask it (CAP_NET_ADMIN).  Raises DataplaneError.

    Nothing is found where the rules are not in force.
    """
    limited: Counter[tuple[Family, str]] = Counter()
    forged: Counter[tuple[Family, str]] = Counter()
    clear: Counter[tuple[Family, str]] = Counter()
    places = (
        ("filter", WORKLOAD_LIMIT_PREFIX, OVER_LIMIT, limited),
        ("raw", FABRIC_SPOOF, FORGED, forged),
        *((table, ENCRYPTED_PREFIX, IN_CLEAR, clear) for table in POLICING),
    )
    for family in families:
        for table, chains, sign, counts in places:
            for comment, packets in await read_counters(family, table, chains):
                if comment.startswith(sign):
                    counts[family, comment.removeprefix(sign)] += packets
    return Dropped(limited, forged, clear)
