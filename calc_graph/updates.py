"""The graph's output vocabulary: what the dataplane is told, and in which order.

One flush is a list of these, ordered so that replaying it never refers to something that is not
there yet:

  IP sets made, grown and shrunk -> policies, profiles -> endpoints
  -> endpoints, profiles, policies gone -> IP sets gone
  -> tunnels in use, this node's tunnel addresses -> VTEPs -> routes -> routes gone -> VTEPs gone
  -> ends of WireGuard -> hosts, pools, service addresses

So a route to a node is told after that node's VTEP, and ceases before it; a destination that moves
to another node is one update, with no removal before it.

An update carries the whole new value of its key; only `IpsetDelta` is a difference.  Both address
families travel together; the dataplane takes them apart.
"""

from __future__ import annotations

from enum import Enum, IntFlag
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
    encrypted: bool = False  # what it allows leaves the node encrypted, or not at all


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


class WorkloadPeering(Struct, frozen=True):
    """A workload speaks BGP with its node, as the BGPPeer of this name asks for.

    The addresses are those that it finds the node under, "" where none is configured.
    """

    peer: str
    address_v4: str = ""
    address_v6: str = ""


class WorkloadEndpointUpdate(Struct, frozen=True):
    key: WorkloadEndpointKey
    endpoint: WorkloadEndpoint
    tiers: tuple[TierPolicies, ...] = ()
    peering: WorkloadPeering | None = None


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


class RouteType(IntFlag):
    """What is known of a destination; several at once, or nothing but its pool."""

    REMOTE_WORKLOAD = 1
    REMOTE_HOST = 2
    LOCAL_WORKLOAD = 4
    LOCAL_HOST = 8
    REMOTE_TUNNEL = 16
    LOCAL_TUNNEL = 32


PoolType: TypeAlias = Literal["none", "no-encap", "ipip", "vxlan"]
TunnelKind: TypeAlias = Literal["ipip", "vxlan", "wireguard"]


class RouteUpdate(Struct, frozen=True):
    """Where a destination is, and how the pool that it is in wants packets to get there.

    A pool, a block, a node's own or tunnel address, or an endpoint's: several of those at once may
    have the same CIDR.  `node` is the one that has it, "" for a pool alone; `node_ip` that node's
    address of the CIDR's family, "" where it has none or is not known.

    pool            type of the pool around it; "none" without one, or in one for services only
    same_subnet     the pool crosses subnets only, and `node` is in ours: no tunnel is needed
    local_workload  an endpoint of this node has it: decides where `types` says both
    borrowed        `node` is not the one that has the block around it
    tunnels         the tunnels that end at this address; () where an endpoint has it
    """

    cidr: str
    types: RouteType
    pool: PoolType
    node: str = ""
    node_ip: str = ""
    same_subnet: bool = False
    nat_outgoing: bool = False
    local_workload: bool = False
    borrowed: bool = False
    tunnels: tuple[TunnelKind, ...] = ()


class RouteRemove(Struct, frozen=True):
    cidr: str


class VtepUpdate(Struct, frozen=True):
    """Where a node ends VXLAN, this node among them; all three of a family, or none of them.

    `address` is that inside the tunnel, `parent` the one that carries it.
    """

    node: str
    mac: str = ""
    address: str = ""
    parent: str = ""
    mac_v6: str = ""
    address_v6: str = ""
    parent_v6: str = ""


class VtepRemove(Struct, frozen=True):
    node: str


class TunnelAddresses(Struct, frozen=True):
    """This node's own addresses inside tunnels, each "" until it has been given one.

    A MAC comes with its address.  Unlike a VTEP it is told whether or not this node has an address
    that could carry the tunnel.
    """

    ipip: str = ""
    vxlan: str = ""
    vxlan_mac: str = ""
    vxlan_v6: str = ""
    vxlan_mac_v6: str = ""


class EncapUpdate(Struct, frozen=True):
    """The tunnels that any pool asks for; a disabled pool asks as well.  Nothing, until told."""

    ipip: bool
    vxlan: bool
    vxlan_v6: bool


class WireguardEndpoint(Struct, frozen=True):
    """What a node publishes of its end of WireGuard, this node among them; "" where it has none.

    Keys are public ones in base64, 44 characters, never malformed: where what is published is no
    key it is left out, and its family is in `malformed`.  Addresses are those inside the tunnel.
    """

    node: str
    key: str = ""
    address: str = ""
    key_v6: str = ""
    address_v6: str = ""
    malformed: tuple[Literal[4, 6], ...] = ()


class WireguardEndpointRemove(Struct, frozen=True):
    node: str


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
    | RouteUpdate
    | RouteRemove
    | VtepUpdate
    | VtepRemove
    | TunnelAddresses
    | EncapUpdate
    | WireguardEndpoint
    | WireguardEndpointRemove
    | ServiceCidrsUpdate
)
