"""IP sets of rules: their members go to the family that they are of."""

from __future__ import annotations

import pytest

from calc_graph.updates import IpsetDelta, IpsetRemove, IpsetType, IpsetUpdate
from dataplane.families import family_of
from dataplane.settings import Settings
from tests.fakes.node import FakeNode

FAMILIES = [
    ("10.0.0.1", 4),
    ("10.0.0.0/8", 4),
    ("10.0.0.1,tcp:80", 4),
    ("fd00::1", 6),
    ("fd00::/64", 6),
    ("fd00::1,tcp:80", 6),
]
KINDS = [
    (IpsetType.NET, ("10.0.0.1/32", "10.1.0.0/16"), ("fd00::1/128", "fd01::/64")),
    (IpsetType.IP_PORT, ("10.0.0.1,tcp:80", "10.0.0.1,udp:53"), ("fd00::1,sctp:9", "fd00::1,17:9")),
]


@pytest.mark.parametrize(("member", "family"), FAMILIES)
def test_the_family_of_a_member(member, family) -> None:
    assert family_of(member) == family


@pytest.mark.parametrize(("kind", "v4", "v6"), KINDS)
def test_members_go_to_their_family(kind, v4, v6) -> None:
    node = FakeNode()
    node.told(IpsetUpdate("x", kind, frozenset({v4[0], v6[0]})))
    assert node.ipsets[4].sets["cali40x"] == (kind, frozenset({v4[0]}))
    assert node.ipsets[6].sets["cali60x"] == (kind, frozenset({v6[0]}))
    node.told(IpsetDelta("x", frozenset({v4[1], v6[1]}), frozenset({v4[0]})))
    assert node.members("cali40x") == {v4[1]}
    assert node.members("cali60x") == {*v6}
    assert node.dataplane.summary().ipsets == 1
    node.told(IpsetUpdate("x", kind, frozenset()))
    assert node.members("cali40x") == node.members("cali60x") == set()
    node.told(IpsetRemove("x"))
    assert "cali40x" not in node.ipsets[4].sets
    assert "cali60x" not in node.ipsets[6].sets
    assert node.dataplane.summary().ipsets == 0


def test_without_ipv6_its_members_go_nowhere() -> None:
    node = FakeNode(Settings("here", ipv6=False))
    node.told(IpsetUpdate("x", IpsetType.NET, frozenset({"10.0.0.1/32", "fd00::1/128"})))
    node.told(IpsetDelta("x", frozenset({"fd00::2/128"}), frozenset({"fd00::1/128"})))
    assert node.members("cali40x") == {"10.0.0.1/32"}


def test_a_long_name_is_cut() -> None:
    node = FakeNode()
    node.told(IpsetUpdate("s:" + 38 * "x", IpsetType.NET, frozenset()))
    assert "cali40s:" + 23 * "x" in node.ipsets[4].sets


def test_a_change_of_what_is_not_there_is_a_mistake() -> None:
    node = FakeNode()
    with pytest.raises(KeyError):
        node.desire(IpsetDelta("x", frozenset({"10.0.0.1/32"}), frozenset()))
