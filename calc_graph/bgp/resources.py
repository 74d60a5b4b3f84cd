"""What the datastore says about BGP: keys and values, as `calc_graph.model` has those of the rest.

Text forms are those of `calc_graph.model`; besides:
  community   "aa:nn" with 16 bits each, or "aa:nn:mm" with 32 bits each, in canonical decimals
  AS numbers  integers of 32 bits; 0 where none is given
Source: section 1 of the BGP reference; projectcalico/calico api/pkg/apis/projectcalico/v3.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

NextHop: TypeAlias = Literal["auto", "self", "keep", "keep-ebgp"]
ProgramRoutes: TypeAlias = Literal["Enabled", "Disabled", "EnabledIPIPOnly", "EnabledNoEncapOnly"]
LogLevel: TypeAlias = Literal["none", "states", "debug"]
AffinityState: TypeAlias = Literal["confirmed", "pending", "pendingDeletion"]
NetOperator: TypeAlias = Literal["equal", "not-equal", "in", "not-in"]
PeerType: TypeAlias = Literal["ebgp", "ibgp"]
StatusClass: TypeAlias = Literal["Agent", "BGP", "Routes"]

# ---------------------------------------------------------------- keys


class BgpConfigurationKey(Struct, frozen=True, order=True):
    """ "default" is the cluster's, "node.<name>" that node's; others mean nothing."""

    name: str


class BgpPeerKey(Struct, frozen=True, order=True):
    name: str


class BgpFilterKey(Struct, frozen=True, order=True):
    name: str


class BlockAffinityKey(Struct, frozen=True, order=True):
    """`cidr` is a net: "10.65.1.0/26"."""

    host: str
    cidr: str


class NodeStatusKey(Struct, frozen=True, order=True):
    """A CalicoNodeStatus: somebody's wish to be told how a node is."""

    name: str


# ---------------------------------------------------------------- values


class SecretRef(Struct, frozen=True, order=True):
    """A key of a Secret, in the namespace that the agent looks into."""

    name: str
    key: str


class PrefixCommunities(Struct, frozen=True, order=True):
    """What every announced route inside `net` is marked with; `communities` sorted, no names."""

    net: str
    communities: tuple[str, ...]


class BgpConfiguration(Struct, frozen=True):
    """None, "" or 0 where a field is not given.

    `service_cidrs` are cluster, external and load-balancer addresses together, `advertised_cidrs`
    those ranges of them that nodes announce: no single addresses, and no load balancers' ranges
    where their aggregation is disabled.  Both sorted.  `faults` says what else is written, and
    counts as not given.
    """

    service_cidrs: tuple[str, ...] = ()
    advertised_cidrs: tuple[str, ...] = ()
    as_number: int = 0
    mesh: bool | None = None
    log: LogLevel | None = None
    listen_port: int = 0
    bind_node_address: bool | None = None
    ignored_interfaces: tuple[str, ...] = ()  # patterns with "*"
    mesh_password: SecretRef | None = None
    mesh_restart_seconds: int | None = None
    prefix_communities: tuple[PrefixCommunities, ...] = ()
    program_routes: ProgramRoutes | None = None
    normal_priority_v4: int = 0
    normal_priority_v6: int = 0
    workload_peering_v4: str = ""  # address on workload interfaces that local workloads peer with
    workload_peering_v6: str = ""
    faults: tuple[str, ...] = ()


class BgpPeer(Struct, frozen=True):
    """Local side: `node`, `node_selector`, or neither: all nodes.

    Remote side: one of `address` (with `port`, 0: not given), `peer_selector` and
    `workload_selector`.
    """

    node: str = ""
    node_selector: str = ""
    address: str = ""
    port: int = 0
    peer_selector: str = ""
    workload_selector: str = ""
    as_number: int = 0
    local_as: int = 0
    next_hop: NextHop = "auto"
    password: SecretRef | None = None
    use_node_address: bool = True
    restart_seconds: int | None = None
    keepalive_seconds: int | None = None
    allow_local_as: int = 0
    ttl_security: int = 0  # hops; 0: off
    reachable_by: str = ""
    filters: tuple[str, ...] = ()
    mirrored: bool = True  # a Calico node at the other end gets the same session


class AddCommunity(Struct, frozen=True, tag=True):
    value: str


class PrependPath(Struct, frozen=True, tag=True):
    """`as_numbers` as they shall be read from the front of the path."""

    as_numbers: tuple[int, ...]


class SetPriority(Struct, frozen=True, tag=True):
    value: int


FilterOperation: TypeAlias = AddCommunity | PrependPath | SetPriority


class FilterRule(Struct, frozen=True):
    """Everything present must hold.  `lengths` is inclusive, as written: it may reach below the
    length of `net`, or be empty.
    """

    accept: bool
    net: str = ""
    operator: NetOperator | None = None  # given with `net`
    lengths: tuple[int, int] | None = None
    remote_peers: bool = False  # only what BGP brought
    interface: str = ""  # a name or a pattern with "*"
    peer_type: PeerType | None = None
    community: str = ""
    path_prefix: tuple[int, ...] = ()
    priority: int = 0
    operations: tuple[FilterOperation, ...] = ()


class BgpFilter(Struct, frozen=True):
    """The first rule that matches decides; where none does, the next filter of the session."""

    import_v4: tuple[FilterRule, ...] = ()
    export_v4: tuple[FilterRule, ...] = ()
    import_v6: tuple[FilterRule, ...] = ()
    export_v6: tuple[FilterRule, ...] = ()


class BlockAffinity(Struct, frozen=True):
    state: AffinityState = "confirmed"


class NodeStatusRequest(Struct, frozen=True):
    """`period` in seconds; 0: not to be told."""

    node: str
    classes: tuple[StatusClass, ...]  # sorted
    period: int


BgpKey: TypeAlias = (
    BgpConfigurationKey | BgpPeerKey | BgpFilterKey | BlockAffinityKey | NodeStatusKey
)
BgpValue: TypeAlias = BgpConfiguration | BgpPeer | BgpFilter | BlockAffinity | NodeStatusRequest
