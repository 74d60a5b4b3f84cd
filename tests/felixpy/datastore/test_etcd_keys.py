"""Which keys are whose: section 1.1 of the data model reference."""

from __future__ import annotations

import pytest

from felixpy.datastore.etcd_keys import RANGES, RESOURCES

BY_KIND = {range_.kind: range_ for range_ in RANGES}

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


def test_all_that_felix_watches_is_watched() -> None:
    prefixes = {range_.prefix for range_ in RANGES}
    blocks = {f"/calico/ipam/v2/assignment/ipv{family}/block/" for family in (4, 6)}
    assert prefixes == {f"{RESOURCES}{plural}/" for plural in WATCHED.values()} | blocks


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
    ],
)
def test_identity(kind: str, rest: bytes, identity: tuple[str, str] | None) -> None:
    range_ = BY_KIND[kind]
    assert range_.identity(range_.prefix.encode() + rest) == identity
