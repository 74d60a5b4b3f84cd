"""Which sessions a node has, and what is in them: section 2 of the BGP reference, row by row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from calc_graph.bgp.graph import BgpGraph
from calc_graph.bgp.resources import (
    BgpConfiguration,
    BgpConfigurationKey,
    BgpFilter,
    BgpFilterKey,
    BgpPeer,
    BgpPeerKey,
    SecretRef,
)
from calc_graph.bgp.updates import BgpSession, BgpSessionRemove
from calc_graph.model import (
    Key,
    Node,
    NodeKey,
    Profile,
    ProfileKey,
    Value,
    WorkloadEndpoint,
    WorkloadEndpointKey,
)
from tests.calc_graph.bgp.told import Told, told

N1, N2, N3 = (NodeKey(f"n{i}") for i in (1, 2, 3))
ONE = Node(bgp_ipv4="10.0.0.1/24", bgp_ipv6="fd00::1/64", labels={"rack": "a"})
TWO = Node(bgp_ipv4="10.0.0.2/24", bgp_ipv6="fd00::2/64", labels={"rack": "b"})
THREE = Node(bgp_ipv4="10.0.0.3/24", labels={"rack": "b"})
REFLECTOR = replace(THREE, cluster_id="1.1.1.1", labels={"rr": ""})
DEFAULT, OF_N2 = BgpConfigurationKey("default"), BgpConfigurationKey("node.n2")
NO_MESH = {DEFAULT: BgpConfiguration(mesh=False)}
SECRET = SecretRef("bgp", "password")
TOR = BgpPeer(address="10.0.0.254", as_number=65001)


def cluster(*more: Mapping[Any, Value], peers: dict[str, BgpPeer] | None = None) -> Told:
    state: dict[Key, Value] = {N1: ONE, N2: TWO}
    for each in more:
        state |= each
    state |= {BgpPeerKey(name): peer for name, peer in (peers or {}).items()}
    return told(state)


def only(found: Told, name: str) -> BgpSession:
    assert name in found.sessions, sorted(found.sessions)
    return found.sessions[name]


# ---------------------------------------------------------------- the mesh

MESHES: list[tuple[str, Mapping[Any, Value], list[str]]] = [
    ("both families", {}, ["Mesh_10_0_0_2", "Mesh_fd00__2"]),
    (
        "a family that one end lacks",
        {N3: THREE},
        ["Mesh_10_0_0_2", "Mesh_10_0_0_3", "Mesh_fd00__2"],
    ),
    ("no address here", {N1: Node()}, []),
    ("this node unknown", {N1: Node(ipv4="10.0.0.1/24")}, []),
    ("mesh off", NO_MESH, []),
    ("a reflector has no part in it", {N2: replace(TWO, cluster_id="1.1.1.1")}, []),
    ("nor has this one if it is one", {N1: replace(ONE, cluster_id="1.1.1.1")}, []),
    (
        "a port is not in the name",
        {DEFAULT: BgpConfiguration(listen_port=1790)},
        ["Mesh_10_0_0_2", "Mesh_fd00__2"],
    ),
]


@pytest.mark.parametrize(("_", "more", "names"), MESHES, ids=[case[0] for case in MESHES])
def test_who_is_in_the_mesh(_, more, names) -> None:
    assert list(cluster(more).sessions) == names


def test_a_session_of_the_mesh() -> None:
    default = BgpConfiguration(
        as_number=65000, mesh_password=SECRET, mesh_restart_seconds=90, listen_port=1790
    )
    found = cluster({DEFAULT: default, N2: replace(TWO, as_number=65002)})
    assert only(found, "Mesh_10_0_0_2") == BgpSession(
        name="Mesh_10_0_0_2",
        family=4,
        kind="mesh",
        trust="node",
        address="10.0.0.2",
        remote_as=65002,
        local_as=65000,
        remote="n2",
        local_address="10.0.0.1",
        port=1790,
        passive=True,
        restart_seconds=90,
        password=SECRET,
    )


def test_a_nodes_own_port_is_before_the_clusters() -> None:
    more = {
        DEFAULT: BgpConfiguration(listen_port=1790),
        OF_N2: BgpConfiguration(listen_port=1791),
    }
    assert only(cluster(more), "Mesh_10_0_0_2").port == 1791


@pytest.mark.parametrize(
    ("own", "other", "passive"),
    [
        ("10.0.0.1", "10.0.0.2", True),
        ("10.0.0.2", "10.0.0.1", False),
        ("10.0.0.10", "10.0.0.9", True),  # as texts, whatever the numbers say
        ("10.0.0.9", "10.0.0.10", False),
    ],
)
def test_the_end_whose_peer_is_the_greater_text_waits(own, other, passive) -> None:
    nodes = {N1: Node(bgp_ipv4=f"{own}/24"), N2: Node(bgp_ipv4=f"{other}/24")}
    (mesh,) = cluster(nodes).sessions.values()
    assert mesh.passive is passive
    tor = BgpPeer(address=other, as_number=64512)
    (session,) = cluster(nodes, NO_MESH, peers={"a": tor}).sessions.values()
    assert (session.kind, session.passive) == ("global", passive)


def test_a_node_with_this_nodes_address_has_no_session_and_is_named() -> None:
    found = cluster({N2: Node(bgp_ipv4="10.0.0.1/24")})
    assert not found.sessions
    assert found.about("Node n2") == ["no session: its address 10.0.0.1 is this node's"]


def test_of_two_nodes_with_one_address_the_first_by_name_has_the_session() -> None:
    found = cluster({N3: replace(TWO, bgp_ipv6="")})
    assert only(found, "Mesh_10_0_0_2").remote == "n2"
    assert found.about("Node n3") == ["no session: 10.0.0.2 is Node n2's too"]


# ---------------------------------------------------------------- who is whose peer

PEERS: list[tuple[str, dict[str, BgpPeer], list[tuple[str, str]]]] = [
    # what                  BGPPeers                                     names and BGPPeers
    ("global", {"t": TOR}, [("Global_10_0_0_254", "t")]),
    ("of this node", {"t": replace(TOR, node="n1")}, [("Node_10_0_0_254", "t")]),
    ("of another", {"t": replace(TOR, node="n2")}, []),
    ("selected", {"t": replace(TOR, node_selector="rack == 'a'")}, [("Node_10_0_0_254", "t")]),
    ("not selected", {"t": replace(TOR, node_selector="rack == 'b'")}, []),
    ("with a port", {"t": replace(TOR, port=179)}, [("Global_10_0_0_254_port_179", "t")]),
    ("v6", {"t": replace(TOR, address="fd00::fe")}, [("Global_fd00__fe", "t")]),
    ("itself", {"t": replace(TOR, address="10.0.0.1")}, []),
    (
        "nodes by selector, both families",
        {"t": BgpPeer(peer_selector="rack == 'b'")},
        [("Global_10_0_0_2", "t"), ("Global_10_0_0_3", "t"), ("Global_fd00__2", "t")],
    ),
    ("a selector of nobody", {"t": BgpPeer(peer_selector="rack == 'z'")}, []),
    (
        "global before node, whatever the names",
        {"a": replace(TOR, node="n1"), "b": TOR},
        [("Global_10_0_0_254", "b")],
    ),
    ("179 is no other port than none", {"a": TOR, "b": replace(TOR, port=179)},
     [("Global_10_0_0_254", "a")]),
    (
        "another port is another peer",
        {"a": TOR, "b": replace(TOR, port=1790)},
        [("Global_10_0_0_254", "a"), ("Global_10_0_0_254_port_1790", "b")],
    ),
    (
        "another node's peering is answered",
        {"t": BgpPeer(node="n2", peer_selector="rack == 'a'")},
        [("Node_10_0_0_2", "t"), ("Node_fd00__2", "t")],
    ),
    (
        "also one that gives this node's address, in that family",
        {"t": BgpPeer(node="n2", address="10.0.0.1", as_number=64512)},
        [("Node_10_0_0_2", "t")],
    ),
    (
        "a global one by every node",
        {"t": BgpPeer(address="10.0.0.1", as_number=64512)},
        [("Node_10_0_0_2", "t"), ("Node_10_0_0_3", "t")],
    ),
    ("of another AS it is not this node", {"t": BgpPeer(address="10.0.0.1", as_number=1)}, []),
    ("nor with another port", {"t": BgpPeer(address="10.0.0.1", port=1790)}, []),
    ("not where it is by hand", {"t": BgpPeer(peer_selector="rack == 'a'", mirrored=False)}, []),
    (
        "one's own peering is before an answer",
        {
            "a": BgpPeer(node="n2", peer_selector="rack == 'a'"),
            "b": BgpPeer(node="n1", peer_selector="rack == 'b'", mirrored=False),
        },
        [("Node_10_0_0_2", "b"), ("Node_10_0_0_3", "b"), ("Node_fd00__2", "b")],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("_", "peers", "expected"), PEERS, ids=[case[0] for case in PEERS])
def test_whose_sessions_there_are(_, peers, expected) -> None:
    found = cluster(NO_MESH, {N3: THREE}, peers=peers)
    assert sorted((each.name, each.resource) for each in found.sessions.values()) == expected


def test_of_two_in_one_pass_the_first_by_name_wins_and_the_other_is_told() -> None:
    found = cluster(NO_MESH, peers={"b": replace(TOR, as_number=1), "a": TOR})
    assert only(found, "Global_10_0_0_254").resource == "a"
    assert found.faults == (
        ("BGPPeer b", "has no part in Global_10_0_0_254: BGPPeer a asks for it first"),
    )


def test_a_peering_takes_the_place_of_the_meshs_session_and_says_so() -> None:
    found = cluster(peers={"t": BgpPeer(address="10.0.0.2", as_number=64512)})
    assert sorted(found.sessions) == ["Global_10_0_0_2", "Mesh_fd00__2"]
    assert found.about("BGPPeer t") == [
        "takes the place of sessions of the node-to-node mesh, which is on"
    ]


# ---------------------------------------------------------------- fields

FIELDS: list[tuple[str, BgpPeer, dict[str, object]]] = [
    ("nothing given", TOR, {"local_address": "10.0.0.1", "local_as": 64512, "trust": "outside"}),
    ("local AS", replace(TOR, local_as=65010), {"local_as": 65010, "remote_as": 65001}),
    ("source address", replace(TOR, use_node_address=False), {"local_address": ""}),
    ("not passive", TOR, {"passive": False, "remote": "", "port": 0}),
    ("keep on eBGP", replace(TOR, next_hop="keep-ebgp"), {"next_hop": "keep"}),
    (
        "no keep on iBGP by the AS in effect",
        replace(TOR, next_hop="keep-ebgp", local_as=65001),
        {"next_hop": "auto"},
    ),
    ("keep always", replace(TOR, next_hop="keep", as_number=64512), {"next_hop": "keep"}),
    ("self", replace(TOR, next_hop="self"), {"next_hop": "self"}),
    (
        "carried over",
        replace(
            TOR,
            ttl_security=1,
            restart_seconds=5,
            keepalive_seconds=6,
            allow_local_as=2,
            reachable_by="10.0.0.253",
            password=SECRET,
            filters=("f",),
        ),
        {
            "ttl_security": 1,
            "restart_seconds": 5,
            "keepalive_seconds": 6,
            "allow_local_as": 2,
            "reachable_by": "10.0.0.253",
            "password": SECRET,
            "filters": ("f",),
        },
    ),
]


@pytest.mark.parametrize(("_", "peer", "expected"), FIELDS, ids=[case[0] for case in FIELDS])
def test_fields_of_a_session(_, peer, expected) -> None:
    session = only(cluster(NO_MESH, peers={"t": peer}), "Global_10_0_0_254")
    assert {name: getattr(session, name) for name in expected} == expected


def test_a_node_given_by_its_address_lends_its_port_and_its_name() -> None:
    more = NO_MESH | {OF_N2: BgpConfiguration(listen_port=1790)}
    found = cluster(more, peers={"t": BgpPeer(address="10.0.0.2", as_number=64512)})
    session = only(found, "Global_10_0_0_2_port_1790")
    assert (session.port, session.remote, session.trust) == (1790, "n2", "node")


def test_a_nodes_own_port_decides_whether_a_peering_is_with_it() -> None:
    more = {
        DEFAULT: BgpConfiguration(mesh=False, listen_port=1790),
        OF_N2: BgpConfiguration(listen_port=1791),
    }
    peers = {
        "own": BgpPeer(address="10.0.0.2", port=1791, as_number=64512),
        "clusters": BgpPeer(address="10.0.0.2", port=1790, as_number=64512),
    }
    found = cluster(more, peers=peers)
    assert only(found, "Global_10_0_0_2_port_1791").trust == "node"
    assert only(found, "Global_10_0_0_2_port_1790").trust == "outside"


def test_an_answer_has_no_gateway_and_expects_the_local_as_of_the_other_end() -> None:
    peer = BgpPeer(
        node="n2",
        address="10.0.0.1",
        as_number=64512,
        local_as=65010,
        reachable_by="10.0.0.253",
        password=SECRET,
    )
    session = only(cluster(NO_MESH, peers={"t": peer}), "Node_10_0_0_2")
    assert (session.remote_as, session.local_as) == (65010, 64512)
    assert (session.reachable_by, session.password, session.passive) == ("", SECRET, False)


# ---------------------------------------------------------------- reflectors

SAME = replace(ONE, cluster_id="1.1.1.1")
OTHER = replace(ONE, cluster_id="2.2.2.2")
BY_ADDRESS = BgpPeer(address="10.0.0.3", as_number=64512)
BY_SELECTOR = BgpPeer(peer_selector="has(rr)")
REFLECTION: list[tuple[str, Node, Node, BgpPeer, str, bool]] = [
    # what                                  here   there      by            trust        client
    ("a node's reflector", ONE, REFLECTOR, BY_SELECTOR, "reflector", False),
    ("the same by its address", ONE, REFLECTOR, BY_ADDRESS, "reflector", False),
    ("two of one cluster", SAME, REFLECTOR, BY_SELECTOR, "reflector", False),
    ("two of one cluster by address", SAME, REFLECTOR, BY_ADDRESS, "reflector", False),
    ("two of two clusters", OTHER, REFLECTOR, BY_SELECTOR, "reflector", True),
    ("a client", SAME, THREE, BY_ADDRESS, "node", True),
    ("no client in another AS", SAME, THREE, replace(BY_ADDRESS, as_number=1), "node", False),
]  # fmt: skip


@pytest.mark.parametrize(
    ("_", "here", "there", "peer", "trust", "client"), REFLECTION, ids=[c[0] for c in REFLECTION]
)
def test_reflection(_, here, there, peer, trust, client) -> None:
    session = only(cluster(NO_MESH, {N1: here, N3: there}, peers={"t": peer}), "Global_10_0_0_3")
    assert (session.trust, session.remote, session.client) == (trust, "n3", client)


def test_a_router_outside_can_be_a_client() -> None:
    peers = {"t": replace(TOR, as_number=64512)}
    session = only(cluster({N1: SAME}, peers=peers), "Global_10_0_0_254")
    assert (session.trust, session.client) == ("outside", True)


# ---------------------------------------------------------------- workloads

LOCAL = WorkloadEndpointKey("n1", "k8s", "p/w", "eth0")
ELSEWHERE = replace(LOCAL, host="n2")
WORKLOAD = WorkloadEndpoint(
    "cali1", ("10.65.0.9/32", "10.65.0.8/32", "fd65::9/128"), {"app": "router"}
)
OF_WORKLOADS = BgpPeer(workload_selector="app == 'router'", as_number=65009)


def test_sessions_with_local_workloads() -> None:
    found = cluster(NO_MESH, {LOCAL: WORKLOAD, ELSEWHERE: WORKLOAD}, peers={"w": OF_WORKLOADS})
    assert sorted(found.sessions) == ["Local_Workload_10_65_0_9", "Local_Workload_fd65__9"]
    assert only(found, "Local_Workload_10_65_0_9") == BgpSession(
        name="Local_Workload_10_65_0_9",
        family=4,
        kind="workload",
        trust="workload",
        address="10.65.0.9",
        remote_as=65009,
        local_as=64512,
        resource="w",
        passive=True,
    )


def test_a_workloads_labels_are_also_those_of_its_profiles() -> None:
    heir = replace(WORKLOAD, labels={}, profiles=("kns.p",))
    profile: dict[Key, Value] = {ProfileKey("kns.p"): Profile(labels={"app": "router"})}
    assert not cluster(NO_MESH, {LOCAL: heir}, peers={"w": OF_WORKLOADS}).sessions
    assert cluster(NO_MESH, {LOCAL: heir}, profile, peers={"w": OF_WORKLOADS}).sessions


@pytest.mark.parametrize("node", ["n2", "n1"])
def test_workloads_of_nodes_that_a_peering_is_for(node) -> None:
    found = cluster(NO_MESH, {LOCAL: WORKLOAD}, peers={"w": replace(OF_WORKLOADS, node=node)})
    assert bool(found.sessions) == (node == "n1")


def test_a_workload_that_gets_another_address_gets_another_session() -> None:
    graph = BgpGraph("n1")
    state: Mapping[Any, Value] = {N1: ONE, LOCAL: WORKLOAD, BgpPeerKey("w"): OF_WORKLOADS}
    for key, value in state.items():
        graph.update(key, value)
    graph.in_sync()
    graph.flush()
    graph.update(LOCAL, replace(WORKLOAD, nets=("10.65.0.7/32", "fd65::9/128")))
    gone, come = graph.flush()
    assert gone == BgpSessionRemove("Local_Workload_10_65_0_9")
    assert come.name == "Local_Workload_10_65_0_7"


# ---------------------------------------------------------------- mistakes

MISTAKES: list[tuple[BgpPeer, str]] = [
    (replace(TOR, node="n1", node_selector="all()"), "node and nodeSelector exclude each other"),
    (BgpPeer(), "give one of peerIP, peerSelector and localWorkloadSelector"),
    (replace(TOR, peer_selector="all()"), "give one of peerIP, peerSelector and"),
    (BgpPeer(peer_selector="all()", as_number=1), "asNumber is each node's own"),
    (BgpPeer(workload_selector="all()"), "asNumber has to be given with localWorkloadSelector"),
    (replace(TOR, as_number=0), "asNumber has to be given: peerIP is no node's address"),
    (replace(TOR, address="10.0.0"), "peerIP is no address: '10.0.0'"),
    (replace(TOR, address='1"; #'), "peerIP is no address"),
    (replace(TOR, address="FD00::1"), "peerIP is not written as an address should be"),
    (replace(TOR, address="fe80::1%eth0"), "peerIP is not written as an address should be"),
    (replace(TOR, address="fe80::1"), "peerIP fe80::1 is link-local"),
    (replace(TOR, address="224.0.0.1"), "peerIP 224.0.0.1 is no address of another host"),
    (replace(TOR, reachable_by="fd00::1"), "reachableBy fd00::1 is of another family"),
    (replace(TOR, reachable_by="x"), "reachableBy is no address: 'x'"),
    (BgpPeer(peer_selector="all()", reachable_by="10.0.0.9"), "reachableBy has to go with peerIP"),
    (replace(TOR, node_selector="rack =="), "nodeSelector: selector, column"),
    (BgpPeer(peer_selector="rack =="), "peerSelector: selector, column"),
    (BgpPeer(workload_selector="a ==", as_number=1), "localWorkloadSelector: selector, column"),
]


@pytest.mark.parametrize(("peer", "reason"), MISTAKES, ids=[case[1] for case in MISTAKES])
def test_a_mistake_leaves_that_peering_out_and_no_other(peer, reason) -> None:
    found = cluster(NO_MESH, peers={"bad": peer, "good": replace(TOR, address="10.0.0.253")})
    assert list(found.sessions) == ["Global_10_0_0_253"]
    ((about, text),) = found.faults
    assert about == "BGPPeer bad"
    assert text.startswith(f"is left out: {reason}")


def test_a_filter_that_is_not_there_stays_in_the_session_and_is_told() -> None:
    peers = {"t": replace(TOR, filters=("f", "g"))}
    found = cluster(NO_MESH, {BgpFilterKey("f"): BgpFilter()}, peers=peers)
    assert only(found, "Global_10_0_0_254").filters == ("f", "g")
    assert found.about("BGPPeer t") == ["no routes are exchanged: no BGPFilter g"]
    assert list(found.filters) == ["f"]
