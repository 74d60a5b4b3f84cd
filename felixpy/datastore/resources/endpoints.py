"""Endpoints and network sets."""

# ruff: noqa: RUF012 - msgspec makes a new empty list or dict for each object

from __future__ import annotations

from typing import Annotated

from msgspec import field

from felixpy.datastore.resources.fields import (
    Address,
    AnyCidr,
    BoundedName,
    ContainerId,
    Dscp,
    Interface,
    Ipv4,
    Ipv6,
    Mac,
    Name,
    Net,
    PortName,
    Protocol,
)
from felixpy.datastore.resources.marks import max_length, within
from felixpy.datastore.resources.meta import Block, Document

Port = Annotated[int, within(1, 65535, schema=False)]
OptionalPort = Annotated[int, within(0, 65535, schema=False)]
Limit = Annotated[int, within(0, 2**63 - 1, schema=False)]


class NamedPort(Block, frozen=True):
    """A port of a host endpoint."""

    name: PortName
    protocol: Protocol
    port: Port


class WorkloadPort(Block, frozen=True):
    protocol: Protocol
    port: Port
    name: PortName = ""
    host_port: OptionalPort = 0
    host_ip: Net = field(default="", name="hostIP")


class IpNat(Block, frozen=True):
    internal_ip: Address = field(default="", name="internalIP")
    external_ip: Address = field(default="", name="externalIP")


class QosControls(Block, frozen=True):
    ingress_bandwidth: Limit = 0
    ingress_burst: Limit = 0
    ingress_peakrate: Limit = 0
    ingress_minburst: Limit = 0
    egress_bandwidth: Limit = 0
    egress_burst: Limit = 0
    egress_peakrate: Limit = 0
    egress_minburst: Limit = 0
    ingress_packet_rate: Limit = 0
    ingress_packet_burst: Limit = 0
    egress_packet_rate: Limit = 0
    egress_packet_burst: Limit = 0
    ingress_max_connections: Limit = 0
    egress_max_connections: Limit = 0
    dscp: Dscp | None = None


class WorkloadEndpointSpec(Block, frozen=True):
    orchestrator: Name = ""
    workload: Name = ""
    node: Name = ""
    container_id: ContainerId = field(default="", name="containerID")
    pod: Name = ""
    endpoint: Name = ""
    service_account_name: Name = ""
    ip_networks: list[Net] = []
    ip_nats: list[IpNat] = field(default_factory=list, name="ipNATs")
    ipv4_gateway: Ipv4 = field(default="", name="ipv4Gateway")
    ipv6_gateway: Ipv6 = field(default="", name="ipv6Gateway")
    profiles: list[Name] = []
    interface_name: Interface = ""
    mac: Mac = ""
    ports: list[WorkloadPort] = []
    allow_spoofed_source_prefixes: list[AnyCidr] = []
    qos_controls: QosControls | None = None


class WorkloadEndpoint(Document, frozen=True):
    spec: WorkloadEndpointSpec = WorkloadEndpointSpec()


class HostEndpointSpec(Block, frozen=True):
    node: BoundedName = ""
    interface_name: Annotated[Interface, max_length(15)] = ""
    expected_ips: list[Address] = field(default_factory=list, name="expectedIPs")
    profiles: list[Name] = []
    ports: list[NamedPort] = []


class HostEndpoint(Document, frozen=True):
    spec: HostEndpointSpec = HostEndpointSpec()


class NetworkSetSpec(Block, frozen=True):
    nets: list[AnyCidr] = []


class NetworkSet(Document, frozen=True):
    spec: NetworkSetSpec = NetworkSetSpec()


class GlobalNetworkSet(Document, frozen=True):
    spec: NetworkSetSpec = NetworkSetSpec()
