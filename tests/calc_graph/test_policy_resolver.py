"""Tiers of an endpoint: order, lists, and when an endpoint is told again."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from calc_graph.model import (
    HostEndpoint,
    HostEndpointKey,
    Policy,
    PolicyKey,
    Tier,
    WorkloadEndpoint,
    WorkloadEndpointKey,
)
from calc_graph.policy_resolver import EndpointGone, PolicyResolver
from calc_graph.updates import HostEndpointUpdate, TierPolicies, WorkloadEndpointUpdate

WORKLOAD = WorkloadEndpointKey("here", "k8s", "ns/w", "eth0")
HOST = HostEndpointKey("here", "eth0")


def gnp(name: str, kind: str = "GlobalNetworkPolicy") -> PolicyKey:
    return PolicyKey(kind, "", name)


def np(namespace: str, name: str) -> PolicyKey:
    return PolicyKey("NetworkPolicy", namespace, name)


def resolver(
    policies: dict[PolicyKey, Policy], tiers: dict[str, Tier] | None = None
) -> PolicyResolver:
    found = PolicyResolver()
    found.put_endpoint(WORKLOAD, WorkloadEndpoint("cali1", ()))
    found.put_endpoint(HOST, HostEndpoint("eth0"))
    for name, tier in (tiers or {}).items():
        found.put_tier(name, tier)
    for key, policy in policies.items():
        found.put_policy(key, policy)
        found.match_started(key, WORKLOAD)
        found.match_started(key, HOST)
    return found


def flushed(found: PolicyResolver) -> tuple[WorkloadEndpointUpdate, HostEndpointUpdate]:
    by_key = {update.key: update for update in found.flush()}
    workload, host = by_key[WORKLOAD], by_key[HOST]
    assert isinstance(workload, WorkloadEndpointUpdate)
    assert isinstance(host, HostEndpointUpdate)
    return workload, host


def test_policies_go_by_order_then_by_name_namespace_and_kind() -> None:
    ordered = [
        (gnp("c"), -3.0),
        (gnp("a"), 5.0),
        (gnp("b-x"), None),
        (gnp("b"), None),
        (gnp("b", "StagedGlobalNetworkPolicy"), None),
        (np("dev", "b"), None),
        (np("prod", "b"), None),
    ]
    policies = {key: Policy("default", "all()", order) for key, order in reversed(ordered)}
    workload, _ = flushed(resolver(policies))
    assert workload.tiers[0].ingress == tuple(key for key, _ in ordered)


def test_tiers_go_by_order_then_by_name_and_missing_ones_come_last() -> None:
    tiers = {
        "nil": Tier(None),
        "default": Tier(1000000.0),
        "z": Tier(10.0),
        "a": Tier(10.0),
        "neg": Tier(-1.0, "Pass"),
    }
    ordered = ["neg", "a", "z", "default", "nil", "aa-missing", "missing"]
    policies = {gnp(name): Policy(name, "all()") for name in reversed(ordered)}
    workload, _ = flushed(resolver(policies, tiers))
    assert [tier.name for tier in workload.tiers] == ordered
    assert [tier.default_action for tier in workload.tiers] == ["Pass"] + ["Deny"] * 6


BOTH, IN, OUT = ("ingress", "egress"), ("ingress",), ("egress",)
SPLIT = [
    # policy                                        normal  forward  pre-DNAT  untracked
    (Policy("t", ""),                               BOTH,   (),      (),       ()),
    (Policy("t", "", applies_egress=False),         IN,     (),      (),       ()),
    (Policy("t", "", applies_ingress=False),        OUT,    (),      (),       ()),
    (Policy("t", "", apply_on_forward=True),        BOTH,   BOTH,    (),       ()),
    (Policy("t", "", pre_dnat=True, apply_on_forward=True), (), (),  IN,       ()),
    (Policy("t", "", pre_dnat=True, applies_ingress=False), (), (),  (),       ()),
    (Policy("t", "", do_not_track=True, apply_on_forward=True), (), (), (),    BOTH),
    (Policy("t", "", do_not_track=True, pre_dnat=True), (), (),      (),       BOTH),
    (Policy("t", "", applies_ingress=False, applies_egress=False), (), (), (), ()),
]  # fmt: skip


@pytest.mark.parametrize(("policy", "normal", "forward", "pre_dnat", "untracked"), SPLIT)
def test_each_policy_goes_to_the_hooks_it_is_for(
    policy: Policy,
    normal: tuple[str, ...],
    forward: tuple[str, ...],
    pre_dnat: tuple[str, ...],
    untracked: tuple[str, ...],
) -> None:
    def tiers(directions: tuple[str, ...], action: str = "Deny") -> tuple[TierPolicies, ...]:
        if not directions:
            return ()
        into, out = ((gnp("p"),) if d in directions else () for d in BOTH)
        return (TierPolicies("t", action, into, out),)  # type: ignore[arg-type]

    workload, host = flushed(resolver({gnp("p"): policy}, {"t": Tier()}))
    assert workload.tiers == host.tiers == tiers(normal)
    assert host.forward == tiers(forward)
    assert host.pre_dnat == tiers(pre_dnat, "Pass")
    assert host.untracked == tiers(untracked, "Pass")


def test_only_what_the_order_depends_on_makes_an_endpoint_dirty() -> None:
    policy = Policy("t", "all()", 1.0)
    found = resolver({gnp("p"): policy}, {"t": Tier(1.0)})
    flushed(found)
    found.put_policy(gnp("p"), replace(policy, selector="has(a) || all()", needed_everywhere=True))
    found.put_tier("t", Tier(1.0))
    found.put_tier("unused", Tier(1.0))
    found.discard_tier("never-there")
    assert found.flush() == []
    found.put_policy(gnp("p"), replace(policy, order=2.0))
    assert len(found.flush()) == 2
    found.discard_tier("t")
    assert [update.tiers[0].default_action for update in flushed(found)] == ["Deny", "Deny"]


def test_a_tier_that_went_leaves_nothing_behind() -> None:
    found = resolver({gnp("p"): Policy("t", "all()")}, {"t": Tier(1.0, "Pass")})
    found.discard_tier("t")
    workload, _ = flushed(found)
    assert workload.tiers[0].default_action == "Deny"


def test_an_endpoint_that_went_is_gone() -> None:
    found = resolver({})
    flushed(found)
    found.discard_endpoint(WORKLOAD)
    found.discard_endpoint(WORKLOAD)
    assert found.flush() == [EndpointGone(WORKLOAD)]
