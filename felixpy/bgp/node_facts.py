"""What BIRD says of itself, in the words of CalicoNodeStatus.

    in   daemon, sessions and routes as `dataplane.bird.parse` has them
    out  felixpy.statusrep.node_facts

One daemon speaks for both families, so it is told twice.  A session's kind is in its name, which is
Calico's; routes are told apart by the kind of protocol that brought them.
Source: section 8.1 of the BGP reference; projectcalico/calico node/pkg/status/populators.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final, get_args

from calc_graph.bgp.resources import StatusClass
from dataplane.bird.control import BirdAway, BirdError
from dataplane.bird.parse.daemon import DaemonStatus, daemon_status
from dataplane.bird.parse.routes import RouteStatus, routes
from dataplane.bird.parse.sessions import SessionStatus, session_statuses
from dataplane.bird.settings import BirdSettings
from felixpy.statusrep.node_facts import (
    AgentFacts,
    BgpFacts,
    Daemon,
    FactsError,
    LearnedFrom,
    NodeFacts,
    PeerFacts,
    PeerState,
    PeerType,
    RouteFacts,
    RoutesFacts,
    SourceType,
)

# Sessions with local workloads have no word of their own there, and Calico leaves them out.
_KINDS: Final[dict[str, PeerType]] = {
    "Mesh_": "NodeMesh",
    "Node_": "NodePeer",
    "Global_": "GlobalPeer",
}
# BIRD 2 has two words more: a session that is down, and one that waits to be spoken to.
_STATES: Final[dict[str, PeerState]] = {state: state for state in get_args(PeerState)} | {
    "Down": "Idle",
    "Passive": "Active",
}
# What "inherit" means in BIRD is a route that another program has written into the kernel.
_SOURCES: Final[dict[str, SourceType]] = {
    "static": "Static",
    "device": "Direct",
    "inherit": "Kernel",
}
_NO_GATEWAY: Final = "N/A"


class BirdFacts:
    """The daemon behind the control socket.  `sessions` brings its answer to the routes, too."""

    def __init__(self, settings: BirdSettings) -> None:
        self._settings = settings

    async def facts(self, classes: Collection[StatusClass]) -> NodeFacts:
        """A daemon that is away is told as not ready, without sessions and routes.

        Raises FactsError.
        """
        agent: AgentFacts | None = None
        bgp: BgpFacts | None = None
        found: RoutesFacts | None = None
        try:
            if "Agent" in classes:
                agent = agent_facts(await daemon_status(self._settings))
            if {"BGP", "Routes"} & set(classes):
                sessions = await session_statuses(self._settings)
                bgp = bgp_facts(sessions.values())
                if "Routes" in classes:
                    found = routes_facts(await routes(self._settings), sessions)
        except BirdAway:
            return NodeFacts(agent=agent_facts(None), bgp=bgp_facts(()), routes=RoutesFacts())
        except BirdError as error:
            raise FactsError(str(error)) from None
        return NodeFacts(agent=agent, bgp=bgp, routes=found)


def agent_facts(status: DaemonStatus | None) -> AgentFacts:
    """None: it does not answer."""
    if status is None:
        daemon = Daemon("NotReady")
    else:
        daemon = Daemon(
            state="Ready",
            version=status.version,
            router_id=status.router_id,
            last_boot_time=status.booted,
            last_reconfiguration_time=status.reconfigured,
        )
    return AgentFacts(bird_v4=daemon, bird_v6=daemon)


def bgp_facts(sessions: Iterable[SessionStatus]) -> BgpFacts:
    peers: dict[int, list[PeerFacts]] = {4: [], 6: []}
    established = {4: 0, 6: 0}
    for session in sorted(sessions, key=lambda session: session.name):
        kind = _kind(session.name)
        if kind is None:
            continue
        family = _family(session)
        established[family] += session.up
        state = "Established" if session.up else _STATES.get(session.state, "Idle")
        peers[family].append(PeerFacts(session.neighbor, kind, state, session.since))
    return BgpFacts(
        number_established_v4=established[4],
        number_established_v6=established[6],
        number_not_established_v4=len(peers[4]) - established[4],
        number_not_established_v6=len(peers[6]) - established[6],
        peers_v4=tuple(peers[4]),
        peers_v6=tuple(peers[6]),
    )


def routes_facts(
    found: Iterable[RouteStatus], sessions: Mapping[str, SessionStatus]
) -> RoutesFacts:
    told: dict[int, list[RouteFacts]] = {4: [], 6: []}
    for route in found:
        source = _source(route, sessions)
        if source is not None:
            told[6 if ":" in route.net else 4].append(_route(route, source))
    return RoutesFacts(routes_v4=tuple(told[4]), routes_v6=tuple(told[6]))


def _route(route: RouteStatus, source: LearnedFrom) -> RouteFacts:
    return RouteFacts(
        type="FIB" if route.primary else "RIB",
        destination=route.net,
        gateway=route.next_hop or _NO_GATEWAY,
        interface=route.interface or route.kind,
        learned_from=source,
    )


def _source(route: RouteStatus, sessions: Mapping[str, SessionStatus]) -> LearnedFrom | None:
    """None for what CalicoNodeStatus has no word for."""
    if route.source != "BGP":
        kind = _SOURCES.get(route.source)
        return None if kind is None else LearnedFrom(kind)
    session = sessions.get(route.protocol)
    peer = "" if session is None else session.neighbor
    return LearnedFrom("NodeMesh" if _kind(route.protocol) == "NodeMesh" else "BGPPeer", peer)


def _kind(name: str) -> PeerType | None:
    return next((kind for prefix, kind in _KINDS.items() if name.startswith(prefix)), None)


def _family(session: SessionStatus) -> int:
    """By its address, which a session has even where it is disabled."""
    return session.family or (6 if ":" in session.neighbor else 4)
