"""What nodes publish of WireGuard, and what cannot be a key."""

from __future__ import annotations

import pytest

from calc_graph.graph import CalcGraph
from calc_graph.model import Node, NodeKey
from calc_graph.updates import HostUpdate, WireguardEndpoint, WireguardEndpointRemove
from calc_graph.wireguard import canonical_key, wireguard_endpoint

KEY = "jGMOLgrlVrPvd1AsGRPkPwNMEeSCpSlcWvLRrRGbLE0="
OTHER = "A" * 42 + "E="
ZERO = "A" * 43 + "="

KEYS = [
    ("a key", KEY, KEY),
    ("bits that say nothing", KEY[:42] + "1=", KEY),
    ("none", "", ""),
    ("zeros", ZERO, ""),
    ("31 bytes", "A" * 42 + "==", None),
    ("33 bytes", "A" * 44, None),
    ("without its end", KEY[:-1], None),
    ("a line", KEY + "\n", None),
    ("another alphabet", "-" * 43 + "=", None),
    ("not ASCII", "é" * 43 + "=", None),
    ("words", "no key", None),
]


@pytest.mark.parametrize(("text", "expected"), [c[1:] for c in KEYS], ids=[c[0] for c in KEYS])
def test_a_key_has_one_text(text: str, expected: str | None) -> None:
    assert canonical_key(text) == expected


ENDS = [
    ("nothing", Node(ipv4="1.1.1.1/24"), None),
    ("a key of zeros", Node(wireguard_key=ZERO), None),
    ("a key", Node(wireguard_key=KEY), WireguardEndpoint("n", KEY)),
    (
        "an address alone",
        Node(wireguard_address="10.0.0.9"),
        WireguardEndpoint("n", "", "10.0.0.9"),
    ),
    (
        "both families",
        Node(
            wireguard_address="10.0.0.9",
            wireguard_address_v6="fd00::9",
            wireguard_key=KEY,
            wireguard_key_v6=OTHER,
        ),
        WireguardEndpoint("n", KEY, "10.0.0.9", OTHER, "fd00::9"),
    ),
    (
        "one is none",
        Node(wireguard_key="?", wireguard_key_v6=KEY),
        WireguardEndpoint("n", key_v6=KEY, malformed=(4,)),
    ),
    (
        "neither is one",
        Node(wireguard_key="?", wireguard_key_v6="!"),
        WireguardEndpoint("n", malformed=(4, 6)),
    ),
]


@pytest.mark.parametrize(("node", "expected"), [c[1:] for c in ENDS], ids=[c[0] for c in ENDS])
def test_ends(node: Node, expected: WireguardEndpoint | None) -> None:
    assert wireguard_endpoint("n", node) == expected


def test_a_key_that_is_none_does_not_take_the_node_away() -> None:
    graph = CalcGraph("here")
    graph.update(NodeKey("n"), Node(ipv4="1.1.1.1/24", wireguard_key="?"))
    graph.in_sync()
    told = graph.flush()
    assert HostUpdate("n", "1.1.1.1", "") in told
    assert WireguardEndpoint("n", malformed=(4,)) in told
    assert WireguardEndpoint("n", malformed=(4,)) in graph.replay()


def test_ends_come_before_hosts_and_go_with_their_last_word() -> None:
    graph = CalcGraph("here")
    graph.update(NodeKey("n"), Node(ipv4="1.1.1.1/24", wireguard_key=KEY))
    graph.in_sync()
    told = graph.flush()
    assert told[-2:] == [WireguardEndpoint("n", KEY), HostUpdate("n", "1.1.1.1", "")]
    graph.update(NodeKey("n"), Node(ipv4="1.1.1.1/24", wireguard_key=KEY[:42] + "1="))
    assert graph.flush() == []
    graph.update(NodeKey("n"), Node(ipv4="1.1.1.1/24"))
    assert graph.flush() == [WireguardEndpointRemove("n")]
