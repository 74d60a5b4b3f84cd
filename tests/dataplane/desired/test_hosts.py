"""Host endpoints: which interface is whose, and which chains of it are in which table."""

from __future__ import annotations

import pytest
import structlog

from calc_graph.updates import ActiveProfile, PolicyRemove, ProfileUpdate, TierPolicies
from dataplane.interfaces import Interface
from dataplane.settings import Settings
from tests.dataplane.desired.builders import ALLOW, gnp, hep, hep_gone, policy, tier, wep
from tests.fakes.node import FakeNode, interface

TABLES = ("raw", "mangle", "filter")
WHOLE = "any-interface-at-all"
ETH0 = interface("eth0", "172.16.0.1", "fd16::1")
ETH1 = interface("eth1", "172.16.0.2", "172.16.0.3")
ANY_FROM = "cali-fh-any-interface-at-all"


@pytest.fixture
def node() -> FakeNode:
    node = FakeNode()
    node.has(ETH0, ETH1, interface("lo", "127.0.0.1", "::1"), interface("cali1"))
    return node


def governed(node: FakeNode) -> dict[str, str]:
    return {name: event.key.name for name, event in node.desired.hosts.governed.items()}


# ---------------------------------------------------------------- whose is an interface

RESOLUTION = [
    # case, endpoints (name, interface, addresses …), interface -> whose it is
    ("by name", [("h", "eth0")], {"eth0": "h"}),
    ("by an address", [("h", "", "172.16.0.1")], {"eth0": "h"}),
    ("by one of several", [("h", "", "172.16.0.9", "172.16.0.3")], {"eth1": "h"}),
    ("by an IPv6 address", [("h", "", "fd16::1")], {"eth0": "h"}),
    ("on two by address", [("h", "", "172.16.0.1", "172.16.0.2")], {"eth0": "h", "eth1": "h"}),
    ("a name counts, not addresses", [("h", "eth0", "172.16.0.2")], {"eth0": "h"}),
    ("a name that is not there", [("h", "eth9", "172.16.0.1")], {}),
    ("an address that is not there", [("h", "", "172.16.0.9")], {}),
    ("neither", [("h", "")], {}),
    ("the lowest name wins", [("b", "eth0"), ("a", "eth0")], {"eth0": "a"}),
    ("an address beats a name", [("a", "", "172.16.0.1"), ("b", "eth0")], {"eth0": "a"}),
    ("a name beats an address", [("b", "", "172.16.0.1"), ("a", "eth0")], {"eth0": "a"}),
    ("loopback by address", [("h", "", "::1")], {"lo": "h"}),
    ("every interface", [("h", "*")], {WHOLE: "h"}),
    ("every other interface", [("h", "*"), ("z", "eth0")], {WHOLE: "h", "eth0": "z"}),
    ("of two for all the lowest", [("b", "*"), ("a", "*", "172.16.0.1")], {WHOLE: "a"}),
    ("never that of a workload", [("h", "cali1")], {}),
]


@pytest.mark.parametrize(("case", "endpoints", "expected"), RESOLUTION)
def test_whose_an_interface_is(node: FakeNode, case, endpoints, expected) -> None:
    node.told(*(hep(*endpoint) for endpoint in endpoints))
    assert governed(node) == expected
    idle = {endpoint[0] for endpoint in endpoints} - set(expected.values())
    assert node.problems == {
        f"host endpoint {name}": "governs no interface of this host" for name in idle
    }


def test_the_next_one_takes_over(node: FakeNode) -> None:
    node.told(hep("a", "eth0", tiers=[tier("p")]), hep("b", "", "172.16.0.1"), policy("p", ALLOW))
    before = node.chain("cali-fh-eth0")
    node.told(hep_gone("a"))
    assert governed(node) == {"eth0": "b"}
    assert node.chain("cali-fh-eth0") != before


def test_interfaces_come_and_go_and_change_their_addresses(node: FakeNode) -> None:
    node.told(hep("h", "", "172.16.5.5"), hep("n", "eth5"))
    assert governed(node) == {}
    assert len(node.problems) == 2
    node.has(interface("eth5", "172.16.0.9"))
    node.resolve()
    assert governed(node) == {"eth5": "n"}
    node.has(Interface("eth1", ETH1.index, True, frozenset({"172.16.5.5"})))
    node.resolve()
    assert governed(node) == {"eth1": "h", "eth5": "n"}
    assert node.problems == {}
    node.has(Interface("eth1", ETH1.index, True, frozenset()), interface("eth5", "172.16.5.5"))
    node.resolve()
    assert governed(node) == {"eth5": "h"}
    node.has("eth5")
    node.resolve()
    assert governed(node) == {}
    assert {name for table in TABLES for name in node.names("cali-fh-", table)} == set()


def test_an_interface_that_goes_down_is_still_governed(node: FakeNode) -> None:
    node.told(hep("h", "eth0"))
    before = node.state()
    node.has(Interface("eth0", ETH0.index, False, ETH0.addresses))
    node.resolve()
    assert node.state() == before


@pytest.mark.parametrize("name", ["eth@9", "wlän0", 'a"b', "eth+", "$x"])
def test_a_name_that_no_rule_can_say_is_a_problem_and_no_rule(node: FakeNode, name) -> None:
    node.has(interface(name, "172.16.0.9"))
    node.told(hep("a", name), hep("b", "", "172.16.0.9"), hep("c", "*"))
    assert governed(node) == {WHOLE: "c"}
    assert node.problems.keys() == {"host endpoint a", "host endpoint b"}


# ---------------------------------------------------------------- chains

T = [tier("p")]
CHAINS: list[tuple[str, dict[str, list[TierPolicies]], dict[str, set[str]]]] = [
    # kind of policy, lists of the endpoint, table -> beginnings of its chains
    ("none", {}, {"mangle": {"th"}, "filter": {"th", "fh", "thfw", "fhfw"}}),
    ("normal", {"tiers": T}, {"mangle": {"th"}, "filter": {"th", "fh", "thfw", "fhfw"}}),
    ("forward", {"forward": T}, {"mangle": {"th"}, "filter": {"th", "fh", "thfw", "fhfw"}}),
    ("pre-DNAT", {"pre_dnat": T}, {"mangle": {"th", "fh"}, "filter": {"th", "fh", "thfw", "fhfw"}}),
    (
        "untracked",
        {"untracked": T},
        {"raw": {"th", "fh"}, "mangle": {"th"}, "filter": {"th", "fh", "thfw", "fhfw"}},
    ),
]
JUMPS = {  # where the policy of each kind is asked
    "none": set(),
    "normal": {("mangle", "th"), ("filter", "th"), ("filter", "fh")},
    "forward": {("filter", "thfw"), ("filter", "fhfw")},
    "pre-DNAT": {("mangle", "fh")},
    "untracked": {("raw", "th"), ("raw", "fh")},
}


def chains_of(node: FakeNode, name: str) -> dict[str, set[str]]:
    """Table -> the chains of an interface, without "cali-" and the interface."""
    end = f"-{name}"
    found = {
        table: {c[5 : -len(end)] for c in node.names("cali-", table) if c.endswith(end)}
        for table in TABLES
    }
    return {table: kinds for table, kinds in found.items() if kinds}


def asked(node: FakeNode, name: str) -> set[tuple[str, str]]:
    """The chains of an interface that jump to the policy."""
    return {
        (table, kind)
        for table, kinds in chains_of(node, name).items()
        for kind in kinds
        if any("gnp/p" in rule for rule in node.chain(f"cali-{kind}-{name}", table))
    }


@pytest.mark.parametrize(("kind", "lists", "expected"), CHAINS)
def test_the_chains_of_each_kind_of_policy(node: FakeNode, kind, lists, expected) -> None:
    node.told(policy("p", ALLOW), hep("h", "eth0", **lists))
    assert chains_of(node, "eth0") == expected
    assert asked(node, "eth0") == JUMPS[kind]
    assert node.state().chains[4].keys() == node.state().chains[6].keys()
    node.told(hep_gone("h"))
    assert chains_of(node, "eth0") == {}


@pytest.mark.parametrize("first", CHAINS, ids=[c[0] for c in CHAINS])
@pytest.mark.parametrize("second", CHAINS, ids=[c[0] for c in CHAINS])
def test_each_kind_of_policy_is_replaced_by_each(node: FakeNode, first, second) -> None:
    node.told(policy("p", ALLOW), hep("h", "eth0", **first[1]))
    node.told(hep("h", "eth0", **second[1]))
    assert chains_of(node, "eth0") == second[2]
    assert asked(node, "eth0") == JUMPS[second[0]]


def test_profiles_decide_where_no_policy_does(node: FakeNode) -> None:
    profile = ActiveProfile((ALLOW,), (ALLOW,))
    node.told(ProfileUpdate("x", profile), hep("h", "eth0", profiles=("x",)))
    assert any("cali-pri-x" in rule for rule in node.chain("cali-fh-eth0"))
    assert any("cali-pro-x" in rule for rule in node.chain("cali-th-eth0", "mangle"))


def test_dispatch_of_filter(node: FakeNode) -> None:
    node.told(hep("h", "eth0"))
    for root, match, chain in (
        ("cali-from-host-endpoint", "--in-interface", "cali-fh-eth0"),
        ("cali-to-host-endpoint", "--out-interface", "cali-th-eth0"),
        ("cali-from-hep-forward", "--in-interface", "cali-fhfw-eth0"),
        ("cali-to-hep-forward", "--out-interface", "cali-thfw-eth0"),
    ):
        assert node.chain(root) == (f"{match} eth0 --goto {chain}",)
    node.told(hep_gone("h"))
    assert node.chain("cali-from-host-endpoint") == ()


def test_dispatch_of_mangle_and_raw_knows_whom_it_concerns(node: FakeNode) -> None:
    node.told(
        policy("p", ALLOW),
        hep("a", "eth0", pre_dnat=T),
        hep("b", "eth1", untracked=T),
    )
    to_eth0 = "--out-interface eth0 --goto cali-th-eth0"
    to_eth1 = "--out-interface eth1 --goto cali-th-eth1"
    assert node.chain("cali-from-host-endpoint", "mangle") == (
        "--in-interface eth0 --goto cali-fh-eth0",
    )
    assert node.chain("cali-to-host-endpoint", "mangle") == (to_eth0, to_eth1)
    assert node.chain("cali-from-host-endpoint", "raw") == (
        "--in-interface eth1 --goto cali-fh-eth1",
    )
    assert node.chain("cali-to-host-endpoint", "raw") == (to_eth1,)


def test_dispatch_to_every_interface(node: FakeNode) -> None:
    node.told(policy("p", ALLOW), hep("w", "*", pre_dnat=T), hep("h", "eth0"))
    assert node.chain("cali-from-host-endpoint") == (
        "--in-interface eth0 --goto cali-fh-eth0",
        f"--goto {ANY_FROM}",
    )
    assert node.chain("cali-from-host-endpoint", "mangle") == (f"--goto {ANY_FROM}",)
    skip, goto = node.chain("cali-to-host-endpoint", "mangle")[1:]
    assert skip.endswith("--out-interface cali+ --jump RETURN")
    assert goto == "--goto cali-th-any-interface-at-all"
    node.told(hep_gone("w"))
    assert node.chain("cali-from-host-endpoint", "mangle") == ()


def test_many_interfaces_are_a_tree_that_goes_with_them(node: FakeNode) -> None:
    node.has(*(interface(f"bond{n}.{m}") for n in (1, 2) for m in (1, 2)))
    node.told(*(hep(f"h{n}{m}", f"bond{n}.{m}") for n in (1, 2) for m in (1, 2)))
    assert node.names("cali-from-host-endpoint-") == {
        "cali-from-host-endpoint-1",
        "cali-from-host-endpoint-2",
    }
    assert len(node.chain("cali-to-host-endpoint-1", "mangle")) == 2
    node.told(hep_gone("h11"), hep_gone("h21"))
    assert node.names("cali-from-host-endpoint-") == set()
    assert node.names("cali-to-host-endpoint-", "mangle") == set()


def test_untracked_policy_for_every_interface_is_ignored_with_a_warning(node: FakeNode) -> None:
    with structlog.testing.capture_logs() as logs:
        node.told(policy("p", ALLOW), hep("w", "*", untracked=T))
    assert any(
        entry["event"] == "host_endpoint.untracked_ignored" and entry["log_level"] == "warning"
        for entry in logs
    )
    assert node.names("cali-fh-", "raw") == set()
    assert node.chain("cali-from-host-endpoint", "raw") == ()


def test_groups_follow_the_selectors(node: FakeNode) -> None:
    lists = [tier("p", "q")]
    node.told(
        policy("p", ALLOW),
        policy("q", ALLOW),
        hep("h", "eth0", tiers=lists, forward=lists, pre_dnat=lists, untracked=lists),
    )
    for table in TABLES:
        assert len(node.names("cali-gi-", table)) == 1
    assert len(node.names("cali-go-", "mangle")) == 1  # of what was translated
    node.told(policy("q", ALLOW, selector="a == '1'"))
    for table in TABLES:
        assert node.names("cali-gi-", table) == node.names("cali-go-", table) == set()
    assert len([r for r in node.chain("cali-fh-eth0", "raw") if "cali-pi-gnp/" in r]) == 2


def test_a_policy_of_others_changes_nothing(node: FakeNode) -> None:
    node.told(policy("p", ALLOW), policy("q", ALLOW), hep("h", "eth0", tiers=T))
    node.told(wep("a", "cali1", tiers=[tier("q")]))
    node.tables[4].offers = 0
    node.told(policy("q", ALLOW, selector="a == '1'"))
    assert node.tables[4].offers == 0


def test_chains_are_offered_once(node: FakeNode) -> None:
    node.told(policy("p", ALLOW), hep("a", "eth0", tiers=T))
    node.tables[4].offers = 0
    node.told(hep("b", "eth1"))
    # 4 chains of its own in filter and 1 in mangle; 4 dispatch chains in filter, 1 in mangle
    assert node.tables[4].offers == 10


def test_nothing_is_left_of_an_endpoint_that_is_gone(node: FakeNode) -> None:
    node.resolve()
    empty = node.state()
    lists = [tier("p", "q"), tier("q", name="second", default="Pass")]
    node.told(
        policy("p", ALLOW),
        policy("q", ALLOW),
        hep("h", "eth0", tiers=lists, forward=lists, pre_dnat=lists, untracked=lists),
        hep("w", "*", tiers=lists, forward=lists, pre_dnat=lists),
    )
    node.told(hep_gone("h"), hep_gone("w"), PolicyRemove(gnp("p")), PolicyRemove(gnp("q")))
    assert node.state() == empty


def test_without_ipv6_an_ipv6_address_still_tells_an_interface() -> None:
    node = FakeNode(Settings("here", ipv6=False))
    node.has(ETH0)
    node.told(hep("h", "", "fd16::1"))
    assert governed(node) == {"eth0": "h"}
