"""Short words for the updates that the tests of this directory are made of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from calc_graph.model import (
    HostEndpoint,
    HostEndpointKey,
    NatMapping,
    PolicyKey,
    TierAction,
    WorkloadEndpoint,
    WorkloadEndpointKey,
)
from calc_graph.updates import (
    ActivePolicy,
    ActiveRule,
    HostEndpointRemove,
    HostEndpointUpdate,
    PeerMatch,
    PolicyUpdate,
    TierPolicies,
    WorkloadEndpointRemove,
    WorkloadEndpointUpdate,
)

ALLOW = ActiveRule(action="allow")
DENY = ActiveRule(action="deny")
MAC = "02:65:00:00:00:01"


def gnp(name: str) -> PolicyKey:
    return PolicyKey("GlobalNetworkPolicy", "", name)


def staged(name: str) -> PolicyKey:
    return PolicyKey("StagedGlobalNetworkPolicy", "", name)


def policy(
    key: PolicyKey | str, *rules: ActiveRule, selector: str = "all()", **more: Any
) -> PolicyUpdate:
    """With these rules in both directions."""
    key = gnp(key) if isinstance(key, str) else key
    return PolicyUpdate(key, ActivePolicy("default", selector, rules, rules, **more))


def from_set(set_id: str) -> ActiveRule:
    return ActiveRule(action="allow", source=PeerMatch(ipsets=(set_id,)))


def tier(
    *keys: PolicyKey | str, name: str = "default", default: TierAction = "Deny"
) -> TierPolicies:
    """Policies in both directions."""
    listed = tuple(gnp(key) if isinstance(key, str) else key for key in keys)
    return TierPolicies(name, default, listed, listed)


def wep_key(name: str, orchestrator: str = "k8s") -> WorkloadEndpointKey:
    return WorkloadEndpointKey("here", orchestrator, f"default/{name}", "eth0")


def wep(
    name: str,
    interface: str,
    *nets: str,
    tiers: Iterable[TierPolicies] = (),
    orchestrator: str = "k8s",
    nats: Iterable[tuple[str, str]] = (),
    **more: Any,
) -> WorkloadEndpointUpdate:
    """`nats` are pairs of an external and an internal address."""
    mappings = tuple(NatMapping(*pair) for pair in nats)
    endpoint = WorkloadEndpoint(interface, nets, nats=mappings, **more)
    return WorkloadEndpointUpdate(wep_key(name, orchestrator), endpoint, tuple(tiers))


def wep_gone(name: str, orchestrator: str = "k8s") -> WorkloadEndpointRemove:
    return WorkloadEndpointRemove(wep_key(name, orchestrator))


def hep(
    name: str,
    interface: str = "",
    *addresses: str,
    tiers: Iterable[TierPolicies] = (),
    forward: Iterable[TierPolicies] = (),
    pre_dnat: Iterable[TierPolicies] = (),
    untracked: Iterable[TierPolicies] = (),
    profiles: tuple[str, ...] = (),
) -> HostEndpointUpdate:
    endpoint = HostEndpoint(interface, addresses, profiles=profiles)
    lists = (tuple(tiers), tuple(forward), tuple(pre_dnat), tuple(untracked))
    return HostEndpointUpdate(HostEndpointKey("here", name), endpoint, *lists)


def hep_gone(name: str) -> HostEndpointRemove:
    return HostEndpointRemove(HostEndpointKey("here", name))
