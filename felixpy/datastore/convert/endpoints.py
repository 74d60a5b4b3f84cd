"""Workload endpoints, host endpoints and network sets."""

from __future__ import annotations

import re

from calc_graph.model import (
    EndpointPort,
    HostEndpoint,
    HostEndpointKey,
    Labels,
    NatMapping,
    NetworkSet,
    NetworkSetKey,
    QosControls,
    WorkloadEndpoint,
    WorkloadEndpointKey,
)
from felixpy.datastore.convert.endpoint_name import parse_endpoint_name
from felixpy.datastore.convert.rules import (
    NAMESPACE,
    NAMESPACE_PREFIX,
    SERVICE_ACCOUNT,
    SERVICE_ACCOUNT_PREFIX,
)
from felixpy.datastore.convert.subject import Changes, Subject, at
from felixpy.datastore.convert.values import to_address, to_mac, to_net, to_nets
from felixpy.datastore.errors import InvalidResourceError
from felixpy.datastore.resources import endpoints as v3
from felixpy.datastore.resources.names import is_interface, is_profile_name
from felixpy.datastore.resources.numbers import NumberOrText

MAX_PACKET_RATE = 10_000  # the kernel's limit match refuses more

_RESERVED_PREFIXES = (NAMESPACE_PREFIX, SERVICE_ACCOUNT_PREFIX)
_PORT_PROTOCOLS = frozenset({"tcp", "udp", "sctp"})
_PORT_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,128}")


def convert_workload_endpoint(subject: Subject) -> Changes:
    """One without an address means nothing yet: its interface stays closed."""
    name = parse_endpoint_name(subject.name)
    spec: v3.WorkloadEndpointSpec = subject.spec
    if not spec.ip_networks:
        return ()
    with at("spec"):
        # Calico looks at neither here; but a name that the kernel refuses blocks a whole table.
        if not is_interface(spec.interface_name) or spec.interface_name == "*":
            raise InvalidResourceError("must be an interface's name", ("interfaceName",))
        _check_profiles(spec.profiles)
        value = WorkloadEndpoint(
            interface=spec.interface_name,
            nets=to_nets(spec.ip_networks, "ipNetworks"),
            labels=_workload_labels(subject.body.metadata.labels, spec.service_account_name),
            profiles=tuple(spec.profiles),
            mac=to_mac(spec.mac, "mac") if spec.mac else "",
            ports=_convert_workload_ports(spec.ports),
            nats=tuple(_convert_nat(nat, index) for index, nat in enumerate(spec.ip_nats)),
            spoofable_sources=to_nets(
                spec.allow_spoofed_source_prefixes, "allowSpoofedSourcePrefixes"
            ),
            qos=_convert_qos(spec.qos_controls),
        )
    workload = f"{subject.namespace}/{name.third}"
    return ((WorkloadEndpointKey(name.node, name.orchestrator, workload, name.endpoint), value),)


def _check_profiles(profiles: list[str]) -> None:
    for index, profile in enumerate(profiles):
        if not is_profile_name(profile):
            raise InvalidResourceError(f"{profile!r} is no profile's name", ("profiles", index))


def _workload_labels(labels: Labels, service_account: str) -> Labels:
    """No endpoint can pretend to inherit from another namespace or service account."""
    own = {key: value for key, value in labels.items() if not key.startswith(_RESERVED_PREFIXES)}
    if service_account:
        own[SERVICE_ACCOUNT] = service_account
    return own


def _convert_workload_ports(ports: list[v3.WorkloadPort]) -> tuple[EndpointPort, ...]:
    """A port without a name is one of the host that leads here: none of the policy's business."""
    return tuple(
        _convert_port(port.name, port.protocol, port.port, index)
        for index, port in enumerate(ports)
        if port.name
    )


def _convert_port(name: str, protocol: NumberOrText, port: int, index: int) -> EndpointPort:
    text = str(protocol).lower()
    with at("ports", index):
        if text not in _PORT_PROTOCOLS:
            raise InvalidResourceError(
                f"must be TCP, UDP or SCTP, by name, not {protocol!r}", ("protocol",)
            )
        if not 1 <= port <= 65535:
            raise InvalidResourceError("must be from 1 to 65535", ("port",))
        if not _PORT_NAME.fullmatch(name):
            raise InvalidResourceError(f"{name!r} is no port's name", ("name",))
    return EndpointPort(name, text, port)


def _convert_nat(nat: v3.IpNat, index: int) -> NatMapping:
    with at("ipNATs", index):
        internal = to_address(nat.internal_ip, "internalIP")
        external = to_address(nat.external_ip, "externalIP")
        if (":" in internal) != (":" in external):
            raise InvalidResourceError("must be of the same family as internalIP", ("externalIP",))
    return NatMapping(external=external, internal=internal)


def _convert_qos(controls: v3.QosControls | None) -> QosControls | None:
    if controls is None:
        return None
    value = QosControls(
        ingress_packet_rate=controls.ingress_packet_rate,
        egress_packet_rate=controls.egress_packet_rate,
        ingress_packet_burst=controls.ingress_packet_burst,
        egress_packet_burst=controls.egress_packet_burst,
        ingress_max_connections=controls.ingress_max_connections,
        egress_max_connections=controls.egress_max_connections,
    )
    limits = {
        "ingressPacketRate": (value.ingress_packet_rate, MAX_PACKET_RATE),
        "egressPacketRate": (value.egress_packet_rate, MAX_PACKET_RATE),
        "ingressPacketBurst": (value.ingress_packet_burst, MAX_PACKET_RATE),
        "egressPacketBurst": (value.egress_packet_burst, MAX_PACKET_RATE),
        "ingressMaxConnections": (value.ingress_max_connections, 2**32 - 1),
        "egressMaxConnections": (value.egress_max_connections, 2**32 - 1),
    }
    for name, (limit, most) in limits.items():
        if not 0 <= limit <= most:
            raise InvalidResourceError(f"must be from 0 to {most}", ("qosControls", name))
    return None if value == QosControls() else value


def convert_host_endpoint(subject: Subject) -> Changes:
    spec: v3.HostEndpointSpec = subject.spec
    with at("spec"):
        if not spec.node:
            raise InvalidResourceError("must be given", ("node",))
        if spec.interface_name and not is_interface(spec.interface_name):
            raise InvalidResourceError("must be '*' or an interface's name", ("interfaceName",))
        if not spec.interface_name and not spec.expected_ips:
            raise InvalidResourceError(
                "interfaceName or expectedIPs must be given", ("interfaceName",)
            )
        _check_profiles(spec.profiles)
        value = HostEndpoint(
            interface=spec.interface_name,
            expected_ips=tuple(
                to_address(text, "expectedIPs", index)
                for index, text in enumerate(spec.expected_ips)
            ),
            labels=subject.body.metadata.labels,
            profiles=tuple(spec.profiles),
            ports=tuple(
                _convert_port(port.name, port.protocol, port.port, index)
                for index, port in enumerate(spec.ports)
            ),
        )
    return ((HostEndpointKey(spec.node, subject.name), value),)


def convert_network_set(subject: Subject) -> Changes:
    """A set in a namespace carries its label and inherits its labels; a global one does neither."""
    spec: v3.NetworkSetSpec = subject.spec
    nets = tuple(sorted({to_net(text, "spec", "nets", i) for i, text in enumerate(spec.nets)}))
    labels = subject.body.metadata.labels
    namespace = subject.namespace
    if not namespace:
        return ((NetworkSetKey(subject.name), NetworkSet(nets, labels)),)
    profile = f"kns.{namespace}"
    if not is_profile_name(profile):
        raise InvalidResourceError("the namespace's name is too long", ("metadata", "namespace"))
    value = NetworkSet(nets, {**labels, NAMESPACE: namespace}, (profile,))
    return ((NetworkSetKey(f"{namespace}/{subject.name}"), value),)
