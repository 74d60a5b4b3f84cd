"""From resources to what they mean to the graph.

    in   a Subject: a decoded resource and the identity it goes by
    out  pairs of key and value, none where a resource means nothing to the graph

A conversion also refuses what the agent must not act on, whoever wrote it: so what comes out is
sound even where the resource was never validated.  Where Calico drops the part of a resource that
it cannot read, the whole resource is refused here: a rule must not come to mean more because a
part is missing.
Source: projectcalico/calico libcalico-go/lib/backend/syncersv1/updateprocessors and, for what is
refused, typha/pkg/validator/v1 and libcalico-go/lib/validator/v1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from felixpy.datastore.convert import (
    bgp,
    bgp_filter,
    cluster,
    endpoints,
    felix_configuration,
    ipam,
    ipsec,
    kubernetes,
    policy,
)
from felixpy.datastore.convert.subject import Changes, Subject

Conversion: TypeAlias = Callable[[Subject], Changes]


def _nothing(_subject: Subject) -> Changes:
    return ()


CONVERSIONS: dict[str, Conversion] = {
    "WorkloadEndpoint": endpoints.convert_workload_endpoint,
    "HostEndpoint": endpoints.convert_host_endpoint,
    "NetworkSet": endpoints.convert_network_set,
    "GlobalNetworkSet": endpoints.convert_network_set,
    "NetworkPolicy": policy.convert_policy,
    "GlobalNetworkPolicy": policy.convert_policy,
    "StagedNetworkPolicy": policy.convert_policy,
    "StagedGlobalNetworkPolicy": policy.convert_policy,
    "StagedKubernetesNetworkPolicy": kubernetes.convert_staged_kubernetes_policy,
    "Profile": policy.convert_profile,
    "Tier": policy.convert_tier,
    "IPPool": cluster.convert_pool,
    "IPAMBlock": ipam.convert_block,
    "Node": cluster.convert_node,
    "IPsecNode": ipsec.convert_ipsec_node,
    "BlockAffinity": ipam.convert_affinity,
    "BGPConfiguration": bgp.convert_bgp_configuration,
    "BGPPeer": bgp.convert_bgp_peer,
    "BGPFilter": bgp_filter.convert_bgp_filter,
    "CalicoNodeStatus": cluster.convert_node_status,
    "ClusterInformation": cluster.convert_cluster_information,
    "FelixConfiguration": felix_configuration.convert_felix_configuration,
}


def convert(subject: Subject) -> Changes:
    """Raises InvalidResourceError, its path from the top of the document."""
    return CONVERSIONS.get(subject.kind, _nothing)(subject)
