"""`felixpy bgp rejected`: each route that a filter of BIRD's refuses, from whom or towards whom,
why, and by which rule.

What every healthy node refuses is left out by default: see felixpy.bgp.refusals.
BIRD is asked, so it works while the agent is stopped; only the names of BGPFilters are the agent's.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from calc_graph.bgp.updates import BgpSession
from dataplane.bird.control import BirdError
from dataplane.bird.parse.routes import RouteStatus
from dataplane.bird.parse.sessions import SessionStatus, session_statuses
from dataplane.bird.settings import BirdSettings
from dataplane.bird.wanted import Wanted
from felixpy import exits
from felixpy.bgp.control import ask_details
from felixpy.bgp.figures import rejection
from felixpy.bgp.refusals import refusals
from felixpy.config import examine, read_local, to_bird_settings
from felixpy.console import say
from felixpy.control_client import ControlClientError
from felixpy.rundir import run_directory
from felixpy.table import render_table


class Refused(Struct, frozen=True):
    """One route.  `peer` is the address at the other end, "" for the kernel; `code` is the number
    that the filter left.
    """

    net: str
    direction: str
    session: str
    peer: str
    reason: str
    code: int
    path: str = ""
    next_hop: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "session", nargs="?", metavar="SESSION", help="only of this one, such as Mesh_10_0_0_2"
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="also what every healthy node refuses, such as to pass on what BGP brought",
    )


def run(arguments: argparse.Namespace) -> int:
    config = examine(read_local(arguments.config, os.environ)).config
    settings = to_bird_settings(config)
    wanted = _wanted(run_directory(Path(config.run_dir)))
    try:
        found = asyncio.run(_ask(settings, wanted, arguments))
    except BirdError as error:
        say(f"felixpy: {error}", sys.stderr)
        return exits.FAILED
    if found is None:
        say(f"felixpy: BIRD has no session {arguments.session}", sys.stderr)
        return exits.REFUSED
    counts = Counter((each.session, each.direction, each.reason) for each in found)
    if arguments.json:
        say(_json(found, counts))
    else:
        _show(found, counts)
    return exits.OK


def _wanted(directory: Path) -> Wanted:
    """As far as the agent says: what filters each session has."""
    try:
        details = ask_details(directory)
    except ControlClientError:
        details = None
    wanted = Wanted()
    for each in details.sessions if details is not None else ():
        wanted.apply(
            (
                BgpSession(
                    each.name,
                    each.family,
                    each.kind,
                    each.trust,
                    each.address,
                    each.remote_as,
                    each.local_as,
                    filters=each.filters,
                ),
            )
        )
    return wanted


async def _ask(
    settings: BirdSettings, wanted: Wanted, arguments: argparse.Namespace
) -> list[Refused] | None:
    """None: there is no such session.  Raises BirdError."""
    sessions = await session_statuses(settings)
    only = arguments.session
    if only and only not in sessions:
        return None
    known = _known(wanted, sessions)
    told_to = [only] if only else sorted(sessions)
    return [
        _refused(route, known, sessions, name)
        for route, name, ordinary in await refusals(
            settings, [name for name in told_to if sessions[name].up]
        )
        if (arguments.all or not ordinary) and (not only or only in (route.protocol, name))
    ]


def _known(wanted: Wanted, sessions: Mapping[str, SessionStatus]) -> Wanted:
    """Every session that BIRD has, also where the agent could not be asked."""
    for name, status in sessions.items():
        if name not in wanted.sessions:
            wanted.apply((BgpSession(name, status.family or 4, "global", "outside", "", 0, 0),))
    return wanted


def _refused(
    route: RouteStatus,
    wanted: Wanted,
    sessions: Mapping[str, SessionStatus],
    told_to: str = "",
) -> Refused:
    peer, direction, reason = rejection(route, wanted, told_to)
    status = sessions.get(peer)
    return Refused(
        route.net,
        direction,
        peer,
        status.neighbor if status is not None else "",
        reason,
        route.why,
        route.path,
        route.bgp_next_hop or route.next_hop,
    )


def _json(found: list[Refused], counts: Mapping[tuple[str, str, str], int]) -> str:
    shown = {
        "routes": found,
        "counts": [
            {"session": session, "direction": direction, "reason": reason, "routes": count}
            for (session, direction, reason), count in sorted(counts.items())
        ],
    }
    return msgspec.json.format(msgspec.json.encode(shown), indent=2).decode()


def _show(found: list[Refused], counts: Mapping[tuple[str, str, str], int]) -> None:
    if not found:
        say("no route is refused")
        return
    say(
        render_table(
            ("ROUTE", "DIRECTION", "SESSION", "REASON"),
            _merged(found),
        )
    )
    say("")
    say(
        render_table(
            ("ROUTES", "DIRECTION", "SESSION", "REASON"),
            [
                (str(count), direction, session, reason)
                for (session, direction, reason), count in sorted(counts.items())
            ],
        )
    )


def _merged(found: list[Refused]) -> list[tuple[str, str, str, str]]:
    """One line for what is kept from several peers: that is mostly what a node has learned."""
    sessions: dict[tuple[str, str, str], list[str]] = {}
    for each in found:
        sessions.setdefault((each.net, each.direction, each.reason), []).append(each.session)
    return [
        (net, direction, names[0] if len(names) == 1 else f"{len(names)} sessions", reason)
        for (net, direction, reason), names in sessions.items()
    ]
