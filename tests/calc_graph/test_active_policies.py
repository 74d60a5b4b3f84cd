"""What matters on this node, and which matches are announced."""

from __future__ import annotations

import pytest

from calc_graph.active_policies import DENY_ALL, Activated, ActivePolicies, Deactivated
from calc_graph.model import EndpointKey, Policy, PolicyKey, Profile, ProfileKey, Rule
from calc_graph.model import HostEndpointKey as Host
from calc_graph.model import WorkloadEndpointKey as Workload

P = PolicyKey("GlobalNetworkPolicy", "", "p")
STAGED = PolicyKey("StagedGlobalNetworkPolicy", "", "p")
W, H = Workload("here", "k8s", "ns/w", "eth0"), Host("here", "h")
ALLOW = Profile((Rule("allow"),), (Rule("allow"),), {"a": "1"})


class Recorder:
    def __init__(self) -> None:
        self.pairs: set[tuple[PolicyKey, EndpointKey]] = set()
        self.active = ActivePolicies(self.started, self.stopped)

    def started(self, policy: PolicyKey, endpoint: EndpointKey) -> None:
        assert (policy, endpoint) not in self.pairs
        self.pairs.add((policy, endpoint))

    def stopped(self, policy: PolicyKey, endpoint: EndpointKey) -> None:
        self.pairs.remove((policy, endpoint))


POLICIES = [
    # policy                                      labels      active
    (Policy("t", "a == '1'"),                     {"a": "1"}, True),
    (Policy("t", "a == '1'"),                     {"a": "2"}, False),
    (Policy("t", "a == '1'", needed_everywhere=True), {},     True),
    (Policy("t", "all()", applies_ingress=False, applies_egress=False), {}, True),
    (Policy("missing tier", "all()", do_not_track=True), {},  True),
]  # fmt: skip


@pytest.mark.parametrize(("policy", "labels", "active"), POLICIES)
@pytest.mark.parametrize("key", [P, STAGED])
@pytest.mark.parametrize("endpoint", [W, H])
def test_active_is_what_matches_a_local_endpoint_or_is_needed_everywhere(
    policy: Policy, labels: dict[str, str], active: bool, key: PolicyKey, endpoint: EndpointKey
) -> None:
    found = Recorder()
    found.active.put_policy(key, policy)
    found.active.put_endpoint(endpoint, labels, ())
    assert found.active.flush() == [Activated(key, policy) if active else Deactivated(key)]


def test_policy_without_an_endpoint_is_not_active() -> None:
    found = Recorder()
    found.active.put_policy(P, Policy("t", "all()"))
    assert found.active.flush() == [Deactivated(P)]


def test_a_new_selector_changes_the_matches() -> None:
    found = Recorder()
    found.active.put_endpoint(W, {"a": "1"}, ())
    found.active.put_endpoint(H, {"a": "2"}, ())
    found.active.put_policy(P, Policy("t", "a == '1'"))
    assert found.pairs == {(P, W)}
    found.active.put_policy(P, Policy("t", "a == '2'"))
    assert found.pairs == {(P, H)}
    found.active.discard_policy(P)
    found.active.discard_policy(P)
    assert found.pairs == set()


def test_labels_of_a_profile_are_inherited() -> None:
    found = Recorder()
    found.active.put_policy(P, Policy("t", "a == '1'"))
    found.active.put_endpoint(W, {}, ("r",))
    assert found.pairs == set()
    found.active.put_profile("r", ALLOW)
    assert found.pairs == {(P, W)}
    found.active.discard_profile("r")
    assert found.pairs == set()


def test_a_missing_profile_denies() -> None:
    found = Recorder()
    found.active.put_endpoint(W, {}, ("r",))
    assert found.active.flush() == [Activated(ProfileKey("r"), DENY_ALL)]
    found.active.put_profile("r", ALLOW)
    found.active.put_profile("unused", ALLOW)
    assert found.active.flush() == [
        Activated(ProfileKey("r"), ALLOW),
        Deactivated(ProfileKey("unused")),
    ]
    found.active.discard_profile("r")
    assert found.active.flush() == [Activated(ProfileKey("r"), DENY_ALL)]
    found.active.put_endpoint(W, {}, ())
    assert found.active.flush() == [Deactivated(ProfileKey("r"))]


def test_a_profile_is_active_while_any_endpoint_names_it() -> None:
    found = Recorder()
    found.active.put_profile("r", ALLOW)
    found.active.put_endpoint(W, {}, ("r",))
    found.active.put_endpoint(H, {}, ("r",))
    found.active.discard_endpoint(W)
    assert found.active.flush() == [Activated(ProfileKey("r"), ALLOW)]
    found.active.discard_endpoint(H)
    assert found.active.flush() == [Deactivated(ProfileKey("r"))]
