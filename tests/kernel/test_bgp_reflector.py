"""A cluster without a mesh: a reflector and two clients, and peers that only some nodes have.

n1, n2 ── n3, the reflector          each with a session in each family
n1 ── tor, IPv4, as AS 64999         a BGPPeer with `node`
n2 ── tor, IPv6                      a BGPPeer with `nodeSelector`
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from dataplane.bird import reasons
from dataplane.families import Family
from tests.kernel.bgp_lab import Lab, laboratory
from tests.kernel.bgp_routers import Node, comes_to
from tests.kernel.bgp_texts import (
    BEHIND_TOR,
    CLUSTER_AS,
    FAMILIES,
    MESH_PASSWORD,
    POOL,
    POOLS,
    SECRETS,
    SERVICES,
    TOR,
    TOR_AS,
    TOR_PASSWORD,
    Neighbour,
    Route,
    address,
    block,
    by_hand,
    configuration,
    documents,
    node,
    password_of,
    resource,
    workload,
)

pytestmark = pytest.mark.kernel

OWN_AS = 64999
METRICS_PORT = 9091
EXCLUDED = 'node.kubernetes.io/exclude-from-external-load-balancers: "true"'


def to(n: int, family: Family) -> str:
    return "Node_" + re.sub("[.:]", "_", address(n, family))


SESSIONS = {
    1: {to(3, 4), to(3, 6), to(TOR, 4)},
    2: {to(3, 4), to(3, 6), to(TOR, 6)},
    3: {to(1, 4), to(1, 6), to(2, 4), to(2, 6)},
}


def tor_by_hand(ttl: str = "ttl security on;") -> str:
    return by_hand(
        TOR,
        TOR_AS,
        [
            Neighbour(1, 4, OWN_AS, TOR_PASSWORD[4], f"direct; {ttl}"),
            Neighbour(2, 6, CLUSTER_AS, TOR_PASSWORD[6]),
        ],
        [Route(net) for net in BEHIND_TOR.values()],
    )


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with laboratory() as made:
        made.write("pools.yaml", POOLS)
        made.write(
            "nodes.yaml",
            documents(
                node(1, labels="rack: a"),
                node(2, labels=f"rack: b, {EXCLUDED}"),
                node(3, "routeReflectorClusterID: 10.0.0.3", "reflects: 'yes'"),
            ),
        )
        made.write(
            "bgp.yaml",
            configuration(
                more=f"communities: [{{name: pods, value: '{CLUSTER_AS}:100'}}],"
                f" prefixAdvertisements: [{{cidr: {POOL[4]}, communities: [pods, '1:2:3']}},"
                f" {{cidr: '{POOL[6]}', communities: [pods]}}]",
                mesh_enabled=False,
            ),
        )
        made.write("peers.yaml", peers())
        made.write(
            "statuses.yaml",
            documents(
                *(
                    resource(
                        "CalicoNodeStatus",
                        f"of-n{n}",
                        f"{{node: n{n}, classes: [Agent, BGP, Routes], updatePeriodSeconds: 1}}",
                    )
                    for n in (1, 3)
                )
            ),
        )
        for found in made.nodes.values():
            found.give_secret(SECRETS)
        made.tor.configure(tor_by_hand())
        made.start(
            BGPBfdPeers="reflectors",
            PrometheusMetricsEnabled="true",
            PrometheusMetricsHost="127.0.0.1",
            PrometheusMetricsPort=str(METRICS_PORT),
        )
        for n, found in made.nodes.items():
            found.await_established(SESSIONS[n])
        yield made


def peers() -> str:
    reflectors = f"password: {{{password_of('bgp-secrets', 'mesh')}}}"
    v4 = (
        f"node: n1, peerIP: {address(TOR, 4)}, asNumber: {TOR_AS}, localASNumber: {OWN_AS},"
        " ttlSecurity: 1, keepaliveTime: 20s, maxRestartTime: 33s,"
        f" password: {{{password_of('bgp-secrets', 'tor-v4')}}}"
    )
    v6 = (
        f"nodeSelector: \"rack == 'b'\", peerIP: '{address(TOR, 6)}', asNumber: {TOR_AS},"
        f" password: {{{password_of('bgp-secrets', 'tor-v6')}}}"
    )
    return documents(
        resource(
            "BGPPeer",
            "reflectors",
            f"{{nodeSelector: all(), peerSelector: has(reflects), {reflectors}}}",
        ),
        resource("BGPPeer", "tor-of-n1", f"{{{v4}}}"),
        resource("BGPPeer", "tor-of-rack-b", f"{{{v6}}}"),
    )


def test_each_node_has_its_sessions_and_what_they_bring(lab: Lab) -> None:
    assert {n: set(found.sessions()) for n, found in lab.nodes.items()} == SESSIONS
    n1, n2 = lab.nodes[1], lab.nodes[2]
    for family in FAMILIES:
        # the reflector passes on what each client originates, and adds its own
        comes_to(True, lambda f=family: block(2, f) in n1.learned(to(3, f)))
        comes_to(True, lambda f=family: block(3, f) in n1.learned(to(3, f)))
        route = n1.birdc(f"show route {block(2, family)} all")
        assert f"BGP.next_hop: {address(2, family)}" in route
        assert f"via {address(2, family)} dev eth0" in n1.kernel(family)
        for source, target in ((1, 2), (2, 1), (1, 3)):
            comes_to(True, lab.pings, source, workload(target, family))
    assert n1.learned(to(TOR, 4)) == {BEHIND_TOR[4]}
    assert n2.learned(to(TOR, 6)) == {BEHIND_TOR[6]}
    # a client's own session with the ToR carries its own routes, and no other node's
    assert lab.tor.learned("p1_4") == {block(1, 4), SERVICES}
    assert lab.tor.learned("p2_6") == {block(2, 6)}
    assert SERVICES not in lab.nodes[3].learned(to(2, 4))  # n2 is excluded by its label
    assert SERVICES in lab.nodes[3].learned(to(1, 4))


def test_attributes_of_a_session(lab: Lab) -> None:
    text = lab.tor.birdc(f"show route {block(1, 4)} all")
    assert f"BGP.as_path: {OWN_AS}\n" in text
    assert f"({CLUSTER_AS},100)" in text
    assert "(1, 2, 3)" in text
    assert f"BGP.next_hop: {address(1, 4)}" in text
    services = lab.tor.birdc(f"show route {SERVICES} all")
    assert f"({CLUSTER_AS},100)" not in services
    peer = lab.tor.birdc("show protocols all p1_4")
    assert "Restart time: 33" in peer
    assert re.search(r"Keepalive timer:\s+\S+/20", lab.nodes[1].birdc(
        f"show protocols all {to(TOR, 4)}"
    ))  # fmt: skip


def test_status_names_the_sessions(lab: Lab) -> None:
    n1 = lab.nodes[1]
    told = {entry["name"]: entry for entry in n1.answer("status", "bgp")["sessions"]}
    assert set(told) == SESSIONS[1]
    tor = told[to(TOR, 4)]
    assert tor["state"] == "Established"
    assert (tor["remote_as"], tor["local_as"]) == (TOR_AS, OWN_AS)
    assert (tor["imported"], tor["exported"]) == (1, 2)
    code, text = n1.felixpy("status", "bgp")
    assert code == 0, text
    for name in SESSIONS[1]:
        assert name in text
    assert text.count(" both ") == len(SESSIONS[1])  # ends announce graceful restart
    assert told[to(3, 6)]["restart_ours"] is told[to(3, 6)]["restart_peer"] is True


def test_metrics(lab: Lab) -> None:
    text = lab.nodes[1].space.run(f"curl -s http://127.0.0.1:{METRICS_PORT}/metrics")
    up = dict(
        re.findall(r'^bird_protocol_up\{[^}]*name="(Node_\w+)"[^}]*\} (\S+)', text, re.MULTILINE)
    )
    assert up == dict.fromkeys(SESSIONS[1], "1.0")
    assert re.search(r"^bird_daemon_up(\{\})? 1\.0$", text, re.MULTILINE)


def test_node_status_resources_are_filled_in(lab: Lab) -> None:
    def status(n: int) -> Any:
        return lab.nodes[n].node_status(f"of-n{n}")

    comes_to(3, lambda: _established(status(1)))
    comes_to(4, lambda: _established(status(3)))
    found = status(1)
    assert found["agent"]["birdV4"]["state"] == "Ready"
    assert found["agent"]["birdV4"]["version"] == "2.0.12"
    assert {(peer["peerIP"], peer["type"], peer["state"]) for peer in found["bgp"]["peersV4"]} == {
        (address(3, 4), "NodePeer", "Established"),
        (address(TOR, 4), "NodePeer", "Established"),
    }
    ways = {(route["destination"], route["type"]): route for route in found["routes"]["routesV6"]}
    way = ways[block(2, 6), "FIB"]
    assert (way["gateway"], way["interface"]) == (address(2, 6), "eth0")
    assert way["learnedFrom"] == {"sourceType": "BGPPeer", "peerIP": address(3, 6)}


def _established(status: Any) -> int:
    """0 before there is one."""
    bgp = {"numberEstablishedV4": 0, "numberEstablishedV6": 0} if status is None else status["bgp"]
    return int(bgp["numberEstablishedV4"] + bgp["numberEstablishedV6"])


def test_a_session_with_ttl_security_takes_nothing_from_afar(lab: Lab) -> None:
    n1 = lab.nodes[1]
    lab.tor.configure(tor_by_hand(""))  # as if from behind a router
    comes_to(False, lambda: to(TOR, 4) in n1.established())
    comes_to(set(), n1.learned, to(TOR, 4))
    lab.tor.configure(tor_by_hand())
    n1.await_established([to(TOR, 4)])


def test_bfd_sees_in_time_that_a_peer_is_dead(lab: Lab) -> None:
    """Without it, a peer that hangs would be believed for the hold time, 240 seconds."""
    n1, n3 = lab.nodes[1], lab.nodes[3]
    up = {address(3, family) for family in FAMILIES}
    comes_to(up, bfd_up, n1)
    with n3.hanging():
        comes_to({to(TOR, 4)}, n1.established)
        for family in FAMILIES:  # BIRD forgets them piece by piece, the session first
            comes_to(set(), n1.learned, to(3, family))
    for n, found in lab.nodes.items():
        found.await_established(SESSIONS[n])


def bfd_up(found: Node) -> set[str]:
    lines = (line.split() for line in found.birdc("show bfd sessions").splitlines())
    return {words[0] for words in lines if len(words) > 2 and words[2] == "Up"}


def test_a_client_leads_no_traffic_to_others_through_the_reflector(lab: Lab) -> None:
    """Its own block with another next hop, and another node's block with the right one."""
    n2, n3 = lab.nodes[2], lab.nodes[3]
    hops: dict[Family, str] = {4: address(1, 4), 6: address(1, 6)}
    away = [
        Neighbour(
            3,
            family,
            CLUSTER_AS,
            MESH_PASSWORD,
            "multihop;",
            exports=f"export filter {{ bgp_next_hop = {hops[family]}; accept; }};",
            next_hop="",
        )
        for family in FAMILIES
    ]
    routes = [Route(net) for net in (block(2, 4), block(2, 6), "10.65.1.0/27")]
    n2.subvert(by_hand(2, CLUSTER_AS, away, routes))
    for family in FAMILIES:
        session = to(2, family)
        comes_to(
            reasons.NEXT_HOP,
            lambda s=session, f=family: n3.refused(s).get(block(2, f)),
        )
        comes_to(False, lambda f=family: block(2, f) in lab.nodes[1].learned(to(3, f)))
    assert n3.refused(to(2, 4))["10.65.1.0/27"] == reasons.NOT_OWNED
