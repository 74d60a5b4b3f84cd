"""Which keys are whose: section 1.1 of the data model reference."""

from __future__ import annotations

import pytest

from felixpy.datastore.etcd_keys import RANGES, RESOURCES, ranges, resource_key

BY_KIND = {range_.kind: range_ for range_ in ranges(bgp=True, ipsec=True)}

# every range that Felix's own syncer lists and watches with etcd, below the common prefix
WATCHED = {
    "ClusterInformation": "clusterinformations",
    "FelixConfiguration": "felixconfigurations",
    "GlobalNetworkPolicy": "globalnetworkpolicies",
    "StagedGlobalNetworkPolicy": "stagedglobalnetworkpolicies",
    "NetworkPolicy": "networkpolicies",
    "StagedNetworkPolicy": "stagednetworkpolicies",
    "StagedKubernetesNetworkPolicy": "stagedkubernetesnetworkpolicies",
    "Tier": "tiers",
    "Profile": "profiles",
    "GlobalNetworkSet": "globalnetworksets",
    "NetworkSet": "networksets",
    "HostEndpoint": "hostendpoints",
    "WorkloadEndpoint": "workloadendpoints",
    "IPPool": "ippools",
    "Node": "nodes",
    "BGPConfiguration": "bgpconfigurations",
    "BGPPeer": "bgppeers",
    "LiveMigration": "livemigrations",
}
# and what confd's does besides, of all nodes
BGP = {"BGPFilter": "bgpfilters", "CalicoNodeStatus": "caliconodestatuses"}


def test_all_that_felix_watches_is_watched() -> None:
    prefixes = {range_.prefix for range_ in RANGES}
    blocks = {f"/calico/ipam/v2/assignment/ipv{family}/block/" for family in (4, 6)}
    assert prefixes == {f"{RESOURCES}{plural}/" for plural in WATCHED.values()} | blocks


def test_what_bgp_needs_is_read_only_with_bgp() -> None:
    assert ranges(bgp=False) == RANGES
    more = {range_.prefix for range_ in ranges(bgp=True)} - {range_.prefix for range_ in RANGES}
    assert more == {f"{RESOURCES}{plural}/" for plural in BGP.values()} | {"/calico/ipam/v2/host/"}


def test_what_nodes_publish_of_ipsec_is_read_only_with_ipsec() -> None:
    assert [range_.prefix for range_ in ranges(bgp=False, ipsec=True)[len(RANGES) :]] == [
        "/calico/felixpy/v1/ipsecnodes/"
    ]
    assert ranges(bgp=True, ipsec=True)[: len(ranges(bgp=True))] == ranges(bgp=True)
    assert not any(range_.kind == "IPsecNode" for range_ in ranges(bgp=True))


def test_the_key_of_a_resource() -> None:
    assert resource_key("IPsecNode", "n1") == "/calico/felixpy/v1/ipsecnodes/n1"
    assert resource_key("CalicoNodeStatus", "n1") == f"{RESOURCES}caliconodestatuses/n1"


@pytest.mark.parametrize("kind", WATCHED)
def test_a_range_holds_its_own_keys_and_no_others(kind: str) -> None:
    start, end = BY_KIND[kind].interval
    assert start <= f"{RESOURCES}{WATCHED[kind]}/a".encode() < end
    assert start <= f"{RESOURCES}{WATCHED[kind]}/\U0010ffff".encode() < end
    assert not start <= f"{RESOURCES}{WATCHED[kind]}0".encode() < end
    assert not start <= f"{RESOURCES}{WATCHED[kind]}-of-others/a".encode() < end


@pytest.mark.parametrize(
    ("kind", "rest", "identity"),
    [
        ("Tier", b"security", ("", "security")),
        ("Tier", b"a/b", None),
        ("Tier", b"", None),
        ("Tier", b"\xff", None),
        ("NetworkPolicy", b"prod/default.allow-web", ("prod", "default.allow-web")),
        ("NetworkPolicy", b"prod", None),
        ("NetworkPolicy", b"prod/", None),
        ("NetworkPolicy", b"/allow-web", None),
        ("NetworkPolicy", b"prod/a/b", None),
        ("WorkloadEndpoint", b"prod/n1-k8s-pod--1-eth0", ("prod", "n1-k8s-pod--1-eth0")),
        ("IPAMBlock", b"10.65.0.0-26", ("", "10.65.0.0-26")),
        ("BlockAffinity", b"n1/ipv4/block/10.65.1.0-26", ("n1", "10.65.1.0-26")),
        ("BlockAffinity", b"n1/ipv6/block/fd65::1:0-122", ("n1", "fd65::1:0-122")),
        ("BlockAffinity", b"n1/ipv4/block/", None),
        ("BlockAffinity", b"n1/ipv4/10.65.1.0-26", None),
        ("BlockAffinity", b"n1/ipv5/block/10.65.1.0-26", None),
        ("BlockAffinity", b"/ipv4/block/10.65.1.0-26", None),
        ("BlockAffinity", b"n1", None),
        ("IPsecNode", b"n1", ("", "n1")),
        ("IPsecNode", b"n1/x", None),
        ("IPsecNode", b"", None),
    ],
)
def test_identity(kind: str, rest: bytes, identity: tuple[str, str] | None) -> None:
    range_ = BY_KIND[kind]
    assert range_.identity(range_.prefix.encode() + rest) == identity
