"""Which local workloads speak BGP with their node, and with which of its addresses.

    in   BgpPeer, the cluster's BgpConfiguration, this node's labels and workloads, profiles' labels
    out  peering_of(workload), and take_changed(): the workloads for which it may be another one

Where several BGPPeers select a workload, the first by name counts.  Without a BGPPeer that has a
localWorkloadSelector, and this node on its local side, no label is looked at.
Source: projectcalico/calico felix/calc/active_bpgpeer_calculator.go.
"""

from __future__ import annotations

from calc_graph.bgp.peerings import Peering, PeeringError, check_peering
from calc_graph.bgp.resources import BgpConfiguration, BgpPeer
from calc_graph.label_index import LabelIndex
from calc_graph.model import Labels, WorkloadEndpoint, WorkloadEndpointKey
from calc_graph.multimap import Multimap
from calc_graph.selector import Selector
from calc_graph.updates import WorkloadPeering

_NO_LABELS: Labels = {}


class WorkloadPeers:
    """`put_workload` is for this node's own only."""

    def __init__(self, hostname: str) -> None:
        self._hostname = hostname
        self._node_labels = _NO_LABELS
        self._peerings: dict[str, Peering] = {}  # those with a localWorkloadSelector
        self._active: set[str] = set()  # of these, those with this node on the local side
        self._workloads: dict[WorkloadEndpointKey, WorkloadEndpoint] = {}
        self._profiles: dict[str, Labels] = {}
        self._addresses = ("", "")
        self._index: LabelIndex[str, WorkloadEndpointKey] | None = None  # None: nobody asks
        self._peers_of: Multimap[WorkloadEndpointKey, str] = Multimap()
        self._changed: set[WorkloadEndpointKey] = set()

    # ------------------------------------------------------------ in

    def put_peer(self, name: str, peer: BgpPeer | None) -> None:
        """One that means nothing certain counts as absent; BgpGraph says why."""
        self._deactivate(name)
        self._peerings.pop(name, None)
        if peer is None or not peer.workload_selector:
            return
        try:
            self._peerings[name] = check_peering(name, peer)
        except PeeringError:
            return
        self._settle(name)

    def put_node_labels(self, labels: Labels) -> None:
        if labels != self._node_labels:
            self._node_labels = labels
            for name in self._peerings:
                self._settle(name)

    def put_configuration(self, found: BgpConfiguration | None) -> None:
        """The cluster's."""
        addresses = ("", "")
        if found is not None:
            addresses = (found.workload_peering_v4, found.workload_peering_v6)
        if addresses != self._addresses:
            self._addresses = addresses
            self._changed |= {key for key in self._workloads if self._peers_of.get(key)}

    def put_workload(self, key: WorkloadEndpointKey, value: WorkloadEndpoint | None) -> None:
        if value is None:
            self._workloads.pop(key, None)
            if self._index is not None:
                self._index.discard(key)
            return
        self._workloads[key] = value
        if self._index is not None:
            self._index.put(key, value.labels, value.profiles)

    def put_profile(self, name: str, labels: Labels) -> None:
        self._profiles[name] = labels
        if not labels:
            del self._profiles[name]
        if self._index is not None:
            self._index.put_profile(name, labels)

    # ------------------------------------------------------------ out

    def peering_of(self, key: WorkloadEndpointKey) -> WorkloadPeering | None:
        peers = self._peers_of.get(key)
        return WorkloadPeering(min(peers), *self._addresses) if peers else None

    def take_changed(self) -> set[WorkloadEndpointKey]:
        changed, self._changed = self._changed, set()
        return changed

    # ------------------------------------------------------------ matches

    def _settle(self, name: str) -> None:
        peering = self._peerings[name]
        here = peering.is_local_side(self._hostname, self._node_labels)
        if here and name not in self._active and peering.workloads is not None:
            self._activate(name, peering.workloads)
        elif not here:
            self._deactivate(name)

    def _activate(self, name: str, selector: Selector) -> None:
        self._active.add(name)
        if self._index is None:
            self._index = self._make_index()
        for key in self._index.add_selector(name, selector):
            self._started(name, key)

    def _deactivate(self, name: str) -> None:
        if self._index is None or name not in self._active:
            return
        self._active.discard(name)
        for key in self._index.remove_selector(name):
            self._stopped(name, key)
        if not self._active:
            self._index = None

    def _make_index(self) -> LabelIndex[str, WorkloadEndpointKey]:
        index: LabelIndex[str, WorkloadEndpointKey] = LabelIndex(self._started, self._stopped)
        for name, labels in self._profiles.items():
            index.put_profile(name, labels)
        for key, value in self._workloads.items():
            index.put(key, value.labels, value.profiles)
        return index

    def _started(self, name: str, key: WorkloadEndpointKey) -> None:
        self._peers_of.add(key, name)
        self._changed.add(key)

    def _stopped(self, name: str, key: WorkloadEndpointKey) -> None:
        self._peers_of.discard(key, name)
        self._changed.add(key)
