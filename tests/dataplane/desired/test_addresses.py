"""Pools, nodes, service addresses and the host's own addresses."""

from __future__ import annotations

import pytest

from calc_graph.model import IpPool
from calc_graph.updates import (
    HostRemove,
    HostUpdate,
    IpsetType,
    PoolRemove,
    PoolUpdate,
    ServiceCidrsUpdate,
)
from dataplane.settings import RenderSettings, Settings
from tests.fakes.node import FakeNode, interface

NAT = (
    "-m set --match-set cali40masq-ipam-pools src "
    "-m set ! --match-set cali40network-ip-pools dst --jump MASQUERADE --random-fully",
)
POOLS = [
    # case, pools, all pools, masqueraded
    ("none", [], (), ()),
    ("plain", [IpPool("10.0.0.0/16")], ("10.0.0.0/16",), ()),
    ("masqueraded", [IpPool("10.0.0.0/16", nat_outgoing=True)], ("10.0.0.0/16",), ("10.0.0.0/16",)),
    (
        "mixed",
        [IpPool("10.0.0.0/16", nat_outgoing=True), IpPool("10.1.0.0/16")],
        ("10.0.0.0/16", "10.1.0.0/16"),
        ("10.0.0.0/16",),
    ),
    ("for load balancers", [IpPool("10.2.0.0/16", allowed_uses=("LoadBalancer",))], (), ()),
    (
        "for load balancers too",
        [IpPool("10.2.0.0/16", allowed_uses=("Workload", "LoadBalancer"))],
        ("10.2.0.0/16",),
        (),
    ),
    (
        "disabled",
        [IpPool("10.0.0.0/16", nat_outgoing=True, disabled=True)],
        ("10.0.0.0/16",),
        ("10.0.0.0/16",),
    ),
    ("of the other family", [IpPool("fd00::/64", nat_outgoing=True)], (), ()),
]


@pytest.mark.parametrize(("case", "pools", "all_pools", "masqueraded"), POOLS)
def test_pools(case, pools, all_pools, masqueraded) -> None:
    node = FakeNode()
    node.resolve()
    empty = node.state()
    node.told(*map(PoolUpdate, pools))
    assert node.members("cali40network-ip-pools") == {*all_pools}
    assert node.members("cali40masq-ipam-pools") == {*masqueraded}
    assert node.chain("cali-nat-outgoing", "nat") == (NAT if masqueraded else ())
    node.told(*(PoolRemove(pool.cidr) for pool in pools))
    assert node.state() == empty


def test_a_pool_changes_its_mind() -> None:
    node = FakeNode()
    node.told(PoolUpdate(IpPool("fd00::/64", nat_outgoing=True)))
    assert node.members("cali60masq-ipam-pools") == {"fd00::/64"}
    assert len(node.chain("cali-nat-outgoing", "nat", 6)) == 1
    assert node.chain("cali-nat-outgoing", "nat", 4) == ()
    node.told(PoolUpdate(IpPool("fd00::/64")))
    assert node.members("cali60masq-ipam-pools") == set()
    assert node.chain("cali-nat-outgoing", "nat", 6) == ()


def test_this_host_is_what_interfaces_of_the_host_have() -> None:
    node = FakeNode()
    node.has(interface("lo", "127.0.0.0", "127.0.0.1", "::1"))
    node.has(interface("eth0", "172.16.0.1", "fd16::1"), interface("cali1"))
    node.resolve()
    assert node.ipsets[4].sets["cali40this-host"] == (
        IpsetType.IP,
        frozenset({"127.0.0.0", "127.0.0.1", "172.16.0.1"}),
    )
    assert node.members("cali60this-host") == {"::1", "fd16::1"}
    node.has(interface("eth0", "172.16.0.2"))
    node.has("lo")
    node.resolve()
    assert node.members("cali40this-host") == {"172.16.0.2"}
    assert node.members("cali60this-host") == set()


def test_nodes_are_excluded_from_masquerading_where_that_is_asked_for() -> None:
    render = RenderSettings(nat_outgoing_exclude_hosts=True)
    external = ("192.168.0.0/24", "fd99::/64")
    node = FakeNode(Settings("here", render=render, external_node_cidrs=external))
    node.told(PoolUpdate(IpPool("10.0.0.0/16", nat_outgoing=True)))
    assert "! --match-set cali40all-hosts-net dst" in node.chain("cali-nat-outgoing", "nat")[0]
    node.told(HostUpdate("a", "172.16.0.1", "fd16::1"), HostUpdate("b", "172.16.0.2", ""))
    assert node.members("cali40all-hosts-net") == {
        "172.16.0.1/32",
        "172.16.0.2/32",
        "192.168.0.0/24",
    }
    assert node.members("cali60all-hosts-net") == {"fd16::1/128", "fd99::/64"}
    node.told(HostUpdate("b", "172.16.0.3", ""), HostRemove("a"))
    assert node.members("cali40all-hosts-net") == {"172.16.0.3/32", "192.168.0.0/24"}


def test_everything_outside_may_be_a_node() -> None:
    """A set of nets cannot hold "0.0.0.0/0"."""
    render = RenderSettings(nat_outgoing_exclude_hosts=True)
    node = FakeNode(Settings("here", render=render, external_node_cidrs=("0.0.0.0/0", "::/0")))
    node.resolve()
    assert node.members("cali40all-hosts-net") == {"0.0.0.0/1", "128.0.0.0/1"}
    assert node.members("cali60all-hosts-net") == {"::/1", "8000::/1"}


def test_nodes_are_no_set_otherwise() -> None:
    node = FakeNode(Settings("here", external_node_cidrs=("192.168.0.0/24",)))
    node.told(HostUpdate("a", "172.16.0.1", "fd16::1"))
    assert "cali40all-hosts-net" not in node.ipsets[4].sets
    node.told(HostRemove("a"))


LOOPS = [("Drop", ("DROP",)), ("Reject", ("REJECT",)), ("Disabled", ())]


@pytest.mark.parametrize(("setting", "actions"), LOOPS)
def test_service_addresses_that_nothing_translated(setting, actions) -> None:
    node = FakeNode(Settings("here", render=RenderSettings(service_loop_prevention=setting)))
    node.told(ServiceCidrsUpdate(("10.96.0.0/12", "fd96::/112")))
    for chain, cidr in (
        (node.chain("cali-cidr-block"), "10.96.0.0/12"),
        (node.chain("cali-cidr-block", family=6), "fd96::/112"),
    ):
        assert chain == tuple(f"--destination {cidr} --jump {action}" for action in actions)
    node.told(ServiceCidrsUpdate(()))
    assert node.chain("cali-cidr-block") == ()
