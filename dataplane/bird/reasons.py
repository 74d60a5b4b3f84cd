"""Why a filter refused a route: the number it leaves in BIRD's attribute `why`, and its meaning.

Numbers below FILTER are the guards', the same for every session.  FILTER and above are a
BGPFilter's: FILTER + STEP * (position in the session's list of filters) + (index of the rule).
Source: section 6.5 of the BGP reference.
"""

from __future__ import annotations

from typing import Final, Literal

from dataplane.bird.wanted import Wanted

FROM_OUTSIDE, DEFAULT_ROUTE, NOT_IN_POOLS, NOT_OWNED, NEXT_HOP, TRANSIT = 1, 2, 3, 4, 5, 6
UNFILTERED, UNKNOWN_FILTER, BAD_FILTER = 7, 8, 9
NOT_OURS, NOT_EXPORTED = 10, 11
KERNEL_IMPORT, KERNEL_SERVICE, KERNEL_DEVICE, KERNEL_POOL, KERNEL_OUTSIDE = 20, 21, 22, 23, 24
FILTER: Final = 1000
STEP: Final = 1000

TEXTS: Final = {
    FROM_OUTSIDE: "cluster prefix announced from outside",
    DEFAULT_ROUTE: "default route from a node or a workload",
    NOT_IN_POOLS: "outside the cluster's pools",
    NOT_OWNED: "not that node's block or borrowed address",
    NEXT_HOP: "next hop is not the owner",
    TRANSIT: "AS path: a node is no transit",
    UNFILTERED: "a workload may announce only what a BGPFilter accepts",
    UNKNOWN_FILTER: "the session names a BGPFilter that does not exist",
    BAD_FILTER: "the session names a BGPFilter that BIRD cannot be given",
    NOT_OURS: "not ours to announce",
    NOT_EXPORTED: "pool with disableBGPExport",
    KERNEL_IMPORT: "kernel: not a route to a local workload",
    KERNEL_SERVICE: "kernel: range of service addresses",
    KERNEL_DEVICE: "kernel: route of a device",
    KERNEL_POOL: "kernel: routes into this pool are the agent's own",
    KERNEL_OUTSIDE: "kernel: a node's route outside the cluster's pools",
}


def rule_text(
    wanted: Wanted, session: str, direction: Literal["import", "export"], code: int
) -> str:
    """The reason in words: of a BGPFilter its name, its list and the rule's place from 0 in it.

    `session` is the name of one that a filter speaks for, "" for the kernel's.
    """
    if code < FILTER:
        return TEXTS.get(code, f"reason {code}")
    position, index = divmod(code - FILTER, STEP)
    known = wanted.sessions.get(session)
    if known is None or position >= len(known.filters):
        return f"rule {index} of a BGPFilter"
    return f"BGPFilter {known.filters[position]}, {direction}V{known.family}[{index}]"
