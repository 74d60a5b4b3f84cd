"""What people are told."""

from __future__ import annotations

import pytest

from calc_graph.judge import Hook, Reason, Step
from calc_graph.model import (
    FelixConfigurationKey,
    HostEndpointKey,
    Icmp,
    NetworkSetKey,
    PolicyKey,
    PortRange,
    ProfileKey,
    TierKey,
)
from calc_graph.updates import ActiveRule, PeerMatch
from felixpy.lockout import words
from felixpy.lockout.resources import MACHINE, GuardedKey, identify

RULES = [
    (ActiveRule("deny"), "deny"),
    (ActiveRule("deny", protocol="tcp", destination=PeerMatch(ports=(PortRange(22, 22),
     PortRange(80, 90)))), "deny tcp to ports 22,80-90"),
    (ActiveRule("allow", ip_version=6, protocol="icmpv6", icmp=Icmp(135, 0)),
     "allow IPv6 icmpv6 type 135 code 0"),
    (ActiveRule("pass", not_protocol=17, not_icmp=Icmp(8)), "pass not 17 not type 8"),
    (ActiveRule("allow", source=PeerMatch(nets=("10.0.0.0/8", "fd00::/8"), ipsets=("s:a",),
     ip_port_ipsets=("svc",))), "allow from 10.0.0.0/8,fd00::/8 set s:a,svc"),
    (ActiveRule("deny", source=PeerMatch(not_nets=("10.0.0.0/8",), not_ipsets=("s:a",),
     not_ports=(PortRange(1, 9),)), destination=PeerMatch(named_port_ipsets=("n:ssh",),
     not_named_port_ipsets=("n:web",))),
     "deny from not 10.0.0.0/8 not set s:a not ports 1-9 to named ports n:ssh"
     " not named ports n:web"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "text"), RULES)
def test_rules(rule: ActiveRule, text: str) -> None:
    assert words.render_rule(rule) == text


POLICY = PolicyKey("NetworkPolicy", "shop", "web")
KEYS: list[tuple[GuardedKey, str, str]] = [
    (POLICY, "NetworkPolicy shop/web", "NetworkPolicy/shop/web"),
    (TierKey("t"), "Tier t", "Tier/t"),
    (ProfileKey("p"), "Profile p", "Profile/p"),
    (HostEndpointKey("n1", "h"), "HostEndpoint h", "HostEndpoint/h"),
    (NetworkSetKey("s"), "GlobalNetworkSet s", "GlobalNetworkSet/s"),
    (NetworkSetKey("shop/s"), "NetworkSet shop/s", "NetworkSet/shop/s"),
    (FelixConfigurationKey("default"), "FelixConfiguration default", "FelixConfiguration/default"),
    (MACHINE, "Configuration of this machine", "Configuration/machine"),
]


@pytest.mark.parametrize(("key", "text", "typed"), KEYS)
def test_resources(key: GuardedKey, text: str, typed: str) -> None:
    assert (words.render_key(key), identify(key)) == (text, typed)


def step(reason: Reason, **more: object) -> Step:
    return Step(Hook.INPUT, "eth0", "ingress", "deny", reason, **more)  # type: ignore[arg-type]


PLACES = [
    (step(Reason.POLICY, policy=POLICY, tier="t", rule_index=2, rule=ActiveRule("deny")),
     "NetworkPolicy shop/web of tier t, spec.ingress[2]: deny"),
    (step(Reason.IN_CLEAR, policy=POLICY, tier="t", rule_index=0, rule=ActiveRule("allow")),
     "NetworkPolicy shop/web of tier t, spec.ingress[0]: allow; it must be encrypted, and is not"
     " where it comes in or leaves"),
    (step(Reason.UNENFORCEABLE, policy=POLICY, tier="t"),
     "NetworkPolicy shop/web of tier t: a policy or profile that cannot be rendered drops"
     " everything"),
    (step(Reason.PROFILE, profile="p", rule_index=0, rule=ActiveRule("deny")),
     "Profile p, spec.ingress[0]: deny"),
    (step(Reason.TIER_END, tier="t"),
     "tier t, where no policy decides and the default action is Deny"),
    (step(Reason.NO_PROFILE), "no policy or profile allows it"),
]  # fmt: skip


@pytest.mark.parametrize(("where", "text"), PLACES)
def test_places(where: Step, text: str) -> None:
    assert words.render_place(where) == text
