"""Nodes, the cluster as a whole, and the state that other programs exchange through it."""

# ruff: noqa: RUF012 - msgspec makes a new empty list or dict for each object

from __future__ import annotations

from typing import Annotated, Any

from msgspec import field

from felixpy.datastore.resources.fields import (
    AsNumber,
    Ipv4,
    Ipv4Cidr,
    Ipv6,
    Ipv6Cidr,
    Mac,
    Name,
    Net,
    Selector,
)
from felixpy.datastore.resources.marks import Check, one_of, one_of_always, within
from felixpy.datastore.resources.meta import Block, Document
from felixpy.datastore.resources.wireguard import is_wireguard_key

# Asked of manifests only: a stored Node counts without its key, see calc_graph.wireguard.
WireguardKey = Annotated[
    str, Check(is_wireguard_key, "a WireGuard key: 32 bytes in base64", schema=True)
]


class NodeBgp(Block, frozen=True):
    as_number: AsNumber | None = None
    ipv4_address: Ipv4Cidr = field(default="", name="ipv4Address")
    ipv6_address: Ipv6Cidr = field(default="", name="ipv6Address")
    ipv4_ipip_tunnel_addr: Ipv4 = field(default="", name="ipv4IPIPTunnelAddr")
    route_reflector_cluster_id: Ipv4 = field(default="", name="routeReflectorClusterID")


class NodeWireguard(Block, frozen=True):
    interface_ipv4_address: Ipv4 = field(default="", name="interfaceIPv4Address")
    interface_ipv6_address: Ipv6 = field(default="", name="interfaceIPv6Address")


class NodeAddress(Block, frozen=True):
    address: Net
    type: Annotated[str, one_of_always("CalicoNodeIP", "InternalIP", "ExternalIP")] = ""


class NodeInterface(Block, frozen=True):
    name: Name = ""
    addresses: list[str] = []


class OrchRef(Block, frozen=True):
    orchestrator: str = ""
    node_name: str = ""


class NodeSpec(Block, frozen=True):
    bgp: NodeBgp | None = None
    ipv4_vxlan_tunnel_addr: Ipv4 = field(default="", name="ipv4VXLANTunnelAddr")
    vxlan_tunnel_mac_addr: Mac = field(default="", name="vxlanTunnelMACAddr")
    ipv6_vxlan_tunnel_addr: Ipv6 = field(default="", name="ipv6VXLANTunnelAddr")
    vxlan_tunnel_mac_addr_v6: Mac = field(default="", name="vxlanTunnelMACAddrV6")
    orch_refs: list[OrchRef] = []
    wireguard: NodeWireguard | None = None
    addresses: list[NodeAddress] = []
    interfaces: list[NodeInterface] = []


class NodeStatus(Block, frozen=True):
    wireguard_public_key: WireguardKey = ""
    wireguard_public_key_v6: WireguardKey = field(default="", name="wireguardPublicKeyV6")
    pod_cidrs: list[str] = field(default_factory=list, name="podCIDRs")
    conditions: Any = None  # felixpy's own and others', which nobody reads here


class Node(Document, frozen=True):
    """The only kind whose status says something that others need: its WireGuard keys."""

    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class ClusterInformationSpec(Block, frozen=True):
    cluster_guid: str = field(default="", name="clusterGUID")
    cluster_type: str = ""
    calico_version: str = ""
    datastore_ready: bool | None = None
    variant: str = ""


class ClusterInformation(Document, frozen=True):
    spec: ClusterInformationSpec = ClusterInformationSpec()


class CalicoNodeStatusSpec(Block, frozen=True):
    node: Name
    classes: list[Annotated[str, one_of("Agent", "BGP", "Routes")]]
    update_period_seconds: Annotated[int, within(0, 86400, schema=False)]


class CalicoNodeStatus(Document, frozen=True, kw_only=True):
    spec: CalicoNodeStatusSpec


class WorkloadIdentifier(Block, frozen=True):
    hostname: str = ""
    orchestrator_id: str = field(default="", name="orchestratorID")
    workload_id: str = field(default="", name="workloadID")


class EndpointIdentifier(WorkloadIdentifier, frozen=True):
    endpoint_id: str = field(default="", name="endpointID")


class LiveMigrationSource(Block, frozen=True):
    workload: WorkloadIdentifier | None = None
    workload_endpoint: EndpointIdentifier | None = None


class LiveMigrationTarget(Block, frozen=True):
    selector: Selector | None = None
    workload_endpoint: EndpointIdentifier | None = None


class LiveMigrationSpec(Block, frozen=True):
    source: LiveMigrationSource | None = None
    target: LiveMigrationTarget | None = None


class LiveMigration(Document, frozen=True):
    spec: LiveMigrationSpec = LiveMigrationSpec()
