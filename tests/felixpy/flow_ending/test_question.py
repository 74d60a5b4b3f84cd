"""What the judge is asked of a flow that connection tracking lists."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from calc_graph.judge import Flow, HostInterface, HostView, Judge, JudgeSettings
from calc_graph.model import WorkloadEndpoint, WorkloadEndpointKey
from calc_graph.updates import WorkloadEndpointUpdate
from dataplane import ctnetlink
from felixpy.flow_ending.question import Machine
from felixpy.ways import SOMEWHERE, Ways
from tests.felixpy.flow_ending.flows import listed, parsed

W1, W2, HOST, FAR = "10.65.0.1", "10.65.0.2", "172.30.0.10", "192.0.2.7"


@pytest.fixture
def judge() -> Judge:
    judge = Judge(JudgeSettings())
    for number in (1, 2):
        key = WorkloadEndpointKey("n1", "k8s", f"default/w{number}", "eth0")
        nets = (f"10.65.0.{number}/32", f"fd65::{number}/128")
        endpoint = WorkloadEndpoint(interface=f"cali{number}", nets=nets)
        judge.update([WorkloadEndpointUpdate(key, endpoint)])
    return judge


def machine(*others: str) -> Machine:
    interfaces = {"eth0": HostInterface(2, frozenset((HOST, "fd30::10")))}
    interfaces |= {name: HostInterface(9) for name in others}
    return Machine(HostView(interfaces), Ways({}, needed=False))


def tcp(source: str, destination: str, **more: object) -> Flow:
    flow = {"source_port": 40000, "destination_port": 80, "protocol": 6}
    return Flow(ip_address(source), ip_address(destination), **(flow | more))  # type: ignore[arg-type]


CASES = [
    # case                    listed                                 asked
    ("between workloads", {"source": W1, "destination": W2},
     tcp(W1, W2, in_interface="cali1", out_interface="cali2")),
    ("in IPv6", {"source": "fd65::1", "destination": "fd65::2"},
     tcp("fd65::1", "fd65::2", in_interface="cali1", out_interface="cali2")),
    ("to the host", {"source": W1, "destination": HOST}, tcp(W1, HOST, in_interface="cali1")),
    ("from the host", {"source": HOST, "destination": W1}, tcp(HOST, W1, out_interface="cali1")),
    ("masqueraded", {"source": W1, "destination": FAR, "reply_destination": HOST},
     tcp(W1, FAR, in_interface="cali1", out_interface=SOMEWHERE)),
    ("to a service",
     {"source": W1, "destination": "10.96.0.1", "reply_source": W2, "reply_port": 8080},
     tcp(W1, W2, destination_port=8080, in_interface="cali1", out_interface="cali2",
         original_destination=ip_address("10.96.0.1"), original_port=80)),
    ("to another port of the same", {"source": W1, "destination": W2, "reply_port": 8080},
     tcp(W1, W2, destination_port=8080, in_interface="cali1", out_interface="cali2",
         original_destination=ip_address(W2), original_port=80)),
    ("ICMP", {"source": W1, "destination": W2, "protocol": 1, "icmp": (8, 0)},
     Flow(ip_address(W1), ip_address(W2), 1, icmp_type=8, icmp_code=0,
          in_interface="cali1", out_interface="cali2")),
    ("ICMPv6", {"source": "fd65::1", "destination": "fd65::2", "protocol": 58, "icmp": (128, 0)},
     Flow(ip_address("fd65::1"), ip_address("fd65::2"), 58, icmp_type=128, icmp_code=0,
          in_interface="cali1", out_interface="cali2")),
    ("no ports for the judge", {"source": W1, "destination": W2, "protocol": 47},
     Flow(ip_address(W1), ip_address(W2), 47, in_interface="cali1", out_interface="cali2")),
    ("a group", {"source": W1, "destination": "224.0.0.251", "protocol": 17}, None),
    ("everybody", {"source": "172.30.0.1", "destination": "255.255.255.255"}, None),
    ("of one link", {"source": "fd65::1", "destination": "fe80::1"}, None),
]  # fmt: skip


@pytest.mark.parametrize(("case", "flow", "asked"), CASES, ids=[case[0] for case in CASES])
def test_questions(judge: Judge, case: str, flow: dict[str, object], asked: Flow | None) -> None:
    assert machine().question(parsed(**flow), judge) == asked


def test_with_ipvs_nobody_knows_where_a_service_is_translated(judge: Judge) -> None:
    to_service = parsed(W1, "10.96.0.1", reply_source=W2)
    assert machine("kube-ipvs0").question(to_service, judge) is None
    assert machine("kube-ipvs0").question(parsed(W1, W2), judge) is not None


def test_where_it_matters_and_no_way_is_known_there_is_no_question(judge: Judge) -> None:
    view = HostView({"eth0": HostInterface(2, frozenset((HOST,)))})
    asked = Machine(view, Ways({}, needed=True))
    assert asked.question(parsed(FAR, HOST), judge) is None
    assert asked.question(parsed(W1, HOST), judge) is not None


def test_ends_are_found_in_any_layout() -> None:
    for body in (listed(W1, W2), listed("fd65::1", "fd65::2")):
        found = ctnetlink.ends(body)
        assert found == ctnetlink._searched_ends(body)
        assert found is not None
    assert ctnetlink.ends(listed(W1, W2)[:4]) is None
    assert ctnetlink.ends(b"") is None
    assert ctnetlink.ends(listed(W1, W2)[:30]) is None
