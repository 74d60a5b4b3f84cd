"""What there is to say of a mesh."""

from __future__ import annotations

from dataplane.settings import WireguardSettings
from dataplane.wireguard.mesh import Mesh
from dataplane.wireguard.state import DeviceState, PeerState, shown
from dataplane.wireguard.status import FamilyStatus, PeerStatus, family_status
from tests.dataplane.wireguard.builders import HERE, OWN_KEY, behind, end, key, node

A, B, C = "10.0.1.0/26", "10.0.2.0/26", "10.0.3.0/26"


def mesh() -> Mesh:
    mesh = Mesh(4, HERE, WireguardSettings())
    for update in (*node("a", A, B), *behind("d", C), end("n"), *node(HERE, "10.0.9.0/26")):
        mesh.update(update)
    mesh.resolve()
    return mesh


def test_of_each_node_and_each_peer_of_the_device() -> None:
    state = DeviceState(
        7,
        OWN_KEY,
        51820,
        0x200000,
        {
            key("a"): PeerState(("172.30.0.97", 51820), frozenset({A}), 25, 99.5, 10, 20),
            key("x"): PeerState(),
        },
    )
    given = mesh()
    given.observe(state)
    given.resolve()
    assert family_status(4, "wireguard.cali", "", given, state, {B: (3, 300), C: (4, 400)}) == (
        FamilyStatus(
            4,
            "wireguard.cali",
            "on",
            shown(OWN_KEY),
            51820,
            peers=(
                PeerStatus("", shown(key("x")), "leaving"),
                PeerStatus(
                    "a",
                    shown(key("a")),
                    "ready",
                    ("172.30.0.97", 51820),
                    (A,),
                    closed_nets=(B,),
                    handshake=99.5,
                    received=10,
                    sent=20,
                    clear_packets=3,
                    clear_bytes=300,
                ),
                PeerStatus("d", "", "no key", clear_nets=(C,), clear_packets=4, clear_bytes=400),
                PeerStatus("n", shown(key("n")), "no address"),
            ),
        )
    )


def test_what_is_closed() -> None:
    strict = Mesh(4, HERE, WireguardSettings(strict=True))
    for update in (*node("a", A), *behind("d", C)):
        strict.update(update)
    strict.resolve()
    peers = family_status(4, "wireguard.cali", "", strict, None, {}).peers
    assert [(peer.node, peer.closed_nets, peer.clear_nets) for peer in peers] == [
        ("a", (A,), ()),
        ("d", (C,), ()),
    ]


def test_without_wireguard() -> None:
    status = family_status(4, "wireguard.cali", "this kernel has none", mesh(), None, {})
    assert (status.phase, status.reason, status.key) == ("unavailable", "this kernel has none", "")
    assert [(peer.node, peer.stage) for peer in status.peers] == [
        ("a", "waiting"),
        ("d", "no key"),
        ("n", "no address"),
    ]
