"""A workload that speaks BGP with its node: the address it finds, what it may announce, the end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Literal

import pytest

from tests.kernel.bgp_lab import Lab, laboratory
from tests.kernel.bgp_routers import Node, Router, comes_to
from tests.kernel.bgp_texts import CLUSTER_AS, configuration, documents, resource, workload

pytestmark = pytest.mark.kernel

ROUTER_AS = 65010
FOUND_UNDER = {4: "169.254.9.9", 6: "fd00:9::9"}
SESSION = {4: "Local_Workload_10_65_1_2", 6: "Local_Workload_fd65__1_2"}
ALLOWED, OTHER = {4: "198.51.100.0/24", 6: "2001:db8:5::/48"}, {4: "192.0.2.0/24"}

PEERING = resource(
    "BGPPeer",
    "router",
    f"{{localWorkloadSelector: \"app == 'w1'\", asNumber: {ROUTER_AS}, filters: [from-router]}}",
)
FILTER = resource(
    "BGPFilter",
    "from-router",
    f"{{importV4: [{{action: Accept, matchOperator: In, cidr: {ALLOWED[4]}}}],"
    f' importV6: [{{action: Accept, matchOperator: In, cidr: "{ALLOWED[6]}"}}]}}',
)
ROUTER = f"""
log syslog all;
router id 10.65.1.2;
protocol device {{ }}
protocol static own4 {{ ipv4; route {ALLOWED[4]} blackhole; route {OTHER[4]} blackhole; }}
protocol static own6 {{ ipv6; route {ALLOWED[6]} blackhole; }}
protocol bgp node4 {{
  local {workload(1, 4)} as {ROUTER_AS}; neighbor {FOUND_UNDER[4]} as {CLUSTER_AS}; multihop;
  connect retry time 1; connect delay time 1; error wait time 1, 2;
  ipv4 {{ import all; export all; next hop self; }};
}}
protocol bgp node6 {{
  local {workload(1, 6)} as {ROUTER_AS}; neighbor {FOUND_UNDER[6]} as {CLUSTER_AS}; multihop;
  connect retry time 1; connect delay time 1; error wait time 1, 2;
  ipv6 {{ import all; export all; next hop self; }};
}}
"""


@pytest.fixture
def lab() -> Iterator[Lab]:
    with laboratory(1) as made:
        made.furnish()
        addresses = (
            f"localWorkloadPeeringIPV4: {FOUND_UNDER[4]},"
            f' localWorkloadPeeringIPV6: "{FOUND_UNDER[6]}"'
        )
        made.write("bgp.yaml", configuration(more=addresses))
        made.write("router.yaml", documents(PEERING, FILTER))
        yield made


@pytest.fixture
def router(lab: Lab) -> Iterator[Router]:
    found = Router(lab.nodes[1].workload, lab.directory / "router", 1)
    yield found
    found.unit.stop()


def held(lab: Lab) -> set[str]:
    (found,) = json.loads(lab.nodes[1].space.run("ip -j addr show caliw1"))
    return {each["local"] for each in found["addr_info"] if each["scope"] != "link"} | {
        each["local"] for each in found["addr_info"] if each["family"] == "inet"
    }


def is_in_kernel(node: Node, family: Literal[4, 6], net: str) -> bool:
    return net in node.kernel(family)


def test_a_workload_announces_what_its_filter_accepts_and_no_more(lab: Lab, router: Router) -> None:
    node = lab.nodes[1]
    lab.start(DefaultEndpointToHostAction="ACCEPT")
    router.configure(ROUTER)
    comes_to(set(FOUND_UNDER.values()), held, lab)
    node.await_established(SESSION.values())
    comes_to({ALLOWED[4]}, node.learned, SESSION[4])
    comes_to({ALLOWED[6]}, node.learned, SESSION[6])
    assert OTHER[4] in node.refused(SESSION[4])
    for family, net in ALLOWED.items():
        comes_to(True, is_in_kernel, node, family, net)
    lab.remove("router.yaml")
    comes_to(set(), held, lab)
    for family, net in ALLOWED.items():
        comes_to(False, is_in_kernel, node, family, net)
    comes_to(set(), lambda: node.sessions().keys() & set(SESSION.values()))
