"""One session, from what the cluster says of its two ends.

    in   the cluster, a checked BGPPeer, the other end
    out  Candidate: the session with its rank among those for the same address and port

Source: sections 2.1 to 2.3 of the BGP reference; projectcalico/calico
confd/pkg/backends/calico/bgp_processor.go.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple, TypeAlias

from calc_graph.bgp.cluster import BGP_PORT, Cluster, Family, family_of
from calc_graph.bgp.peerings import Peering, PeeringError
from calc_graph.bgp.updates import BgpSession, SessionKind, SessionNextHop, Trust

SessionKey: TypeAlias = tuple[str, int]  # address, port


class Pass(IntEnum):
    """Where a session comes from; of several to one address and port the first wins.

    REVERSE: another node is to peer with this one, so this one has to answer.
    """

    GLOBAL = 0
    NODE = 1
    REVERSE = 2
    MESH = 3


class Rank(NamedTuple):
    """Sorted, the first wins.  `resource`: the BGPPeer's name; `end`: the other end's."""

    source: Pass
    resource: str
    end: str


class Candidate(NamedTuple):
    rank: Rank
    session: BgpSession

    @property
    def key(self) -> SessionKey:
        return self.session.address, self.session.port or BGP_PORT


_PREFIX: Final[dict[SessionKind, str]] = {
    "mesh": "Mesh",
    "global": "Global",
    "node": "Node",
    "workload": "Local_Workload",
}


def session_name(kind: SessionKind, address: str, port: int) -> str:
    """Calico's own; the mesh says no port."""
    name = f"{_PREFIX[kind]}_{address.replace('.', '_').replace(':', '_')}"
    return f"{name}_port_{port}" if port and kind != "mesh" else name


def mesh_candidate(cluster: Cluster, remote: str, family: Family) -> Candidate:
    """Both nodes have an address of the family.

    Of two nodes one waits for the other, so that they do not both connect; Calico's nodes compare
    the addresses as texts, and both ends have to come to the same result.
    """
    address, own = cluster.address(remote, family), cluster.address(cluster.hostname, family)
    default = cluster.default
    session = BgpSession(
        name=session_name("mesh", address, 0),
        family=family,
        kind="mesh",
        trust="node",
        address=address,
        remote_as=cluster.as_number(remote),
        local_as=cluster.as_number(cluster.hostname),
        remote=remote,
        local_address=own,
        port=cluster.port(remote),
        passive=address > own,
        restart_seconds=default.mesh_restart_seconds,
        password=default.mesh_password,
    )
    return Candidate(Rank(Pass.MESH, "", remote), session)


def node_candidate(cluster: Cluster, peering: Peering, remote: str, family: Family) -> Candidate:
    """With a node that the peerSelector matches; both have an address of the family."""
    source = Pass.GLOBAL if peering.everywhere else Pass.NODE
    end = _End(cluster.address(remote, family), cluster.as_number(remote), cluster.port(remote))
    return _candidate(cluster, peering, source, end, remote)


def reverse_candidate(cluster: Cluster, peering: Peering, remote: str, family: Family) -> Candidate:
    """With a node that peers with this one; both have an address of the family.

    A local AS number that the other end takes on is the one to expect of it here.
    """
    remote_as = peering.peer.local_as or cluster.as_number(remote)
    end = _End(cluster.address(remote, family), remote_as, cluster.port(remote))
    return _candidate(cluster, peering, Pass.REVERSE, end, remote)


def address_candidate(cluster: Cluster, peering: Peering) -> Candidate:
    """With a peerIP; this node has an address of its family, and another one.

    Raises PeeringError where nobody says which AS the other end is in.
    """
    peer = peering.peer
    remote = cluster.node_at(peer.address, peer.port)
    remote_as = peer.as_number or (cluster.as_number(remote) if remote else 0)
    if not remote_as:
        raise PeeringError("asNumber has to be given: peerIP is no node's address")
    port = peer.port
    if not port and remote and cluster.as_number(remote) == remote_as:
        port = cluster.port(remote)
    source = Pass.GLOBAL if peering.everywhere else Pass.NODE
    return _candidate(cluster, peering, source, _End(peer.address, remote_as, port), remote)


def workload_candidate(
    cluster: Cluster, peering: Peering, address: str, endpoint: str
) -> Candidate:
    """With a workload of this node; `endpoint` names it for the order among several."""
    source = Pass.GLOBAL if peering.everywhere else Pass.NODE
    return _candidate(cluster, peering, source, _End(address, peering.peer.as_number, 0), endpoint)


def reverses(cluster: Cluster, peering: Peering) -> bool:
    """Whether this node is the remote side of the BGPPeer, and shall answer."""
    peer, own = peering.peer, cluster.own
    if own is None or not peer.mirrored or peering.workloads is not None:
        return False
    if peering.there is not None:
        return peering.there.matches(own.labels)
    name = cluster.hostname
    if cluster.address(name, family_of(peer.address)) != peer.address:
        return False
    as_number = peer.as_number or cluster.default_as_number
    return as_number == cluster.as_number(name) and peer.port in (
        0,
        cluster.port(name) or BGP_PORT,
    )


class _End(NamedTuple):
    address: str
    as_number: int
    port: int


def _candidate(
    cluster: Cluster, peering: Peering, source: Pass, end: _End, remote: str
) -> Candidate:
    """`remote`: the node at the other end, or "", or the workload."""
    peer, workload = peering.peer, peering.workloads is not None
    family = family_of(end.address)
    own, own_id = cluster.address(cluster.hostname, family), cluster.cluster_id(cluster.hostname)
    forward = source is not Pass.REVERSE
    local_as = (peer.local_as if forward else 0) or cluster.as_number(cluster.hostname)
    kind: SessionKind = "global" if source is Pass.GLOBAL else "node"
    kind = "workload" if workload else kind
    node = "" if workload else remote
    remote_id = cluster.cluster_id(node)
    waits = kind == "global" and bool(peer.address and node) and end.address > own
    session = BgpSession(
        name=session_name(kind, end.address, end.port),
        family=family,
        kind=kind,
        trust="workload" if workload else _trust(node, remote_id),
        address=end.address,
        remote_as=end.as_number,
        local_as=local_as,
        resource=peering.name,
        remote=node,
        local_address=own if peer.use_node_address and not workload else "",
        port=end.port,
        passive=workload or waits,
        ttl_security=peer.ttl_security,
        restart_seconds=peer.restart_seconds,
        keepalive_seconds=peer.keepalive_seconds,
        next_hop=_next_hop(peering, internal=end.as_number == local_as),
        allow_local_as=peer.allow_local_as,
        client=bool(own_id) and end.as_number == local_as and remote_id != own_id,
        reachable_by=peer.reachable_by if forward else "",
        password=peer.password,
        filters=peer.filters,
    )
    return Candidate(Rank(source, peering.name, remote), session)


def _trust(node: str, cluster_id: str) -> Trust:
    """A reflector may pass on what any node announces, whichever cluster id it or this node has:
    reflectors of different clusters tell each other what their clients told them.
    """
    if not node:
        return "outside"
    return "reflector" if cluster_id else "node"


def _next_hop(peering: Peering, *, internal: bool) -> SessionNextHop:
    wanted = peering.peer.next_hop
    if wanted == "keep-ebgp":
        return "auto" if internal else "keep"
    return wanted
