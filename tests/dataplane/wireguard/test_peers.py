"""Which nodes could be peers."""

from __future__ import annotations

from typing import Any

import pytest

from calc_graph.updates import HostRemove, HostUpdate, WireguardEndpoint, WireguardEndpointRemove
from dataplane.wireguard.peers import Claim, Claims
from dataplane.wireguard.state import shown
from tests.dataplane.wireguard.builders import HERE, OWN_KEY, end, host, key, malformed

CASES: list[tuple[str, list[Any], tuple[str, bytes, str]]] = [
    # case, what is told, the claim of node a
    ("nothing", [], ("no key", b"", "")),
    ("an address alone", [host("a")], ("no key", b"", "")),
    ("both", [end("a"), host("a")], ("peer", key("a"), "172.30.0.97")),
    ("a key alone", [end("a")], ("no address", key("a"), "")),
    (
        "an address that is gone",
        [end("a"), host("a"), HostRemove("a")],
        ("no address", key("a"), ""),
    ),
    (
        "an address that is empty",
        [end("a"), host("a"), HostUpdate("a", "", "fd30::1")],
        ("no address", key("a"), ""),
    ),
    ("another key", [host("a"), end("a"), end("a", key("x"))], ("peer", key("x"), "172.30.0.97")),
    ("a key withdrawn", [host("a"), end("a"), end("a", "")], ("no key", b"", "")),
    ("an end that is gone", [end("a"), WireguardEndpointRemove("a")], ("no key", b"", "")),
    ("of the other family", [host("a"), WireguardEndpoint("a", key_v6="x")], ("no key", b"", "")),
    ("what is no key", [host("a"), malformed("a")], ("malformed key", b"", "")),
    ("what is not base64", [host("a"), end("a", "?")], ("malformed key", b"", "")),
    ("a key that is too short", [host("a"), end("a", "AAAA")], ("malformed key", b"", "")),
    ("the key of zeroes", [host("a"), end("a", bytes(32))], ("malformed key", b"", "")),
    (
        "another's key",
        [host("a"), host("b"), end("a"), end("b", key("a"))],
        ("duplicate key", key("a"), ""),
    ),
    (
        "another's key, who has changed",
        [host("a"), end("a"), end("b", key("a")), end("b")],
        ("peer", key("a"), "172.30.0.97"),
    ),
    (
        "another's key, who is gone",
        [host("a"), end("a"), end("b", key("a")), WireguardEndpointRemove("b")],
        ("peer", key("a"), "172.30.0.97"),
    ),
    ("our own key", [host("a"), end("a", OWN_KEY)], ("duplicate key", OWN_KEY, "")),
]


@pytest.mark.parametrize(("case", "updates", "claim"), CASES)
def test_claims(case, updates, claim) -> None:
    claims = Claims(4, HERE)
    claims.own_key(OWN_KEY)
    for update in updates:
        claims.update(update)
    assert claims.claim("a") == Claim(*claim), case


def test_ipv6_is_another_mesh() -> None:
    claims = Claims(6, HERE)
    claims.update(WireguardEndpoint("a", key=shown(key("x")), key_v6=shown(key("a"))))
    claims.update(HostUpdate("a", "172.30.0.1", "fd30::1"))
    assert claims.claim("a") == Claim("peer", key("a"), "fd30::1")


def test_this_node_is_no_peer_of_its_own() -> None:
    claims = Claims(4, HERE)
    claims.update(end(HERE, key("a")))
    claims.update(host(HERE))
    claims.update(end("a"))
    claims.update(host("a"))
    assert not {HERE} & claims.take_dirty().keys()
    assert claims.claim("a").kind == "peer"
    assert claims.claim(HERE).kind == "no key"


def test_who_shares_a_key_is_told_of_it_and_of_its_end() -> None:
    claims = Claims(4, HERE)
    for node in ("a", "b"):
        claims.update(end(node, key("x")))
    assert claims.sharing(key("x")) == ["a", "b"]
    assert set(claims.take_dirty()) == {"a", "b"}
    claims.own_key(key("x"))
    assert claims.sharing(key("x")) == ["a", "b", HERE]
    assert set(claims.take_dirty()) == {"a", "b"}
    claims.own_key(None)
    assert set(claims.take_dirty()) == {"a", "b"}
    claims.update(end("b"))
    assert set(claims.take_dirty()) == {"a", "b"}
    claims.update(host("a"))
    claims.take_dirty()
    claims.update(host("a"))
    assert not claims.take_dirty()
