"""Where in etcd the resources are that a node agent reads.

    ranges(bgp=..., ipsec=...)   what is listed and watched: one range of keys for each kind
    identity(key)                of one of a range's keys: namespace and name

IPAM keeps its blocks beside the resources: a block's name is its CIDR, "10.65.0.0-26".  So are
block affinities, below the node that has them.
A node without BGP reads what a Felix reads; what BGP needs besides may be as much again, with an
affinity for every block of every node.  What nodes publish of IPsec is felixpy's own, beside all
that is Calico's, and read where the node may have IPsec.
Sources: section 1.1 of the data model reference, section 1 of the BGP reference; projectcalico/
calico libcalico-go/lib/backend/syncersv1/felixsyncer and bgpsyncer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from felixpy.datastore.resources import KINDS
from felixpy.etcd.member import Interval

RESOURCES: Final = "/calico/resources/v3/projectcalico.org/"
BLOCKS: Final = (
    "/calico/ipam/v2/assignment/ipv4/block/",
    "/calico/ipam/v2/assignment/ipv6/block/",
)
IPSEC_NODES: Final = "/calico/felixpy/v1/ipsecnodes/"
AFFINITIES: Final = "/calico/ipam/v2/host/"  # <node>/ipv4|ipv6/block/<CIDR>

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
_BGP_PLURALS: Final = {
    "BGPFilter": "bgpfilters",
    "CalicoNodeStatus": "caliconodestatuses",
}
_FAMILIES: Final = ("ipv4/block", "ipv6/block")


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
        """Namespace ("" for a global kind) and name; None for a key that is no resource's.

        A block affinity has its node for a namespace.
        """
        try:
            rest = key[len(self.prefix) :].decode()
        except UnicodeDecodeError:
            return None
        if self.prefix == AFFINITIES:
            return _affinity(rest)
        namespace, slash, name = rest.rpartition("/")
        if not name or "/" in namespace or bool(slash) != self.namespaced:
            return None
        return (namespace, name) if namespace or not slash else None


def _affinity(rest: str) -> tuple[str, str] | None:
    node, _, below = rest.partition("/")
    family, _, name = below.rpartition("/")
    return (node, name) if node and name and family in _FAMILIES else None


def resource_key(kind: str, name: str) -> str:
    """Of a resource without a namespace."""
    if kind == "IPsecNode":
        return f"{IPSEC_NODES}{name}"
    return f"{RESOURCES}{(_PLURALS | _BGP_PLURALS)[kind]}/{name}"


def _resources(plurals: Mapping[str, str]) -> tuple[KeyRange, ...]:
    return tuple(
        KeyRange(kind, f"{RESOURCES}{plural}/", KINDS[kind].namespaced)
        for kind, plural in plurals.items()
    )


RANGES: Final = (
    *_resources(_PLURALS),
    *(KeyRange("IPAMBlock", prefix, namespaced=False) for prefix in BLOCKS),
)
BGP_RANGES: Final = (
    *_resources(_BGP_PLURALS),
    KeyRange("BlockAffinity", AFFINITIES, namespaced=False),
)


IPSEC_RANGES: Final = (KeyRange("IPsecNode", IPSEC_NODES, namespaced=False),)


def ranges(*, bgp: bool, ipsec: bool = False) -> tuple[KeyRange, ...]:
    """What a node reads; `bgp`: it speaks BGP, `ipsec`: it may have IPsec."""
    return (*RANGES, *(BGP_RANGES if bgp else ()), *(IPSEC_RANGES if ipsec else ()))
