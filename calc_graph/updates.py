"""The graph's output vocabulary: what the dataplane is told, and in which order.

One flush is a list of these, ordered so that replaying it never refers to something that is not
there yet:

  IP sets made, grown and shrunk -> policies, profiles -> endpoints
  -> endpoints, profiles, policies gone -> IP sets gone -> hosts, pools, service addresses

An update carries the whole new value of its key; only `IpsetDelta` is a difference.  Both address
families travel together; the dataplane takes them apart.
"""

from __future__ import annotations

from enum import Enum
from typing import Literal, TypeAlias

from msgspec import Struct

from calc_graph.model import (
    Action,
    HostEndpoint,
    HostEndpointKey,
    Icmp,
    IpPool,
    PolicyKey,
    PortRange,
    Protocol,
    TierAction,
    WorkloadEndpoint,
    WorkloadEndpointKey,
)


class IpsetType(Enum):
    """What a set holds; the value is ipset's own name of the type."""

    NET = "hash:net"  # members are nets: "10.65.0.2/32"
    IP_PORT = "hash:ip,port"  # members are "10.65.0.2,tcp:8080"
    IP = "hash:ip"  # members are addresses


class IpsetUpdate(Struct, frozen=True):
    """The whole content of a set that has come into use."""

    id: str
    type: IpsetType
    members: frozenset[str]


class IpsetDelta(Struct, frozen=True):
    id: str
    added: frozenset[str]
    removed: frozenset[str]


class IpsetRemove(Struct, frozen=True):
    id: str


class PeerMatch(Struct, frozen=True):
    """One side of a rule, selectors replaced by IP sets.  Everything present must hold.

    `ports` and `named_port_ipsets` are alternatives to each other and among themselves, `nets`
    among themselves; each entry of `ipsets` and of `ip_port_ipsets` must match; of the negated
    lists no entry may match.
    """

    nets: tuple[str, ...] = ()
    ipsets: tuple[str, ...] = ()
    ports: tuple[PortRange, ...] = ()
    named_port_ipsets: tuple[str, ...] = ()
    ip_port_ipsets: tuple[str, ...] = ()  # services, only as a destination
    not_nets: tuple[str, ...] = ()
    not_ipsets: tuple[str, ...] = ()
    not_ports: tuple[PortRange, ...] = ()
    not_named_port_ipsets: tuple[str, ...] = ()


ANY = PeerMatch()


class ActiveRule(Struct, frozen=True):
    action: Action
    ip_version: Literal[4, 6] | None = None
    protocol: Protocol | None = None
    not_protocol: Protocol | None = None
    icmp: Icmp | None = None
    not_icmp: Icmp | None = None
    source: PeerMatch = ANY
    destination: PeerMatch = ANY
    annotations: tuple[tuple[str, str], ...] = ()


class ActivePolicy(Struct, frozen=True):
    tier: str
    selector: str  # canonical: consecutive policies with the same one share a chain
    ingress: tuple[ActiveRule, ...] = ()
    egress: tuple[ActiveRule, ...] = ()
    untracked: bool = False
    pre_dnat: bool = False
    needed_everywhere: bool = False


class ActiveProfile(Struct, frozen=True):
    ingress: tuple[ActiveRule, ...] = ()
    egress: tuple[ActiveRule, ...] = ()


class PolicyUpdate(Struct, frozen=True):
    key: PolicyKey
    policy: ActivePolicy


class PolicyRemove(Struct, frozen=True):
    key: PolicyKey


class ProfileUpdate(Struct, frozen=True):
    name: str
    profile: ActiveProfile


class ProfileRemove(Struct, frozen=True):
    name: str


class TierPolicies(Struct, frozen=True):
    """The policies of one tier that apply to an endpoint, in order; staged ones among them."""

    name: str
    default_action: TierAction
    ingress: tuple[PolicyKey, ...] = ()
    egress: tuple[PolicyKey, ...] = ()


class WorkloadEndpointUpdate(Struct, frozen=True):
    key: WorkloadEndpointKey
    endpoint: WorkloadEndpoint
    tiers: tuple[TierPolicies, ...] = ()


class WorkloadEndpointRemove(Struct, frozen=True):
    key: WorkloadEndpointKey


class HostEndpointUpdate(Struct, frozen=True):
    """`tiers` govern the host's own traffic, `forward` what passes through.

    `untracked` and `pre_dnat` come before both.
    """

    key: HostEndpointKey
    endpoint: HostEndpoint
    tiers: tuple[TierPolicies, ...] = ()
    forward: tuple[TierPolicies, ...] = ()
    pre_dnat: tuple[TierPolicies, ...] = ()
    untracked: tuple[TierPolicies, ...] = ()


class HostEndpointRemove(Struct, frozen=True):
    key: HostEndpointKey


class HostUpdate(Struct, frozen=True):
    """A node's own addresses, without length; "" where it has none of that family."""

    name: str
    ipv4: str
    ipv6: str


class HostRemove(Struct, frozen=True):
    name: str


class PoolUpdate(Struct, frozen=True):
    """Pools are told apart by their CIDR."""

    pool: IpPool


class PoolRemove(Struct, frozen=True):
    cidr: str


class ServiceCidrsUpdate(Struct, frozen=True):
    """The addresses of services; packets to them that nothing translated are looping."""

    cidrs: tuple[str, ...]


Update: TypeAlias = (
    IpsetUpdate
    | IpsetDelta
    | IpsetRemove
    | PolicyUpdate
    | PolicyRemove
    | ProfileUpdate
    | ProfileRemove
    | WorkloadEndpointUpdate
    | WorkloadEndpointRemove
    | HostEndpointUpdate
    | HostEndpointRemove
    | HostUpdate
    | HostRemove
    | PoolUpdate
    | PoolRemove
    | ServiceCidrsUpdate
)
