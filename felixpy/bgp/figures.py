"""How BGP is at the moment, for metrics: asked of BIRD when somebody asks for them.

Names of sessions are labels, and reasons; never a prefix, of which there may be any number.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Final, NamedTuple

import structlog
from msgspec import Struct, structs

from calc_graph.bgp.updates import BgpSession
from dataplane.bird.control import BirdError
from dataplane.bird.outcome import Outcome
from dataplane.bird.parse.daemon import DaemonStatus, daemon_status
from dataplane.bird.parse.routes import RouteStatus
from dataplane.bird.parse.sessions import SessionStatus, session_statuses
from dataplane.bird.reasons import rule_text
from dataplane.bird.settings import BirdSettings
from dataplane.bird.wanted import Wanted
from felixpy.bgp.bringing import Brought
from felixpy.bgp.refusals import refusals
from felixpy.bgp.report import password_refusals

log = structlog.get_logger(__name__)

KERNEL: Final = "kernel"  # the peer that is none


class Rejection(NamedTuple):
    """`direction`: in, out or kernel."""

    peer: str
    direction: str
    reason: str


class BgpFigures(Struct, frozen=True):
    """`daemon` is None while none answers; `rejected` is without what is ordinary."""

    daemon: DaemonStatus | None = None
    sessions: Mapping[str, SessionStatus] = {}
    rejected: Mapping[Rejection, int] = {}
    passwords_refused: Mapping[str, str] = {}
    config_refused: bool = False
    stale_routes_removed: int = 0


def read_figures(
    settings: BirdSettings, brought: Brought | None, stale_routes_removed: int = 0
) -> BgpFigures:
    """In an event loop of the asking thread's own, so that the agent's need not wait."""
    sessions = brought.sessions if brought is not None else {}
    outcome = brought.outcome if brought is not None else None
    figures = BgpFigures(
        passwords_refused=password_refusals(brought),
        config_refused=_is_refused(outcome),
        stale_routes_removed=stale_routes_removed,
    )
    try:
        return asyncio.run(_ask(settings, sessions, figures))
    except BirdError as error:
        log.debug("bird.not_asked", reason=str(error))
        return figures


async def _ask(
    settings: BirdSettings, sessions: Mapping[str, BgpSession], figures: BgpFigures
) -> BgpFigures:
    statuses = await session_statuses(settings)
    wanted = Wanted()
    wanted.apply(sessions.values())
    told_to = [
        name
        for name, session in sessions.items()
        # a mesh's sessions announce one and the same; to ask for each is too much for a large one
        if session.trust in ("outside", "workload") and name in statuses and statuses[name].up
    ]
    counts = Counter(
        rejection(refusal.route, wanted, refusal.told_to)
        for refusal in await refusals(settings, told_to)
        if not refusal.ordinary
    )
    daemon = await daemon_status(settings)
    return structs.replace(figures, daemon=daemon, sessions=statuses, rejected=counts)


def rejection(route: RouteStatus, wanted: Wanted, told_to: str = "") -> Rejection:
    """`told_to`: the session whose export filter it was; "" for a filter on the way in."""
    peer = told_to or route.protocol
    if peer not in wanted.sessions:
        return Rejection(KERNEL, KERNEL, rule_text(wanted, "", "import", route.why))
    if told_to:
        return Rejection(peer, "out", rule_text(wanted, peer, "export", route.why))
    return Rejection(peer, "in", rule_text(wanted, peer, "import", route.why))


def _is_refused(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome.state == "refused"
