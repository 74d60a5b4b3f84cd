"""The whole graph: whatever the path, the end is what a fresh graph says, and no step breaks.

Beside the graph stands a plain interpretation of the state, written for clarity: nothing of the
graph's own but the parser of selectors.
"""

from __future__ import annotations

from ipaddress import ip_network
from random import Random
from typing import TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from calc_graph.bgp.resources import BgpConfiguration, BgpConfigurationKey
from calc_graph.graph import CalcGraph
from calc_graph.model import (
    Block,
    BlockKey,
    ClusterInformation,
    ClusterInformationKey,
    EndpointPort,
    HostEndpoint,
    HostEndpointKey,
    IpPool,
    IpPoolKey,
    Key,
    NetworkSet,
    NetworkSetKey,
    Node,
    NodeKey,
    Peer,
    Policy,
    PolicyKey,
    PortRange,
    Profile,
    ProfileKey,
    Protocol,
    Rule,
    Tier,
    TierAction,
    TierKey,
    Value,
    WorkloadEndpoint,
    WorkloadEndpointKey,
)
from calc_graph.selector import SelectorError, hashed_id, parse
from calc_graph.updates import HostEndpointUpdate, IpsetType, TierPolicies, WireguardEndpoint
from tests.calc_graph.replay import Replay

HOST = "here"
State: TypeAlias = dict[Key, Value]

# ---------------------------------------------------------------- a small world, full of collisions

SELECTORS = [
    "all()",
    "a == '1'",
    "a == '1' && b == '1'",
    "a in {'1', '2'} || has(c)",
    "a != '1'",
    "!has(b)",
    "pcns.team == 'x'",
    "has(pcns.team) && b starts with '1'",
    "a in {}",
]
NETS = ["10.0.0.0/8", "10.0.0.0/16", "10.0.0.1/32", "10.1.0.0/16", "0.0.0.0/0", "fd00::/8", "::/0"]

hosts = st.sampled_from([HOST, HOST, "there"])
labels = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["1", "2"]), max_size=3)
profile_names = st.sampled_from(["kns.p", "kns.q", "r"])
profiles = st.lists(profile_names, max_size=2, unique=True).map(tuple)
addresses = st.sampled_from(["10.0.0.1", "10.0.0.2", "10.1.0.1", "192.168.0.1", "fd00::1"])
ports = st.lists(
    st.builds(
        EndpointPort,
        name=st.sampled_from(["http", "dns"]),
        protocol=st.sampled_from(["tcp", "udp", 17]),
        port=st.sampled_from([53, 80]),
    ),
    max_size=2,
).map(tuple)
numbers = st.lists(st.builds(lambda n: PortRange(n, n + 1), st.sampled_from([1, 80])), max_size=1)
port_names = st.lists(st.sampled_from(["http", "dns"]), max_size=1).map(tuple)
peers = st.builds(
    Peer,
    selector=st.sampled_from(["", "", *SELECTORS]),
    not_selector=st.sampled_from(["", "", *SELECTORS]),
    ports=numbers.map(tuple),
    named_ports=port_names,
    not_named_ports=port_names,
    service=st.sampled_from(["", "", "", "p/web"]),
)
rules = st.builds(
    Rule,
    action=st.sampled_from(["allow", "deny", "pass", "log"]),
    protocol=st.sampled_from([None, "tcp", 17, "udp", "icmp"]),
    source=peers,
    destination=peers,
)
rule_lists = st.lists(rules, max_size=2).map(tuple)
orders = st.sampled_from([None, -1.0, 0.0, 10.0])
flags = st.sampled_from([False, False, True])


def nets_of(found: list[str]) -> tuple[str, ...]:
    return tuple(f"{net}/128" if ":" in net else f"{net}/32" for net in found)


workloads = st.builds(
    WorkloadEndpoint,
    interface=st.sampled_from(["cali1", "cali2"]),
    nets=st.lists(addresses, max_size=2, unique=True).map(nets_of),
    labels=labels,
    profiles=profiles,
    ports=ports,
)
host_endpoints = st.builds(
    HostEndpoint,
    interface=st.sampled_from(["*", "eth0"]),
    expected_ips=st.lists(addresses, max_size=2, unique=True).map(tuple),
    labels=labels,
    profiles=profiles,
    ports=ports,
)
policies = st.builds(
    Policy,
    tier=st.sampled_from(["default", "other", "lost"]),
    selector=st.sampled_from([*SELECTORS, "not a selector"]),
    order=orders,
    ingress=rule_lists,
    egress=rule_lists,
    applies_ingress=st.booleans(),
    applies_egress=st.booleans(),
    do_not_track=flags,
    pre_dnat=flags,
    apply_on_forward=st.booleans(),
    needed_everywhere=flags,
)
profile_values = st.builds(
    Profile,
    ingress=rule_lists,
    egress=rule_lists,
    labels=st.dictionaries(
        st.sampled_from(["pcns.team", "a", "b"]), st.sampled_from(["x", "1", "2"]), max_size=2
    ),
)
network_sets = st.builds(
    NetworkSet,
    nets=st.lists(st.sampled_from(NETS), max_size=3).map(tuple),
    labels=labels,
    profiles=profiles,
)
policy_keys = st.builds(
    lambda kind, name: PolicyKey(kind, "p" if kind == "NetworkPolicy" else "", name),
    st.sampled_from(["NetworkPolicy", "GlobalNetworkPolicy", "StagedGlobalNetworkPolicy"]),
    st.sampled_from(["b", "b-x", "c"]),
)
workload_keys = st.builds(
    WorkloadEndpointKey,
    host=hosts,
    orchestrator=st.just("k8s"),
    workload=st.sampled_from(["p/w1", "p/w2", "q/w3"]),
    endpoint=st.just("eth0"),
)


KEY = "A" * 42 + "E="


def pairs(
    keys: st.SearchStrategy[Key], values: st.SearchStrategy[Value]
) -> st.SearchStrategy[tuple[Key, Value | None]]:
    return st.tuples(keys, st.one_of(values, values, values, st.none()))


updates = st.one_of(
    pairs(workload_keys, workloads),
    pairs(workload_keys, workloads),
    pairs(st.builds(HostEndpointKey, hosts, st.sampled_from(["h1", "h2"])), host_endpoints),
    pairs(policy_keys, policies),
    pairs(policy_keys, policies),
    pairs(st.builds(ProfileKey, profile_names), profile_values),
    pairs(
        st.builds(TierKey, st.sampled_from(["default", "other"])),
        st.builds(Tier, order=orders, default_action=st.sampled_from(["Deny", "Pass"])),
    ),
    pairs(st.builds(NetworkSetKey, st.sampled_from(["n1", "p/n2"])), network_sets),
    pairs(
        st.builds(IpPoolKey, st.sampled_from(["p1", "p2", "p3"])),
        st.builds(
            IpPool,
            st.sampled_from(["10.0.0.0/16", "10.1.0.0/16"]),
            st.booleans(),
            ipip_mode=st.sampled_from(["never", "always"]),
            vxlan_mode=st.sampled_from(["never", "cross-subnet"]),
        ),
    ),
    pairs(
        st.builds(NodeKey, st.sampled_from([HOST, "there"])),
        st.builds(
            Node,
            ipv4=st.sampled_from(["", "1.1.1.1/24"]),
            ipv6=st.sampled_from(["", "f::1/64"]),
            bgp_ipv4=st.sampled_from(["", "1.1.1.1/24", "1.1.1.2/24"]),
            vxlan_address=st.sampled_from(["", "10.0.0.2", "10.0.0.3"]),
            ipip_address=st.sampled_from(["", "10.0.0.2"]),
            wireguard_key=st.sampled_from(["", KEY, "no key"]),
            wireguard_key_v6=st.sampled_from(["", KEY]),
        ),
    ),
    pairs(
        st.builds(BlockKey, st.sampled_from(["10.0.0.0/26", "10.0.0.0/28", "10.0.0.1/32"])),
        st.builds(
            Block,
            host=st.sampled_from(["", HOST, "there"]),
            others=st.sampled_from([(), (("10.0.0.1/32", HOST),), (("10.0.0.2/32", "there"),)]),
        ),
    ),
    pairs(
        st.builds(BgpConfigurationKey, st.sampled_from(["default", "node.here"])),
        st.builds(BgpConfiguration, st.sampled_from([(), ("10.96.0.0/12",)])),
    ),
    pairs(st.just(ClusterInformationKey("default")), st.just(ClusterInformation({}))),
)


class Flush(Struct, frozen=True):
    pass


class InSync(Struct, frozen=True):
    pass


Step: TypeAlias = tuple[Key, Value | None] | Flush | InSync


def everything_watched() -> list[Step]:
    """A policy that needs every selector's set, so that each later step has something to move."""
    watching = tuple(Rule("allow", destination=Peer(selector=text)) for text in SELECTORS)
    named = (
        Rule("allow", protocol="udp", destination=Peer(named_ports=("dns",))),
        Rule("allow", source=Peer(selector="a == '1'", named_ports=("http",))),
    )
    policy = Policy("default", "all()", egress=watching + named, needed_everywhere=True)
    return [(PolicyKey("GlobalNetworkPolicy", "", "watch"), policy), InSync()]


# The lower bound is for the average: without it most paths have five steps, and little collides.
steps = st.builds(
    lambda start, then: start + then,
    st.sampled_from([[], everything_watched(), everything_watched()]),
    st.lists(
        st.one_of(updates, updates, updates, st.just(Flush()), st.just(InSync())),
        min_size=20,
        max_size=60,
    ),
)

# ---------------------------------------------------------------- the plain interpretation


def all_labels(state: State, value: WorkloadEndpoint | HostEndpoint | NetworkSet) -> dict[str, str]:
    found = dict(value.labels)
    for name in value.profiles:
        profile = state.get(ProfileKey(name))
        if isinstance(profile, Profile):
            found = profile.labels | found
    return found


def addresses_of(value: WorkloadEndpoint | HostEndpoint) -> tuple[str, ...]:
    if isinstance(value, WorkloadEndpoint):
        return tuple(net.split("/")[0] for net in value.nets)
    return value.expected_ips


def net_members(state: State, selector: str) -> frozenset[str]:
    nets: set[str] = set()
    for value in state.values():
        if not isinstance(value, WorkloadEndpoint | HostEndpoint | NetworkSet):
            continue
        if not parse(selector).matches(all_labels(state, value)):
            continue
        if isinstance(value, NetworkSet):
            nets |= set(value.nets)
        else:
            nets |= set(nets_of(list(addresses_of(value))))
    networks = {
        half
        for net in map(ip_network, nets)
        for half in (net.subnets() if net.prefixlen == 0 else [net])
    }
    return frozenset(
        str(net)
        for net in networks
        if not any(
            net != other and net.version == other.version and net.subnet_of(other)  # type: ignore[arg-type]
            for other in networks
        )
    )


def port_members(state: State, selector: str, protocol: str, name: str) -> frozenset[str]:
    members: set[str] = set()
    for value in state.values():
        if not isinstance(value, WorkloadEndpoint | HostEndpoint):
            continue
        if not parse(selector).matches(all_labels(state, value)):
            continue
        for port in value.ports:
            spelt = "udp" if port.protocol == 17 else str(port.protocol)
            if port.name == name and protocol in ("any", spelt):
                members |= {f"{address},{spelt}:{port.port}" for address in addresses_of(value)}
    return frozenset(members)


def expected_ipsets(state: State, needed: list[Policy | Profile]) -> dict[str, object]:
    found: dict[str, object] = {}
    protocol_names: dict[Protocol | None, str] = {None: "any", 17: "udp"}
    for rule in (rule for rules in needed for rule in (*rules.ingress, *rules.egress)):
        protocol = protocol_names.get(rule.protocol, str(rule.protocol))
        for peer, prefix in ((rule.source, "svcnoport"), (rule.destination, "svc")):
            positive = peer.selector
            if peer.selector and peer.not_selector:
                positive = f"({peer.selector}) && (!({peer.not_selector}))"
            nets = []
            if positive and not (peer.named_ports and not peer.ports):
                nets.append(positive)
            if peer.not_selector and not peer.selector:
                nets.append(peer.not_selector)
            for text in nets:
                found[parse(text).id] = (IpsetType.NET, net_members(state, text))
            for name in (*peer.named_ports, *peer.not_named_ports):
                unique = hashed_id("n", f"{parse(positive).id},{protocol},{name}")
                members = port_members(state, positive, protocol, name)
                found[unique] = (IpsetType.IP_PORT, members)
            if peer.service:
                kind = IpsetType.NET if prefix == "svcnoport" else IpsetType.IP_PORT
                found[hashed_id(prefix, peer.service)] = (kind, frozenset())
    return found


def local_endpoints(state: State) -> dict[Key, WorkloadEndpoint | HostEndpoint]:
    return {
        key: value
        for key, value in state.items()
        if isinstance(key, WorkloadEndpointKey | HostEndpointKey)
        and isinstance(value, WorkloadEndpoint | HostEndpoint)
        and key.host == HOST
    }


def valid_policies(state: State) -> dict[PolicyKey, Policy]:
    found: dict[PolicyKey, Policy] = {}
    for key, value in state.items():
        if isinstance(key, PolicyKey) and isinstance(value, Policy):
            try:
                parse(value.selector)
            except SelectorError:
                continue
            found[key] = value
    return found


def check_against_interpretation(state: State, replay: Replay) -> None:
    local = local_endpoints(state)
    matching = {
        key: {
            policy_key
            for policy_key, policy in valid_policies(state).items()
            if parse(policy.selector).matches(all_labels(state, value))
        }
        for key, value in local.items()
    }
    active = {
        key: policy
        for key, policy in valid_policies(state).items()
        if policy.needed_everywhere or any(key in found for found in matching.values())
    }
    names = {name for value in local.values() for name in value.profiles}
    deny = Profile((Rule("deny"),), (Rule("deny"),))
    used = [state.get(ProfileKey(name), deny) for name in names]
    assert replay.policies.keys() == active.keys()
    assert replay.profiles.keys() == names
    assert replay.endpoints.keys() == local.keys()
    needed: list[Policy | Profile] = [
        *active.values(),
        *(value for value in used if isinstance(value, Profile)),
    ]
    assert replay.ipsets == expected_ipsets(state, needed)
    assert replay.wireguard == expected_wireguard(state)
    for key, update in replay.endpoints.items():
        found = {policy_key: active[policy_key] for policy_key in matching[key]}
        normal = {k: p for k, p in found.items() if not p.do_not_track and not p.pre_dnat}
        assert update.tiers == expected_tiers(state, normal)
        if isinstance(update, HostEndpointUpdate):
            forward = {k: p for k, p in normal.items() if p.apply_on_forward}
            untracked = {k: p for k, p in found.items() if p.do_not_track}
            pre_dnat = {
                k: replace(p, applies_egress=False)
                for k, p in found.items()
                if p.pre_dnat and not p.do_not_track
            }
            assert update.forward == expected_tiers(state, forward)
            assert update.untracked == expected_tiers(state, untracked, "Pass")
            assert update.pre_dnat == expected_tiers(state, pre_dnat, "Pass")


def expected_wireguard(state: State) -> dict[str, WireguardEndpoint]:
    return {
        key.name: WireguardEndpoint(
            key.name,
            key=value.wireguard_key if value.wireguard_key == KEY else "",
            key_v6=value.wireguard_key_v6,
            malformed=(4,) if value.wireguard_key == "no key" else (),
        )
        for key, value in state.items()
        if isinstance(key, NodeKey) and isinstance(value, Node)
        if value.wireguard_key or value.wireguard_key_v6
    }


def expected_tiers(
    state: State, found: dict[PolicyKey, Policy], action: TierAction | None = None
) -> tuple[TierPolicies, ...]:
    def tier_rank(name: str) -> tuple[object, ...]:
        tier = state.get(TierKey(name))
        if not isinstance(tier, Tier):
            return (3, 0, name)
        return (2, 0, name) if tier.order is None else (1, tier.order, name)

    def policy_rank(key: PolicyKey) -> tuple[object, ...]:
        order = float("inf") if found[key].order is None else found[key].order
        return (order, f"{key.name}/{key.namespace}/{key.kind}".encode())

    tiers: list[TierPolicies] = []
    for name in sorted({policy.tier for policy in found.values()}, key=tier_rank):
        keys = sorted((k for k, p in found.items() if p.tier == name), key=policy_rank)
        into = tuple(key for key in keys if found[key].applies_ingress)
        out = tuple(key for key in keys if found[key].applies_egress)
        tier = state.get(TierKey(name))
        default = tier.default_action if isinstance(tier, Tier) else "Deny"
        if into or out:
            tiers.append(TierPolicies(name, action or default, into, out))
    return tuple(tiers)


# ---------------------------------------------------------------- the properties


def fresh(state: State) -> Replay:
    graph, replay = CalcGraph(HOST), Replay()
    for key, value in state.items():
        graph.update(key, value)
    graph.in_sync()
    replay.play(graph.flush())
    return replay


def walk(path: list[Step]) -> tuple[State, Replay]:
    """The state at the end of the path, and what the dataplane was told on the way."""
    graph, replay, state, in_sync = CalcGraph(HOST), Replay(), State(), False
    for step in path:
        match step:
            case Flush():
                told = graph.flush()
                assert in_sync or not told
                replay.play(told)
            case InSync():
                graph.in_sync()
                in_sync = True
            case (key, value):
                graph.update(key, value)
                # Moved to the end, so that the order differs between paths to one state.
                state.pop(key, None)
                if value is not None:
                    state[key] = value
    graph.in_sync()
    replay.play(graph.flush())
    assert graph.flush() == []
    return state, replay


@given(steps)
@settings(max_examples=100, deadline=None)
def test_output_depends_on_the_state_not_on_the_path(path: list[Step]) -> None:
    state, replay = walk(path)
    assert replay.state() == fresh(state).state()
    check_against_interpretation(state, replay)


@given(steps, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_a_resync_in_any_order_says_nothing_new(path: list[Step], random: Random) -> None:
    graph = CalcGraph(HOST)
    graph.in_sync()
    state: State = {}
    for step in path:
        if isinstance(step, tuple):
            key, value = step
            graph.update(key, value)
            state.pop(key, None)
            if value is not None:
                state[key] = value
    graph.flush()
    again = list(state.items())
    random.shuffle(again)
    for key, value in again:
        graph.update(key, value)
    graph.in_sync()
    assert graph.flush() == []


@given(steps)
@settings(max_examples=40, deadline=None)
def test_everything_gone_is_nothing_left(path: list[Step]) -> None:
    graph, replay = CalcGraph(HOST), Replay()
    graph.in_sync()
    keys: dict[Key, None] = {}
    for step in path:
        if isinstance(step, tuple):
            graph.update(*step)
            keys[step[0]] = None
        else:
            replay.play(graph.flush())
    for key in keys:
        graph.update(key, None)
        replay.play(graph.flush())
    assert replay.state() == Replay().state()
