"""What workloads should rather not reach, and on which ports that is asked.

    in   configuration, addresses of this host, of etcd and of other nodes
    out  Target

Here is the one list of management ports; the agent's own come from the configuration.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, ip_address
from typing import Final, Literal, NamedTuple, TypeAlias

from calc_graph.judge import Address
from calc_graph.model import Node
from dataplane.settings import Settings
from felixpy.config import Config

Kind: TypeAlias = Literal["host", "datastore", "metadata", "node"]

TCP: Final = 6
UDP: Final = 17
MANAGEMENT_PORTS: Final = (
    (22, "ssh: a shell on the machine"),
    (179, "BGP: the routes of the cluster"),
    (2379, "etcd: all policy, readable and perhaps writable"),
    (2380, "etcd, between members"),
    (6443, "the Kubernetes API"),
    (10250, "the kubelet: commands in any container"),
)
# Stands for all ports that nothing else is about; high enough for no service to be known by it.
ANY_OTHER: Final = 55_555
SOURCE_PORT: Final = 49_152  # the first that is nobody's
# Of AWS, Azure, Google, OpenStack and others: credentials of the machine, for whoever asks.
CLOUD_METADATA: Final = IPv4Address("169.254.169.254")
_HTTP: Final = 80
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


class Probe(NamedTuple):
    protocol: int
    port: int
    what: str = ""  # "": one that stands for all others


class Target(NamedTuple):
    """`name` is the node's, or etcd's as configured; of this host and of metadata it is ""."""

    kind: Kind
    name: str
    address: Address
    probes: tuple[Probe, ...]
    # where packets were sent before the host translated them
    original: tuple[Address, int] | None = None
    only_from: str = ""  # the interface at which alone the address exists


_OTHERS: Final = (Probe(TCP, ANY_OTHER), Probe(UDP, ANY_OTHER))


def management(config: Config) -> tuple[Probe, ...]:
    ports = dict(MANAGEMENT_PORTS)
    if config.health_enabled and config.health_host not in _LOOPBACK:
        ports.setdefault(config.health_port, "felixpy's health")
    if config.prometheus_metrics_enabled and config.prometheus_metrics_host not in _LOOPBACK:
        ports.setdefault(config.prometheus_metrics_port, "felixpy's metrics")
    return tuple(Probe(TCP, port, what) for port, what in sorted(ports.items()))


def of_host(config: Config, addresses: Iterable[tuple[str, str]]) -> Iterator[Target]:
    """`addresses` with the interface of each.  Those of a link concern the workload behind it."""
    probes = (*management(config), *_OTHERS)
    seen = set()
    for interface, text in sorted(addresses):
        address = ip_address(text)
        here = interface if address.is_link_local and address.version == 6 else ""
        unreachable = here and not here.startswith(config.interface_prefix)
        if address.is_loopback or unreachable:
            continue
        if (address, here) not in seen:
            seen.add((address, here))
            yield Target("host", "", address, probes, only_from=here)


def of_datastore(endpoints: Iterable[tuple[str, Address, int]]) -> Iterator[Target]:
    """Name as configured, address, port."""
    for name, address, port in endpoints:
        yield Target("datastore", name, address, (Probe(TCP, port, "etcd"),))


def of_metadata(settings: Settings) -> Iterator[Target]:
    render = settings.render
    if render.openstack and render.metadata_addr:
        probe = Probe(TCP, render.metadata_port, "OpenStack's metadata")
        sent = (CLOUD_METADATA, _HTTP)
        yield Target("metadata", "", IPv4Address(render.metadata_addr), (probe,), original=sent)
    else:
        probe = Probe(TCP, _HTTP, "a cloud's metadata, with credentials of this machine")
        yield Target("metadata", "", CLOUD_METADATA, (probe,))


def of_nodes(config: Config, nodes: Iterable[tuple[str, Node]]) -> Iterator[Target]:
    """All nodes but this one, on management ports."""
    probes = management(config)
    for name, node in sorted(nodes):
        if name == config.felix_hostname:
            continue
        texts = [net.partition("/")[0] for net in (node.ipv4, node.ipv6, *node.addresses) if net]
        for text in dict.fromkeys(texts):
            yield Target("node", name, ip_address(text), probes)
