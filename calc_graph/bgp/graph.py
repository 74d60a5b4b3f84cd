"""BgpGraph: what the datastore says in, what the dataplane is to be told of BGP out.

    Node, BgpConfiguration ─┬─ SessionTable ─ sessions ──┐
    BgpPeer ────────────────┤                            ├─ flush(): list[BgpUpdate]
    own workloads, profiles ┘                            │
    Node, affinities, blocks, workloads ─ OriginTable ───┤
    pools, Felix's parameters ─ speaker(…) ──────────────┤
    BgpFilter ───────────────────────────────────────────┘

As `calc_graph.graph`: updates only go as far as the tables, a flush computes what they have marked,
and only what differs from what was told last leaves.  A flush tells first what others refer to.
"""

from __future__ import annotations

from collections.abc import Iterator

from calc_graph.bgp.cluster import Cluster
from calc_graph.bgp.faults import Fault, Faults
from calc_graph.bgp.felix import FelixSettings
from calc_graph.bgp.origins import OriginTable
from calc_graph.bgp.resources import (
    BgpConfiguration,
    BgpConfigurationKey,
    BgpFilter,
    BgpFilterKey,
    BgpPeer,
    BgpPeerKey,
    BlockAffinity,
    BlockAffinityKey,
    NodeStatusKey,
)
from calc_graph.bgp.sessions import SessionTable
from calc_graph.bgp.speaker import speaker, speaker_faults
from calc_graph.bgp.updates import (
    BgpFaults,
    BgpFilterRemove,
    BgpFilterUpdate,
    BgpOrigins,
    BgpOriginsRemove,
    BgpSession,
    BgpSessionRemove,
    BgpSpeaker,
    BgpUpdate,
)
from calc_graph.model import (
    Block,
    BlockKey,
    ClusterInformationKey,
    FelixConfigurationKey,
    HostEndpointKey,
    IpPool,
    IpPoolKey,
    Key,
    NetworkSetKey,
    Node,
    NodeKey,
    PolicyKey,
    Profile,
    ProfileKey,
    TierKey,
    Value,
    WorkloadEndpoint,
    WorkloadEndpointKey,
)
from calc_graph.outbox import Latest, Outbox
from calc_graph.passthru import Pools
from calc_graph.rule_scanner import check_selectors
from calc_graph.selector import SelectorError


class BgpGraph:
    """Output depends on the current state alone, whatever the path to it."""

    def __init__(self, hostname: str) -> None:
        self._hostname = hostname
        self._in_sync = False
        self._cluster = Cluster(hostname)
        self._felix = FelixSettings()
        self._pools = Pools()
        self._standing: dict[str, IpPool] = {}  # pools by CIDR
        self._pools_changed = False
        self._settings_changed = True  # of what the speaker and the faults of settings rest on
        self._peers: dict[str, BgpPeer] = {}
        self._filters: dict[str, BgpFilter] = {}
        self._faults = Faults()
        self._sessions = SessionTable(self._cluster, self._faults)
        self._origins = OriginTable()
        self._told_speaker: Latest[BgpSpeaker | None] = Latest(None)
        self._told_filters: Outbox[str, BgpFilter] = Outbox()
        self._told_origins: Outbox[str, BgpOrigins] = Outbox()
        self._told_sessions: Outbox[str, BgpSession] = Outbox()
        self._told_faults = Latest(BgpFaults())

    def in_sync(self) -> None:
        """The datastore has said all it knows; more than once is harmless."""
        self._in_sync = True

    # ------------------------------------------------------------ in

    def settle(self, felix: FelixSettings) -> None:
        """The parameters that hold on this node; their defaults, until told."""
        self._settings_changed |= felix != self._felix
        self._felix = felix

    def update(self, key: Key, value: Value | None) -> None:
        """None: gone, or never valid.  A key with a value of another kind is a TypeError."""
        match key, value:
            case WorkloadEndpointKey(), WorkloadEndpoint() | None:
                self._origins.put_workload(key, None if value is None else value.nets)
                if key.host == self._hostname:
                    self._sessions.put_workload(key, value)
            case BlockKey(), Block() | None:
                self._origins.put_block(key.cidr, value)
            case BlockAffinityKey(), BlockAffinity() | None:
                self._origins.put_affinity(key.host, key.cidr, value)
            case NodeKey(), Node() | None:
                self._settings_changed |= key.name == self._hostname
                self._sessions.put_node(key.name, value)
                self._origins.put_node(key.name, value)
            case ProfileKey(), Profile() | None:
                labels = value.labels if value is not None and _valid(value) else {}
                self._sessions.put_profile(key.name, labels)
            case _:
                self._update_settings(key, value)

    def _update_settings(self, key: Key, value: Value | None) -> None:
        self._settings_changed = True
        match key, value:
            case BgpConfigurationKey(), BgpConfiguration() | None:
                self._sessions.put_configuration(key.name, value)
            case BgpPeerKey(), BgpPeer() | None:
                self._update_peer(key.name, value)
            case BgpFilterKey(), BgpFilter():
                self._filters[key.name] = value
                self._told_filters.put(key.name, value)
            case BgpFilterKey(), None:
                self._filters.pop(key.name, None)
                self._told_filters.discard(key.name)
            case IpPoolKey(), IpPool() | None:
                self._update_pool(key.name, value)
            case (
                FelixConfigurationKey()  # the shell's: it tells what comes of it
                | HostEndpointKey()
                | PolicyKey()
                | TierKey()
                | NetworkSetKey()
                | ClusterInformationKey()
                | NodeStatusKey(),
                _,
            ):
                pass  # nothing to BGP
            case _:
                raise TypeError(f"{key} with a value of type {type(value).__name__}")

    def _update_peer(self, name: str, peer: BgpPeer | None) -> None:
        if peer == self._peers.get(name):
            return  # said again as in a resync; all sessions would be computed anew
        self._sessions.put_peer(name, peer)
        if peer is None:
            del self._peers[name]
        else:
            self._peers[name] = peer

    def _update_pool(self, name: str, pool: IpPool | None) -> None:
        pools = self._pools
        for cidr in pools.discard(name) if pool is None else pools.put(name, pool):
            standing = pools.get(cidr)
            if standing != self._standing.get(cidr):
                self._pools_changed = True
                self._standing.pop(cidr, None)
                if standing is not None:
                    self._standing[cidr] = standing

    # ------------------------------------------------------------ out

    def flush(self) -> list[BgpUpdate]:
        """Nothing before in-sync, for what is known until then may be any part of the state."""
        if not self._in_sync:
            return []
        self._compute()
        filters, filters_gone = self._told_filters.take()
        origins, origins_gone = self._told_origins.take()
        sessions, sessions_gone = self._told_sessions.take()
        found: list[BgpUpdate] = [each for each in self._told_speaker.take() if each is not None]
        found += (BgpFilterUpdate(name, each) for name, each in filters)
        found += (each for _, each in origins)
        found += map(BgpSessionRemove, sessions_gone)
        found += (each for _, each in sessions)
        found += map(BgpOriginsRemove, origins_gone)
        found += map(BgpFilterRemove, filters_gone)
        found += self._told_faults.take()
        return found

    def replay(self) -> list[BgpUpdate]:
        """Everything that a flush would have told by now, for a consumer that begins anew."""
        self.flush()
        told = self._told_speaker.told()
        if told is None:
            return []
        found: list[BgpUpdate] = [told]
        found += (BgpFilterUpdate(name, each) for name, each in self._told_filters.told())
        found += (each for _, each in self._told_origins.told())
        found += (each for _, each in self._told_sessions.told())
        found.append(self._told_faults.told())
        return found

    def _compute(self) -> None:
        if self._pools_changed:
            self._origins.put_pools(self._standing.values())
            self._pools_changed = False
        for name, origins in self._origins.flush():
            if origins is None:
                self._told_origins.discard(name)
            else:
                self._told_origins.put(name, origins)
        gone, sessions = self._sessions.flush()
        for name in gone:
            self._told_sessions.discard(name)
        for session in sessions:
            self._told_sessions.put(session.name, session)
        fabric = self._cluster.default.mesh is False and not self._sessions.any_with_nodes
        told = self._told_speaker.value
        if self._settings_changed or told is None or told.fabric != fabric:
            self._compute_settings(fabric=fabric)
            self._settings_changed = False
        self._told_faults.value = self._faults.all()

    def _compute_settings(self, *, fabric: bool) -> None:
        cluster, pools, felix = self._cluster, self._standing.values(), self._felix
        self._told_speaker.value = speaker(cluster, pools, felix, fabric=fabric)
        self._faults.put("speaker", speaker_faults(cluster, pools, felix))
        self._faults.put("filters", self._unknown_filters())
        self._faults.put("peers", self._unknown_peers())

    def _unknown_filters(self) -> Iterator[Fault]:
        for name, peer in self._peers.items():
            for each in peer.filters:
                if each not in self._filters:
                    yield f"BGPPeer {name}", f"no routes are exchanged: no BGPFilter {each}"

    def _unknown_peers(self) -> Iterator[Fault]:
        for parameter, name in self._felix.named_peers:
            if name not in self._peers:
                yield parameter, f"{name} names no BGPPeer"


def _valid(profile: Profile) -> bool:
    """As for the rest of the graph: one with a selector that is none is absent."""
    try:
        check_selectors(profile)
    except SelectorError:
        return False
    return True
