"""The model of host endpoints: told in steps, it knows what one made of the whole state knows."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

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
from calc_graph.updates import IpsetUpdate, Update
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
    return [None, *tracked, policy(from_set("a"), selector="all()", do_not_track=True)]


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


@given(st.lists(st.lists(CHANGES, min_size=1, max_size=4), max_size=8))
def test_told_in_steps_or_at_once(batches: list[list[tuple[Key, Value | None]]]) -> None:
    graph = CalcGraph("n1")
    graph.in_sync()
    settings = JudgeSettings()
    model = HostModel.build(settings, graph.replay())
    for batch in batches:
        for key, value in batch:
            graph.update(key, value)
        model = model.after(graph.flush(), graph.replay)
        whole = HostModel.build(settings, graph.replay())
        for flow in FLOWS:
            assert model.cut(flow, BOTH) == whole.cut(flow, BOTH)


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
