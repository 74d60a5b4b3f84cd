"""What the judge knows: the updates that it was given, indexed for asking.

    in   the updates of calc_graph.updates, in the order in which the graph makes them
    out  policies and profiles as books of rules, members of sets, endpoints by interface, nets
         that IPsec leads through tunnels

What an update costs follows its size, not that of what is known.  A copy is cheap too, because it
shares the books and, until one of the two changes, the members of each set.
"""

from __future__ import annotations

from typing import TypeAlias, assert_never

from calc_graph.judge.endpoints import Hosts, Workloads
from calc_graph.judge.flow import Family
from calc_graph.judge.members import Members, empty_members, family_of
from calc_graph.judge.programs import Program
from calc_graph.judge.rules import RuleBook, mask_and_value
from calc_graph.judge.settings import JudgeSettings
from calc_graph.judge.tunnelled import Tunnelled
from calc_graph.judge.verdict import Direction, Hook
from calc_graph.model import EndpointKey, PolicyKey
from calc_graph.updates import (
    EncapUpdate,
    HostEndpointRemove,
    HostEndpointUpdate,
    HostRemove,
    HostUpdate,
    IpsecPeer,
    IpsecPeerRemove,
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

_Policing: TypeAlias = (
    PolicyUpdate
    | PolicyRemove
    | ProfileUpdate
    | ProfileRemove
    | WorkloadEndpointUpdate
    | WorkloadEndpointRemove
    | HostEndpointUpdate
    | HostEndpointRemove
)
_TierProgram: TypeAlias = tuple[EndpointKey | None, Hook, Direction, Family, int]
_ProfileProgram: TypeAlias = tuple[EndpointKey | None, Direction, Family, int]
_FAMILIES: tuple[Family, ...] = (4, 6)


class Known:
    def __init__(self, settings: JudgeSettings) -> None:
        self.policies: dict[PolicyKey, RuleBook | None] = {}  # None: staged, decides nothing
        self.encrypted: set[PolicyKey] = set()  # what they allow must be encrypted
        self.profiles: dict[str, RuleBook] = {}
        self.sets: dict[Family, dict[str, Members]] = {family: {} for family in _FAMILIES}
        self.workloads = Workloads(settings)
        self.hosts = Hosts(settings)
        self.tunnelled = Tunnelled(settings.ipsec)
        self.services: dict[Family, tuple[tuple[int, int], ...]] = {4: (), 6: ()}
        # made when they are first asked; whatever changes rules or who asks them throws them away
        self.tier_programs: dict[_TierProgram, Program] = {}
        self.profile_programs: dict[_ProfileProgram, Program] = {}
        self._settings = settings
        self._unshared: set[str] = set()  # sets that no copy has

    def copy(self) -> Known:
        other = Known(self._settings)
        other.policies = dict(self.policies)
        other.encrypted = set(self.encrypted)
        other.profiles = dict(self.profiles)
        other.sets = {family: dict(sets) for family, sets in self.sets.items()}
        other.workloads = self.workloads.copy()
        other.hosts = self.hosts.copy()
        other.tunnelled = self.tunnelled.copy()
        other.services = dict(self.services)
        self._unshared.clear()
        return other

    def update(self, update: Update) -> None:
        match update:
            case IpsetUpdate() | IpsetDelta() | IpsetRemove():
                self._update_set(update)
            case ServiceCidrsUpdate(cidrs):
                for family in _FAMILIES:
                    mine = (cidr for cidr in cidrs if family_of(cidr) == family)
                    self.services[family] = tuple(map(mask_and_value, mine))
            case HostUpdate() | HostRemove() | PoolUpdate() | PoolRemove():
                pass  # they are about address translation and routes
            case RouteUpdate() | RouteRemove():
                self.tunnelled.update(update)
            case VtepUpdate() | VtepRemove():
                pass
            case TunnelAddresses() | EncapUpdate():
                pass
            case WireguardEndpoint() | WireguardEndpointRemove():
                pass
            case IpsecPeer() | IpsecPeerRemove():
                pass
            case _:
                self._update_policing(update)
                self.tier_programs.clear()
                self.profile_programs.clear()

    def _update_policing(self, update: _Policing) -> None:
        match update:
            case PolicyUpdate(key, policy):
                self.policies[key] = None if key.staged else RuleBook(policy)
                (self.encrypted.add if policy.encrypted else self.encrypted.discard)(key)
            case PolicyRemove(key):
                self.policies.pop(key, None)
                self.encrypted.discard(key)
            case ProfileUpdate(name, profile):
                self.profiles[name] = RuleBook(profile)
            case ProfileRemove(name):
                self.profiles.pop(name, None)
            case WorkloadEndpointUpdate() | WorkloadEndpointRemove():
                self.workloads.update(update)
            case HostEndpointUpdate() | HostEndpointRemove():
                self.hosts.update(update)
            case _:
                assert_never(update)

    def _update_set(self, update: IpsetUpdate | IpsetDelta | IpsetRemove) -> None:
        for family, sets in self.sets.items():
            match update:
                case IpsetUpdate(id, type, members):
                    sets[id] = empty_members(type)
                    sets[id].add(m for m in members if family_of(m) == family)
                case IpsetDelta(id, added, removed):
                    if id not in self._unshared:
                        sets[id] = sets[id].copy()
                    sets[id].discard(m for m in removed if family_of(m) == family)
                    sets[id].add(m for m in added if family_of(m) == family)
                case IpsetRemove(id):
                    sets.pop(id, None)
                case _:
                    assert_never(update)
        if isinstance(update, IpsetRemove):
            self._unshared.discard(update.id)
        else:
            self._unshared.add(update.id)
