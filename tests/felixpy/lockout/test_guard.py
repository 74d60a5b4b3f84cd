"""What the guard holds back, what goes on, and what it says."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest
from msgspec import structs
from structlog.testing import capture_logs

from calc_graph.model import (
    FelixConfiguration,
    HostEndpoint,
    HostEndpointKey,
    Key,
    NetworkSet,
    NetworkSetKey,
    Profile,
    ProfileKey,
    Tier,
    TierKey,
    Value,
    WorkloadEndpoint,
    WorkloadEndpointKey,
)
from calc_graph.updates import PolicyUpdate
from felixpy.lockout import flows
from felixpy.lockout.flows import Connection
from felixpy.lockout.guard import RECHECK
from tests.felixpy.lockout.node import (
    ALLOW,
    DEFAULT,
    DENY,
    ENDPOINT,
    GUARDED,
    HEP,
    OPEN,
    SHUT,
    SSH,
    Node,
    essentials,
    from_set,
    gnp,
    many,
    policy,
    to_port,
)

Changes = dict[Key, Value | None]
NO_SSH = policy(to_port(22))
W1 = WorkloadEndpointKey("n1", "k8s", "default/w1", "eth0")
WORKLOAD = WorkloadEndpoint("cali1", ("10.65.0.1/32",), profiles=("open",))
ADMINS = NetworkSetKey("admins")
ADMIN_NETS = NetworkSet(("172.30.0.0/28",), labels={"admins": "yes"})
ONLY_ADMINS: Changes = {
    HEP: ENDPOINT,
    gnp("admins"): policy(from_set("admins"), to_port(2379, "allow")),
    ADMINS: ADMIN_NETS,
}
PROFILED: Changes = {
    HEP: HostEndpoint("eth0", labels={"host": "yes"}, profiles=("open",)),
    ProfileKey("open"): Profile((ALLOW,), (ALLOW,)),
}
TIERED: Changes = {
    **PROFILED,
    TierKey("t"): Tier(order=1, default_action="Pass"),
    gnp("t.web"): policy(to_port(80, "allow"), tier="t"),
}

CASES: list[tuple[str, Changes, Changes, set[str]]] = [
    # case, in force, changes, held back
    ("a policy that denies ssh", GUARDED, {gnp("no-ssh"): NO_SSH},
     {"GlobalNetworkPolicy/no-ssh"}),
    ("one that asks for encryption", {**GUARDED, gnp("p"): OPEN}, {gnp("p"): structs.replace(OPEN,
     encrypted=True)}, {"GlobalNetworkPolicy/p"}),
    ("one that changes", {**GUARDED, gnp("p"): OPEN}, {gnp("p"): SHUT}, {"GlobalNetworkPolicy/p"}),
    ("a tier that denies at its end", TIERED, {TierKey("t"): Tier(order=1)}, {"Tier/t"}),
    ("a tier and its first policy", PROFILED, {TierKey("t"): Tier(order=1), gnp("t.web"):
     policy(to_port(80, "allow"), tier="t")}, {"GlobalNetworkPolicy/t.web"}),
    ("the policy that allows is deleted", GUARDED, {gnp("open"): None},
     {"GlobalNetworkPolicy/open"}),
    ("a network set loses the admin's address", ONLY_ADMINS,
     {ADMINS: NetworkSet(("192.0.2.0/28",), labels={"admins": "yes"})},
     {"GlobalNetworkSet/admins"}),
    ("a network set loses its label", ONLY_ADMINS, {ADMINS: NetworkSet(("172.30.0.0/28",))},
     {"GlobalNetworkSet/admins"}),
    ("untracked policy", GUARDED, {gnp("raw"): policy(DENY, do_not_track=True)},
     {"GlobalNetworkPolicy/raw"}),
    ("untracked policy that forgets the replies", GUARDED, {gnp("raw"): policy(
     to_port(22, "allow"), to_port(2379, "allow"), DENY, do_not_track=True)},
     {"GlobalNetworkPolicy/raw"}),
    ("policy before DNAT", GUARDED, {gnp("early"): policy(DENY, pre_dnat=True,
     applies_egress=False)}, {"GlobalNetworkPolicy/early"}),
    ("a profile", PROFILED, {ProfileKey("open"): Profile((DENY,), (DENY,))}, {"Profile/open"}),
    ("a profile is deleted", PROFILED, {ProfileKey("open"): None}, {"Profile/open"}),
    ("an endpoint without policy", {}, {HEP: ENDPOINT}, {"HostEndpoint/eth0"}),
    ("an endpoint and its policy", {}, {HEP: ENDPOINT, gnp("no-ssh"): NO_SSH},
     {"HostEndpoint/eth0"}),
    ("an endpoint of all interfaces", GUARDED, {HEP: None, HostEndpointKey("n1", "all"):
     HostEndpoint("*")}, {"HostEndpoint/all"}),
    ("several at once", GUARDED, {gnp("no-ssh"): NO_SSH, gnp("no-etcd"): policy(to_port(2379))},
     {"GlobalNetworkPolicy/no-ssh", "GlobalNetworkPolicy/no-etcd"}),
    ("two that cut one flow", GUARDED, {gnp("a"): NO_SSH, gnp("b"): NO_SSH},
     {"GlobalNetworkPolicy/a", "GlobalNetworkPolicy/b"}),
    ("one among many", GUARDED, {**many(20), gnp("no-ssh"): NO_SSH},
     {"GlobalNetworkPolicy/no-ssh"}),
    ("one deletion among many", {**GUARDED, **many(9)}, {**dict.fromkeys(many(9)), **dict.fromkeys(
     [gnp("open")])}, {"GlobalNetworkPolicy/open"}),
    ("harmless", GUARDED, {gnp("no-web"): policy(to_port(80))}, set()),
    ("another node's endpoint", {}, {HostEndpointKey("n2", "eth0"): ENDPOINT, gnp("no"): SHUT},
     set()),
    ("workloads", {}, {W1: WORKLOAD, gnp("no"): SHUT}, set()),
]  # fmt: skip


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


async def started(node: Node, resources: Changes) -> Node:
    await node.batch(resources)
    assert node.held == set()
    return node


@pytest.mark.parametrize(
    ("before", "changes", "held"), [pytest.param(*case[1:], id=case[0]) for case in CASES]
)
async def test_what_is_held_back(
    node: Node, before: Changes, changes: Changes, held: set[str]
) -> None:
    await started(node, before)
    await node.batch(changes)
    assert node.held == held
    assert node.manageable
    assert len(node.guard.waiting) == len(held)
    assert node.counted == ["held"] * len(held)


async def test_everything_else_of_the_batch_goes_on(node: Node) -> None:
    await started(node, GUARDED)
    await node.batch({gnp("no-ssh"): NO_SSH, gnp("no-web"): policy(to_port(80)), W1: WORKLOAD})
    web = flows.ssh(Connection(ip_address("172.30.0.10"), 80, ip_address("9.9.9.9"), 1), "eth0")
    assert not node.in_force(next(web).flow)
    assert node.judge.workload_interface(ip_address("10.65.0.1"), node.machine.facts.view)


async def test_it_says_which_flow_and_which_rule(node: Node) -> None:
    await started(node, GUARDED)
    with capture_logs() as logs:
        await node.batch({gnp("no-ssh"): policy(to_port(80), to_port(22))})
        await node.batch({gnp("other"): policy(to_port(81))})  # tried again: no second line
    said = [line for line in logs if line["event"] == "lockout.held_back"]
    assert said == [
        {
            "event": "lockout.held_back",
            "log_level": "error",
            "resource": "GlobalNetworkPolicy no-ssh",
            "flow": "ssh from 172.30.0.1",
            "policy": "GlobalNetworkPolicy no-ssh",
            "profile": "",
            "tier": "default",
            "rule": "spec.ingress[1]",
            "rule_text": "deny tcp to ports 22",
            "reason": "a rule of a policy",
            "endpoint": "HostEndpoint eth0 at eth0, filter INPUT",
        }
    ]
    (hold,) = node.holds.current()
    assert hold.text == (
        "GlobalNetworkPolicy no-ssh waits: it would cut off ssh from 172.30.0.1:"
        " GlobalNetworkPolicy no-ssh of tier default, spec.ingress[1]: deny tcp to ports 22"
        " (HostEndpoint eth0 at eth0, filter INPUT)"
    )
    (waiting,) = node.guard.waiting
    assert (waiting.resource, waiting.flow) == ("GlobalNetworkPolicy no-ssh", "ssh from 172.30.0.1")


async def test_a_corrected_policy_goes_on(node: Node) -> None:
    await started(node, {**GUARDED, gnp("p"): policy(to_port(80))})
    await node.batch({gnp("p"): NO_SSH})
    await node.batch({gnp("p"): policy(to_port(81))})
    assert node.held == set()
    assert any(isinstance(u, PolicyUpdate) and u.key == gnp("p") for u in node.told)


async def test_the_newest_wanted_value_waits(node: Node) -> None:
    await started(node, {**GUARDED, gnp("p"): policy(to_port(80))})
    await node.batch({gnp("p"): NO_SSH})
    await node.batch({gnp("p"): SHUT})
    assert node.held == {"GlobalNetworkPolicy/p"}
    await node.batch({gnp("p"): policy(to_port(80))})
    assert node.held == set()


async def test_one_that_was_held_goes_with_what_mends_it(node: Node) -> None:
    await started(node, GUARDED)
    await node.batch({gnp("open"): None})
    await node.batch({gnp("new"): OPEN})
    assert node.held == set()
    assert node.manageable


@pytest.mark.parametrize("also", [{}, {gnp("no-web"): policy(to_port(80))}])
async def test_confirmed(node: Node, also: Changes) -> None:
    await started(node, GUARDED)
    await node.batch({gnp("no-ssh"): NO_SSH, gnp("no-etcd"): policy(to_port(2379))})
    node.holds.confirm(["GlobalNetworkPolicy/no-ssh"])
    await node.batch(also)
    assert node.held == {"GlobalNetworkPolicy/no-etcd"}
    assert not node.in_force(SSH[0].flow)
    await node.batch({gnp("other"): NO_SSH})
    assert node.held == {"GlobalNetworkPolicy/no-etcd"}


async def test_a_session_that_ends_holds_nothing_any_more(node: Node) -> None:
    await started(node, GUARDED)
    await node.batch({gnp("no-ssh"): NO_SSH})
    node.machine.facts = node.machine.facts._replace(essentials=())
    await node.review(RECHECK - 1)
    assert node.held == {"GlobalNetworkPolicy/no-ssh"}
    await node.review(1)
    assert node.held == set()


async def test_while_something_waits_it_looks_but_tries_only_what_may_have_changed(
    node: Node,
) -> None:
    await started(node, GUARDED)
    await node.batch({gnp("no-ssh"): NO_SSH})
    await node.review(RECHECK)
    assert node.told == []
    more = flows.ssh(Connection(ip_address("172.30.0.10"), 22, ip_address("9.9.9.9"), 1), "eth0")
    node.machine.facts = essentials(*more)
    await node.review(RECHECK)
    assert node.held == {"GlobalNetworkPolicy/no-ssh"}


async def test_what_is_cut_already_holds_nothing(node: Node) -> None:
    node.machine.facts = node.machine.facts._replace(essentials=())
    await started(node, {**GUARDED, gnp("no-ssh"): NO_SSH})
    node.machine.facts = essentials()
    await node.batch({gnp("no-ssh"): SHUT, gnp("first"): policy(to_port(2379, "allow"), order=1)})
    assert node.held == set()


async def test_at_the_start_the_endpoint_waits(node: Node) -> None:
    with capture_logs() as logs:
        await node.batch({**GUARDED, gnp("no-ssh"): NO_SSH, W1: WORKLOAD})
    assert node.held == {"HostEndpoint/eth0"}
    assert node.manageable
    (said,) = [line for line in logs if line["event"] == "lockout.held_back"]
    assert (said["policy"], said["rule"]) == ("GlobalNetworkPolicy no-ssh", "spec.ingress[0]")
    await node.batch({gnp("no-ssh"): None})
    assert node.held == set()
    await node.batch({gnp("no-ssh"): NO_SSH})
    assert node.held == {"GlobalNetworkPolicy/no-ssh"}


# ---------------------------------------------------------------- what cannot be prevented


async def test_a_workload_is_never_held_back(node: Node) -> None:
    """It is in a set that ssh is allowed from."""
    admin = WorkloadEndpoint("cali1", ("172.30.0.1/32",), labels={"admins": "yes"})
    outgoing = to_port(2379, "allow")
    await started(node, {HEP: ENDPOINT, gnp("a"): policy(from_set("admins"), outgoing), W1: admin})
    with capture_logs() as logs:
        await node.batch({W1: None, gnp("b"): policy(to_port(80))})
    assert node.held == set()
    assert [line["flow"] for line in logs if line["event"] == "lockout.not_prevented"] == [
        "ssh from 172.30.0.1"
    ]
    assert node.counted == ["not prevented"]
    assert set(node.guard.problems) == {"ssh from 172.30.0.1"}
    await node.batch({W1: admin})
    await node.review(RECHECK)
    assert node.guard.problems == {}


# ---------------------------------------------------------------- configuration


NO_FAILSAFE = FelixConfiguration({"failsafeInboundHostPorts": "none"})


async def test_failsafes_emptied(node: Node) -> None:
    node.configure("")  # the defaults for what comes in
    node.live.read_machine()
    outgoing = policy(to_port(2379, "allow"), applies_ingress=False)
    await started(node, {HEP: ENDPOINT, gnp("out"): outgoing, gnp("no"): policy(DENY, order=200)})
    await node.batch({DEFAULT: NO_FAILSAFE, W1: WORKLOAD})
    assert node.held == {"FelixConfiguration/default"}
    assert node.live.config.failsafe_inbound_host_ports
    allowing = policy(to_port(22, "allow"), order=1)
    await node.batch({gnp("ssh"): allowing})
    assert node.held == set()
    assert node.live.config.failsafe_inbound_host_ports == ()


async def test_failsafes_emptied_in_the_file(node: Node) -> None:
    node.configure("")
    node.live.read_machine()
    await started(node, {HEP: ENDPOINT, gnp("out"): policy(to_port(2379, "allow"))})
    node.configure("FailsafeInboundHostPorts = none\nLogSeverityScreen = DEBUG\n")
    node.live.read_machine()
    await node.review()
    assert node.held == {"Configuration/machine"}
    assert node.live.config.failsafe_inbound_host_ports
    assert node.live.config.log_severity_screen != "DEBUG"
    node.holds.confirm(node.held)
    await node.review()
    assert node.live.config.failsafe_inbound_host_ports == ()


async def test_the_file_taken_back(node: Node) -> None:
    node.configure("")
    node.live.read_machine()
    await started(node, {HEP: ENDPOINT, gnp("out"): policy(to_port(2379, "allow"))})
    for text in ("FailsafeInboundHostPorts = none\n", ""):
        node.configure(text)
        node.live.read_machine()
        await node.review()
    assert node.held == set()


# ---------------------------------------------------------------- restarts


async def test_a_restart_leaves_what_waits_as_it_is(tmp_path: Path) -> None:
    """Its host endpoint need not wait, so the rest of its policy stays in force."""
    resources: Changes = {**GUARDED, gnp("p"): policy(to_port(80))}
    before = await started(Node(tmp_path), resources)
    await before.batch({gnp("p"): NO_SSH})
    after = Node(tmp_path)
    await after.batch({**resources, gnp("p"): NO_SSH})
    assert after.held == {"GlobalNetworkPolicy/p"}
    assert after.manageable
    web = flows.ssh(Connection(ip_address("172.30.0.10"), 80, ip_address("9.9.9.9"), 1), "eth0")
    assert not after.in_force(next(web).flow)
    await after.batch({gnp("p"): policy(to_port(81))})
    assert after.held == set()


async def test_a_deletion_that_waits_waits_after_a_restart(tmp_path: Path) -> None:
    before = await started(Node(tmp_path), GUARDED)
    await before.batch({gnp("open"): None})
    after = Node(tmp_path)
    await after.batch({HEP: ENDPOINT})
    assert after.held == {"GlobalNetworkPolicy/open"}
    assert after.manageable
    await after.batch({gnp("open"): OPEN})
    assert after.held == set()


async def test_what_was_confirmed_stays_confirmed(tmp_path: Path) -> None:
    before = await started(Node(tmp_path), GUARDED)
    await before.batch({gnp("no-ssh"): NO_SSH})
    before.holds.confirm(before.held)
    await before.review()
    after = Node(tmp_path)
    await after.batch({**GUARDED, gnp("no-ssh"): NO_SSH})
    assert after.held == set()
    assert not after.in_force(SSH[0].flow)
    await after.batch({gnp("no-ssh"): None})
    await after.batch({gnp("no-ssh"): NO_SSH})
    assert after.held == {"GlobalNetworkPolicy/no-ssh"}, "it had come back, so it counts again"


UNREADABLE = [
    "{",
    '{"held": [{"kind": "x"}], "accepted": []}',
    '{"held": [{"kind": "x", "key": {}, "in_force": null}], "accepted": []}',
    '{"held": [{"kind": "tier", "key": {"name": 1}, "in_force": null}], "accepted": []}',
]


@pytest.mark.parametrize("text", UNREADABLE)
async def test_a_memory_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "lockout.json").write_text(text)
    with capture_logs() as logs:
        node = Node(tmp_path)
    assert [line["event"] for line in logs] == ["lockout.memory_unreadable"]
    await node.batch({**GUARDED, gnp("no-ssh"): NO_SSH})
    assert node.held == {"HostEndpoint/eth0"}


async def test_the_file_that_waits_is_read_at_the_next_start(node: Node) -> None:
    """By a guard that comes after this one, too: nothing is lost with the one that held it."""
    node.configure("")
    node.live.read_machine()
    await started(node, {HEP: ENDPOINT, gnp("out"): policy(to_port(2379, "allow"))})
    node.configure("FailsafeInboundHostPorts = none\n")
    node.live.read_machine()
    await node.review()
    node.guard.close()
    assert node.held == set()
    assert node.live.preview().failsafe_inbound_host_ports == ()


# ---------------------------------------------------------------- Warn, Off


async def test_warn(tmp_path: Path) -> None:
    node = Node(tmp_path, "FailsafeInboundHostPorts = none\nLockoutGuard = Warn\n")
    await started(node, GUARDED)
    with capture_logs() as logs:
        await node.batch({gnp("no-ssh"): NO_SSH})
        await node.batch({gnp("other"): policy(to_port(80))})
    assert node.held == set()
    assert not node.in_force(SSH[0].flow)
    (said,) = [line for line in logs if line["event"] == "lockout.warned"]
    assert (said["flow"], said["rule"]) == ("ssh from 172.30.0.1", "spec.ingress[0]")
    assert set(node.guard.problems) == {"ssh from 172.30.0.1"}
    await node.batch({gnp("no-ssh"): None})
    assert node.guard.problems == {}


async def test_off(tmp_path: Path) -> None:
    node = Node(tmp_path, "FailsafeInboundHostPorts = none\nLockoutGuard = Off\n")
    with capture_logs() as logs:
        await node.batch({**GUARDED, gnp("no-ssh"): NO_SSH})
    assert not node.in_force(SSH[0].flow)
    assert (logs, node.held, node.machine.reads) == ([], set(), 0)


async def test_switched_off_and_on_again(node: Node) -> None:
    await started(node, GUARDED)
    await node.batch({gnp("no-ssh"): NO_SSH})
    await node.batch({DEFAULT: FelixConfiguration({"lockoutGuard": "Off"})})
    assert node.held == set()
    assert not node.in_force(SSH[0].flow)
    await node.batch({DEFAULT: None})
    await node.batch({gnp("no-etcd"): policy(to_port(2379))})
    assert node.held == {"GlobalNetworkPolicy/no-etcd"}


# ---------------------------------------------------------------- what it costs


async def test_without_a_host_endpoint_nothing_is_read_or_judged(node: Node) -> None:
    await started(node, {W1: WORKLOAD, gnp("no"): SHUT})
    await node.batch({gnp("no"): policy(DENY, selector="all()")})
    assert node.machine.reads == 0


async def test_what_does_not_concern_an_endpoint_asks_nothing(node: Node) -> None:
    await started(node, GUARDED)
    reads = node.machine.reads
    workloads = policy(DENY, selector="has(workload)")
    await node.batch({W1: WORKLOAD, gnp("w"): workloads, ADMINS: ADMIN_NETS})
    assert node.machine.reads == reads


async def test_a_last_endpoint_that_goes_takes_everything_along(node: Node) -> None:
    await started(node, GUARDED)
    await node.batch({gnp("no-ssh"): NO_SSH})
    await node.batch({HEP: None})
    assert node.held == set()
    reads = node.machine.reads
    await node.batch({gnp("no-ssh"): None})
    assert node.machine.reads == reads
