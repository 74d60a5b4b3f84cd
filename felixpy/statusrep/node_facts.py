"""How a node is, in the words of CalicoNodeStatus; empty fields are left out, as Go's encoder does.

Source: section 8.1 of the BGP reference; projectcalico/calico api/pkg/apis/projectcalico/v3/
nodestatus.go.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, Protocol, TypeAlias

from msgspec import Struct, field

from calc_graph.bgp.resources import StatusClass

DaemonState: TypeAlias = Literal["Ready", "NotReady"]
PeerType: TypeAlias = Literal["NodeMesh", "NodePeer", "GlobalPeer"]
PeerState: TypeAlias = Literal[
    "Idle", "Connect", "Active", "OpenSent", "OpenConfirm", "Established", "Close"
]
RouteType: TypeAlias = Literal["FIB", "RIB"]
SourceType: TypeAlias = Literal["Kernel", "Static", "Direct", "NodeMesh", "BGPPeer"]


class _Part(Struct, frozen=True, rename="camel", omit_defaults=True):
    pass


class Daemon(_Part, frozen=True):
    """Times as BIRD prints them."""

    state: DaemonState
    version: str = ""
    router_id: str = field(default="", name="routerID")
    last_boot_time: str = ""
    last_reconfiguration_time: str = ""


class AgentFacts(_Part, frozen=True):
    bird_v4: Daemon
    bird_v6: Daemon


class PeerFacts(_Part, frozen=True):
    peer_ip: str = field(name="peerIP")
    type: PeerType
    state: PeerState
    since: str = ""


class BgpFacts(Struct, frozen=True, rename="camel"):
    number_established_v4: int
    number_established_v6: int
    number_not_established_v4: int
    number_not_established_v6: int
    peers_v4: tuple[PeerFacts, ...] = ()
    peers_v6: tuple[PeerFacts, ...] = ()


class LearnedFrom(_Part, frozen=True):
    source_type: SourceType
    peer_ip: str = field(default="", name="peerIP")


class RouteFacts(_Part, frozen=True):
    """`type`: FIB is the one in use for its destination, RIB any other."""

    type: RouteType
    destination: str
    gateway: str
    interface: str
    learned_from: LearnedFrom


class RoutesFacts(_Part, frozen=True):
    routes_v4: tuple[RouteFacts, ...] = ()
    routes_v6: tuple[RouteFacts, ...] = ()


class NodeFacts(_Part, frozen=True):
    """None for what was not asked for."""

    agent: AgentFacts | None = None
    bgp: BgpFacts | None = None
    routes: RoutesFacts | None = None


class FactsError(Exception):
    """How the node is cannot be told at the moment; the text says why, for people."""


class FactsProvider(Protocol):
    async def facts(self, classes: Collection[StatusClass]) -> NodeFacts:
        """At least of these classes.  Raises FactsError."""
        ...
