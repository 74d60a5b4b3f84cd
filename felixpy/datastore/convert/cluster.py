"""Pools, nodes, BGP's global configuration and the cluster's own record."""

from __future__ import annotations

from collections.abc import Iterable

from calc_graph.model import (
    BgpConfiguration,
    BgpConfigurationKey,
    ClusterInformation,
    ClusterInformationKey,
    EncapMode,
    IpPool,
    IpPoolKey,
    Node,
    NodeKey,
)
from felixpy.datastore.convert.subject import Changes, Subject
from felixpy.datastore.convert.values import to_net
from felixpy.datastore.errors import InvalidResourceError
from felixpy.datastore.resources import bgp, cluster, ipam
from felixpy.datastore.resources.addresses import parse_net

_ENCAP_MODES: dict[str, EncapMode] = {"Always": "always", "CrossSubnet": "cross-subnet"}
_ADDRESS_TYPES = ("InternalIP", "ExternalIP")  # the first one that the node has is taken


def convert_pool(subject: Subject) -> Changes:
    spec: ipam.IpPoolSpec = subject.spec
    net = parse_net(spec.cidr)
    if net is None or net.exact:
        raise InvalidResourceError(
            f"must be a CIDR with a length, not {spec.cidr!r}", ("spec", "cidr")
        )
    value = IpPool(
        cidr=net.network,
        nat_outgoing=spec.nat_outgoing,
        ipip_mode=_ENCAP_MODES.get(spec.ipip_mode, "never"),
        vxlan_mode=_ENCAP_MODES.get(spec.vxlan_mode, "never"),
        allowed_uses=tuple(spec.allowed_uses),
        disabled=spec.disabled,
    )
    return ((IpPoolKey(subject.name), value),)


def convert_node(subject: Subject) -> Changes:
    """The addresses that BGP is told of, else the internal ones, else the external ones."""
    spec: cluster.NodeSpec = subject.spec
    addresses: dict[int, str] = {}
    if spec.bgp:
        addresses = _first_of_each_family((spec.bgp.ipv4_address, spec.bgp.ipv6_address))
    for kind in _ADDRESS_TYPES:
        addresses = addresses or _first_of_each_family(
            address.address for address in spec.addresses if address.type == kind
        )
    value = Node(addresses.get(4, ""), addresses.get(6, ""), subject.body.metadata.labels)
    return ((NodeKey(subject.name), value),)


def _first_of_each_family(texts: Iterable[str]) -> dict[int, str]:
    found: dict[int, str] = {}
    for text in texts:
        net = parse_net(text)
        if net is not None:
            found.setdefault(net.version, f"{net.address}/{net.length}")
    return found


def convert_bgp_configuration(subject: Subject) -> Changes:
    spec: bgp.BgpConfigurationSpec = subject.spec
    cidrs: set[str] = set()
    for name, blocks in (
        ("serviceClusterIPs", spec.service_cluster_ips),
        ("serviceExternalIPs", spec.service_external_ips),
        ("serviceLoadBalancerIPs", spec.service_load_balancer_ips),
    ):
        cidrs |= {
            to_net(block.cidr, "spec", name, index, "cidr")
            for index, block in enumerate(blocks)
            if block.cidr
        }
    return ((BgpConfigurationKey(subject.name), BgpConfiguration(tuple(sorted(cidrs)))),)


def convert_cluster_information(subject: Subject) -> Changes:
    spec: cluster.ClusterInformationSpec = subject.spec
    given = {
        "ClusterGUID": spec.cluster_guid,
        "ClusterType": spec.cluster_type,
        "CalicoVersion": spec.calico_version,
        "Variant": spec.variant,
    }
    value = ClusterInformation(
        {name: text for name, text in given.items() if text}, ready=spec.datastore_ready is True
    )
    return ((ClusterInformationKey(subject.name), value),)
