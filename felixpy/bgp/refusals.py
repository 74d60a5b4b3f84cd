"""What filters of BIRD's refuse at the moment, and what of it every healthy node refuses.

    in   settings, the sessions to look at; BIRD is asked
    out  Refusal for each route: from whom, or towards whom, and whether it is ordinary

A node announces what is its own and nothing else, so it keeps back whatever BGP brought it, the
networks of its devices, and the addresses of workloads inside a block that it announces as a whole.
Of the kernel's routes it takes none that the agent wrote for other purposes, nor a default route.
In a mesh of a thousand nodes these are thousands, and a hijack would drown in them.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, NamedTuple

from dataplane.bird.parse.routes import RouteStatus, brought, rejected, unexported
from dataplane.bird.reasons import KERNEL_IMPORT, NOT_EXPORTED, NOT_OURS
from dataplane.bird.settings import BirdSettings
from dataplane.rtnetlink import BY_BOOT, BY_CALICO

_STATIC: Final = ("static4", "static6")  # as dataplane.bird.render.protocols names them
_NEVER_OURS: Final = ("BGP", "device")


class Refusal(NamedTuple):
    """`told_to`: the session whose export filter it was; "" for a filter on the way in."""

    route: RouteStatus
    told_to: str
    ordinary: bool


class Ordinary:
    """`blocks`: CIDRs of the blocks of this node, and of the services that it announces."""

    def __init__(self, blocks: Iterable[str], settings: BirdSettings) -> None:
        self._blocks = {ip_network(block) for block in blocks}
        self._lengths = {(block.version, block.prefixlen) for block in self._blocks}
        self._agent = {BY_CALICO, settings.device_route_protocol} - {BY_BOOT}

    def refused_in(self, route: RouteStatus) -> bool:
        """Whether it is ordinary that this one does not come in."""
        if route.why != KERNEL_IMPORT:
            return False
        return route.kernel_source in self._agent or ip_network(route.net).prefixlen == 0

    def refused_out(self, route: RouteStatus) -> bool:
        """Whether it is ordinary that this one is not announced.

        A block that is being given back is not: it is seldom, and one may wonder where it is.
        """
        if route.why == NOT_EXPORTED:
            return True  # the operator's wish
        if route.why != NOT_OURS:
            return False
        if route.source == "static":
            return route.kind == "unicast"  # the way to a peer: `reachableBy`
        return route.source in _NEVER_OURS or self._in_a_block(ip_network(route.net))

    def _in_a_block(self, net: IPv4Network | IPv6Network) -> bool:
        return any(
            version == net.version
            and length <= net.prefixlen
            and net.supernet(new_prefix=length) in self._blocks
            for version, length in self._lengths
        )


async def refusals(settings: BirdSettings, told_to: Iterable[str]) -> list[Refusal]:
    """All that filters on the way in refuse, and what is not announced to these sessions.

    Raises BirdAway, and ValueError for what cannot be a session's name.
    """
    statics = [route for name in _STATIC for route in await brought(settings, name)]
    blocks = (route.net for route in statics if route.kind == "blackhole")
    ordinary = Ordinary(blocks, settings)
    found = [Refusal(route, "", ordinary.refused_in(route)) for route in await rejected(settings)]
    for name in told_to:
        found += [
            Refusal(route, name, ordinary.refused_out(route))
            for route in await unexported(settings, name)
            if route.why  # without one it was BGP's own rule, and no filter of ours
        ]
    return found
