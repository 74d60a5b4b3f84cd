"""Whose a tag or an address is, and which nodes that concerns."""

from __future__ import annotations

import pytest
from msgspec import structs

from calc_graph.model import IpsecNode, IpsecPeering
from calc_graph.updates import HostRemove, HostUpdate, IpsecPeer, IpsecPeerRemove
from dataplane.ipsec.ends import Ends


def ends(**hosts: str) -> Ends:
    made = Ends("here", "pair")
    made.own_tag(9)
    for name, address in {"here": "10.0.0.9", **hosts}.items():
        made.update(HostUpdate(name, address, ""))
    return made


def node(tag: int, ipv4: str, *, others: int = 0, ours: int = 0) -> IpsecNode:
    peers = {"here": IpsecPeering(ours, 1), "other": IpsecPeering(others, 1)}
    return IpsecNode(enabled=True, tag=tag, boot="b", ipv4=ipv4, peers=peers)


def test_who_else_a_record_concerns() -> None:
    made = ends(a="10.0.0.1", b="10.0.0.2", c="10.0.0.3")
    made.update(IpsecPeer("b", node(5, "10.0.0.2")))
    made.update(IpsecPeer("c", node(6, "10.0.0.3")))
    made.take_dirty()
    assert (made.end("b").place.rival, made.end("c").place.addresses) == ("", {4: "10.0.0.3"})
    made.update(IpsecPeer("a", node(5, "10.0.0.3")))
    assert set(made.take_dirty()) == {"a", "b", "c"}
    assert (made.end("b").place.rival, made.end("c").place.addresses) == ("a", {})
    made.update(IpsecPeerRemove("a"))
    assert set(made.take_dirty()) == {"a", "b", "c"}
    assert (made.end("b").place.rival, made.end("c").place.addresses) == ("", {4: "10.0.0.3"})
    made.update(HostRemove("b"))
    assert set(made.take_dirty()) == {"b"}
    assert not made.end("b").published


def test_an_end_is_the_same_until_anything_of_it_is_another() -> None:
    made = ends(a="10.0.0.1")
    made.update(IpsecPeer("a", node(5, "10.0.0.1")))
    made.take_dirty()
    end = made.end("a")
    made.update(HostUpdate("a", "10.0.0.1", ""))
    made.update(IpsecPeer("a", node(5, "10.0.0.1", others=3)))
    assert made.take_dirty() == {}
    assert made.end("a") is end
    made.update(IpsecPeer("a", node(5, "10.0.0.1", others=3, ours=9)))
    assert set(made.take_dirty()) == {"a"}
    assert made.end("a").peering.tag == 9
    assert made.records()["a"].peers["other"].tag == 3


@pytest.mark.parametrize(
    "after",
    [
        structs.replace(node(5, "10.0.0.1"), layout="shared"),
        structs.replace(node(5, "10.0.0.1"), boot="c"),
        structs.replace(node(5, "10.0.0.1"), receive={1: "c"}),
        structs.replace(node(5, "10.0.0.1"), enabled=False),
        structs.replace(node(5, "10.0.0.1"), ipv6="fd00::1"),
        structs.replace(node(5, "10.0.0.1"), allow_clear=True),
        structs.replace(node(5, "10.0.0.1"), node_encryption=True),
        node(6, "10.0.0.1"),
        node(5, "10.0.0.2"),
        node(5, "10.0.0.1", ours=9),
    ],
)
def test_whatever_a_record_says_to_us_counts(after: IpsecNode) -> None:
    made = ends(a="10.0.0.1")
    made.update(IpsecPeer("a", node(5, "10.0.0.1")))
    made.take_dirty()
    assert made.end("a").record != after
    made.update(IpsecPeer("a", after))
    assert set(made.take_dirty()) == {"a"}
    assert made.end("a").record == after


def test_another_nodes_end_of_a_tunnel_is_nobodys_own_address() -> None:
    made = ends(a="10.0.0.1", b="10.0.0.2")
    made.update(IpsecPeer("b", node(6, "")))
    made.take_dirty()
    assert made.end("b").place.hosts == {4: "10.0.0.2"}
    made.update(IpsecPeer("a", node(5, "10.0.0.2")))
    assert set(made.take_dirty()) == {"a", "b"}
    assert (made.end("a").place.addresses, made.end("b").place.hosts) == ({4: "10.0.0.2"}, {})
    made.update(IpsecPeer("a", node(5, "10.0.0.9")))
    assert (made.end("a").place.addresses, made.end("a").place.hosts) == ({}, {4: "10.0.0.1"})
    assert made.end("b").place.hosts == {4: "10.0.0.2"}


def test_of_two_nodes_with_one_address_and_no_tunnel_one_has_it() -> None:
    made = ends(a="10.0.0.1", b="10.0.0.1", c="10.0.0.9")
    for name in "abc":
        made.update(IpsecPeer(name, node(ord(name), "")))
    assert [made.end(name).place.hosts for name in "abc"] == [{4: "10.0.0.1"}, {}, {}]


def test_our_own_tag_and_address_are_claimed_as_well() -> None:
    made = ends(z="10.0.0.1")
    made.update(IpsecPeer("z", node(7, "10.0.0.1")))
    made.take_dirty()
    assert made.end("z").place.rival == ""
    made.own_tag(7)
    assert set(made.take_dirty()) == {"here", "z"}
    assert (made.end("z").place.rival, made.own_rival()) == ("here", "")
    made.update(HostUpdate("here", "10.0.0.1", ""))
    assert made.own_addresses() == {4: "10.0.0.1"}
    assert made.end("z").place.addresses == {}
