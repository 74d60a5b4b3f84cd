"""The policies of each local endpoint: by tier, in order, sorted by the hook they belong to.

    in   local endpoints, policies, tiers
         match_started(), match_stopped()   from active_policies
    out  WorkloadEndpointUpdate, HostEndpointUpdate, EndpointGone
                                            where anything may have changed

Tiers that exist go by order, without one last, then by name; then come tiers that policies name but
nobody has made, which deny at their end.  Policies of a tier go by order, without one last, then by
"name/namespace/kind".  A policy goes to one of four lists, and with apply_on_forward to two:

    do_not_track -> untracked     pre_dnat -> pre_dnat, ingress only     else -> tiers (and forward)

Of a workload only `tiers` are of use; the other lists belong to the interfaces of hosts.
Source: sections 4.7 and 4.8 of the reference; projectcalico/calico felix/calc/policy_sorter.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import TypeAlias

from msgspec import Struct

from calc_graph.model import (
    EndpointKey,
    HostEndpoint,
    HostEndpointKey,
    Policy,
    PolicyKey,
    Tier,
    TierAction,
    WorkloadEndpoint,
    WorkloadEndpointKey,
)
from calc_graph.multimap import Multimap
from calc_graph.updates import HostEndpointUpdate, TierPolicies, WorkloadEndpointUpdate

_Order: TypeAlias = tuple[bool, float]
_PolicyRank: TypeAlias = tuple[_Order, str]
_TierRank: TypeAlias = tuple[bool, _Order, str]
_Rank: TypeAlias = tuple[_TierRank, _PolicyRank]


class EndpointGone(Struct, frozen=True):
    """Perhaps it never was there."""

    key: EndpointKey


Resolved: TypeAlias = WorkloadEndpointUpdate | HostEndpointUpdate | EndpointGone


class PolicyMetadata(Struct, frozen=True):
    """All of a policy that matters here; a change of anything else is none."""

    tier: str
    rank: _PolicyRank
    ingress: bool
    egress: bool
    do_not_track: bool
    pre_dnat: bool
    apply_on_forward: bool


class _Lists(Struct, frozen=True):
    tiers: tuple[TierPolicies, ...] = ()
    forward: tuple[TierPolicies, ...] = ()
    pre_dnat: tuple[TierPolicies, ...] = ()
    untracked: tuple[TierPolicies, ...] = ()


class PolicyResolver:
    def __init__(self) -> None:
        self._endpoints: dict[EndpointKey, WorkloadEndpoint | HostEndpoint] = {}
        self._policies: dict[PolicyKey, PolicyMetadata] = {}
        self._tiers: dict[str, Tier] = {}
        self._policies_in: Multimap[str, PolicyKey] = Multimap()  # by tier
        self._policies_of: Multimap[EndpointKey, PolicyKey] = Multimap()
        self._endpoints_of: Multimap[PolicyKey, EndpointKey] = Multimap()
        self._dirty: set[EndpointKey] = set()

    # ------------------------------------------------------------ in

    def put_endpoint(self, key: EndpointKey, endpoint: WorkloadEndpoint | HostEndpoint) -> None:
        self._endpoints[key] = endpoint
        self._dirty.add(key)

    def discard_endpoint(self, key: EndpointKey) -> None:
        if self._endpoints.pop(key, None) is not None:
            self._dirty.add(key)

    def match_started(self, policy: PolicyKey, endpoint: EndpointKey) -> None:
        self._policies_of.add(endpoint, policy)
        self._endpoints_of.add(policy, endpoint)
        self._dirty.add(endpoint)

    def match_stopped(self, policy: PolicyKey, endpoint: EndpointKey) -> None:
        self._policies_of.discard(endpoint, policy)
        self._endpoints_of.discard(policy, endpoint)
        self._dirty.add(endpoint)

    def put_policy(self, key: PolicyKey, policy: Policy) -> None:
        new = _metadata(key, policy)
        old = self._policies.get(key)
        if new == old:
            return
        if old is not None:
            self._policies_in.discard(old.tier, key)
        self._policies_in.add(new.tier, key)
        self._policies[key] = new
        self._dirty |= self._endpoints_of.get(key)

    def discard_policy(self, key: PolicyKey) -> None:
        old = self._policies.pop(key, None)
        if old is not None:
            self._policies_in.discard(old.tier, key)
            self._dirty |= self._endpoints_of.get(key)

    def put_tier(self, name: str, tier: Tier) -> None:
        if self._tiers.get(name) != tier:
            self._tiers[name] = tier
            self._touch_tier(name)

    def discard_tier(self, name: str) -> None:
        if self._tiers.pop(name, None) is not None:
            self._touch_tier(name)

    def _touch_tier(self, name: str) -> None:
        for policy in self._policies_in.get(name):
            self._dirty |= self._endpoints_of.get(policy)

    # ------------------------------------------------------------ out

    def flush(self) -> list[Resolved]:
        """In no particular order."""
        # Endpoints with the same policies, as replicas have, are resolved once.
        known: dict[frozenset[PolicyKey], _Lists] = {}
        found = [self._resolve(key, known) for key in self._dirty]
        self._dirty = set()
        return found

    def _resolve(self, key: EndpointKey, known: dict[frozenset[PolicyKey], _Lists]) -> Resolved:
        endpoint = self._endpoints.get(key)
        if endpoint is None:
            return EndpointGone(key)
        matched = frozenset(self._policies_of.get(key))
        lists = known.get(matched)
        if lists is None:
            lists = known[matched] = self._lists(matched)
        if isinstance(key, HostEndpointKey) and isinstance(endpoint, HostEndpoint):
            return HostEndpointUpdate(
                key, endpoint, lists.tiers, lists.forward, lists.pre_dnat, lists.untracked
            )
        assert isinstance(key, WorkloadEndpointKey)
        assert isinstance(endpoint, WorkloadEndpoint)
        return WorkloadEndpointUpdate(key, endpoint, lists.tiers)

    def _lists(self, matched: Iterable[PolicyKey]) -> _Lists:
        ranked = sorted((self._rank(key), key) for key in matched)
        entries = [(key, self._policies[key]) for _, key in ranked]
        return _Lists(
            tiers=self._split(entries, lambda p: not p.do_not_track and not p.pre_dnat),
            forward=self._split(
                entries, lambda p: not p.do_not_track and not p.pre_dnat and p.apply_on_forward
            ),
            pre_dnat=self._split(
                entries,
                lambda p: p.pre_dnat and not p.do_not_track,
                default_action="Pass",
                egress=False,
            ),
            untracked=self._split(entries, lambda p: p.do_not_track, default_action="Pass"),
        )

    def _rank(self, key: PolicyKey) -> _Rank:
        policy = self._policies[key]
        tier = self._tiers.get(policy.tier)
        order = _order(None if tier is None else tier.order)
        return (tier is None, order, policy.tier), policy.rank

    def _split(
        self,
        entries: Sequence[tuple[PolicyKey, PolicyMetadata]],
        wanted: Callable[[PolicyMetadata], bool],
        default_action: TierAction | None = None,
        *,
        egress: bool = True,
    ) -> tuple[TierPolicies, ...]:
        found: list[TierPolicies] = []
        chosen = [entry for entry in entries if wanted(entry[1])]
        for name, group in groupby(chosen, key=lambda entry: entry[1].tier):
            policies = list(group)
            into = tuple(key for key, policy in policies if policy.ingress)
            out = tuple(key for key, policy in policies if policy.egress and egress)
            if into or out:
                action = default_action or self._tiers.get(name, Tier()).default_action
                found.append(TierPolicies(name, action, into, out))
        return tuple(found)


def _metadata(key: PolicyKey, policy: Policy) -> PolicyMetadata:
    return PolicyMetadata(
        tier=policy.tier,
        rank=(_order(policy.order), f"{key.name}/{key.namespace}/{key.kind}"),
        ingress=policy.applies_ingress,
        egress=policy.applies_egress,
        do_not_track=policy.do_not_track,
        pre_dnat=policy.pre_dnat,
        apply_on_forward=policy.apply_on_forward,
    )


def _order(order: float | None) -> _Order:
    """Sorts None behind every number, infinity included."""
    return order is None, 0.0 if order is None else order
