"""What is behind which node."""

from __future__ import annotations

from typing import Any

import pytest

from calc_graph.updates import RouteType, RouteUpdate
from dataplane.settings import WireguardSettings
from dataplane.wireguard.nets import Cover, Nets
from tests.dataplane.wireguard.builders import HERE, behind, gone, pool

T = RouteType
PLAIN: dict[str, Any] = {}
HOSTS: dict[str, Any] = {"host_encryption": True, "clear_hosts": ("172.30.0.9", "172.31.0.0/16")}

CASES = [
    # case, settings, destination, its types, whether it is behind its node
    ("a block", PLAIN, "10.0.1.0/26", T.REMOTE_WORKLOAD, True),
    ("a borrowed address", PLAIN, "10.0.1.3/32", T.REMOTE_WORKLOAD, True),
    ("the end of a tunnel", PLAIN, "10.0.1.1/32", T.REMOTE_TUNNEL, True),
    ("ours", PLAIN, "10.0.2.0/26", T.LOCAL_WORKLOAD, True),
    ("our end of a tunnel", PLAIN, "10.0.2.1/32", T.LOCAL_TUNNEL, True),
    ("a pool", PLAIN, "10.0.0.0/16", T(0), False),
    ("our own address", PLAIN, "172.30.0.1/32", T.LOCAL_HOST, False),
    ("our own address", HOSTS, "172.30.0.1/32", T.LOCAL_HOST, False),
    ("a node's address", PLAIN, "172.30.0.2/32", T.REMOTE_HOST, False),
    ("a node's address", HOSTS, "172.30.0.2/32", T.REMOTE_HOST, True),
    ("one that is a tunnel's as well", PLAIN, "172.30.0.2/32", T.REMOTE_HOST | 16, False),
    ("one to stay in clear", HOSTS, "172.30.0.9/32", T.REMOTE_HOST, False),
    ("one of a net to stay in clear", HOSTS, "172.31.7.7/32", T.REMOTE_HOST, False),
]


@pytest.mark.parametrize(("case", "settings", "cidr", "types", "counts"), CASES)
def test_what_counts(case, settings, cidr, types, counts) -> None:
    nets = Nets(4, HERE, WireguardSettings(**settings))
    nets.update(RouteUpdate(cidr, types, "none", "n"))
    assert nets.node_of(cidr) == ("n" if counts else ""), case
    assert set(nets.on("n")) == ({cidr} if counts else set())


def test_what_changes_its_kind_is_nobodys_any_more() -> None:
    nets = Nets(4, HERE, WireguardSettings())
    nets.update(RouteUpdate("10.0.1.1/32", T.REMOTE_WORKLOAD, "none", "n"))
    nets.take_dirty()
    nets.update(RouteUpdate("10.0.1.1/32", T.REMOTE_HOST, "none", "n"))
    assert (nets.node_of("10.0.1.1/32"), set(nets.take_dirty())) == ("", {"10.0.1.1/32"})


def test_what_says_the_same_again_is_no_change() -> None:
    nets = Nets(4, HERE, WireguardSettings())
    for _ in range(2):
        nets.update(*behind("n", "10.0.1.0/26"))
    nets.take_dirty()
    nets.update(*behind("n", "10.0.1.0/26"))
    nets.update(*gone("10.9.0.0/26"))
    assert not nets.take_dirty()


def test_of_ours_blocks_are_thrown_and_addresses_outside_of_them() -> None:
    nets = Nets(4, HERE, WireguardSettings())
    inside, outside, block = "10.0.2.9/32", "10.0.3.9/32", "10.0.2.0/26"
    for cidr in (inside, outside, block):
        nets.update(*behind(HERE, cidr))
    assert [nets.is_thrown(cidr) for cidr in (inside, outside, block)] == [False, True, True]
    nets.take_dirty()
    nets.update(*gone(block))
    assert nets.is_thrown(inside)
    assert set(nets.take_dirty()) == {block, inside}


def test_a_block_that_begins_with_an_address_of_ours() -> None:
    """Felix forgets the block: its comparison is the wrong way round."""
    nets = Nets(4, HERE, WireguardSettings())
    first, block = "10.0.2.0/32", "10.0.2.0/26"
    nets.update(*behind(HERE, first))
    assert nets.is_thrown(first)
    nets.update(*behind(HERE, block))
    assert (nets.is_thrown(first), nets.is_thrown(block)) == (False, True)


def test_pools_that_must_be_encrypted() -> None:
    nets = Nets(4, HERE, WireguardSettings())
    nets.update(*behind("n", "10.0.1.0/26"))
    nets.update_pool(pool("10.0.0.0/16"))
    assert nets.is_closed("10.0.1.0/26")
    assert not nets.is_closed("10.1.1.0/26")
    assert nets.is_closed_pool("10.0.0.0/16")
    nets.take_dirty()
    nets.update_pool(pool("10.0.0.0/16", encrypted=False))
    assert not nets.is_closed("10.0.1.0/26")
    assert set(nets.take_dirty()) == {"10.0.0.0/16", "10.0.1.0/26"}


@pytest.mark.parametrize(
    ("case", "more", "closed"),
    [
        ("of workloads", {}, True),
        ("said to be of workloads", {"allowed_uses": ("Tunnel", "Workload")}, True),
        ("of services", {"allowed_uses": ("LoadBalancer",)}, False),
        ("only named", {"disabled": True}, False),
        ("only named, and to be encrypted", {"disabled": True, "encrypted": True}, True),
    ],
)
def test_pools_with_strictness(case: str, more: dict[str, Any], closed: bool) -> None:
    update = pool("10.0.0.0/16", **{"encrypted": False, **more})
    nets = Nets(4, HERE, WireguardSettings(strict=True))
    nets.update_pool(update)
    assert nets.is_closed_pool("10.0.0.0/16") == closed, case
    lenient = Nets(4, HERE, WireguardSettings())
    lenient.update_pool(update)
    assert lenient.is_closed_pool("10.0.0.0/16") == update.pool.encrypted


def test_a_node_s_own_address_in_a_closed_pool_stays_open() -> None:
    nets = Nets(4, HERE, WireguardSettings())
    nets.update(RouteUpdate("10.0.0.5/32", T.REMOTE_HOST, "none", "n"))
    assert not nets.take_dirty(), "without a closed pool it makes no difference"
    nets.update_pool(pool("10.0.0.0/16"))
    assert nets.is_open_host("10.0.0.5/32")
    assert not nets.is_open_host("10.0.0.6/32")
    assert set(nets.take_dirty()) == {"10.0.0.0/16", "10.0.0.5/32"}
    nets.update(*gone("10.0.0.5/32"))
    assert not nets.is_open_host("10.0.0.5/32")
    assert set(nets.take_dirty()) == {"10.0.0.5/32"}


def test_cover() -> None:
    cover = Cover(6, ("fd00::/64", "::/0"))
    assert cover.contains("fd00::1/128")
    assert cover.contains("fd01::/64")
    cover.discard("::/0")
    cover.discard("::/0")
    assert cover.contains("fd00::/64")
    assert not cover.contains("fd01::/64")
    assert not cover.contains("fd00::/63")
