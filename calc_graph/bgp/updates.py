"""What the dataplane is told about BGP: this node, its sessions, and who may announce what.

Each update carries the whole new value of its key.  Nothing here holds a password: a session says
which key of which Secret has it.  Rendering, and what BIRD can do, is the dataplane's.
Sources: sections 2 and 6 of the BGP reference.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from calc_graph.bgp.resources import BgpFilter, LogLevel, PrefixCommunities, SecretRef

SessionKind: TypeAlias = Literal["mesh", "global", "node", "workload"]
Trust: TypeAlias = Literal["node", "reflector", "outside", "workload"]
SessionNextHop: TypeAlias = Literal["auto", "self", "keep"]


class BgpPool(Struct, frozen=True, order=True):
    """`in_kernel`: routes into it that BGP brings are BIRD's to write, not the route driver's."""

    cidr: str
    exported: bool = True
    in_kernel: bool = True


class BgpSpeaker(Struct, frozen=True):
    """What all sessions of this node share; an address is "" where the node has none of a family.

    `service_cidrs` are never learned into the kernel, `advertised_cidrs` this node announces.
    `fabric`: the routers outside are what connects the nodes, for there is no mesh and no session
    with another node; they then have to announce other nodes' blocks to this one.
    """

    node: str
    as_number: int = 64512
    address_v4: str = ""
    address_v6: str = ""
    cluster_id: str = ""  # not "": this node is a route reflector
    listen_port: int = 179
    bind_node_address: bool = False
    log: LogLevel = "states"
    ignored_interfaces: tuple[str, ...] = ()
    priority_v4: int = 1024  # kernel metric of an ordinary route
    priority_v6: int = 1024
    pools: tuple[BgpPool, ...] = ()  # sorted
    service_cidrs: tuple[str, ...] = ()
    advertised_cidrs: tuple[str, ...] = ()
    communities: tuple[PrefixCommunities, ...] = ()
    fabric: bool = False


class BgpOrigins(Struct, frozen=True):
    """What a node may announce, this node among them; nets sorted by family, address and length.

    `nets`      its confirmed blocks, the addresses it has out of others' blocks or of none, its
                tunnel addresses outside its blocks; nothing of pools that are not exported
    `retiring`  blocks that it is giving back: accepted from it, announced no more
    `withheld`  its blocks, of either kind, in pools that are not exported
    `services`  whether it announces the addresses of services
    """

    node: str
    address_v4: str = ""
    address_v6: str = ""
    nets: tuple[str, ...] = ()
    retiring: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()
    services: bool = True


class BgpOriginsRemove(Struct, frozen=True):
    node: str


class BgpSession(Struct, frozen=True):
    """One session of one family.  `name` is Calico's: Mesh_10_0_0_2, Global_fd00__254_port_1790.

    trust          what the other end is: the node `remote`, a reflector of the cluster (that node's
                   name is `remote` as well), a local workload, or somebody outside
    resource       the BGPPeer that asks for it, "" for the mesh
    local_address  "" where the kernel shall choose
    port           0: BGP's own
    local_as       the one in effect; equal to `remote_as` the session is internal
    next_hop       "keep" only where it takes effect: keep-ebgp is resolved
    client         the other end is a client of this reflector
    """

    name: str
    family: Literal[4, 6]
    kind: SessionKind
    trust: Trust
    address: str
    remote_as: int
    local_as: int
    resource: str = ""
    remote: str = ""
    local_address: str = ""
    port: int = 0
    passive: bool = False
    ttl_security: int = 0
    restart_seconds: int | None = None
    keepalive_seconds: int | None = None
    next_hop: SessionNextHop = "auto"
    allow_local_as: int = 0
    client: bool = False
    reachable_by: str = ""
    password: SecretRef | None = None
    filters: tuple[str, ...] = ()


class BgpSessionRemove(Struct, frozen=True):
    name: str


class BgpFilterUpdate(Struct, frozen=True):
    """Told whether or not a session uses it."""

    name: str
    filter: BgpFilter


class BgpFilterRemove(Struct, frozen=True):
    name: str


class BgpFaults(Struct, frozen=True):
    """What of the resources contradicts itself, or cannot be done: (about what, text), sorted.

    `about` names a resource or a parameter: "BGPPeer tor", "Node n3", "BGPUnguardedPeers".
    """

    faults: tuple[tuple[str, str], ...] = ()


BgpUpdate: TypeAlias = (
    BgpSpeaker
    | BgpOrigins
    | BgpOriginsRemove
    | BgpFilterUpdate
    | BgpFilterRemove
    | BgpSession
    | BgpSessionRemove
    | BgpFaults
)
