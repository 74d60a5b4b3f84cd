"""Routes of BIRD's in the kernel that BIRD has forgotten: those with a metric of earlier.

    in   settings; the kernel's main table, and what BIRD holds
    out  Removed for each route that was taken away

Where nothing but the metric of a route changes, which is what a BGPFilter's setPriority does, and
a live migration, BIRD 2.0.12 writes the new one beside the old, in both families, and does not see
the old at any scan while the destination has a route (measured).  The kernel takes the lower metric
of the two, so what was preferred once would be preferred for ever.

The kernel is asked for BIRD's routes alone.  Only where it has several metrics for a destination
BIRD is asked which one is right; and where it has not got that one, BIRD is left to it.
"""

from __future__ import annotations

import errno
from collections import defaultdict
from collections.abc import Iterable
from typing import Final, NamedTuple

from dataplane.bird.kernel_routes import bird_routes, delete_bird_routes
from dataplane.bird.parse.routes import exported
from dataplane.bird.settings import BirdSettings
from dataplane.families import Family
from dataplane.netlink import ROUTE, NetlinkError, Socket
from dataplane.rtnetlink import FAMILIES, KernelRoute, render_address

_UNSET_V6: Final = 1024  # what the kernel makes of no metric in IPv6


class Removed(NamedTuple):
    net: str
    metric: int


async def remove_stale(settings: BirdSettings) -> list[Removed]:
    """To be called again and again.  Raises NetlinkError, and BirdError."""
    kernel = Socket(ROUTE)
    try:
        return [
            removed
            for family in FAMILIES
            for routes in await _doubled(kernel, family)
            for removed in await _mend(kernel, family, routes, settings)
        ]
    finally:
        kernel.close()


async def _doubled(kernel: Socket, family: Family) -> list[list[KernelRoute]]:
    """By destination, those of which there are several metrics."""
    found: dict[tuple[bytes, int, int], list[KernelRoute]] = defaultdict(list)
    for route in await bird_routes(kernel, family):
        found[route.key.destination, route.key.length, route.key.tos].append(route)
    return [routes for routes in found.values() if len(_metrics(routes)) > 1]


async def _mend(
    kernel: Socket, family: Family, routes: list[KernelRoute], settings: BirdSettings
) -> list[Removed]:
    net = f"{render_address(routes[0].key.destination)}/{routes[0].key.length}"
    held = await _held(settings, family, net)
    if held not in _metrics(routes):
        return []
    stale = [route for route in routes if route.key.metric != held]
    removed = await _remove(kernel, family, net, stale)
    if await _held(settings, family, net) != held:
        # It has gone back to one of them meanwhile.  A destination without any it fills by itself.
        right = [route for route in routes if route.key.metric == held]
        removed += await _remove(kernel, family, net, right)
    return removed


async def _held(settings: BirdSettings, family: Family, net: str) -> int | None:
    """The metric that BIRD means a destination to have; None where it means it to have no route."""
    found = await exported(settings, net, f"kernel{family}")
    if len(found) != 1:
        return None
    return found[0].metric or (_UNSET_V6 if family == 6 else 0)


async def _remove(
    kernel: Socket, family: Family, net: str, routes: list[KernelRoute]
) -> list[Removed]:
    """Those that are gone already are not counted."""
    codes = await delete_bird_routes(kernel, family, routes)
    for code in codes:
        if code not in (0, errno.ESRCH):
            raise NetlinkError(f"removing a stale route to {net}", code)
    return [
        Removed(net, route.key.metric)
        for route, code in zip(routes, codes, strict=True)
        if code == 0
    ]


def _metrics(routes: Iterable[KernelRoute]) -> set[int]:
    return {route.key.metric for route in routes}
