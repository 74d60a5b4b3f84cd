"""The graph's input vocabulary: what the datastore says, as plain immutable values.

A datastore sends pairs of a key and a value, or a key and None: gone, or never valid.  Every key is
a class of its own, so that a node of the graph can be handed just the kinds it asks for.

Text forms used throughout, so that equal things are equal strings:
  net       canonical CIDR, host bits zero, always with a length: "10.65.0.2/32", "fd65::/64"
  address   canonical address without a length: "10.65.0.2"
  protocol  lower-case name ("tcp", "udp", "icmp", "icmpv6", "sctp", "udplite") or number 1 to 255
  selector  text in the grammar of `calc_graph.selector`; "" where a rule has none
Calico's conversion from v3 resources has been applied (namespaces folded into selectors, actions
lower-cased, defaults filled in): see `felixpy.datastore.decode`.  What is BGP's alone is in
`calc_graph.bgp.resources`.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from calc_graph.bgp.resources import BgpKey, BgpValue

Protocol: TypeAlias = int | str
Action: TypeAlias = Literal["allow", "deny", "pass", "log"]
TierAction: TypeAlias = Literal["Deny", "Pass"]
Labels: TypeAlias = dict[str, str]
EncapMode: TypeAlias = Literal["never", "always", "cross-subnet"]

# ---------------------------------------------------------------- keys


class WorkloadEndpointKey(Struct, frozen=True, order=True):
    """`workload` is "namespace/workload", as Calico's internal model has it."""

    host: str
    orchestrator: str
    workload: str
    endpoint: str


class HostEndpointKey(Struct, frozen=True, order=True):
    host: str
    name: str


class PolicyKey(Struct, frozen=True, order=True):
    """`kind` is the full v3 kind: "GlobalNetworkPolicy"; `namespace` is "" for global kinds."""

    kind: str
    namespace: str
    name: str

    @property
    def staged(self) -> bool:
        """A staged policy is computed and reported, never enforced."""
        return self.kind.startswith("Staged")


class ProfileKey(Struct, frozen=True, order=True):
    name: str


class TierKey(Struct, frozen=True, order=True):
    name: str


class NetworkSetKey(Struct, frozen=True, order=True):
    """`name` is "name" for a global set, "namespace/name" for one in a namespace."""

    name: str


class IpPoolKey(Struct, frozen=True, order=True):
    name: str


class IpsecNodeKey(Struct, frozen=True, order=True):
    name: str


class NodeKey(Struct, frozen=True, order=True):
    name: str


class BlockKey(Struct, frozen=True, order=True):
    """A block of addresses, as IPAM hands them out."""

    cidr: str


class FelixConfigurationKey(Struct, frozen=True, order=True):
    """Read by the shell's configuration, not by the graph."""

    name: str


class ClusterInformationKey(Struct, frozen=True, order=True):
    """Read by the shell's configuration and its ready gate, not by the graph."""

    name: str


# ---------------------------------------------------------------- rules


class PortRange(Struct, frozen=True, order=True):
    """Inclusive; a single port has `first == last`."""

    first: int
    last: int


class Icmp(Struct, frozen=True):
    """`code` without `type` does not exist."""

    type: int
    code: int | None = None


class Peer(Struct, frozen=True):
    """What a rule asks of one side of a packet; everything present must hold.

    `named_ports` and `ports` are alternatives to each other, and so are the entries of each list.
    `service` is "namespace/name", or "".
    """

    nets: tuple[str, ...] = ()
    not_nets: tuple[str, ...] = ()
    selector: str = ""
    not_selector: str = ""
    ports: tuple[PortRange, ...] = ()
    not_ports: tuple[PortRange, ...] = ()
    named_ports: tuple[str, ...] = ()
    not_named_ports: tuple[str, ...] = ()
    service: str = ""


ANY_PEER = Peer()


class Rule(Struct, frozen=True):
    action: Action
    ip_version: Literal[4, 6] | None = None
    protocol: Protocol | None = None
    not_protocol: Protocol | None = None
    icmp: Icmp | None = None
    not_icmp: Icmp | None = None
    source: Peer = ANY_PEER
    destination: Peer = ANY_PEER
    annotations: tuple[tuple[str, str], ...] = ()  # sorted by key


# ---------------------------------------------------------------- values


class EndpointPort(Struct, frozen=True):
    name: str
    protocol: Protocol
    port: int


class NatMapping(Struct, frozen=True):
    """A floating IP: both addresses of one family."""

    external: str
    internal: str


class QosControls(Struct, frozen=True):
    """Limits of one workload; 0 means unlimited.

    Rates are packets a second, bursts packets, connections a count.
    """

    ingress_packet_rate: int = 0
    egress_packet_rate: int = 0
    ingress_packet_burst: int = 0
    egress_packet_burst: int = 0
    ingress_max_connections: int = 0
    egress_max_connections: int = 0


class WorkloadEndpoint(Struct, frozen=True):
    interface: str
    nets: tuple[str, ...]  # each a /32 or /128 as far as policy is concerned
    labels: Labels = {}
    profiles: tuple[str, ...] = ()
    mac: str = ""
    ports: tuple[EndpointPort, ...] = ()
    nats: tuple[NatMapping, ...] = ()
    spoofable_sources: tuple[str, ...] = ()  # nets of allowSpoofedSourcePrefixes
    qos: QosControls | None = None
    admin_up: bool = True


class HostEndpoint(Struct, frozen=True):
    """`interface` is a name, "*" for every host interface, or "" to go by `expected_ips` alone."""

    interface: str
    expected_ips: tuple[str, ...] = ()
    labels: Labels = {}
    profiles: tuple[str, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


class Policy(Struct, frozen=True):
    tier: str
    selector: str
    order: float | None = None  # None sorts after every number
    ingress: tuple[Rule, ...] = ()
    egress: tuple[Rule, ...] = ()
    applies_ingress: bool = True
    applies_egress: bool = True
    do_not_track: bool = False
    pre_dnat: bool = False
    apply_on_forward: bool = False
    needed_everywhere: bool = False  # performanceHints: AssumeNeededOnEveryNode
    encrypted: bool = False  # annotation encryption: required


class Profile(Struct, frozen=True):
    ingress: tuple[Rule, ...] = ()
    egress: tuple[Rule, ...] = ()
    labels: Labels = {}


class Tier(Struct, frozen=True):
    order: float | None = None  # None sorts after every number
    default_action: TierAction = "Deny"


class NetworkSet(Struct, frozen=True):
    """A namespaced set inherits the labels of profile "kns.<namespace>"."""

    nets: tuple[str, ...] = ()
    labels: Labels = {}
    profiles: tuple[str, ...] = ()


class IpPool(Struct, frozen=True):
    cidr: str
    nat_outgoing: bool = False
    ipip_mode: EncapMode = "never"
    vxlan_mode: EncapMode = "never"
    allowed_uses: tuple[str, ...] = ()  # empty: Workload and Tunnel
    disabled: bool = False
    bgp_export: bool = True
    encrypted: bool = False  # annotation encryption: required
    block_size: int = 0  # length of a block's prefix; 0: 26, or 122


class Block(Struct, frozen=True):
    """`host` has the block's affinity, "" where nobody has.

    `others`: the addresses that a node other than `host` holds, and which, sorted; each a /32 or
    /128.  Those of `host` are not kept: nothing asks for them, and most blocks have no others.
    """

    host: str = ""
    others: tuple[tuple[str, str], ...] = ()


class Node(Struct, frozen=True):
    """Interface addresses have the length of their subnet: "172.30.0.10/24"; all others have none.

    `ipv4` and `ipv6` are those that BGP is told of, else internal, else external ones; `addresses`
    is what the node lists besides, of any kind.
    """

    ipv4: str = ""
    ipv6: str = ""
    labels: Labels = {}
    bgp_ipv4: str = ""  # only what BGP is told of
    bgp_ipv6: str = ""
    addresses: tuple[str, ...] = ()  # sorted
    ipip_address: str = ""
    vxlan_address: str = ""
    vxlan_address_v6: str = ""
    vxlan_mac: str = ""  # "": to be made from the node's name
    vxlan_mac_v6: str = ""
    wireguard_address: str = ""
    wireguard_address_v6: str = ""
    wireguard_key: str = ""  # public, in base64, perhaps malformed
    wireguard_key_v6: str = ""
    as_number: int = 0  # 0: the cluster's
    cluster_id: str = ""  # of a route reflector, an IPv4 address


class IpsecNode(Struct, frozen=True):
    """What a node publishes of its end of IPsec: a resource of felixpy's own, felixpy/v1 IPsecNode.

    layout           states for each pair of nodes, or those that all senders share
    tag              24 bits, never 0: what tells this node's states from those of others
    boot             32 hex digits, made anew whenever the node's states are: no key has two lives
    receive          key ID -> key check value, for keys whose receiving states are in the kernel
    peers            node -> what this node has for it
    ipv4, ipv6       the ends of its tunnels, without length; "" where it has none of the family
    allow_clear      it takes packets in clear as well
    node_encryption  what nodes say to each other is encrypted too
    """

    enabled: bool = False
    layout: Literal["pair", "shared"] = "pair"
    tag: int = 0
    boot: str = ""
    receive: dict[int, str] = {}
    peers: dict[str, IpsecPeering] = {}
    ipv4: str = ""
    ipv6: str = ""
    allow_clear: bool = False
    node_encryption: bool = False


class IpsecPeering(Struct, frozen=True):
    """`tag`: that of the peer's states that are in the kernel for receiving, 0 for none.

    `sends`: the key ID that the peer is sent to with, 0 for none.
    `hosts`: what this node itself says to the peer goes encrypted, too.
    """

    tag: int = 0
    sends: int = 0
    hosts: bool = False


class FelixConfiguration(Struct, frozen=True):
    """`values`: parameter name as in the specification (lowerCamel) -> raw text."""

    values: dict[str, str]
    node_selector: str = ""
    created: str = ""  # RFC 3339; the oldest of several matching ones wins


class ClusterInformation(Struct, frozen=True):
    values: dict[str, str]
    ready: bool = False


Key: TypeAlias = (
    WorkloadEndpointKey
    | HostEndpointKey
    | PolicyKey
    | ProfileKey
    | TierKey
    | NetworkSetKey
    | IpPoolKey
    | NodeKey
    | IpsecNodeKey
    | BlockKey
    | BgpKey
    | FelixConfigurationKey
    | ClusterInformationKey
)
Value: TypeAlias = (
    WorkloadEndpoint
    | HostEndpoint
    | Policy
    | Profile
    | Tier
    | NetworkSet
    | IpPool
    | Node
    | IpsecNode
    | Block
    | BgpValue
    | FelixConfiguration
    | ClusterInformation
)
EndpointKey: TypeAlias = WorkloadEndpointKey | HostEndpointKey
