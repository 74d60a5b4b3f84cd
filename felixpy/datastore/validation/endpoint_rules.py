"""Rules between the fields of endpoints."""

from __future__ import annotations

from felixpy.datastore.resources.addresses import parse_net
from felixpy.datastore.resources.endpoints import (
    HostEndpointSpec,
    IpNat,
    NamedPort,
    WorkloadEndpointSpec,
    WorkloadPort,
)
from felixpy.datastore.resources.numbers import parse_protocol, supports_ports
from felixpy.datastore.validation.fault import refuse


def check_host_endpoint(spec: HostEndpointSpec) -> None:
    if not spec.node:
        refuse("must be given", "node")
    if not spec.interface_name and not spec.expected_ips:
        refuse("interfaceName or expectedIPs must be given", "interfaceName")


def check_port(port: NamedPort | WorkloadPort) -> None:
    if not supports_ports(parse_protocol(port.protocol)):
        refuse(f"{port.protocol} has no ports; TCP, UDP and SCTP have", "protocol")


def check_workload_port(port: WorkloadPort) -> None:
    if not port.name and not port.host_port:
        refuse("a name is needed where there is no hostPort", "name")


def check_nat(nat: IpNat) -> None:
    internal, external = parse_net(nat.internal_ip), parse_net(nat.external_ip)
    if internal is None:
        refuse("must be given", "internalIP")
    if external is None:
        refuse("must be given", "externalIP")
    if internal.version != external.version:
        refuse("must be of the same family as internalIP", "externalIP")


def check_workload_endpoint(spec: WorkloadEndpointSpec) -> None:
    if not spec.interface_name:
        refuse("must be given", "interfaceName")
    nets = [parse_net(text) for text in spec.ip_networks]
    for index, net in enumerate(nets):
        if net is None or not net.single:
            refuse("must be a single address: /32 or /128", "ipNetworks", index)
    for index, nat in enumerate(spec.ip_nats):
        internal = parse_net(nat.internal_ip)
        if internal is None or not any(net is not None and net.covers(internal) for net in nets):
            refuse(f"{nat.internal_ip!r} is none of ipNetworks", "ipNATs", index, "internalIP")
