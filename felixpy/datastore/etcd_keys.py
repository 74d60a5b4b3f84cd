"""Where in etcd the resources are that a node agent reads.

    RANGES          what is listed and watched: one range of keys for each kind
    identity(key)   of one of a range's keys: namespace and name

IPAM keeps its blocks beside the resources: a block's name is its CIDR, "10.65.0.0-26".
Source: section 1.1 of the data model reference; projectcalico/calico libcalico-go/lib/backend/
syncersv1/felixsyncer.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from felixpy.datastore.resources import KINDS
from felixpy.etcd.member import Interval

RESOURCES: Final = "/calico/resources/v3/projectcalico.org/"
BLOCKS: Final = (
    "/calico/ipam/v2/assignment/ipv4/block/",
    "/calico/ipam/v2/assignment/ipv6/block/",
)

_PLURALS: Final = {
    # first, because it says whether the rest may be acted on, and how
    "ClusterInformation": "clusterinformations",
    "FelixConfiguration": "felixconfigurations",
    "Node": "nodes",
    "Tier": "tiers",
    "Profile": "profiles",
    "GlobalNetworkPolicy": "globalnetworkpolicies",
    "NetworkPolicy": "networkpolicies",
    "StagedGlobalNetworkPolicy": "stagedglobalnetworkpolicies",
    "StagedNetworkPolicy": "stagednetworkpolicies",
    "StagedKubernetesNetworkPolicy": "stagedkubernetesnetworkpolicies",
    "GlobalNetworkSet": "globalnetworksets",
    "NetworkSet": "networksets",
    "IPPool": "ippools",
    "BGPConfiguration": "bgpconfigurations",
    "BGPPeer": "bgppeers",
    "LiveMigration": "livemigrations",
    "HostEndpoint": "hostendpoints",
    "WorkloadEndpoint": "workloadendpoints",
}


class KeyRange(Struct, frozen=True):
    """All resources of one kind."""

    kind: str
    prefix: str  # ends in "/", so that no other kind's keys can begin with it
    namespaced: bool

    @property
    def interval(self) -> Interval:
        prefix = self.prefix.encode()
        return Interval(prefix, prefix[:-1] + b"0")  # "0" follows "/"

    def identity(self, key: bytes) -> tuple[str, str] | None:
        """Namespace ("" for a global kind) and name; None for a key that is no resource's."""
        try:
            rest = key[len(self.prefix) :].decode()
        except UnicodeDecodeError:
            return None
        namespace, slash, name = rest.rpartition("/")
        if not name or "/" in namespace or bool(slash) != self.namespaced:
            return None
        return (namespace, name) if namespace or not slash else None


RANGES: Final = (
    *(
        KeyRange(kind, f"{RESOURCES}{plural}/", KINDS[kind].namespaced)
        for kind, plural in _PLURALS.items()
    ),
    *(KeyRange("IPAMBlock", prefix, namespaced=False) for prefix in BLOCKS),
)
