"""The model of host endpoints: told in steps, it knows what one made of the whole state knows."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from calc_graph.graph import CalcGraph
from calc_graph.judge import Flow, HostInterface, HostView, JudgeSettings
from calc_graph.model import (
    HostEndpoint,
    HostEndpointKey,
    Key,
    NetworkSet,
    NetworkSetKey,
    Policy,
    Profile,
    ProfileKey,
    Rule,
    Value,
    WorkloadEndpoint,
    WorkloadEndpointKey,
)
from calc_graph.updates import IpsetUpdate, RouteRemove, RouteType, RouteUpdate, Update
from felixpy.lockout.model import HostModel
from tests.felixpy.lockout.node import HEP, SSH, VIEW, from_set, gnp, policy, to_port

OWN = ip_address("172.30.0.10")
BOTH = HostView({**VIEW.interfaces, "eth1": HostInterface(3)})
FLOWS = [
    Flow(ip_address(source), OWN, 6, 40000, port, in_interface=interface)
    for source in ("172.30.0.1", "10.65.0.1")
    for port in (22, 80)
    for interface in ("eth0", "eth1")
]
W1 = WorkloadEndpointKey("n1", "k8s", "default/w1", "eth0")
SECOND = HostEndpointKey("n1", "eth1")


def endpoints(interface: str) -> list[Value | None]:
    return [
        None,
        HostEndpoint(interface, labels={"host": "yes"}),
        HostEndpoint(interface, labels={"role": "other"}, profiles=("open",)),
    ]


def policies() -> list[Policy | None]:
    rules = (Rule("deny"), Rule("allow"), to_port(22), from_set("a"), from_set("b"))
    selectors = ("has(host)", "has(role)", "has(workload)")
    tracked = [policy(rule, selector=selector) for rule in rules for selector in selectors]
    encrypted = structs.replace(policy(Rule("allow"), selector="has(host)"), encrypted=True)
    return [None, encrypted, *tracked, policy(from_set("a"), selector="all()", do_not_track=True)]


CHOICES: dict[Key, list[Value | None]] = {
    HEP: endpoints("eth0"),
    SECOND: endpoints("eth1"),
    gnp("p"): list(policies()),
    gnp("q"): list(policies()),
    ProfileKey("open"): [None, Profile((Rule("allow"),)), Profile((from_set("b"),))],
    NetworkSetKey("s"): [
        None,
        NetworkSet(("172.30.0.0/24",), {"a": ""}),
        NetworkSet(("10.65.0.0/24",), {"a": "", "b": ""}),
    ],
    W1: [
        None,
        WorkloadEndpoint("cali1", ("10.65.0.1/32",), {"workload": "", "a": ""}, ("open",)),
        WorkloadEndpoint("cali1", ("10.65.0.1/32",), {"workload": "", "b": ""}),
    ],
}
CHANGES = st.sampled_from([(key, value) for key, values in CHOICES.items() for value in values])
ROUTE = RouteUpdate("10.65.0.0/26", RouteType.REMOTE_WORKLOAD, "no-encap", "n2")
IPSEC = JudgeSettings(ipsec=frozenset({4, 6}))


@given(st.lists(st.tuples(st.lists(CHANGES, max_size=4), st.booleans()), max_size=8))
def test_told_in_steps_or_at_once(
    batches: list[tuple[list[tuple[Key, Value | None]], bool]],
) -> None:
    graph = CalcGraph("n1")
    graph.in_sync()
    routes: list[Update] = []

    def everything() -> list[Update]:
        return [*graph.replay(), *routes]

    model = HostModel.build(IPSEC, everything())
    for batch, routed in batches:
        for key, value in batch:
            graph.update(key, value)
        told = [] if routed == bool(routes) else [ROUTE if routed else RouteRemove(ROUTE.cidr)]
        routes = [ROUTE] if routed else []
        model = model.after([*graph.flush(), *told], everything)
        whole = HostModel.build(IPSEC, everything())
        for flow in FLOWS:
            assert model.cut(flow, BOTH) == whole.cut(flow, BOTH)


def test_what_ipsec_leads_through_a_tunnel_is_not_cut_for_being_in_clear() -> None:
    graph = CalcGraph("n1")
    graph.in_sync()
    graph.update(HEP, HostEndpoint("eth0", labels={"host": "yes"}))
    graph.update(gnp("p"), policy(Rule("allow")))
    before = HostModel.build(IPSEC, graph.replay())
    # nobody asks for encryption, so routes are not looked at
    assert before.after([ROUTE], lambda: [*graph.replay(), ROUTE]) is before
    graph.update(gnp("p"), structs.replace(policy(Rule("allow")), encrypted=True))
    model = before.after(graph.flush(), lambda: [*graph.replay(), ROUTE])
    node, workload = (f for f in FLOWS if (f.in_interface, f.destination_port) == ("eth0", 22))
    assert model.cut(node, BOTH) is not None
    assert model.cut(workload, BOTH) is None
    gone = model.after([RouteRemove(ROUTE.cidr)], graph.replay)
    assert gone.cut(workload, BOTH) is not None


def test_it_is_told_nothing_of_workloads() -> None:
    """Their sets may have many members."""
    graph = CalcGraph("n1")
    graph.in_sync()
    graph.update(HEP, HostEndpoint("eth0", labels={"host": "yes"}))
    model = HostModel.build(JudgeSettings(), graph.replay())

    def never() -> list[Update]:
        raise AssertionError("everything was asked for")

    graph.update(W1, WorkloadEndpoint("cali1", ("10.65.0.1/32",), {"workload": "yes"}))
    graph.update(gnp("w"), policy(from_set("a"), selector="has(workload)"))
    updates = graph.flush()
    assert any(isinstance(update, IpsetUpdate) for update in updates)
    assert model.after(updates, never) is model
    graph.update(gnp("h"), policy(from_set("b")))
    changed = model.after(graph.flush(), never)
    assert changed is not model
    step = changed.cut(SSH[0].flow, VIEW)
    assert step is not None
    assert step.tier == "default"
