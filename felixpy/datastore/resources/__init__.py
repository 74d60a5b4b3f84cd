"""The resources that are read: every kind of projectcalico.org/v3, Kubernetes' Secret, and what
nodes publish of IPsec, which is felixpy's own.

    meta, fields, marks                     what all share: metadata, value types, checks on fields
    addresses, names, numbers, wireguard    texts that stand for something: how they are read
    policy, kubernetes, endpoints, ipam, bgp, cluster, felix_configuration (and felix_parts),
    kube_controllers, ipsec

The types say what a JSON or YAML document may hold; the marks on their fields say which values make
sense.  Rules between fields are in `felixpy.datastore.validation`.
Field lists: projectcalico/calico api/pkg/apis/projectcalico/v3, libcalico-go/lib/apis/internalapi.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from felixpy.datastore.resources import (
    bgp,
    cluster,
    endpoints,
    felix_configuration,
    ipam,
    ipsec,
    kube_controllers,
    kubernetes,
    policy,
)
from felixpy.datastore.resources.meta import API_VERSION, Document

Body: TypeAlias = Document | kubernetes.Secret


class Kind(Struct, frozen=True):
    name: str
    type: type[Body]
    namespaced: bool = False
    api_version: str = API_VERSION


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("WorkloadEndpoint", endpoints.WorkloadEndpoint, namespaced=True),
        Kind("HostEndpoint", endpoints.HostEndpoint),
        Kind("NetworkPolicy", policy.NetworkPolicy, namespaced=True),
        Kind("GlobalNetworkPolicy", policy.GlobalNetworkPolicy),
        Kind("StagedNetworkPolicy", policy.StagedNetworkPolicy, namespaced=True),
        Kind("StagedGlobalNetworkPolicy", policy.StagedGlobalNetworkPolicy),
        Kind(
            "StagedKubernetesNetworkPolicy",
            kubernetes.StagedKubernetesNetworkPolicy,
            namespaced=True,
        ),
        Kind("Tier", policy.Tier),
        Kind("Profile", policy.Profile),
        Kind("NetworkSet", endpoints.NetworkSet, namespaced=True),
        Kind("GlobalNetworkSet", endpoints.GlobalNetworkSet),
        Kind("IPPool", ipam.IpPool),
        Kind("IPReservation", ipam.IpReservation),
        Kind("IPAMConfiguration", ipam.IpamConfiguration),
        Kind("IPAMConfig", ipam.IpamConfiguration),  # the name it has in etcd and in old exports
        Kind("IPAMBlock", ipam.IpamBlock),
        Kind("IPAMHandle", ipam.IpamHandle),
        Kind("BlockAffinity", ipam.BlockAffinity),
        Kind("Node", cluster.Node),
        Kind("CalicoNodeStatus", cluster.CalicoNodeStatus),
        Kind("ClusterInformation", cluster.ClusterInformation),
        Kind("LiveMigration", cluster.LiveMigration, namespaced=True),
        Kind("BGPConfiguration", bgp.BgpConfiguration),
        Kind("BGPPeer", bgp.BgpPeer),
        Kind("BGPFilter", bgp.BgpFilter),
        Kind("FelixConfiguration", felix_configuration.FelixConfiguration),
        Kind("KubeControllersConfiguration", kube_controllers.KubeControllersConfiguration),
        Kind("IPsecNode", ipsec.IpsecNode, api_version=ipsec.API_VERSION),
        Kind("Secret", kubernetes.Secret, namespaced=True, api_version="v1"),
    )
}
