"""`show route ... all` -> routes, those too that a filter refused, with the reason that it left."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from msgspec import Struct

from dataplane.bird.control import BirdRefused, Reply, ask, symbol
from dataplane.bird.settings import BirdSettings

_NET = 1007
_SYNTAX_ERROR = 9001  # an unknown protocol, or one whose channel is down: nothing to show
_ROUTE = re.compile(
    r"(?P<net>[0-9a-fA-F.:/]+)?\s+(?P<kind>unicast|blackhole|unreachable|prohibit)"
    r" \[(?P<protocol>\S+) (?P<since>[^\]]*?)(?: from (?P<sender>[^\]\s]+))?\]"
    r"(?P<primary> \*)? \((?P<preference>\d+)[^)]*\)"
)
_VIA = re.compile(r"via (?P<address>\S+) on (?P<interface>\S+)")
_DEVICE = re.compile(r"dev (?P<interface>\S+)")
_SECONDS: Final = 20.0


class NextHop(Struct, frozen=True):
    """`address` is "" for what is on the link itself."""

    address: str
    interface: str


class RouteStatus(Struct, frozen=True):
    """One way to one destination, as one protocol brought it.

    protocol      name of the session or other protocol that it came by
    kind          unicast, blackhole, unreachable or prohibit
    next_hop, interface   of the first of `next_hops`; "" without one
    primary       the best one for its destination, which is the one in use
    why           number in `dataplane.bird.reasons`, 0: none was left
    path          AS numbers as BIRD prints them, the neighbour's first
    source        how it got in: BGP, static, device, inherit (kernel)
    kernel_source, metric   the kernel's own of what is or was learned from it, or is given to it:
                  number of the protocol that made the route, and metric; 0 where there is none
    """

    net: str
    protocol: str
    kind: str = "unicast"
    next_hop: str = ""
    interface: str = ""
    next_hops: tuple[NextHop, ...] = ()
    primary: bool = False
    why: int = 0
    path: str = ""
    bgp_next_hop: str = ""
    source: str = ""
    table: str = ""
    since: str = ""
    preference: int = 0
    kernel_source: int = 0
    metric: int = 0


def parse_routes(reply: Reply) -> list[RouteStatus]:
    """In the daemon's order; a destination's several routes one after the other."""
    return [_route(facts) for facts in _blocks(reply)]


async def rejected(settings: BirdSettings, seconds: float = _SECONDS) -> list[RouteStatus]:
    """What import filters refused and BIRD kept, the kernel's too.  Raises BirdAway."""
    return await _show(settings, "show route filtered all", seconds)


async def unexported(
    settings: BirdSettings, protocol: str, seconds: float = _SECONDS
) -> list[RouteStatus]:
    """What the export filter of a session refused; nothing while it is down.  Raises BirdAway."""
    return await _show(settings, f"show route noexport {symbol(protocol)} all", seconds)


async def exported(
    settings: BirdSettings, net: str, protocol: str, seconds: float = _SECONDS
) -> list[RouteStatus]:
    """What a protocol is given for one destination, as its export filter leaves it: with several
    next hops where it merges them.  Raises BirdAway.
    """
    return await _show(settings, f"show route {net} export {symbol(protocol)} all", seconds)


async def brought(
    settings: BirdSettings, protocol: str, seconds: float = _SECONDS
) -> list[RouteStatus]:
    """What came by one protocol and passed its filter.  Raises BirdAway."""
    return await _show(settings, f"show route protocol {symbol(protocol)} all", seconds)


async def routes(settings: BirdSettings, seconds: float = _SECONDS) -> list[RouteStatus]:
    """The tables of both families.  Raises BirdAway."""
    return await _show(settings, "show route all", seconds)


async def _show(settings: BirdSettings, command: str, seconds: float) -> list[RouteStatus]:
    try:
        return parse_routes(await ask(settings.control_socket, command, seconds))
    except BirdRefused as refusal:
        if refusal.code == _SYNTAX_ERROR:
            return []
        raise


def _blocks(reply: Reply) -> Iterator[dict[str, Any]]:
    table = net = ""
    facts: dict[str, Any] | None = None
    for code, text in reply:
        line = text.strip()
        if line.startswith("Table ") and line.endswith(":"):
            table = line[6:-1]
        elif code == _NET and (head := _ROUTE.match(text.rstrip())) is not None:
            if facts is not None:
                yield facts
            net = head["net"] or net
            facts = {**head.groupdict(), "net": net, "table": table, "hops": []}
        elif facts is not None:
            _add(facts, line)
    if facts is not None:
        yield facts


def _add(facts: dict[str, Any], line: str) -> None:
    if (via := _VIA.match(line)) is not None:
        facts["hops"].append(NextHop(via["address"], via["interface"]))
    elif (device := _DEVICE.match(line)) is not None:
        facts["hops"].append(NextHop("", device["interface"]))
    else:
        label, _, value = line.partition(": ")
        facts[label] = value


def _route(facts: dict[str, Any]) -> RouteStatus:
    first = next(iter(facts["hops"]), NextHop("", ""))
    return RouteStatus(
        net=facts["net"],
        protocol=facts["protocol"],
        kind=facts["kind"],
        next_hop=first.address,
        interface=first.interface,
        next_hops=tuple(facts["hops"]),
        primary=facts["primary"] is not None,
        why=_number(facts, "why"),
        path=facts.get("BGP.as_path", ""),
        bgp_next_hop=facts.get("BGP.next_hop", "").partition(" ")[0],  # and a link-local one
        source=facts.get("Type", "").partition(" ")[0],
        table=facts["table"],
        since=facts["since"],
        preference=int(facts["preference"]),
        kernel_source=_number(facts, "Kernel.source"),
        metric=_number(facts, "Kernel.metric"),
    )


def _number(facts: dict[str, Any], label: str) -> int:
    text = facts.get(label, "")
    return int(text) if text.isdigit() else 0
