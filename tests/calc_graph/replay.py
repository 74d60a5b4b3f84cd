"""A dataplane that only remembers what it was told, and refuses what it cannot do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from calc_graph.model import EndpointKey, IpPool, PolicyKey
from calc_graph.updates import (
    ActivePolicy,
    ActiveProfile,
    ActiveRule,
    EncapUpdate,
    HostEndpointRemove,
    HostEndpointUpdate,
    HostRemove,
    HostUpdate,
    IpsetDelta,
    IpsetRemove,
    IpsetType,
    IpsetUpdate,
    PolicyRemove,
    PolicyUpdate,
    PoolRemove,
    PoolUpdate,
    ProfileRemove,
    ProfileUpdate,
    RouteRemove,
    RouteUpdate,
    ServiceCidrsUpdate,
    TierPolicies,
    TunnelAddresses,
    Update,
    VtepRemove,
    VtepUpdate,
    WireguardEndpoint,
    WireguardEndpointRemove,
    WorkloadEndpointRemove,
    WorkloadEndpointUpdate,
)


class Replay:
    """Every assertion here is one about the order or the need of an update."""

    def __init__(self) -> None:
        self.ipsets: dict[str, tuple[IpsetType, frozenset[str]]] = {}
        self.policies: dict[PolicyKey, ActivePolicy] = {}
        self.profiles: dict[str, ActiveProfile] = {}
        self.endpoints: dict[EndpointKey, WorkloadEndpointUpdate | HostEndpointUpdate] = {}
        self.hosts: dict[str, HostUpdate] = {}
        self.pools: dict[str, IpPool] = {}
        self.service_cidrs: tuple[str, ...] = ()
        self.routes: dict[str, RouteUpdate] = {}
        self.vteps: dict[str, VtepUpdate] = {}
        self.wireguard: dict[str, WireguardEndpoint] = {}
        self.encap = EncapUpdate(ipip=False, vxlan=False, vxlan_v6=False)
        self.tunnel_addresses = TunnelAddresses()

    def state(self) -> dict[str, object]:
        return dict(vars(self))

    def play(self, updates: Iterable[Update]) -> None:
        for update in updates:
            self._apply(update)

    def _apply(self, update: Update) -> None:  # noqa: C901  one case for each kind
        match update:
            case IpsetUpdate():
                assert update.id not in self.ipsets
                self.ipsets[update.id] = (update.type, update.members)
            case IpsetDelta():
                self._change_members(update)
            case IpsetRemove():
                assert update.id not in self._used_ipsets()
                del self.ipsets[update.id]
            case PolicyUpdate():
                assert self.policies.get(update.key) != update.policy
                self._need_ipsets(update.policy)
                self.policies[update.key] = update.policy
            case PolicyRemove():
                assert update.key not in self._used_policies()
                del self.policies[update.key]
            case ProfileUpdate():
                assert self.profiles.get(update.name) != update.profile
                self._need_ipsets(update.profile)
                self.profiles[update.name] = update.profile
            case ProfileRemove():
                used = {p for found in self.endpoints.values() for p in found.endpoint.profiles}
                assert update.name not in used
                del self.profiles[update.name]
            case WorkloadEndpointUpdate() | HostEndpointUpdate():
                assert self.endpoints.get(update.key) != update
                assert set(update.endpoint.profiles) <= self.profiles.keys()
                assert policies_of(update) <= self.policies.keys()
                self.endpoints[update.key] = update
            case WorkloadEndpointRemove() | HostEndpointRemove():
                del self.endpoints[update.key]
            case HostUpdate():
                assert self.hosts.get(update.name) != update
                self.hosts[update.name] = update
            case HostRemove():
                del self.hosts[update.name]
            case PoolUpdate():
                assert self.pools.get(update.pool.cidr) != update.pool
                self.pools[update.pool.cidr] = update.pool
            case PoolRemove():
                del self.pools[update.cidr]
            case ServiceCidrsUpdate():
                assert self.service_cidrs != update.cidrs
                self.service_cidrs = update.cidrs
            case EncapUpdate():
                assert self.encap != update
                self.encap = update
            case TunnelAddresses():
                assert self.tunnel_addresses != update
                self.tunnel_addresses = update
            case _:
                self._apply_overlay(update)

    def _apply_overlay(
        self,
        update: RouteUpdate
        | RouteRemove
        | VtepUpdate
        | VtepRemove
        | WireguardEndpoint
        | WireguardEndpointRemove,
    ) -> None:
        match update:
            case RouteUpdate():
                assert self.routes.get(update.cidr) != update
                self.routes[update.cidr] = update
            case RouteRemove():
                del self.routes[update.cidr]
            case VtepUpdate():
                assert self.vteps.get(update.node) != update
                self.vteps[update.node] = update
            case VtepRemove():
                del self.vteps[update.node]
            case WireguardEndpoint():
                assert self.wireguard.get(update.node) != update
                self.wireguard[update.node] = update
            case WireguardEndpointRemove():
                del self.wireguard[update.node]

    def _change_members(self, update: IpsetDelta) -> None:
        kind, members = self.ipsets[update.id]
        assert update.added or update.removed
        assert not update.added & members
        assert update.removed <= members
        self.ipsets[update.id] = (kind, (members - update.removed) | update.added)

    def _need_ipsets(self, rules: ActivePolicy | ActiveProfile) -> None:
        assert ipsets_of(rules) <= self.ipsets.keys()

    def _used_ipsets(self) -> set[str]:
        holders: list[ActivePolicy | ActiveProfile]
        holders = [*self.policies.values(), *self.profiles.values()]
        return {ipset for holder in holders for ipset in ipsets_of(holder)}

    def _used_policies(self) -> set[PolicyKey]:
        return {key for found in self.endpoints.values() for key in policies_of(found)}


def ipsets_of(rules: ActivePolicy | ActiveProfile) -> set[str]:
    return {ipset for rule in (*rules.ingress, *rules.egress) for ipset in _rule_ipsets(rule)}


def _rule_ipsets(rule: ActiveRule) -> Iterator[str]:
    for peer in (rule.source, rule.destination):
        yield from peer.ipsets
        yield from peer.not_ipsets
        yield from peer.named_port_ipsets
        yield from peer.not_named_port_ipsets
        yield from peer.ip_port_ipsets


def tier_lists(update: WorkloadEndpointUpdate | HostEndpointUpdate) -> Iterator[TierPolicies]:
    yield from update.tiers
    if isinstance(update, HostEndpointUpdate):
        yield from update.forward
        yield from update.pre_dnat
        yield from update.untracked


def policies_of(update: WorkloadEndpointUpdate | HostEndpointUpdate) -> set[PolicyKey]:
    return {key for tier in tier_lists(update) for key in (*tier.ingress, *tier.egress)}
