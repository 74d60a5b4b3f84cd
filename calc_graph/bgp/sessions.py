"""Which sessions this node has: of all that ask for one, the first for each address and port.

    in   nodes and configuration (in the Cluster), BGPPeers, this node's workloads, profiles' labels
    out  flush(): sessions that may differ from those told before, by name; faults

Whoever can ask for sessions is an asker: another node (the mesh, selectors, the answer to its own
peering), a BGPPeer with an address, a BGPPeer for workloads.  A change marks the askers that it is
about, and a flush asks these again:

    another node                its sessions; BGPPeers with its address; nodes of the same address
    a workload, a profile       BGPPeers for workloads
    a BGPPeer, this node, the cluster's configuration      all

Source: section 2.2 of the BGP reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Literal, TypeAlias

from calc_graph.bgp.cluster import DEFAULT, FAMILIES, NODE_PREFIX, Cluster, family_of
from calc_graph.bgp.faults import Fault, Faults
from calc_graph.bgp.peerings import Peering, PeeringError, check_peering
from calc_graph.bgp.resources import BgpConfiguration, BgpPeer
from calc_graph.bgp.session import (
    Candidate,
    Pass,
    Rank,
    SessionKey,
    address_candidate,
    mesh_candidate,
    node_candidate,
    reverse_candidate,
    reverses,
    workload_candidate,
)
from calc_graph.bgp.updates import BgpSession
from calc_graph.label_index import LabelIndex
from calc_graph.model import Labels, Node, WorkloadEndpoint, WorkloadEndpointKey
from calc_graph.multimap import Multimap

_Asker: TypeAlias = tuple[Literal["node", "address", "workloads"], str]
_Asked: TypeAlias = tuple[list[Candidate], list[Fault]]

_NO_LABELS: Final[Labels] = {}


class SessionTable:
    def __init__(self, cluster: Cluster, faults: Faults) -> None:
        self._cluster = cluster
        self._faults = faults
        self._peerings: dict[str, Peering] = {}
        self._to_nodes: list[Peering] = []  # with a peerSelector, this node on the local side
        self._answered: list[Peering] = []  # this node is on the remote side
        self._naming: Multimap[str, str] = Multimap()  # of an address: BGPPeers by name
        self._nets: dict[WorkloadEndpointKey, tuple[str, ...]] = {}
        self._matches: LabelIndex[str, WorkloadEndpointKey] = LabelIndex(self._match, self._match)
        self._candidates: dict[_Asker, list[Candidate]] = {}
        self._rivals: dict[SessionKey, dict[Rank, BgpSession]] = {}
        self._won: dict[SessionKey, BgpSession] = {}
        self._with_nodes: set[SessionKey] = set()
        self._dirty: set[_Asker] = set()
        self._all_dirty = False

    # ------------------------------------------------------------ in

    def put_node(self, name: str, node: Node | None) -> None:
        if node == self._cluster.nodes.get(name):
            return
        self._mark_node(name)
        self._cluster.put_node(name, node)
        self._mark_node(name)

    def put_configuration(self, name: str, found: BgpConfiguration | None) -> None:
        self._cluster.put_configuration(name, found)
        if name == DEFAULT:
            self._all_dirty = True
        elif name.startswith(NODE_PREFIX):
            self._mark_node(name.removeprefix(NODE_PREFIX))

    def put_peer(self, name: str, peer: BgpPeer | None) -> None:
        self._all_dirty = True
        self._dirty |= {("address", name), ("workloads", name)}
        old = self._peerings.pop(name, None)
        if old is not None:
            self._naming.discard(old.peer.address, name)
            if old.workloads is not None:
                self._matches.remove_selector(name)
        faults: list[Fault] = []
        if peer is not None:
            try:
                self._add_peering(check_peering(name, peer))
            except PeeringError as error:
                faults.append((f"BGPPeer {name}", f"is left out: {error}"))
        self._faults.put(("BGPPeer", name), faults)

    def _add_peering(self, peering: Peering) -> None:
        self._peerings[peering.name] = peering
        self._naming.add(peering.peer.address, peering.name)
        if peering.workloads is not None:
            self._matches.add_selector(peering.name, peering.workloads)

    def put_workload(self, key: WorkloadEndpointKey, value: WorkloadEndpoint | None) -> None:
        """Only for this node's own."""
        if value is None:
            self._nets.pop(key, None)
            self._matches.discard(key)
            return
        if value.nets != self._nets.get(key):
            self._mark_workload_peers()
        self._nets[key] = value.nets
        self._matches.put(key, value.labels, value.profiles)

    def put_profile(self, name: str, labels: Labels) -> None:
        self._matches.put_profile(name, labels)

    def _match(self, peer: str, _: WorkloadEndpointKey) -> None:
        self._dirty.add(("workloads", peer))

    def _mark_workload_peers(self) -> None:
        for peering in self._peerings.values():
            if peering.workloads is not None:
                self._dirty.add(("workloads", peering.name))

    def _mark_node(self, name: str) -> None:
        """What may say something else because of this node, as it is known now."""
        if name == self._cluster.hostname:
            self._all_dirty = True
        self._dirty.add(("node", name))
        for address in self._cluster.addresses(name):
            self._dirty.update(("node", other) for other in self._cluster.names_at(address))
            self._dirty.update(("address", peer) for peer in self._naming.get(address))

    # ------------------------------------------------------------ out

    @property
    def any_with_nodes(self) -> bool:
        """As of the last flush."""
        return bool(self._with_nodes)

    def flush(self) -> tuple[list[str], list[BgpSession]]:
        """Names that are gone, and then the sessions that may differ from those told before."""
        if self._all_dirty:
            self._choose_peerings()
            self._mark_all()
            self._all_dirty = False
        # All go before any comes: a BGPPeer may ask for what another asker asked for in its name.
        keys = {key for asker in self._dirty for key in self._forget(asker)}
        keys.update(key for asker in self._dirty for key in self._ask(asker))
        self._dirty.clear()
        old = [self._won.pop(key).name for key in keys if key in self._won]
        return old, [session for key in keys if (session := self._settle(key))]

    def _choose_peerings(self) -> None:
        cluster = self._cluster
        peerings = self._peerings.values()
        self._to_nodes = [p for p in peerings if p.there is not None and self._is_ours(p)]
        self._answered = [p for p in peerings if reverses(cluster, p)]

    def _is_ours(self, peering: Peering) -> bool:
        own = self._cluster.own
        return peering.is_local_side(self._cluster.hostname, own.labels if own else _NO_LABELS)

    def _mark_all(self) -> None:
        self._dirty.update(("node", name) for name in self._cluster.nodes)
        self._dirty.update(("address", name) for name in self._peerings)
        self._mark_workload_peers()

    def _forget(self, asker: _Asker) -> Iterator[SessionKey]:
        for candidate in self._candidates.pop(asker, ()):
            del self._rivals[candidate.key][candidate.rank]
            yield candidate.key

    def _ask(self, asker: _Asker) -> Iterator[SessionKey]:
        kind, name = asker
        faults: list[Fault] = []
        if kind == "node":
            found, faults = self._ask_node(name)
        elif kind == "address":
            found, faults = self._ask_address(name)
        else:
            found = self._ask_workloads(name)
        self._faults.put(asker, faults)
        if found:
            self._candidates[asker] = found
        for candidate in found:
            self._rivals.setdefault(candidate.key, {})[candidate.rank] = candidate.session
            yield candidate.key

    def _ask_node(self, name: str) -> _Asked:
        cluster = self._cluster
        found: list[Candidate] = []
        faults: list[Fault] = []
        if name == cluster.hostname:
            return found, faults
        for address in cluster.addresses(name):
            names = cluster.names_at(address)
            if cluster.hostname in names:
                faults.append((f"Node {name}", f"no session: its address {address} is this node's"))
            elif min(names) != name:
                faults.append((f"Node {name}", f"no session: {address} is Node {min(names)}'s too"))
            elif cluster.address(cluster.hostname, family_of(address)):
                found += self._with_node(name, address)
        return found, faults

    def _with_node(self, name: str, address: str) -> Iterator[Candidate]:
        cluster, family = self._cluster, family_of(address)
        labels = cluster.nodes[name].labels
        ids = cluster.cluster_id(cluster.hostname), cluster.cluster_id(name)
        if cluster.default.mesh is not False and not any(ids):
            yield mesh_candidate(cluster, name, family)
        for peering in self._to_nodes:
            if peering.there is not None and peering.there.matches(labels):
                yield node_candidate(cluster, peering, name, family)
        for peering in self._answered:
            of_family = peering.there is not None or family_of(peering.peer.address) == family
            if of_family and peering.is_local_side(name, labels):
                yield reverse_candidate(cluster, peering, name, family)

    def _ask_address(self, name: str) -> _Asked:
        peering = self._peerings.get(name)
        if peering is None or not peering.peer.address or not self._is_ours(peering):
            return [], []
        address = peering.peer.address
        if self._own_address(address) in ("", address):
            return [], []
        try:
            return [address_candidate(self._cluster, peering)], []
        except PeeringError as error:
            return [], [(f"BGPPeer {name}", f"is left out: {error}")]

    def _ask_workloads(self, name: str) -> list[Candidate]:
        peering = self._peerings.get(name)
        if peering is None or peering.workloads is None or not self._is_ours(peering):
            return []
        return [
            workload_candidate(self._cluster, peering, address, str(key))
            for key in self._matches.items(name)
            for address in _first_of_each_family(self._nets[key])
            if self._own_address(address) not in ("", address)
        ]

    def _own_address(self, peer: str) -> str:
        """This node's, of the same family."""
        return self._cluster.address(self._cluster.hostname, family_of(peer))

    def _settle(self, key: SessionKey) -> BgpSession | None:
        rivals = self._rivals[key]
        self._faults.put(("session", key), _lost(rivals) if len(rivals) > 1 else ())
        self._with_nodes.discard(key)
        if not rivals:
            del self._rivals[key]
            return None
        session = rivals[min(rivals)]
        if session.trust in ("node", "reflector"):
            self._with_nodes.add(key)
        self._won[key] = session
        return session


def _lost(rivals: dict[Rank, BgpSession]) -> Iterator[Fault]:
    """To yield to an earlier pass is how passes are meant; within one it is somebody's mistake."""
    first, *others = sorted(rivals)
    for rank in others:
        if rank.source is Pass.MESH:
            yield (
                f"BGPPeer {first.resource}",
                "takes the place of sessions of the node-to-node mesh, which is on",
            )
        elif rank.source is first.source and rank.resource != first.resource:
            yield (
                f"BGPPeer {rank.resource}",
                f"has no part in {rivals[first].name}: BGPPeer {first.resource} asks for it first",
            )


def _first_of_each_family(nets: Iterable[str]) -> list[str]:
    addresses = [net.partition("/")[0] for net in nets]
    of_family = {family_of(address): address for address in reversed(addresses)}
    return [of_family[family] for family in FAMILIES if family in of_family]
