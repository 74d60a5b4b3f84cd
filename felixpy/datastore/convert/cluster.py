"""Pools, nodes, who wants to know how a node is, and the cluster's own record."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast, get_args

from calc_graph.bgp.resources import NodeStatusKey, NodeStatusRequest, StatusClass
from calc_graph.model import (
    ClusterInformation,
    ClusterInformationKey,
    EncapMode,
    IpPool,
    IpPoolKey,
    Node,
    NodeKey,
)
from felixpy.datastore.convert.bgp_values import choose, to_as_number
from felixpy.datastore.convert.encryption import is_encrypted
from felixpy.datastore.convert.subject import Changes, Subject
from felixpy.datastore.convert.values import to_mac
from felixpy.datastore.errors import InvalidResourceError
from felixpy.datastore.resources import cluster, ipam
from felixpy.datastore.resources.addresses import Net, is_mac, parse_address, parse_net

_ENCAP_MODES: dict[str, EncapMode] = {"Always": "always", "CrossSubnet": "cross-subnet"}
_ADDRESS_TYPES = ("InternalIP", "ExternalIP")  # the first one that the node has is taken
_CLASSES: dict[str, StatusClass] = {name: name for name in get_args(StatusClass)}
_LONGEST_PERIOD = 86400  # seconds
_ETHERNET = len("00:00:00:00:00:00")
_NO_BGP = cluster.NodeBgp()
_NO_WIREGUARD = cluster.NodeWireguard()


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
        bgp_export=not spec.disable_bgp_export,
        encrypted=is_encrypted(subject),
        block_size=spec.block_size,
    )
    return ((IpPoolKey(subject.name), value),)


def convert_node(subject: Subject) -> Changes:
    """Of each family what BGP is told of, else the first internal address, else an external one."""
    spec: cluster.NodeSpec = subject.spec
    status = cast(cluster.Node, subject.body).status
    told = spec.bgp or _NO_BGP
    wireguard = spec.wireguard or _NO_WIREGUARD
    listed = [
        (address.type, net) for address in spec.addresses if (net := parse_net(address.address))
    ]
    bgp_ipv4, bgp_ipv6 = _interface(told.ipv4_address, 4), _interface(told.ipv6_address, 6)
    value = Node(
        ipv4=bgp_ipv4 or _listed(listed, 4),
        ipv6=bgp_ipv6 or _listed(listed, 6),
        labels=subject.body.metadata.labels,
        bgp_ipv4=bgp_ipv4,
        bgp_ipv6=bgp_ipv6,
        addresses=tuple(sorted({net.address for _, net in listed})),
        ipip_address=_address(told.ipv4_ipip_tunnel_addr),
        vxlan_address=_address(spec.ipv4_vxlan_tunnel_addr),
        vxlan_address_v6=_address(spec.ipv6_vxlan_tunnel_addr),
        vxlan_mac=_ethernet(spec.vxlan_tunnel_mac_addr),
        vxlan_mac_v6=_ethernet(spec.vxlan_tunnel_mac_addr_v6),
        wireguard_address=_address(wireguard.interface_ipv4_address),
        wireguard_address_v6=_address(wireguard.interface_ipv6_address),
        wireguard_key=status.wireguard_public_key,
        wireguard_key_v6=status.wireguard_public_key_v6,
        as_number=to_as_number(told.as_number, "spec", "bgp", "asNumber"),
        cluster_id=_cluster_id(told.route_reflector_cluster_id),
    )
    return ((NodeKey(subject.name), value),)


def _interface(text: str, version: int) -> str:
    """An address with the length of its subnet, the full one if the text has none."""
    net = parse_net(text)
    if net is None or net.version != version:
        return ""
    return f"{net.address}/{net.length}"


def _listed(listed: Iterable[tuple[str, Net]], version: int) -> str:
    """The first address of the first kind that the node has in this family."""
    of_kind: dict[str, str] = {}
    for kind, net in listed:
        if net.version == version:
            of_kind.setdefault(kind, f"{net.address}/{net.length}")
    return next((of_kind[kind] for kind in _ADDRESS_TYPES if kind in of_kind), "")


def _address(text: str) -> str:
    address = parse_address(text)
    return address.text if address else ""


def _cluster_id(text: str) -> str:
    """A reflector whose id cannot be read must not become a node of the mesh."""
    address = parse_address(text)
    if text and (address is None or address.version != 4):
        raise InvalidResourceError(
            f"must be an IPv4 address, not {text!r}", ("spec", "bgp", "routeReflectorClusterID")
        )
    return address.text if address else ""


def _ethernet(text: str) -> str:
    """Six bytes with colons; one of another length is no MAC that a VXLAN device could have."""
    mac = to_mac(text, "spec") if is_mac(text) else ""
    return mac if len(mac) == _ETHERNET else ""


def convert_node_status(subject: Subject) -> Changes:
    spec: cluster.CalicoNodeStatusSpec = subject.spec
    period = spec.update_period_seconds
    if not 0 <= period <= _LONGEST_PERIOD:
        raise InvalidResourceError(
            f"must be a number from 0 to {_LONGEST_PERIOD}, not {period}",
            ("spec", "updatePeriodSeconds"),
        )
    classes = {
        choose(_CLASSES, name, "spec", "classes", index) for index, name in enumerate(spec.classes)
    }
    request = NodeStatusRequest(spec.node, tuple(sorted(classes)), period)
    return ((NodeStatusKey(subject.name), request),)


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
