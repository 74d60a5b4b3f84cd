"""The graph: its nodes, and who tells whom.  The drawing is in the package's docstring.

    in   update(key, value or None), in_sync()
    out  flush(): what the dataplane is to be told since the last one

Updates only go as far as the indexes; what can wait for the flush does, so that changes that come
together, or cancel out, are computed once.  The order of a flush is that of the drawing: which
policies matter, then which IP sets they need, then who is in those.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import structs

from calc_graph.active_policies import Activated, ActivePolicies, Activity
from calc_graph.bgp.cluster import DEFAULT
from calc_graph.bgp.resources import (
    BgpConfiguration,
    BgpConfigurationKey,
    BgpFilterKey,
    BgpPeer,
    BgpPeerKey,
    BlockAffinityKey,
    NodeStatusKey,
)
from calc_graph.bgp.workload_peers import WorkloadPeers
from calc_graph.ipset_members import IpsetMembers
from calc_graph.model import (
    Block,
    BlockKey,
    ClusterInformation,
    ClusterInformationKey,
    FelixConfiguration,
    FelixConfigurationKey,
    HostEndpoint,
    HostEndpointKey,
    IpPool,
    IpPoolKey,
    Key,
    NetworkSet,
    NetworkSetKey,
    Node,
    NodeKey,
    Policy,
    PolicyKey,
    Profile,
    ProfileKey,
    Tier,
    TierKey,
    Value,
    WorkloadEndpoint,
    WorkloadEndpointKey,
)
from calc_graph.passthru import Pools, host_update, service_cidrs
from calc_graph.policy_resolver import EndpointGone, PolicyResolver, Resolved
from calc_graph.route_facts import pool_facts
from calc_graph.route_resolver import RouteResolver
from calc_graph.rule_scanner import IpsetSpec, check_selectors, scan
from calc_graph.selector import SelectorError
from calc_graph.sequencer import Sequencer
from calc_graph.updates import (
    ActivePolicy,
    ActiveProfile,
    ServiceCidrsUpdate,
    Update,
    WorkloadEndpointUpdate,
)
from calc_graph.vteps import tunnel_addresses, vtep
from calc_graph.wireguard import wireguard_endpoint

RouteSource: TypeAlias = Literal["CalicoIPAM", "WorkloadIPs"]


class CalcGraph:
    """Output depends on the current state alone, whatever the path to it.

    `route_source` says what routes to other nodes follow: IPAM's blocks, or, where IPAM is another,
    the addresses of every workload.
    """

    def __init__(self, hostname: str, route_source: RouteSource = "CalicoIPAM") -> None:
        self._hostname = hostname
        self._routes_by_block = route_source == "CalicoIPAM"
        self._in_sync = False
        self._resolver = PolicyResolver()
        self._active = ActivePolicies(self._resolver.match_started, self._resolver.match_stopped)
        self._ipsets = IpsetMembers()
        self._ipsets_of: dict[PolicyKey | ProfileKey, dict[str, IpsetSpec]] = {}
        self._routes = RouteResolver(hostname)
        self._pools = Pools()
        self._peers = WorkloadPeers(hostname)
        self._pools_changed = False
        self._out = Sequencer()

    def in_sync(self) -> None:
        """The datastore has said all it knows; more than once is harmless."""
        self._in_sync = True

    def update(self, key: Key, value: Value | None) -> None:
        """None: gone, or never valid.  A key with a value of another kind is a TypeError."""
        match key, value:
            case WorkloadEndpointKey(), WorkloadEndpoint() | None:
                self._update_workload(key, value)
            case HostEndpointKey(), HostEndpoint() | None:
                self._update_host_endpoint(key, value)
            case NetworkSetKey(), NetworkSet():
                self._ipsets.put_network_set(key, value)
            case NetworkSetKey(), None:
                self._ipsets.discard(key)
            case PolicyKey(), Policy() | None:
                self._update_policy(key, value)
            case ProfileKey(), Profile() | None:
                self._update_profile(key, value)
            case TierKey(), Tier():
                self._resolver.put_tier(key.name, value)
            case TierKey(), None:
                self._resolver.discard_tier(key.name)
            case _:
                self._update_cluster(key, value)

    def _update_cluster(self, key: Key, value: Value | None) -> None:
        match key, value:
            case NodeKey(), Node() | None:
                self._update_node(key.name, value)
            case BlockKey(), Block() | None:
                if self._routes_by_block:
                    self._routes.put_block(key.cidr, value)
            case IpPoolKey(), IpPool() | None:
                self._update_pool(key, value)
            case BgpPeerKey(), BgpPeer() | None:
                self._peers.put_peer(key.name, value)
            case BgpConfigurationKey(), BgpConfiguration() | None:
                if key.name == DEFAULT:
                    self._peers.put_configuration(value)
                cidrs = service_cidrs(key.name, value)
                if cidrs is not None:
                    self._out.services.value = ServiceCidrsUpdate(cidrs)
            case FelixConfigurationKey(), FelixConfiguration() | None:
                pass  # the shell's
            case ClusterInformationKey(), ClusterInformation() | None:
                pass
            case BgpFilterKey() | BlockAffinityKey() | NodeStatusKey(), _:
                pass  # BgpGraph's, and the shell's
            case _:
                raise TypeError(f"{key} with a value of type {type(value).__name__}")

    # ------------------------------------------------------------ in

    def _update_workload(self, key: WorkloadEndpointKey, value: WorkloadEndpoint | None) -> None:
        if value is None:
            self._ipsets.discard(key)
        else:
            self._ipsets.put_workload(key, value)
        here = key.host == self._hostname
        if here or not self._routes_by_block:
            self._routes.put_workload(key, None if value is None else value.nets)
        if here:
            self._peers.put_workload(key, value)
            self._update_local(key, value)

    def _update_host_endpoint(self, key: HostEndpointKey, value: HostEndpoint | None) -> None:
        if value is None:
            self._ipsets.discard(key)
        else:
            self._ipsets.put_host(key, value)
        if key.host == self._hostname:
            self._update_local(key, value)

    def _update_local(
        self,
        key: WorkloadEndpointKey | HostEndpointKey,
        value: WorkloadEndpoint | HostEndpoint | None,
    ) -> None:
        if value is None:
            self._resolver.discard_endpoint(key)
            self._active.discard_endpoint(key)
        else:
            self._resolver.put_endpoint(key, value)
            self._active.put_endpoint(key, value.labels, value.profiles)

    def _update_policy(self, key: PolicyKey, value: Policy | None) -> None:
        if value is None or not _valid(value):
            self._active.discard_policy(key)
            self._resolver.discard_policy(key)
        else:
            self._resolver.put_policy(key, value)
            self._active.put_policy(key, value)

    def _update_profile(self, key: ProfileKey, value: Profile | None) -> None:
        if value is None or not _valid(value):
            self._active.discard_profile(key.name)
            self._ipsets.put_profile(key.name, {})
            self._peers.put_profile(key.name, {})
        else:
            self._active.put_profile(key.name, value)
            self._ipsets.put_profile(key.name, value.labels)
            self._peers.put_profile(key.name, value.labels)

    def _update_node(self, name: str, node: Node | None) -> None:
        host = None if node is None else host_update(name, node)
        if host is None:
            self._out.hosts.discard(name)
        else:
            self._out.hosts.put(name, host)
        end = None if node is None else vtep(name, node)
        if end is None:
            self._out.vteps.discard(name)
        else:
            self._out.vteps.put(name, end)
        wireguard = None if node is None else wireguard_endpoint(name, node)
        if wireguard is None:
            self._out.wireguard.discard(name)
        else:
            self._out.wireguard.put(name, wireguard)
        if name == self._hostname:
            self._out.tunnel_addresses.value = tunnel_addresses(name, node)
            self._peers.put_node_labels({} if node is None else node.labels)
        self._routes.put_node(name, node)

    def _update_pool(self, key: IpPoolKey, value: IpPool | None) -> None:
        pools = self._pools
        self._pools_changed = True
        for cidr in pools.discard(key.name) if value is None else pools.put(key.name, value):
            pool = self._pools.get(cidr)
            if pool is None:
                self._out.pools.discard(cidr)
            else:
                self._out.pools.put(cidr, pool)
            self._routes.put_pool(cidr, None if pool is None else pool_facts(pool))

    # ------------------------------------------------------------ out

    def flush(self) -> list[Update]:
        """Nothing before in-sync, for what is known until then may be any part of the state."""
        if not self._in_sync:
            return []
        for activity in self._active.flush():
            self._scan(activity)
        for resolved in self._resolver.flush():
            self._sequence_endpoint(resolved)
        for key in self._peers.take_changed():
            known = self._out.workloads.get(key)
            if known is not None:
                self._sequence_endpoint(known)
        for cidr, route in self._routes.flush():
            if route is None:
                self._out.routes.discard(cidr)
            else:
                self._out.routes.put(cidr, route)
        if self._pools_changed:
            self._out.encap.value = self._pools.encap()
            self._pools_changed = False
        return self._out.flush(self._ipsets.flush())

    def replay(self) -> list[Update]:
        """Everything that a flush would have told by now, for a dataplane that begins anew."""
        self.flush()
        return self._out.told(self._ipsets.told())

    def _scan(self, activity: Activity) -> None:
        key = activity.key
        needed: dict[str, IpsetSpec] = {}
        if isinstance(activity, Activated):
            scanned = scan(activity.rules)
            needed = scanned.ipsets
            self._sequence_rules(key, scanned.rules)
        elif isinstance(key, PolicyKey):
            self._out.policies.discard(key)
        else:
            self._out.profiles.discard(key.name)
        self._use_ipsets(key, needed)

    def _sequence_rules(
        self, key: PolicyKey | ProfileKey, rules: ActivePolicy | ActiveProfile
    ) -> None:
        if isinstance(key, PolicyKey) and isinstance(rules, ActivePolicy):
            self._out.policies.put(key, rules)
        elif isinstance(key, ProfileKey) and isinstance(rules, ActiveProfile):
            self._out.profiles.put(key.name, rules)

    def _use_ipsets(self, key: PolicyKey | ProfileKey, needed: dict[str, IpsetSpec]) -> None:
        used = self._ipsets_of.pop(key, {})
        for ipset_id, spec in needed.items():
            if ipset_id not in used:
                self._ipsets.use(spec)
        for ipset_id in used:
            if ipset_id not in needed:
                self._ipsets.release(ipset_id)
        if needed:
            self._ipsets_of[key] = needed

    def _sequence_endpoint(self, resolved: Resolved) -> None:
        if isinstance(resolved, WorkloadEndpointUpdate):
            peering = self._peers.peering_of(resolved.key)
            if peering != resolved.peering:
                resolved = structs.replace(resolved, peering=peering)
            self._out.workloads.put(resolved.key, resolved)
        elif not isinstance(resolved, EndpointGone):
            self._out.host_endpoints.put(resolved.key, resolved)
        elif isinstance(resolved.key, WorkloadEndpointKey):
            self._out.workloads.discard(resolved.key)
        else:
            self._out.host_endpoints.discard(resolved.key)


def _valid(rules: Policy | Profile) -> bool:
    """A selector that is none makes the whole resource absent: no part of a rule is left out."""
    try:
        check_selectors(rules)
    except SelectorError:
        return False
    return True
