"""What the drivers are asked for depends on the state, never on the path to it; and at no time does
a rule in force refer to what is not there.

    steps   states of a small cluster, full of collisions; the interfaces of the machine; moments
            at which what has gathered is handed over
    end     the same as from a fresh dataplane that is told the last state in one go
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TypeAlias, TypeVar

import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from calc_graph.model import (
    HostEndpoint,
    HostEndpointKey,
    IpPool,
    NatMapping,
    PolicyKey,
    PortRange,
    QosControls,
    WorkloadEndpoint,
    WorkloadEndpointKey,
)
from calc_graph.updates import (
    ActivePolicy,
    ActiveProfile,
    ActiveRule,
    HostEndpointRemove,
    HostEndpointUpdate,
    HostRemove,
    HostUpdate,
    IpsetDelta,
    IpsetRemove,
    IpsetType,
    IpsetUpdate,
    PeerMatch,
    PolicyRemove,
    PolicyUpdate,
    PoolRemove,
    PoolUpdate,
    ProfileRemove,
    ProfileUpdate,
    ServiceCidrsUpdate,
    TierPolicies,
    Update,
    WorkloadEndpointRemove,
    WorkloadEndpointUpdate,
)
from dataplane.interfaces import Interface
from dataplane.settings import FailsafePort, RenderSettings, Settings
from tests.dataplane.desired.builders import gnp, staged, wep_key
from tests.fakes.node import FakeNode

K = TypeVar("K")
V = TypeVar("V")

# ---------------------------------------------------------------- a small world

SET_IDS = ["s:one", "s:two", "n:http"]
MEMBERS = {
    "s:one": ["10.0.0.1/32", "10.1.0.0/16", "fd00::1/128"],
    "s:two": ["10.0.0.1/32", "fd00::/64"],
    "n:http": ["10.0.0.1,tcp:80", "fd00::1,tcp:80"],
}
TYPES = {"s:one": IpsetType.NET, "s:two": IpsetType.NET, "n:http": IpsetType.IP_PORT}
POLICY_KEYS = [gnp("a"), gnp("b"), gnp("c"), staged("a"), PolicyKey("NetworkPolicy", "ns", "d")]
PROFILES = ["p", "q"]
WORKLOAD_INTERFACES = ["cali1", "cali1a", "cali1b", "cali2"]
HOST_INTERFACES = ["eth0", "eth1"]
HOST_ADDRESSES = ["172.16.0.1", "172.16.0.2", "fd16::1"]
NODE = Settings(
    "here",
    render=RenderSettings(
        nat_outgoing_exclude_hosts=True, failsafe_inbound=(FailsafePort("tcp", 22),)
    ),
    source_spoofing=True,
    floating_ips=True,
    external_node_cidrs=("192.168.0.0/24", "fd99::/64"),
)


def tuples(elements: st.SearchStrategy[V], most: int) -> st.SearchStrategy[tuple[V, ...]]:
    return st.lists(elements, max_size=most, unique=True).map(tuple)


def few(keys: list[K], values: st.SearchStrategy[V]) -> st.SearchStrategy[dict[K, V]]:
    return st.dictionaries(st.sampled_from(keys), values, max_size=len(keys))


rules = st.builds(
    ActiveRule,
    action=st.sampled_from(["allow", "deny", "pass", "log", "nonsense"]),
    protocol=st.just("tcp"),
    source=st.one_of(
        st.just(PeerMatch()),
        st.sampled_from(SET_IDS[:2]).map(lambda name: PeerMatch(ipsets=(name,))),
        st.just(PeerMatch(nets=("10.0.0.0/8", "fd00::/8"), ports=(PortRange(80, 80),))),
        st.just(PeerMatch(named_port_ipsets=("n:http",))),
    ),
)
rule_lists = tuples(rules, 2)
policies = st.builds(
    ActivePolicy,
    tier=st.just("default"),
    selector=st.sampled_from(["all()", "a == '1'"]),
    ingress=rule_lists,
    egress=rule_lists,
    needed_everywhere=st.booleans(),
    encrypted=st.booleans(),
)
keys = tuples(st.sampled_from(POLICY_KEYS), 4)
tiers = tuples(
    st.builds(
        TierPolicies,
        name=st.sampled_from(["default", "second"]),
        default_action=st.sampled_from(["Deny", "Pass"]),
        ingress=keys,
        egress=keys,
    ),
    2,
)
profile_names = tuples(st.sampled_from(PROFILES), 2)
workload_values = st.builds(
    WorkloadEndpoint,
    interface=st.sampled_from([*WORKLOAD_INTERFACES, "no interface"]),
    nets=tuples(st.sampled_from(["10.0.0.1/32", "10.0.0.2/32", "fd00::1/128"]), 2),
    profiles=profile_names,
    mac=st.sampled_from(["", "02:00:00:00:00:01", "02:00:00:00:00:02"]),
    nats=tuples(
        st.builds(NatMapping, st.sampled_from(["10.9.0.1", "10.9.0.2"]), st.just("10.0.0.1")), 2
    ),
    spoofable_sources=tuples(st.sampled_from(["10.8.0.0/16", "fd08::/64"]), 2),
    qos=st.sampled_from([None, QosControls(egress_packet_rate=10), QosControls(99999)]),
    admin_up=st.booleans(),
)
host_values = st.builds(
    HostEndpoint,
    interface=st.sampled_from(["", "*", *HOST_INTERFACES, "cali1", "eth@9"]),
    expected_ips=tuples(st.sampled_from(HOST_ADDRESSES), 2),
    profiles=profile_names,
)
pools = st.builds(
    IpPool,
    cidr=st.just(""),
    nat_outgoing=st.booleans(),
    allowed_uses=st.sampled_from([(), ("LoadBalancer",), ("Workload", "LoadBalancer")]),
)


Tiers: TypeAlias = tuple[TierPolicies, ...]
Lists: TypeAlias = tuple[Tiers, Tiers, Tiers, Tiers]


class State(Struct):
    """What the datastore comes to, as far as this node is concerned."""

    workloads: dict[WorkloadEndpointKey, tuple[WorkloadEndpoint, tuple[TierPolicies, ...]]] = {}
    hosts: dict[HostEndpointKey, tuple[HostEndpoint, Lists]] = {}
    policies: dict[PolicyKey, ActivePolicy] = {}
    profiles: dict[str, ActiveProfile] = {}
    ipsets: dict[str, frozenset[str]] = {}
    nodes: dict[str, tuple[str, str]] = {}
    pools: dict[str, IpPool] = {}
    cidrs: tuple[str, ...] = ()


@st.composite
def states(draw: st.DrawFn) -> State:
    workloads = draw(few([wep_key(n) for n in "abc"], st.tuples(workload_values, tiers)))
    lists = st.tuples(tiers, tiers, tiers, tiers)
    names = [HostEndpointKey("here", name) for name in ("h1", "h2", "h3")]
    hosts = draw(few(names, st.tuples(host_values, lists)))
    used = {k for _, listed in workloads.values() for t in listed for k in _keys(t)}
    used |= {k for _, many in hosts.values() for listed in many for t in listed for k in _keys(t)}
    used |= draw(st.sets(st.sampled_from(POLICY_KEYS), max_size=1))
    active = {key: draw(policies) for key in sorted(used)}
    profiles = {n for e, _ in workloads.values() for n in e.profiles}
    profiles |= {n for e, _ in hosts.values() for n in e.profiles}
    spoken = {name: ActiveProfile(draw(rule_lists), draw(rule_lists)) for name in sorted(profiles)}
    asked = {s for p in active.values() for s in _sets(p)}
    asked |= {s for p in spoken.values() for s in _sets(p)}
    ipsets = {s: draw(st.sets(st.sampled_from(MEMBERS[s])).map(frozenset)) for s in sorted(asked)}
    return State(
        workloads,
        hosts,
        active,
        spoken,
        ipsets,
        draw(few(["n1", "n2"], st.tuples(st.sampled_from(["10.2.0.1", ""]), st.just("fd02::1")))),
        draw(few(["10.0.0.0/16", "10.3.0.0/16", "fd00::/64"], pools)),
        draw(st.sampled_from([(), ("10.96.0.0/12", "fd96::/112")])),
    )


def _keys(listed: TierPolicies) -> Iterator[PolicyKey]:
    yield from (*listed.ingress, *listed.egress)


def _sets(of: ActivePolicy | ActiveProfile) -> Iterator[str]:
    for rule in (*of.ingress, *of.egress):
        yield from (*rule.source.ipsets, *rule.source.named_port_ipsets)


def updates_between(old: State, new: State) -> Iterator[Update]:
    """In the order that `calc_graph.updates` promises."""
    for set_id, members in new.ipsets.items():
        before = old.ipsets.get(set_id)
        if before is None:
            yield IpsetUpdate(set_id, TYPES[set_id], members)
        elif before != members:
            yield IpsetDelta(set_id, members - before, before - members)
    for key, policy in _changed(old.policies, new.policies):
        yield PolicyUpdate(key, policy)
    for name, profile in _changed(old.profiles, new.profiles):
        yield ProfileUpdate(name, profile)
    for wep, (workload, listed) in _changed(old.workloads, new.workloads):
        yield WorkloadEndpointUpdate(wep, workload, listed)
    for hep, (host, lists) in _changed(old.hosts, new.hosts):
        yield HostEndpointUpdate(hep, host, *lists)
    yield from (WorkloadEndpointRemove(k) for k in old.workloads if k not in new.workloads)
    yield from (HostEndpointRemove(k) for k in old.hosts if k not in new.hosts)
    yield from (ProfileRemove(name) for name in old.profiles if name not in new.profiles)
    yield from (PolicyRemove(key) for key in old.policies if key not in new.policies)
    yield from (IpsetRemove(set_id) for set_id in old.ipsets if set_id not in new.ipsets)
    for name, (ipv4, ipv6) in _changed(old.nodes, new.nodes):
        yield HostUpdate(name, ipv4, ipv6)
    yield from (HostRemove(name) for name in old.nodes if name not in new.nodes)
    for cidr, pool in _changed(old.pools, new.pools):
        yield PoolUpdate(IpPool(cidr, pool.nat_outgoing, allowed_uses=pool.allowed_uses))
    yield from (PoolRemove(cidr) for cidr in old.pools if cidr not in new.pools)
    if old.cidrs != new.cidrs:
        yield ServiceCidrsUpdate(new.cidrs)


def _changed(old: dict[K, V], new: dict[K, V]) -> Iterator[tuple[K, V]]:
    return ((key, value) for key, value in new.items() if old.get(key) != value)


# ---------------------------------------------------------------- paths

interfaces = st.tuples(
    st.sampled_from([*WORKLOAD_INTERFACES, *HOST_INTERFACES, "eth@9", "lo"]),
    tuples(st.sampled_from(HOST_ADDRESSES), 2),
    st.sampled_from(["comes", "comes", "changes", "goes"]),
)
steps = st.lists(
    st.one_of(states(), interfaces, interfaces, st.just("resolve")), min_size=1, max_size=8
)


def play(
    node: FakeNode, path: list[State | tuple[str, tuple[str, ...], str] | str]
) -> tuple[State, dict[str, Interface]]:
    state = State()
    there: dict[str, Interface] = {}
    numbers = itertools.count(2)
    for step in path:
        if isinstance(step, State):
            node.desire(*updates_between(state, step))
            state = step
        elif isinstance(step, str):
            node.resolve()
        else:
            name, addresses, what = step
            if what == "goes":
                if there.pop(name, None):
                    node.has(name)
                continue
            number = there[name].index if what == "changes" and name in there else next(numbers)
            seen = frozenset() if name.startswith("cali") else frozenset(addresses)
            there[name] = Interface(name, number, True, seen, number)
            node.has(there[name])
    node.resolve()
    return state, there


@settings(max_examples=40, deadline=None)
@given(steps, st.booleans())
def test_what_is_asked_for_depends_on_the_state_not_on_the_path(path, interfaces_first) -> None:
    with structlog.testing.capture_logs():
        node, fresh = FakeNode(NODE), FakeNode(NODE)
        state, there = play(node, path)
        if interfaces_first:
            fresh.has(*there.values())
        fresh.desire(*updates_between(State(), state))
        if not interfaces_first:
            fresh.has(*there.values())
        fresh.resolve()
    assert node.state() == fresh.state()
    assert node.problems == fresh.problems
    assert node.dataplane.summary() == fresh.dataplane.summary()


@settings(max_examples=20, deadline=None)
@given(steps)
def test_a_way_there_and_back_leaves_nothing(path) -> None:
    with structlog.testing.capture_logs():
        node, empty = FakeNode(NODE), FakeNode(NODE)
        state, there = play(node, path)
        node.desire(*updates_between(state, State()))
        node.has(*there)
        node.resolve()
        empty.resolve()
    assert node.state() == empty.state()
    assert node.problems == {}
