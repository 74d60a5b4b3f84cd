"""The newest value of everything the dataplane is told, released in dependency order.

    in   values and their ends, from the nodes, in any order
    out  one list of updates, that never refers to what is not there: see `calc_graph.updates`

Within a step, sorted.  What equals the last one told is not told again.
Source: section 4.10 of the reference; projectcalico/calico felix/calc/event_sequencer.go.
"""

from __future__ import annotations

from collections.abc import Iterable

from calc_graph.ipset_members import IpsetChange
from calc_graph.model import HostEndpointKey, IpPool, PolicyKey, WorkloadEndpointKey
from calc_graph.outbox import Latest, Outbox
from calc_graph.updates import (
    ActivePolicy,
    ActiveProfile,
    EncapUpdate,
    HostEndpointRemove,
    HostEndpointUpdate,
    HostRemove,
    HostUpdate,
    IpsetDelta,
    IpsetRemove,
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
    TunnelAddresses,
    Update,
    VtepRemove,
    VtepUpdate,
    WireguardEndpoint,
    WireguardEndpointRemove,
    WorkloadEndpointRemove,
    WorkloadEndpointUpdate,
)


class Sequencer:
    def __init__(self) -> None:
        self.policies: Outbox[PolicyKey, ActivePolicy] = Outbox()
        self.profiles: Outbox[str, ActiveProfile] = Outbox()
        self.workloads: Outbox[WorkloadEndpointKey, WorkloadEndpointUpdate] = Outbox()
        self.host_endpoints: Outbox[HostEndpointKey, HostEndpointUpdate] = Outbox()
        self.encap = Latest(EncapUpdate(ipip=False, vxlan=False, vxlan_v6=False))
        self.tunnel_addresses = Latest(TunnelAddresses())
        self.vteps: Outbox[str, VtepUpdate] = Outbox()
        self.routes: Outbox[str, RouteUpdate] = Outbox()
        self.wireguard: Outbox[str, WireguardEndpoint] = Outbox()
        self.hosts: Outbox[str, HostUpdate] = Outbox()
        self.pools: Outbox[str, IpPool] = Outbox()
        self.services = Latest(ServiceCidrsUpdate(()))

    def flush(self, ipsets: Iterable[IpsetChange]) -> list[Update]:
        by_id = sorted(ipsets, key=lambda change: change.id)
        policies, policies_gone = self.policies.take()
        profiles, profiles_gone = self.profiles.take()
        workloads, workloads_gone = self.workloads.take()
        hosts, hosts_gone = self.host_endpoints.take()
        return [
            *(change for change in by_id if isinstance(change, IpsetUpdate)),
            *(change for change in by_id if isinstance(change, IpsetDelta)),
            *(PolicyUpdate(key, policy) for key, policy in policies),
            *(ProfileUpdate(name, profile) for name, profile in profiles),
            *(update for _, update in workloads),
            *(update for _, update in hosts),
            *map(WorkloadEndpointRemove, workloads_gone),
            *map(HostEndpointRemove, hosts_gone),
            *map(ProfileRemove, profiles_gone),
            *map(PolicyRemove, policies_gone),
            *(change for change in by_id if isinstance(change, IpsetRemove)),
            *self._overlay(),
            *self._cluster(),
        ]

    def told(self, ipsets: Iterable[IpsetUpdate]) -> list[Update]:
        """All that holds, for a dataplane that has been told nothing; right after a flush."""
        return [
            *sorted(ipsets, key=lambda update: update.id),
            *(PolicyUpdate(key, policy) for key, policy in self.policies.told()),
            *(ProfileUpdate(name, profile) for name, profile in self.profiles.told()),
            *(update for _, update in self.workloads.told()),
            *(update for _, update in self.host_endpoints.told()),
            self.encap.told(),
            self.tunnel_addresses.told(),
            *(update for _, update in self.vteps.told()),
            *(update for _, update in self.routes.told()),
            *(update for _, update in self.wireguard.told()),
            *(update for _, update in self.hosts.told()),
            *(PoolUpdate(pool) for _, pool in self.pools.told()),
            self.services.told(),
        ]

    def _overlay(self) -> list[Update]:
        """A route needs its node's VTEP; a new way comes before the end of an old one."""
        vteps, vteps_gone = self.vteps.take()
        routes, routes_gone = self.routes.take()
        return [
            *self.encap.take(),
            *self.tunnel_addresses.take(),
            *(update for _, update in vteps),
            *(update for _, update in routes),
            *map(RouteRemove, routes_gone),
            *map(VtepRemove, vteps_gone),
        ]

    def _cluster(self) -> list[Update]:
        """What nothing else refers to."""
        ends, ends_gone = self.wireguard.take()
        hosts, hosts_gone = self.hosts.take()
        pools, pools_gone = self.pools.take()
        return [
            *map(WireguardEndpointRemove, ends_gone),
            *(update for _, update in ends),
            *map(HostRemove, hosts_gone),
            *(update for _, update in hosts),
            *map(PoolRemove, pools_gone),
            *(PoolUpdate(pool) for _, pool in pools),
            *self.services.take(),
        ]
