"""BIRD's words in those of CalicoNodeStatus."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from calc_graph.bgp.resources import StatusClass
from dataplane.bird.control import BirdAway, BirdRefused
from dataplane.bird.parse.daemon import DaemonStatus
from dataplane.bird.parse.routes import RouteStatus
from dataplane.bird.parse.sessions import SessionStatus
from dataplane.bird.settings import BirdSettings
from felixpy.bgp import node_facts
from felixpy.bgp.node_facts import BirdFacts, agent_facts, bgp_facts, routes_facts
from felixpy.statusrep.node_facts import (
    AgentFacts,
    BgpFacts,
    Daemon,
    FactsError,
    LearnedFrom,
    NodeFacts,
    PeerFacts,
    RouteFacts,
    RoutesFacts,
)

ROUTES_ONLY: tuple[StatusClass, ...] = ("Routes",)
SINCE = "2026-11-21 19:09:53"
MESH = SessionStatus("Mesh_10_0_0_2", "Established", True, SINCE, "10.0.0.2", family=4)
TOR = SessionStatus("Global_fd00__254", "Active", False, SINCE, "fd00::254", family=6)


def test_one_daemon_is_told_for_both_families() -> None:
    status = DaemonStatus(
        "2.0.12", "10.0.0.1", "n1", booted="2026-11-21 19:00:00", reconfigured=SINCE
    )
    daemon = Daemon("Ready", "2.0.12", "10.0.0.1", "2026-11-21 19:00:00", SINCE)
    assert agent_facts(status) == AgentFacts(daemon, daemon)
    assert agent_facts(None) == AgentFacts(Daemon("NotReady"), Daemon("NotReady"))


@pytest.mark.parametrize(
    ("session", "expected"),
    [
        (MESH, PeerFacts("10.0.0.2", "NodeMesh", "Established", SINCE)),
        (TOR, PeerFacts("fd00::254", "GlobalPeer", "Active", SINCE)),
        (
            SessionStatus("Node_10_0_0_9_port_1790", "OpenSent", neighbor="10.0.0.9"),
            PeerFacts("10.0.0.9", "NodePeer", "OpenSent"),
        ),
        (
            SessionStatus("Mesh_10_0_0_3", "Down", neighbor="10.0.0.3", disabled=True),
            PeerFacts("10.0.0.3", "NodeMesh", "Idle"),
        ),
        (
            SessionStatus("Mesh_10_0_0_3", "Passive", neighbor="10.0.0.3"),
            PeerFacts("10.0.0.3", "NodeMesh", "Active"),
        ),
        (
            SessionStatus("Mesh_10_0_0_3", "Of tomorrow", neighbor="10.0.0.3"),
            PeerFacts("10.0.0.3", "NodeMesh", "Idle"),
        ),
    ],
)
def test_sessions(session: SessionStatus, expected: PeerFacts) -> None:
    facts = bgp_facts([session])
    assert (*facts.peers_v4, *facts.peers_v6) == (expected,)


def test_sessions_are_counted_by_family_and_local_workloads_left_out() -> None:
    workload = SessionStatus("Local_Workload_10_65_1_2", "Established", True, neighbor="10.65.1.2")
    other = SessionStatus("Mesh_10_0_0_1", "Connect", neighbor="10.0.0.1")
    disabled = SessionStatus("Mesh_fd00__1", neighbor="fd00::1", disabled=True)
    facts = bgp_facts([MESH, TOR, workload, other, disabled])
    assert facts == BgpFacts(
        number_established_v4=1,
        number_established_v6=0,
        number_not_established_v4=1,
        number_not_established_v6=2,
        peers_v4=(
            PeerFacts("10.0.0.1", "NodeMesh", "Connect"),
            PeerFacts("10.0.0.2", "NodeMesh", "Established", SINCE),
        ),
        peers_v6=(
            PeerFacts("fd00::254", "GlobalPeer", "Active", SINCE),
            PeerFacts("fd00::1", "NodeMesh", "Idle"),
        ),
    )


ROUTES: list[tuple[RouteStatus, RouteFacts | None]] = [
    (
        RouteStatus(
            "10.65.2.0/26", MESH.name, "unicast", "10.0.0.2", "eth0", primary=True, source="BGP"
        ),
        RouteFacts("FIB", "10.65.2.0/26", "10.0.0.2", "eth0", LearnedFrom("NodeMesh", "10.0.0.2")),
    ),
    (
        RouteStatus("::/0", TOR.name, "unicast", "fd00::254", "eth0", source="BGP"),
        RouteFacts("RIB", "::/0", "fd00::254", "eth0", LearnedFrom("BGPPeer", "fd00::254")),
    ),
    (
        RouteStatus("10.65.2.0/26", "Node_gone", "unreachable", source="BGP"),
        RouteFacts("RIB", "10.65.2.0/26", "N/A", "unreachable", LearnedFrom("BGPPeer")),
    ),
    (
        RouteStatus("10.65.1.0/26", "own4", "blackhole", primary=True, source="static"),
        RouteFacts("FIB", "10.65.1.0/26", "N/A", "blackhole", LearnedFrom("Static")),
    ),
    (
        RouteStatus("10.0.0.0/24", "direct1", "unicast", interface="eth0", source="device"),
        RouteFacts("RIB", "10.0.0.0/24", "N/A", "eth0", LearnedFrom("Direct")),
    ),
    (
        RouteStatus("10.65.1.2/32", "kernel4", "unicast", interface="cali1", source="inherit"),
        RouteFacts("RIB", "10.65.1.2/32", "N/A", "cali1", LearnedFrom("Kernel")),
    ),
    (RouteStatus("10.9.0.0/16", "ospf1", "unicast", source="OSPF"), None),
]


@pytest.mark.parametrize(("route", "expected"), ROUTES)
def test_routes(route: RouteStatus, expected: RouteFacts | None) -> None:
    facts = routes_facts([route], {MESH.name: MESH, TOR.name: TOR})
    assert (*facts.routes_v4, *facts.routes_v6) == ((expected,) if expected else ())
    assert all(":" not in each.destination for each in facts.routes_v4)


# ---------------------------------------------------------------- the daemon is asked


async def _status(_: BirdSettings) -> DaemonStatus:
    return DaemonStatus("2.0.12")


async def _sessions(_: BirdSettings) -> dict[str, SessionStatus]:
    return {MESH.name: MESH}


async def _routes(_: BirdSettings) -> list[RouteStatus]:
    return [ROUTES[0][0]]


@pytest.fixture
def bird(monkeypatch: pytest.MonkeyPatch) -> BirdFacts:
    monkeypatch.setattr(node_facts, "daemon_status", _status)
    monkeypatch.setattr(node_facts, "session_statuses", _sessions)
    monkeypatch.setattr(node_facts, "routes", _routes)
    return BirdFacts(BirdSettings())


@pytest.mark.parametrize(
    ("classes", "asked"),
    [(("Agent",), "agent"), (("BGP",), "bgp"), (("Routes",), "routes"), ((), "")],
)
async def test_what_nobody_asks_for_costs_nothing(
    bird: BirdFacts,
    monkeypatch: pytest.MonkeyPatch,
    classes: Collection[StatusClass],
    asked: str,
) -> None:
    async def never(_: BirdSettings) -> None:
        raise AssertionError

    if asked != "routes":
        monkeypatch.setattr(node_facts, "routes", never)
    if asked != "agent":
        monkeypatch.setattr(node_facts, "daemon_status", never)
    facts = await bird.facts(classes)
    if asked:
        assert getattr(facts, asked) is not None
    else:
        assert facts == NodeFacts()


async def test_a_daemon_that_is_away_is_not_ready() -> None:
    facts = await BirdFacts(BirdSettings(control_socket=Path("/nowhere/bird.ctl"))).facts(
        ("Agent", "BGP", "Routes")
    )
    daemon = Daemon("NotReady")
    assert facts == NodeFacts(AgentFacts(daemon, daemon), BgpFacts(0, 0, 0, 0), RoutesFacts())


async def test_a_daemon_that_goes_between_two_questions_is_away(
    bird: BirdFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_: BirdSettings) -> None:
        raise BirdAway("closed")

    monkeypatch.setattr(node_facts, "session_statuses", away)
    facts = await bird.facts(("Agent", "BGP"))
    assert facts.agent == agent_facts(None)


async def test_a_daemon_that_refuses_is_a_reason(
    bird: BirdFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(_: BirdSettings) -> None:
        raise BirdRefused(8007, "Access denied")

    monkeypatch.setattr(node_facts, "routes", refused)
    with pytest.raises(FactsError, match="Access denied"):
        await bird.facts(ROUTES_ONLY)
