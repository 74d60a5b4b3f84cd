"""What must be encrypted, what goes by IPsec or not at all, and what is counted in clear.

in   PolicyUpdate, PolicyRemove, PoolUpdate, PoolRemove     who requires encryption
     RouteUpdate, RouteRemove                               where workloads of other nodes are
out  guards   what the fixed rules of a family have to look at
     sets     encrypted-pools where a pool requires encryption; remote-workloads, which counts,
              where WireGuard is on, or IPsec and nothing in clear is allowed
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from calc_graph.model import PolicyKey
from calc_graph.updates import (
    IpsetType,
    PolicyRemove,
    PolicyUpdate,
    PoolRemove,
    PoolUpdate,
    RouteRemove,
    RouteType,
    RouteUpdate,
)
from dataplane.delta_tracker import SetDelta
from dataplane.desired.sets import of_family
from dataplane.desired.sinks import Ipsets, Sinks
from dataplane.families import Family, family_of
from dataplane.render.encryption import Guards
from dataplane.render.names import ENCRYPTED_POOLS_SET, REMOTE_WORKLOADS_SET, ipset_name
from dataplane.settings import Settings

Event = PolicyUpdate | PolicyRemove | PoolUpdate | PoolRemove | RouteUpdate | RouteRemove


class Encryption:
    def __init__(self, sinks: Sinks, settings: Settings) -> None:
        self._hostname = settings.hostname
        self._policies: set[PolicyKey] = set()
        self._pools: set[str] = set()
        self._pools_dirty = False
        self._sets: Mapping[Family, Ipsets] = sinks.ipsets
        self._counted = settings.wireguard.families
        ipsec = settings.ipsec
        self._tunnelled = frozenset[Family]() if ipsec.allow_clear else ipsec.families
        self._remote = {
            family: _Remote(family, sinks.ipsets[family])
            for family in sinks.families
            if family in self._counted | self._tunnelled
        }

    def update(self, event: Event) -> None:
        match event:
            case PolicyUpdate(key, policy):
                required = policy.encrypted and not key.staged
                (self._policies.add if required else self._policies.discard)(key)
            case PolicyRemove(key):
                self._policies.discard(key)
            case PoolUpdate(pool):
                (self._pools.add if pool.encrypted else self._pools.discard)(pool.cidr)
                self._pools_dirty = True
            case PoolRemove(cidr):
                self._pools.discard(cidr)
                self._pools_dirty = True
            case RouteUpdate() | RouteRemove():
                remote = self._remote.get(family_of(event.cidr))
                if remote is not None:
                    remote.note(event.cidr, there=self._is_remote(event))
            case _:
                assert_never(event)

    @property
    def required(self) -> bool:
        """Whether anything must be encrypted."""
        return bool(self._policies or self._pools)

    def guards(self, family: Family) -> Guards:
        return Guards(
            policies=bool(self._policies),
            pools=bool(of_family(self._pools, family)),
            counted=family in self._counted,
            tunnelled=family in self._tunnelled,
        )

    def resolve(self) -> None:
        if self._pools_dirty:
            self._pools_dirty = False
            for family, sets in self._sets.items():
                self._place_pools(family, sets)
        for remote in self._remote.values():
            remote.resolve()

    def _is_remote(self, event: RouteUpdate | RouteRemove) -> bool:
        """A node's own address is where its encrypted packets go."""
        if isinstance(event, RouteRemove) or event.node == self._hostname or event.local_workload:
            return False
        return RouteType.REMOTE_WORKLOAD in event.types and RouteType.REMOTE_HOST not in event.types

    def _place_pools(self, family: Family, sets: Ipsets) -> None:
        name, pools = ipset_name(ENCRYPTED_POOLS_SET, family), of_family(self._pools, family)
        if pools:
            sets.desire(name, IpsetType.NET, pools)
        else:
            sets.drop(name)


class _Remote:
    """The set of one family; a change costs what it changes."""

    def __init__(self, family: Family, sets: Ipsets) -> None:
        self._name = ipset_name(REMOTE_WORKLOADS_SET, family)
        self._sets = sets
        self._nets: SetDelta[str] = SetDelta()
        sets.desire(self._name, IpsetType.NET, (), counters=True)

    def note(self, net: str, *, there: bool) -> None:
        self._nets.desire((net,) if there else (), () if there else (net,))

    def resolve(self) -> None:
        added, removed = frozenset(self._nets.additions), frozenset(self._nets.removals)
        if added or removed:
            self._sets.change(self._name, added, removed)
            self._nets.observe(added, removed)
