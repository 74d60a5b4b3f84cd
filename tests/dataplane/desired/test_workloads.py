"""Workload endpoints and interfaces, against what the drivers are then asked for."""

from __future__ import annotations

import pytest
import structlog
from msgspec import structs

from calc_graph.model import QosControls
from calc_graph.updates import PolicyRemove, WorkloadPeering
from dataplane.drivers.routes import Route
from dataplane.endpoint_states import LocalEndpoint
from dataplane.settings import RenderSettings, Settings
from tests.dataplane.desired.builders import (
    ALLOW,
    MAC,
    gnp,
    hep,
    hep_gone,
    policy,
    staged,
    tier,
    wep,
    wep_gone,
)
from tests.fakes.node import FakeNode, interface

UNKNOWN = '-m comment --comment "Unknown interface" --jump DROP'
DOWN = ('-m comment --comment "Endpoint admin disabled" --jump DROP',)


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


def routes(node: FakeNode) -> dict[str, str]:
    """Destination -> interface, both families."""
    drivers = node.routes.values()
    return {dst: route.interface for driver in drivers for dst, route in driver.routes.items()}


# ---------------------------------------------------------------- coming and going


def test_an_endpoint_has_chains_dispatch_routes_and_settings(node: FakeNode) -> None:
    node.told(wep("a", "cali1", "10.0.0.1/32", "fd00::1/128", mac=MAC))
    for family in (4, 6):
        assert node.names("cali-tw-", family=family) == {"cali-tw-cali1"}
        assert node.names("cali-fw-", family=family) == {"cali-fw-cali1"}
        assert node.chain("cali-to-wl-dispatch", family=family) == (
            "--out-interface cali1 --goto cali-tw-cali1",
            UNKNOWN,
        )
        assert node.chain("cali-from-wl-dispatch", family=family) == (
            "--in-interface cali1 --goto cali-fw-cali1",
            UNKNOWN,
        )
    assert node.routes[4].routes == {"10.0.0.1/32": Route("10.0.0.1/32", "cali1")}
    assert node.routes[6].routes == {"fd00::1/128": Route("fd00::1/128", "cali1")}
    assert node.neighbours.entries == {"cali1": {"10.0.0.1": MAC}}
    assert list(node.sysctls.of["cali1"].items()) == [
        ("net/ipv4/conf/cali1/rp_filter", "1"),
        ("net/ipv6/conf/cali1/accept_ra", "0"),
        ("net/ipv4/conf/cali1/route_localnet", "1"),
        ("net/ipv4/neigh/cali1/proxy_delay", "0"),
        ("net/ipv4/conf/cali1/proxy_arp", "1"),
        ("net/ipv4/conf/cali1/forwarding", "1"),
        ("net/ipv6/conf/cali1/proxy_ndp", "1"),
        ("net/ipv6/conf/cali1/forwarding", "1"),
    ]
    assert node.problems == {}


def test_without_endpoints_every_interface_is_closed(node: FakeNode) -> None:
    node.resolve()
    assert node.chain("cali-to-wl-dispatch") == (UNKNOWN,)
    assert node.chain("cali-from-wl-dispatch", family=6) == (UNKNOWN,)


def test_nothing_is_left_of_an_endpoint_that_is_gone(node: FakeNode) -> None:
    node.resolve()
    empty = node.state()
    node.told(
        policy("p", ALLOW),
        policy("q", ALLOW),
        wep("a", "cali1", "10.0.0.1/32", "fd00::1/128", mac=MAC, tiers=[tier("p", "q")]),
    )
    node.told(wep_gone("a"), PolicyRemove(gnp("p")), PolicyRemove(gnp("q")))
    assert node.state() == empty


def test_an_endpoint_that_comes_and_goes_within_one_batch(node: FakeNode) -> None:
    node.resolve()
    empty = node.state()
    node.told(wep("a", "cali1", "10.0.0.1/32"), wep_gone("a"))
    assert node.state() == empty


def test_an_interface_is_renamed(node: FakeNode) -> None:
    node.told(wep("a", "cali1", "10.0.0.1/32", mac=MAC))
    node.told(wep("a", "cali2", "10.0.0.1/32", mac=MAC))
    assert node.names("cali-tw-") == {"cali-tw-cali2"}
    assert routes(node) == {"10.0.0.1/32": "cali2"}
    assert node.state().neighbours == {"cali2": {"10.0.0.1": MAC}}
    assert node.sysctls.of.keys() == {"cali2"}


def test_a_policy_changes_nothing_but_its_own_chains(node: FakeNode) -> None:
    node.told(policy("p"), wep("a", "cali1", "10.0.0.1/32", tiers=[tier("p")]))
    node.tables[4].offers = 0
    node.told(policy("p", ALLOW))
    assert node.tables[4].offers == 6  # two directions, three tables


def test_of_two_interfaces_that_swap_nothing_is_lost(node: FakeNode) -> None:
    node.told(wep("a", "cali1", "10.0.0.1/32"), wep("b", "cali2", "10.0.0.2/32"))
    node.told(wep("a", "cali2", "10.0.0.1/32"), wep("b", "cali1", "10.0.0.2/32"))
    assert routes(node) == {"10.0.0.1/32": "cali2", "10.0.0.2/32": "cali1"}
    assert node.names("cali-tw-") == {"cali-tw-cali1", "cali-tw-cali2"}


# ---------------------------------------------------------------- two on one interface


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_of_two_endpoints_on_one_interface_the_lower_wins(node: FakeNode, order) -> None:
    both = {
        "a": wep("a", "cali1", "10.0.0.1/32"),
        "b": wep("b", "cali1", "10.0.0.2/32", admin_up=False),
    }
    for name in order:
        node.told(both[name])
    assert routes(node) == {"10.0.0.1/32": "cali1"}
    assert node.chain("cali-tw-cali1") != DOWN
    node.told(wep_gone("a"))
    assert routes(node) == {}
    assert node.chain("cali-tw-cali1") == DOWN
    assert node.chain("cali-to-wl-dispatch") == (
        "--out-interface cali1 --goto cali-tw-cali1",
        UNKNOWN,
    )


def test_the_shadowed_one_gets_its_interface_by_moving(node: FakeNode) -> None:
    node.told(wep("a", "cali1", "10.0.0.1/32"), wep("b", "cali1", "10.0.0.2/32"))
    node.told(wep("b", "cali2", "10.0.0.2/32"))
    assert routes(node) == {"10.0.0.1/32": "cali1", "10.0.0.2/32": "cali2"}
    node.told(wep("a", "cali2", "10.0.0.1/32"))
    assert routes(node) == {"10.0.0.1/32": "cali2"}
    assert node.names("cali-tw-") == {"cali-tw-cali2"}


def test_a_shadowed_one_that_goes_changes_nothing(node: FakeNode) -> None:
    node.told(wep("a", "cali1", "10.0.0.1/32"))
    before = node.state()
    node.told(wep("b", "cali1", "10.0.0.2/32"))
    node.told(wep_gone("b"))
    assert node.state() == before


# ---------------------------------------------------------------- admin down


def test_an_endpoint_that_is_switched_off_is_closed_but_known(node: FakeNode) -> None:
    node.told(policy("p", ALLOW), policy("q", ALLOW))
    node.told(wep("a", "cali1", "10.0.0.1/32", mac=MAC, tiers=[tier("p", "q")], admin_up=False))
    assert node.chain("cali-tw-cali1") == node.chain("cali-fw-cali1") == DOWN
    assert node.names("cali-gi-") == set()
    assert routes(node) == {}
    assert node.state().neighbours == {}
    assert node.chain("cali-from-wl-dispatch")[0] == "--in-interface cali1 --goto cali-fw-cali1"
    node.told(wep("a", "cali1", "10.0.0.1/32", mac=MAC, tiers=[tier("p", "q")]))
    assert routes(node) == {"10.0.0.1/32": "cali1"}
    assert len(node.names("cali-gi-")) == 1


# ---------------------------------------------------------------- addresses


def test_routes_follow_the_addresses(node: FakeNode) -> None:
    node.told(wep("a", "cali1", "10.0.0.1/32", "10.0.0.2/32", "fd00::1/128"))
    node.told(wep("a", "cali1", "10.0.0.2/32", "10.0.0.3/32", "fd00::2/128"))
    assert routes(node).keys() == {"10.0.0.2/32", "10.0.0.3/32", "fd00::2/128"}


def test_a_wider_net_is_a_route_to_its_address_alone(node: FakeNode) -> None:
    node.told(wep("a", "cali1", "10.0.0.0/24", "fd00::/64"))
    assert routes(node).keys() == {"10.0.0.0/32", "fd00::/128"}


def test_routes_are_made_as_configured() -> None:
    settings = Settings(
        "here",
        device_route_protocol=80,
        device_route_source_v4="10.1.1.1",
        device_route_source_v6="fd01::1",
        route_priority_v4=100,
        route_priority_v6=200,
    )
    node = FakeNode(settings)
    node.told(wep("a", "cali1", "10.0.0.1/32", "fd00::1/128"))
    assert node.routes[4].routes["10.0.0.1/32"] == Route(
        "10.0.0.1/32", "cali1", source="10.1.1.1", metric=100, protocol=80
    )
    assert node.routes[6].routes["fd00::1/128"] == Route(
        "fd00::1/128", "cali1", source="fd01::1", metric=200, protocol=80
    )


FLOATING = [("10.9.0.1", "10.0.0.1"), ("fd09::1", "fd00::1")]
NATS = [
    # floating_ips, orchestrator, in force
    (False, "k8s", False),
    (True, "k8s", True),
    (False, "openstack", True),
    (True, "openstack", True),
]


@pytest.mark.parametrize(("floating_ips", "orchestrator", "in_force"), NATS)
def test_floating_addresses(floating_ips: bool, orchestrator: str, in_force: bool) -> None:
    node = FakeNode(Settings("here", floating_ips=floating_ips))
    nets = ("10.0.0.1/32", "fd00::1/128")
    node.told(wep("a", "cali1", *nets, nats=FLOATING, orchestrator=orchestrator))
    dnat = ("--destination 10.9.0.1 --jump DNAT --to-destination 10.0.0.1",)
    assert node.chain("cali-fip-dnat", "nat") == (dnat if in_force else ())
    assert len(node.chain("cali-fip-snat", "nat", 6)) == in_force
    assert ("10.9.0.1/32" in routes(node)) == in_force
    assert ("fd09::1/128" in routes(node)) == in_force
    node.told(wep("a", "cali1", *nets, orchestrator=orchestrator))
    assert node.chain("cali-fip-dnat", "nat") == node.chain("cali-fip-snat", "nat", 6) == ()
    assert routes(node).keys() == {*nets}


def test_floating_addresses_go_with_their_endpoint() -> None:
    node = FakeNode(Settings("here", floating_ips=True))
    node.told(wep("a", "cali1", "10.0.0.1/32", nats=FLOATING[:1]))
    node.told(wep_gone("a"))
    assert node.chain("cali-fip-dnat", "nat") == ()
    assert routes(node) == {}


def test_the_newest_interface_has_a_contested_address(node: FakeNode) -> None:
    node.has(interface("cali1", index=10), interface("cali2", index=11))
    node.told(wep("a", "cali1", "10.0.0.1/32"), wep("b", "cali2", "10.0.0.1/32"))
    assert routes(node) == {"10.0.0.1/32": "cali2"}
    node.told(wep_gone("b"))
    assert routes(node) == {"10.0.0.1/32": "cali1"}


def test_a_contested_address_is_handed_over_with_the_interfaces(node: FakeNode) -> None:
    node.told(wep("a", "cali1", "10.0.0.1/32"), wep("b", "cali2", "10.0.0.1/32"))
    assert routes(node) == {"10.0.0.1/32": "cali2"}  # neither is there: by name
    seen = []
    for change in (
        interface("cali1", index=10),
        interface("cali2", index=11),
        interface("cali1", index=12),  # made anew
        "cali1",
        interface("cali1", index=13, up=False),
        "cali2",
        "cali1",
    ):
        node.has(change)
        seen.append(routes(node)["10.0.0.1/32"])
    assert seen == ["cali1", "cali2", "cali1", "cali2", "cali1", "cali1", "cali2"]


def test_neighbours_follow_mac_and_addresses(node: FakeNode) -> None:
    other = "02:65:00:00:00:02"
    node.told(wep("a", "cali1", "10.0.0.1/32", "10.0.0.2/32", "fd00::1/128", mac=MAC))
    assert node.state().neighbours == {"cali1": {"10.0.0.1": MAC, "10.0.0.2": MAC}}
    node.told(wep("a", "cali1", "10.0.0.2/32", mac=other))
    assert node.state().neighbours == {"cali1": {"10.0.0.2": other}}
    node.told(wep("a", "cali1", "10.0.0.2/32"))
    assert node.state().neighbours == {}


@pytest.mark.parametrize("mac", ["", "00:00:00:00:fe:80:00:00", ":".join(20 * ["01"])])
def test_a_mac_of_another_kind_of_link_is_no_neighbour(node: FakeNode, mac: str) -> None:
    node.told(wep("a", "cali1", "10.0.0.1/32", mac=mac))
    assert routes(node) == {"10.0.0.1/32": "cali1"}
    assert node.state().neighbours == {}


# ---------------------------------------------------------------- forged sources, refusals


def test_forged_sources_are_let_by_where_that_is_allowed() -> None:
    node = FakeNode(Settings("here", source_spoofing=True))
    sources = ("10.8.0.0/16", "fd08::/64")
    node.told(wep("a", "cali1", "10.0.0.1/32", spoofable_sources=sources))
    skip = "--in-interface cali1 --source {} --jump ACCEPT"
    assert node.chain("cali-rpf-skip", "raw") == (skip.format("10.8.0.0/16"),)
    assert node.chain("cali-rpf-skip", "raw", 6) == (skip.format("fd08::/64"),)
    assert node.sysctls.of["cali1"]["net/ipv4/conf/cali1/rp_filter"] == "0"
    node.told(wep("a", "cali1", "10.0.0.1/32"))
    assert node.chain("cali-rpf-skip", "raw") == ()
    assert node.sysctls.of["cali1"]["net/ipv4/conf/cali1/rp_filter"] == "1"
    node.told(wep("a", "cali1", "10.0.0.1/32", spoofable_sources=sources))
    node.told(wep_gone("a"))
    assert node.chain("cali-rpf-skip", "raw", 6) == ()


REFUSED = [
    # case, interface, more, words of the reason
    ("a path", "../eth0", {}, "no name of an interface"),
    ("two words", "cali 1", {}, "no name of an interface"),
    ("a rule", "cali1 -j", {}, "no name of an interface"),
    ("a wildcard", "cali+", {}, "no name of an interface"),
    ("too long", "cali" + 12 * "x", {}, "no name of an interface"),
    ("none", "", {}, "no name of an interface"),
    ("a directory", "..", {}, "no name of an interface"),
    ("of the host", "eth0", {}, "no rule guards it"),
    ("forged", "cali1", {"spoofable_sources": ("10.8.0.0/16",)}, "WorkloadSourceSpoofing"),
    ("limits", "cali1", {"qos": QosControls(ingress_packet_rate=10_001)}, "packet rate 10001/s"),
    ("burst", "cali1", {"qos": QosControls(0, 5, 0, 10_001)}, "burst 10001"),
]


@pytest.mark.parametrize(
    ("name", "more", "reason"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED]
)
def test_an_endpoint_that_must_not_be_served_is_closed(node: FakeNode, name, more, reason) -> None:
    node.told(wep("b", "cali9", "10.0.0.9/32"))
    before = node.state()
    node.told(wep("a", name, "10.0.0.1/32", **more))
    assert node.state() == before
    assert node.problems.keys() == {"workload endpoint default/a"}
    assert reason in node.problems["workload endpoint default/a"]
    node.told(wep("a", "cali1", "10.0.0.1/32"))
    assert node.problems == {}
    assert routes(node) == {"10.0.0.9/32": "cali9", "10.0.0.1/32": "cali1"}
    node.told(wep("a", name, "10.0.0.1/32", **more))
    assert node.state() == before
    node.told(wep_gone("a"))
    assert node.problems == {}


def test_a_refused_endpoint_shadows_nobody(node: FakeNode) -> None:
    node.told(
        wep("a", "cali1", "10.0.0.1/32", spoofable_sources=("10.8.0.0/16",)),
        wep("b", "cali1", "10.0.0.2/32"),
    )
    assert routes(node) == {"10.0.0.2/32": "cali1"}


# ---------------------------------------------------------------- dispatch


def test_dispatch_is_a_tree_of_what_is_there(node: FakeNode) -> None:
    node.told(*(wep(name, name) for name in ("cali1a", "cali1b", "cali2")))
    for start, match, chain in (
        ("cali-from-wl-dispatch", "--in-interface", "cali-fw-"),
        ("cali-to-wl-dispatch", "--out-interface", "cali-tw-"),
    ):
        assert node.chain(start) == (
            f"{match} cali1+ --goto {start}-1",
            f"{match} cali2 --goto {chain}cali2",
            UNKNOWN,
        )
        assert node.chain(f"{start}-1") == (
            f"{match} cali1a --goto {chain}cali1a",
            f"{match} cali1b --goto {chain}cali1b",
            UNKNOWN,
        )
    node.told(wep_gone("cali1b"))
    assert node.names("cali-from-wl-dispatch") == {"cali-from-wl-dispatch"}
    assert node.names("cali-to-wl-dispatch") == {"cali-to-wl-dispatch"}


def test_an_update_leaves_the_dispatch_alone(node: FakeNode) -> None:
    node.told(wep("a", "cali1", "10.0.0.1/32"), wep("b", "cali2"))
    node.tables[4].offers = 0
    node.told(wep("a", "cali1", "10.0.0.2/32", profiles=()))
    assert node.tables[4].offers == 0


def test_unknown_interfaces_are_rejected_where_that_is_the_action() -> None:
    node = FakeNode(Settings("here", render=RenderSettings(filter_deny_action="REJECT")))
    node.resolve()
    assert node.chain("cali-to-wl-dispatch") == (UNKNOWN.replace("DROP", "REJECT"),)


# ---------------------------------------------------------------- groups of policies


def test_a_group_is_shared_by_all_it_applies_to(node: FakeNode) -> None:
    eth0 = interface("eth0", "172.16.0.1")
    node.has(eth0)
    both = [tier("p", "q")]
    node.told(
        policy("p", ALLOW),
        policy("q", ALLOW),
        wep("a", "cali1", tiers=both),
        wep("b", "cali2", tiers=both),
        hep("h", "eth0", tiers=both, pre_dnat=both),
    )
    (group,) = node.names("cali-gi-")
    assert node.names("cali-gi-", "mangle") == {group}
    for name in ("cali-tw-cali1", "cali-tw-cali2", "cali-fh-eth0"):
        assert any(rule.endswith(f"--jump {group}") for rule in node.chain(name))
    node.told(wep_gone("a"))
    node.told(hep_gone("h"))
    assert node.names("cali-gi-") == {group}
    assert node.names("cali-gi-", "mangle") == set()
    node.told(wep_gone("b"))
    assert node.names("cali-gi-") == node.names("cali-go-") == set()


def test_another_selector_makes_other_groups(node: FakeNode) -> None:
    node.told(
        policy("p", ALLOW),
        policy("q", ALLOW),
        policy("r", ALLOW, selector="a == '1'"),
        wep("a", "cali1", tiers=[tier("p", "q", "r")]),
    )
    (before,) = node.names("cali-gi-")
    assert any("cali-pi-gnp/r" in rule for rule in node.chain("cali-tw-cali1"))
    node.told(policy("r", ALLOW))
    (after,) = node.names("cali-gi-")
    assert after != before
    assert len(node.chain(after)) == 3
    assert not any("cali-pi-gnp/r" in rule for rule in node.chain("cali-tw-cali1"))
    node.told(policy("q", ALLOW, selector="b == '1'"))
    assert node.names("cali-gi-") == set()
    assert sum("cali-pi-gnp/" in rule for rule in node.chain("cali-tw-cali1")) == 3


def test_a_staged_policy_is_never_jumped_to(node: FakeNode) -> None:
    node.told(
        policy("p", ALLOW),
        policy(staged("q"), ALLOW),
        wep("a", "cali1", tiers=[tier("p", staged("q"))]),
    )
    assert node.names("cali-gi-") == set()
    assert any("cali-pi-gnp/p" in rule for rule in node.chain("cali-tw-cali1"))
    assert not any("sgnp" in rule for rule in node.chain("cali-tw-cali1"))


def test_a_policy_that_comes_back_is_grouped_anew(node: FakeNode) -> None:
    node.told(policy("p"), policy("q"), wep("a", "cali1", tiers=[tier("p", "q")]))
    node.told(wep("a", "cali1", tiers=[tier("p")]), PolicyRemove(gnp("q")))
    assert node.names("cali-gi-") == set()
    node.told(policy("q", selector="a == '1'"), wep("a", "cali1", tiers=[tier("p", "q")]))
    assert node.names("cali-gi-") == set()
    node.told(policy("q"))
    assert len(node.names("cali-gi-")) == 1


# ---------------------------------------------------------------- one family


def test_without_ipv6_there_is_none() -> None:
    node = FakeNode(Settings("here", ipv6=False, floating_ips=True))
    node.has(interface("cali1"), interface("eth0", "172.16.0.1", "fd16::1"))
    node.told(wep("a", "cali1", "10.0.0.1/32", "fd00::1/128", nats=FLOATING))
    assert routes(node).keys() == {"10.0.0.1/32", "10.9.0.1/32"}
    assert {path for path in node.sysctls.of["cali1"] if "ipv6" in path} == {
        "net/ipv6/conf/cali1/accept_ra"
    }
    assert "net/ipv6/conf/all/forwarding" not in node.sysctls.machine
    node.told(wep_gone("a"))
    assert routes(node) == {}


def test_what_is_contested_is_said() -> None:
    node = FakeNode()
    with structlog.testing.capture_logs() as logs:
        node.told(wep("a", "cali1", "10.0.0.1/32"), wep("b", "cali2", "10.0.0.1/32"))
        node.told(wep("c", "cali1"))
    events = {entry["event"]: entry for entry in logs}
    assert events["route.contested"]["interfaces"] == ["cali1", "cali2"]
    assert events["workload.shadowed"]["winner"] == "default/a"


# ---------------------------------------------------------------- BGP with this node


def test_a_workload_that_speaks_bgp_finds_an_address_and_bird_keeps_its_routes(
    node: FakeNode,
) -> None:
    plain = wep("a", "cali1", "10.65.0.2/32")
    peering = WorkloadPeering("tor", "169.254.9.9", "fd00::9")
    node.told(plain, wep("b", "cali2", "10.65.0.3/32"))
    assert not node.peer_addresses.addresses
    node.told(structs.replace(plain, peering=peering))
    assert node.peer_addresses.addresses == {"cali1": {"169.254.9.9", "fd00::9"}}
    assert node.routes[4].shared_with_bird == node.routes[6].shared_with_bird == {"cali1"}
    node.told(structs.replace(plain, peering=WorkloadPeering("tor", "169.254.9.9")))
    assert node.peer_addresses.addresses == {"cali1": {"169.254.9.9"}}
    node.told(structs.replace(plain, peering=WorkloadPeering("tor")))
    assert not node.peer_addresses.addresses
    assert node.routes[4].shared_with_bird == {"cali1"}
    node.told(structs.replace(plain, peering=peering), wep_gone("a"))
    assert not node.peer_addresses.addresses
    assert not node.routes[4].shared_with_bird


def test_the_address_goes_along_when_the_workload_moves_to_another_interface(
    node: FakeNode,
) -> None:
    peering = WorkloadPeering("tor", "169.254.9.9")
    for name in ("cali1", "cali7"):
        node.told(structs.replace(wep("a", name, "10.65.0.2/32"), peering=peering))
        assert node.peer_addresses.addresses == {name: {"169.254.9.9"}}
        assert node.routes[4].shared_with_bird == {name}


async def test_the_status_of_a_workload_names_its_bgppeer(node: FakeNode) -> None:
    told = structs.replace(wep("a", "cali1", "10.65.0.2/32"), peering=WorkloadPeering("tor"))
    node.has(interface("cali1"))
    node.desire(told)
    await node.dataplane.apply()
    changes = node.dataplane.take_endpoint_changes()
    assert changes == {told.key: LocalEndpoint("up", told.endpoint, "tor")}
    node.desire(structs.replace(told, peering=None))
    await node.dataplane.apply()
    changes = node.dataplane.take_endpoint_changes()
    assert changes == {told.key: LocalEndpoint("up", told.endpoint)}
