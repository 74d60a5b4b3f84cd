"""The judge against the rules that the dataplane renders, read by an interpreter; and what it says
depends on the state, never on the path to it.

The kernel lane asks the kernel about the same with less variety.
"""

from __future__ import annotations

from ipaddress import ip_address
from random import Random
from typing import Any

import pytest
import structlog

from calc_graph.judge import Flow, HostInterface, HostView, Judge
from calc_graph.model import (
    HostEndpoint,
    HostEndpointKey,
    Icmp,
    NatMapping,
    PolicyKey,
    PortRange,
    Protocol,
    QosControls,
    TierAction,
    WorkloadEndpoint,
)
from calc_graph.updates import (
    ActivePolicy,
    ActiveProfile,
    ActiveRule,
    PeerMatch,
    TierPolicies,
)
from dataplane.families import Family
from dataplane.interfaces import Interface
from dataplane.settings import FailsafePort, RenderSettings, Settings
from felixpy.judging import judge_settings
from tests.calc_graph.rendered_tables import outcome
from tests.dataplane.desired.builders import gnp, staged, wep_key
from tests.dataplane.desired.test_path import State, updates_between
from tests.fakes.node import FakeNode

ADDRESSES = {
    4: ("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.8.0.1", "10.9.0.1", "10.96.0.1", "172.16.0.1",
        "9.9.9.9"),
    6: ("fd00::1", "fd00::2", "fd00::3", "fd08::1", "fd96::1", "fd16::1", "2001:db8::1"),
}  # fmt: skip
HOST_INTERFACES = {
    "eth0": ("172.16.0.1",),
    "eth1": ("172.16.0.2", "fd16::1"),
    "eth@9": (),
    "lo": (),
}
INTERFACES = ["cali1", "cali1a", "cali2", "calix", *HOST_INTERFACES]
SSH, DNS = FailsafePort("tcp", 22), FailsafePort("udp", 53)
WAYS = {
    "usual": Settings(
        "here",
        render=RenderSettings(failsafe_inbound=(SSH,), failsafe_outbound=(DNS,)),
        floating_ips=True,
        source_spoofing=True,
    ),
    "openstack": Settings(
        "here",
        render=RenderSettings(
            openstack=True,
            metadata_addr="172.16.0.1",
            metadata_port=80,
            filter_allow_action="RETURN",
            endpoint_to_host_action="RETURN",
            failsafe_inbound=(
                FailsafePort("tcp", 22, "9.9.9.0/24"),
                FailsafePort("udp", 53, "2001:db8::/64"),
            ),
            allow_ipip_from_workloads=True,
        ),
    ),
    "open": Settings(
        "here",
        render=RenderSettings(
            endpoint_to_host_action="ACCEPT",
            allow_vxlan_from_workloads=True,
            vxlan_port=80,
            service_loop_prevention="Disabled",
        ),
    ),
    "IPv4 only": Settings("here", ipv6=False, render=RenderSettings(filter_allow_action="RETURN")),
}


# ---------------------------------------------------------------- random nodes, close to each other

KEYS = [*map(gnp, "abcd"), staged("a"), PolicyKey("NetworkPolicy", "ns", "e")]
OWN = {
    "cali1": ("10.0.0.1", "fd00::1"),
    "cali1a": ("10.0.0.2", "fd00::2"),
    "cali2": ("10.0.0.3", "fd00::3"),
}
MEMBERS = {
    "s:one": ["10.0.0.1/32", "10.0.0.2/31", "172.16.0.0/16", "fd00::1/128", "fd16::/64"],
    "s:two": ["9.9.9.9/32", "10.8.0.0/13", "2001:db8::/32", "fd00::/64"],
    "n:http": ["10.0.0.1,tcp:80", "172.16.0.1,udp:53", "fd00::1,tcp:80", "9.9.9.9,tcp:22"],
}
PORTS = (22, 22, 53, 53, 67, 68, 80, 546, 547, 1000, 4789)


def random_state(rng: Random) -> State:
    policies = {key: ActivePolicy("t", "all()", *_two_lists(rng)) for key in KEYS}
    profiles = {name: ActiveProfile(*_two_lists(rng)) for name in "pq"}
    profiles["p"] = ActiveProfile((ActiveRule("allow"),), (ActiveRule("allow"),))
    ipsets = {name: frozenset(rng.sample(m, rng.randint(1, len(m)))) for name, m in MEMBERS.items()}
    workloads = {}
    for name, interface in zip("abcd", [*OWN, rng.choice([*OWN])], strict=True):
        if rng.random() < (0.9 if name != "d" else 0.15):
            workloads[wep_key(name)] = (_workload(rng, interface), _tiers(rng))
    hosts = {}
    for name, place, addresses in (
        ("h1", "eth0", ()),
        ("h2", "", ("172.16.0.1", "fd16::1")),
        ("h3", "*", ()),
    ):
        if rng.random() < 0.7:
            endpoint = HostEndpoint(place, addresses, profiles=tuple(rng.sample("pq", 1)))
            own, forward, pre_dnat, untracked = (_tiers(rng, 0.6) for _ in range(4))
            lists = (own, forward, pre_dnat, untracked)
            hosts[HostEndpointKey("here", name)] = (endpoint, lists)
    cidrs = rng.choice(((), ("10.96.0.0/12", "fd96::/112")))
    return State(workloads, hosts, policies, profiles, ipsets, cidrs=cidrs)


def _workload(rng: Random, interface: str) -> WorkloadEndpoint:
    claimed = rng.choice([*OWN]) if rng.random() < 0.1 else interface
    return WorkloadEndpoint(
        interface,
        tuple(f"{a}/{128 if ':' in a else 32}" for a in OWN[claimed]),
        profiles=tuple(rng.sample("pq", rng.randint(0, 2))),
        nats=(NatMapping("10.9.0.1", OWN[claimed][0]),) if rng.random() < 0.2 else (),
        spoofable_sources=("10.8.0.0/16", "fd08::/64") if rng.random() < 0.2 else (),
        qos=rng.choice((None,) * 8 + (QosControls(egress_packet_rate=10), QosControls(99999))),
        admin_up=rng.random() < 0.9,
    )


def _tiers(rng: Random, chance: float = 1) -> tuple[TierPolicies, ...]:
    actions: tuple[TierAction, ...] = ("Deny", "Pass")
    if rng.random() > chance:
        return ()
    return tuple(
        TierPolicies(
            name,
            rng.choice(actions),
            tuple(rng.sample(KEYS, rng.randint(0, 3))),
            tuple(rng.sample(KEYS, rng.randint(0, 3))),
        )
        for name in ("t", "u")[: rng.randint(0, 2)]
    )


def _two_lists(rng: Random) -> tuple[tuple[ActiveRule, ...], tuple[ActiveRule, ...]]:
    some = [tuple(_rule(rng) for _ in range(rng.randint(0, 3))) for _ in range(2)]
    return some[0], some[1]


def _rule(rng: Random) -> ActiveRule:
    actions: tuple[Any, ...] = ("allow", "deny", "pass", "log", "nonsense")
    action = rng.choices(actions, (50, 30, 15, 10, 1))[0]
    source, destination = (_peer(rng, ports=False) for _ in range(2))
    kind = rng.randint(0, 5)
    if kind == 0:
        icmp = Icmp(rng.choice((128, 135)))
        negated = rng.random() < 0.3
        return ActiveRule(
            action,
            protocol="icmpv6",
            icmp=None if negated else icmp,
            not_icmp=icmp if negated else None,
            source=source,
        )
    if kind <= 2:
        source, destination = (_peer(rng, ports=rng.random() < 0.5) for _ in range(2))
        protocol = rng.choice(("tcp", "udp"))
        return ActiveRule(action, protocol=protocol, source=source, destination=destination)
    protocols: tuple[Protocol | None, ...] = (None, None, "tcp", 17)
    excluded = rng.choice(protocols)
    versions: tuple[Family | None, ...] = (None, None, None, 4, 6)
    version = rng.choice(versions)
    return ActiveRule(action, version, None, excluded, source=source, destination=destination)


def _peer(rng: Random, *, ports: bool) -> PeerMatch:
    def now_and_then(*values: object) -> tuple:
        return tuple(rng.sample(values, rng.choice((1, 1, 2)))) if rng.random() < 0.15 else ()

    nets = ("10.0.0.0/30", "172.16.0.0/16", "fd00::/8", "10.8.0.0/13")
    ranges = (PortRange(1, 60), PortRange(22, 22), PortRange(80, 5000), PortRange(53, 53))
    return PeerMatch(
        nets=now_and_then(*nets),
        not_nets=now_and_then(*nets),
        ipsets=now_and_then("s:one", "s:two"),
        not_ipsets=now_and_then("s:one", "s:two"),
        named_port_ipsets=now_and_then("n:http", "n:http"),
        not_named_port_ipsets=now_and_then("n:http", "n:http"),
        ports=tuple(rng.sample(ranges, rng.randint(1, 2))) if ports else (),
        not_ports=now_and_then(*ranges) if ports else (),
    )


def random_flow(rng: Random) -> Flow:
    family = rng.choice((4, 4, 6))
    addresses = list(map(ip_address, ADDRESSES[family]))
    entering = rng.choice((None, None, "eth0", "eth0", "eth1", *INTERFACES))
    source = rng.choice(addresses)
    if entering in OWN and rng.random() < 0.8:
        source = ip_address(OWN[entering][family == 6])
    elif family == 4 and rng.random() < 0.1:
        source = ip_address("0.0.0.0")
    protocol = rng.choice((6, 6, 6, 17, 17, 17, 4, 58))
    with_ports, icmp = protocol in (6, 17), protocol == 58
    translated = with_ports and rng.random() < 0.2
    return Flow(
        source,
        rng.choice(addresses),
        protocol,
        source_port=rng.choice(PORTS) if with_ports else None,
        destination_port=rng.choice(PORTS) if with_ports else None,
        icmp_type=rng.choice((128, 134, 135)) if icmp else None,
        icmp_code=0 if icmp else None,
        in_interface=entering,
        out_interface=rng.choice((None, None, "eth0", "eth1", *INTERFACES)),
        established=rng.random() < 0.1,
        original_destination=rng.choice(addresses) if translated else None,
        original_port=rng.choice(PORTS) if translated else None,
        original_out_interface="eth0" if translated and entering is None else None,
    )


def there() -> list[Interface]:
    workloads = ("cali1", "cali1a", "cali1b", "cali2", "calix")
    named = {**dict.fromkeys(workloads, ()), **HOST_INTERFACES}
    return [
        Interface(name, number, True, frozenset(addresses), number)
        for number, (name, addresses) in enumerate(named.items(), 2)
    ]


VIEW = HostView({i.name: HostInterface(i.index, i.addresses) for i in there()})


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", range(8))
def test_the_judge_does_what_the_rendered_rules_do(way: str, seed: int) -> None:
    rng = Random(f"{way} {seed}")
    node, judge = FakeNode(WAYS[way]), Judge(judge_settings(WAYS[way]))
    updates = list(updates_between(State(), random_state(rng)))
    with structlog.testing.capture_logs():
        node.has(*there())
        node.desire(*updates)
        node.resolve()
    judge.update(updates)
    for _ in range(150):
        flow = random_flow(rng)
        verdict = judge.judge(flow, VIEW)
        allowed, final = outcome(node, flow)
        assert verdict.allowed == allowed, (flow, verdict)
        assert verdict.final == (final or not allowed), (flow, verdict)
        assert verdict.decision in verdict.path


@pytest.mark.parametrize("seed", range(8))
def test_a_verdict_depends_on_the_state_not_on_the_path(seed: int) -> None:
    """Nor on what was asked before, nor on what a fork was told."""
    rng = Random(seed)
    flows = [random_flow(rng) for _ in range(60)]
    judge, fresh = (Judge(judge_settings(WAYS["usual"])) for _ in range(2))
    before = State()
    for state in [random_state(rng) for _ in range(3)]:
        for flow in flows:
            judge.judge(flow, VIEW)
        guess, judge = judge, judge.fork()
        other = judge.fork()
        guess.update(updates_between(before, State()))
        judge.update(updates_between(before, state))
        other.update(updates_between(before, random_state(rng)))
        before = state
    fresh.update(updates_between(State(), before))
    for flow in flows:
        assert judge.judge(flow, VIEW) == fresh.judge(flow, VIEW)
