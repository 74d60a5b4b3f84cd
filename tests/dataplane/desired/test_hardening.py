"""What the parameters that guard a host against its workloads and its fabric ask of the drivers."""

from __future__ import annotations

import pytest

from calc_graph.model import IpPool
from calc_graph.updates import PoolRemove, PoolUpdate
from dataplane.settings import RenderSettings, Settings
from tests.dataplane.desired.builders import MAC, wep, wep_gone
from tests.fakes.node import FakeNode

LIMITED = Settings("here", render=RenderSettings(workload_to_host_rate=10))
GUARDED = Settings("here", render=RenderSettings(fabric_spoof_protection="Drop"))
LOCAL = {4: "cali40local-workloads", 6: "cali60local-workloads"}


def local(node: FakeNode) -> set[str]:
    return {address for name in LOCAL.values() for address in node.members(name)}


# ---------------------------------------------------------------- the limit of each workload


@pytest.mark.parametrize("family", [4, 6])
def test_each_workload_has_its_limit(family) -> None:
    node = FakeNode(LIMITED)
    node.told(wep("a", "cali1", "10.0.0.1/32"), wep("b", "cali2"))
    assert node.names("cali-lw-", family=family) == {
        "cali-lw-cali1",
        "cali-lw-cali2",
        "cali-lw-any-interface-at-all",
    }
    assert "default/a" in node.chain("cali-lw-cali1", family=family)[1]
    assert node.chain("cali-wl-limit", family=family) == (
        "--in-interface cali1 --goto cali-lw-cali1",
        "--in-interface cali2 --goto cali-lw-cali2",
        "--goto cali-lw-any-interface-at-all",
    )


def test_a_limit_goes_with_its_workload() -> None:
    node = FakeNode(LIMITED)
    node.resolve()
    empty = node.state()
    node.told(wep("a", "cali1"), wep("b", "cali1a"))
    node.told(wep_gone("a"), wep_gone("b"))
    assert node.state() == empty


def test_a_limit_is_named_after_who_has_the_interface() -> None:
    node = FakeNode(LIMITED)
    node.told(wep("b", "cali1"))
    node.told(wep("a", "cali1"))
    assert "default/a" in node.chain("cali-lw-cali1")[1]
    node.told(wep_gone("a"))
    assert "default/b" in node.chain("cali-lw-cali1")[1]


def test_a_change_of_the_endpoint_leaves_its_budget_and_counter_alone() -> None:
    """The kernel begins anew with both when a chain is written."""
    node = FakeNode(LIMITED)
    node.told(wep("a", "cali1", "10.0.0.1/32"))
    before = node.chain("cali-lw-cali1")
    node.told(wep("a", "cali1", "10.0.0.2/32", mac=MAC))
    assert node.chain("cali-lw-cali1") == before


def test_nothing_is_there_by_default() -> None:
    node = FakeNode()
    node.told(wep("a", "cali1", "10.0.0.1/32"), PoolUpdate(IpPool("10.0.0.0/16")))
    assert node.names("cali-lw-") == node.names("cali-wl-limit") == set()
    assert node.names("cali-fabric", "raw") == set()
    assert not {*LOCAL.values(), "cali40tunnelled-pools", "cali40cross-subnet-pools"} & set(
        node.ipsets[4].sets
    )


# ---------------------------------------------------------------- sources that cannot be


def test_local_addresses_follow_the_endpoints() -> None:
    node = FakeNode(GUARDED)
    node.resolve()
    assert local(node) == set()
    node.told(wep("a", "cali1", "10.0.0.1/32", "fd00::1/128"))
    assert local(node) == {"10.0.0.1", "fd00::1"}
    node.told(wep("a", "cali1", "10.0.0.2/32"), wep("b", "cali2", "10.0.0.3/32", admin_up=False))
    assert local(node) == {"10.0.0.2", "10.0.0.3"}
    node.told(wep("a", "cali9", "10.0.0.2/32"))
    assert local(node) == {"10.0.0.2", "10.0.0.3"}
    node.told(wep_gone("a"), wep_gone("b"))
    assert local(node) == set()


def test_floating_addresses_are_nobody_s_source() -> None:
    settings = Settings("here", floating_ips=True, render=GUARDED.render)
    node = FakeNode(settings)
    node.told(wep("a", "cali1", "10.0.0.1/32", nats=(("172.16.0.1", "10.0.0.1"),)))
    assert local(node) == {"10.0.0.1"}


def test_of_two_on_one_interface_the_one_in_force_counts() -> None:
    node = FakeNode(GUARDED)
    node.told(wep("a", "cali1", "10.0.0.1/32"), wep("b", "cali1", "10.0.0.2/32"))
    assert local(node) == {"10.0.0.1"}


POOLS = [
    # pool, behind the tunnel only, behind the tunnel or on our subnet
    (IpPool("10.0.0.0/16"), False, False),
    (IpPool("10.0.0.0/16", ipip_mode="always"), True, False),
    (IpPool("10.0.0.0/16", vxlan_mode="always"), True, False),
    (IpPool("10.0.0.0/16", ipip_mode="cross-subnet"), False, True),
    (IpPool("10.0.0.0/16", vxlan_mode="cross-subnet"), False, True),
    (IpPool("10.0.0.0/16", vxlan_mode="always", disabled=True), True, False),
    (IpPool("10.0.0.0/16", vxlan_mode="always", allowed_uses=("LoadBalancer",)), False, False),
]


@pytest.mark.parametrize(("pool", "tunnelled", "cross_subnet"), POOLS)
def test_pools_by_where_their_workloads_can_live(pool, tunnelled, cross_subnet) -> None:
    node = FakeNode(GUARDED)
    node.told(PoolUpdate(pool))
    assert node.members("cali40tunnelled-pools") == ({pool.cidr} if tunnelled else set())
    assert node.members("cali40cross-subnet-pools") == ({pool.cidr} if cross_subnet else set())
    assert node.members("cali60tunnelled-pools") == set()
    node.told(PoolRemove(pool.cidr))
    assert node.members("cali40tunnelled-pools") == set()
