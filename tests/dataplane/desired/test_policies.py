"""Policies and profiles as chains: which, in which tables, and what stands in for a bad one."""

from __future__ import annotations

import pytest

from calc_graph.model import PolicyKey, PortRange
from calc_graph.updates import (
    ActiveProfile,
    ActiveRule,
    IpsetRemove,
    IpsetType,
    IpsetUpdate,
    PeerMatch,
    PolicyRemove,
    ProfileRemove,
    ProfileUpdate,
)
from dataplane.settings import RenderSettings, Settings
from tests.dataplane.desired.builders import ALLOW, DENY, from_set, gnp, policy, staged, tier, wep
from tests.fakes.node import FakeNode

TABLES = ("raw", "mangle", "nat", "filter")
BAD = ActiveRule(action="allow", destination=PeerMatch(ports=(PortRange(80, 80),)))  # no protocol


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


def tables_with(node: FakeNode, start: str) -> dict[str, set[str]]:
    """The tables that know chains of this beginning; the same in both families."""
    known = {table: node.names(start, table) for table in TABLES}
    assert known == {table: node.names(start, table, 6) for table in TABLES}
    return {table: names for table, names in known.items() if names}


def test_a_policy_has_both_chains_in_every_table_that_may_ask_it(node: FakeNode) -> None:
    node.told(policy("p", ALLOW))
    for start in ("cali-pi-", "cali-po-"):
        name = f"{start}gnp/p"
        assert tables_with(node, start) == {"raw": {name}, "mangle": {name}, "filter": {name}}
    node.told(PolicyRemove(gnp("p")))
    assert tables_with(node, "cali-p") == {}


def test_a_profile_has_its_egress_in_mangle_too(node: FakeNode) -> None:
    node.told(ProfileUpdate("kns.a", ActiveProfile((ALLOW,), (ALLOW,))))
    assert tables_with(node, "cali-pri-") == {"filter": {"cali-pri-kns.a"}}
    assert tables_with(node, "cali-pro-") == {
        "mangle": {"cali-pro-kns.a"},
        "filter": {"cali-pro-kns.a"},
    }
    node.told(ProfileRemove("kns.a"))
    assert tables_with(node, "cali-pr") == {}


def test_a_staged_policy_has_no_chains(node: FakeNode) -> None:
    node.told(policy(staged("p"), BAD))
    assert tables_with(node, "cali-p") == {}
    assert node.problems == {}
    assert node.dataplane.summary().policies == 0
    node.told(PolicyRemove(staged("p")))


@pytest.mark.parametrize("action", ["DROP", "REJECT"])
def test_rejecting_is_possible_in_filter_alone(action) -> None:
    node = FakeNode(Settings("here", render=RenderSettings(filter_deny_action=action)))
    node.told(policy("p", DENY), ProfileUpdate("x", ActiveProfile((DENY,), (DENY,))))
    for chain, tables in (
        ("cali-pi-gnp/p", ("raw", "mangle")),
        ("cali-po-gnp/p", ("raw", "mangle")),
        ("cali-pro-x", ("mangle",)),
    ):
        assert node.chain(chain, "filter")[-1].endswith(f"--jump {action}")
        for table in tables:
            assert node.chain(chain, table)[-1].endswith("--jump DROP")


def test_a_policy_may_be_needed_everywhere(node: FakeNode) -> None:
    node.told(policy("p", ALLOW, needed_everywhere=True))
    assert node.tables[4].forced == {("filter", "cali-pi-gnp/p"), ("filter", "cali-po-gnp/p")}
    assert "cali-pi-gnp/p" in node.tables[6].programmed("filter")
    node.told(policy("p", ALLOW))
    assert node.tables[4].forced == set()
    node.told(policy("p", ALLOW, needed_everywhere=True))
    node.told(PolicyRemove(gnp("p")))
    assert node.tables[4].forced == set()


CLOSED_POLICY = '-m comment --comment "This policy cannot be rendered" --jump DROP'
CLOSED_PROFILE = '-m comment --comment "This profile cannot be rendered" --jump DROP'


def test_a_policy_that_cannot_be_rendered_drops_everything(node: FakeNode) -> None:
    node.told(policy("good", ALLOW), policy("bad", ALLOW, BAD))
    for table in ("raw", "mangle", "filter"):
        for chain in ("cali-pi-gnp/bad", "cali-po-gnp/bad"):
            assert node.chain(chain, table) == node.chain(chain, table, 6) == (CLOSED_POLICY,)
    assert CLOSED_POLICY not in node.chain("cali-pi-gnp/good")
    (problem,) = node.problems.values()
    assert "GlobalNetworkPolicy bad" in problem
    assert "ports need tcp" in problem
    node.told(policy("bad", ALLOW))
    assert CLOSED_POLICY not in node.chain("cali-pi-gnp/bad")
    assert node.problems == {}
    node.told(policy("bad", BAD))
    node.told(PolicyRemove(gnp("bad")))
    assert node.problems == {}


def test_a_profile_that_cannot_be_rendered_drops_everything(node: FakeNode) -> None:
    node.told(ProfileUpdate("x", ActiveProfile((), (BAD,))), wep("a", "cali1", profiles=("x",)))
    assert node.chain("cali-pri-x") == node.chain("cali-pro-x", "mangle", 6) == (CLOSED_PROFILE,)
    (problem,) = node.problems.values()
    assert (
        problem
        == "Profile x: egress rule 0: ports need tcp, udp or sctp, not None; it drops everything"
    )
    node.told(ProfileUpdate("x", ActiveProfile((ALLOW,), (ALLOW,))))
    assert node.problems == {}
    assert CLOSED_PROFILE not in node.chain("cali-pri-x")
    node.told(ProfileUpdate("x", ActiveProfile((BAD,))), wep("a", "cali1"), ProfileRemove("x"))
    assert node.problems == {}


def test_names_that_differ_in_kind_or_namespace_alone(node: FakeNode) -> None:
    keys = [
        gnp("p"),
        PolicyKey("NetworkPolicy", "ns", "p"),
        PolicyKey("NetworkPolicy", "other", "p"),
        PolicyKey("KubernetesNetworkPolicy", "ns", "p"),
    ]
    node.told(*(policy(key, ALLOW) for key in keys))
    assert len(node.names("cali-pi-")) == len(node.names("cali-po-")) == len(keys)
    node.told(PolicyRemove(keys[1]))
    assert len(node.names("cali-pi-")) == len(keys) - 1


def test_a_rule_asks_the_set_of_its_family(node: FakeNode) -> None:
    node.told(
        IpsetUpdate("s:one", IpsetType.NET, frozenset({"10.0.0.1/32"})),
        policy("p", from_set("s:one")),
        wep("a", "cali1", tiers=[tier("p")]),
    )
    assert "cali40s:one" in node.tables[4].ipsets()
    assert "cali60s:one" in node.tables[6].ipsets()
    assert node.members("cali60s:one") == set()
    node.told(wep("a", "cali1"), PolicyRemove(gnp("p")), IpsetRemove("s:one"))
    assert "cali40s:one" not in node.ipsets[4].sets
