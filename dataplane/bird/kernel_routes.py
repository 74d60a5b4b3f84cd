"""The routes in the kernel that a BIRD wrote: those of its protocol number in the main table."""

from __future__ import annotations

from collections.abc import Iterable

from dataplane.families import Family
from dataplane.netlink import Socket
from dataplane.rtnetlink import (
    BY_BIRD,
    MAIN,
    KernelRoute,
    delete_route,
    list_routes,
    parse_route,
)


async def bird_routes(kernel: Socket, family: Family) -> list[KernelRoute]:
    """Raises NetlinkError."""
    request = list_routes(family, MAIN, protocol=BY_BIRD)
    messages = await kernel.query(request, "listing routes of BIRD's")
    parsed = (parse_route(message.body) for message in messages)
    return [
        each.route
        for each in parsed
        if each is not None and each.table == MAIN and each.route.protocol == BY_BIRD
    ]


async def delete_bird_routes(
    kernel: Socket, family: Family, routes: Iterable[KernelRoute]
) -> list[int]:
    """What the kernel says to each: 0, or an error's number.  Raises NetlinkError.

    Of several next hops in IPv6 one call may take one only.
    """
    return await kernel.execute(
        [delete_route(family, MAIN, route.key, route.device, BY_BIRD) for route in routes]
    )
