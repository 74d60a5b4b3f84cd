"""WireGuard between real agents: run in the guest by test_wireguard.py.

    n1 ─┐        w1 w1b
    n2 ─┼─ wire  w2           everything that passes the wire is seen; packets of all flows are
    n3 ─┘        w3           counted, per step

One cluster for all tests, in the order of the file, because an agent takes a minute to come up
here.  Each leaves it as it found it: everything encrypted, nodes 1 and 2, from the second test on
node 3, too.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from functools import partial
from signal import SIGHUP

import pytest

from dataplane.wireguard.state import shown
from tests.guest import wireguard_manifests as manifests
from tests.guest.wireguard_lab import ON_THE_WAY, Cluster, Step, ip, is_stream
from tests.guest.wireguard_manifests import NO_KEYS
from tests.kernel.conftest import Namespace

ON = {"wireguardEnabled": True, "wireguardEnabledV6": True}
W1, W2, W3 = "10.65.1.2", "10.65.2.2", "10.65.3.2"
V1, V2 = "fd65:0:0:1::2", "fd65:0:0:2::2"
POOL = "10.65.0.0/16"
MOVING, MOVED = "10.65.66.2", "10.65.66.0/26"
BLOCK2, BLOCK3 = "10.65.2.0/26", "10.65.3.0/26"
EXTRA = "10.65.67.0/26"
FLOWS = (("w1", W2, 100), ("w2", W1, 25), ("w1", V2, 25))
SETTLED = 1.5  # seconds that show that it stays so


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    spaces: list[Namespace] = []

    def make(label: str) -> Namespace:
        spaces.append(Namespace(label))
        return spaces[-1]

    made = Cluster(make, tmp_path_factory.mktemp("cluster"))
    try:
        made.write("felix.yaml", manifests.felix(**ON))
        for n in (1, 2):
            made.add(n)
            made.start(n)
        made.until(made.encrypted, "encryption")
        talk(made)
        yield made
    finally:
        made.close()
        for space in reversed(spaces):
            space.delete()


@pytest.fixture
def three(cluster: Cluster) -> Cluster:
    """With node 3 and a flow to it."""
    if 3 not in cluster.agents:
        join(cluster)
        cluster.until(cluster.encrypted, "a third node's encryption")
    return cluster


def talk(cluster: Cluster) -> None:
    for source, to, rate in FLOWS:
        cluster.flow(source, to, rate)
    cluster.stream("w2", W1)
    if 3 in cluster.agents:
        cluster.flow("w1", W3, 25)


def join(cluster: Cluster) -> None:
    if 3 in cluster.nodes:
        cluster.introduce(3)
    else:
        cluster.add(3)
    cluster.flow("w1", W3, 25)
    cluster.start(3)


def assert_nothing_in_clear(step: Step) -> None:
    assert not step.clear, step
    assert step.encrypted > 50, step


def assert_nothing_lost(step: Step, *but: str) -> None:
    for name in step.sent:
        assert name in but or is_stream(name) or step.lost(name) == 0, step
    assert not step.broken, step


def leave(cluster: Cluster) -> None:
    cluster.stop(3)
    cluster.leave(3)
    cluster.until(lambda: not cluster.way(1, BLOCK3), "a peer less")


def assert_all_is_well(cluster: Cluster, about: str) -> None:
    cluster.until(cluster.streams, "TCP")
    before = [cluster.said_clear(n) for n in cluster.agents]
    with cluster.step(about) as step:
        cluster.wait(SETTLED)
    assert [cluster.said_clear(n) for n in cluster.agents] == before
    assert_nothing_in_clear(step)
    assert_nothing_lost(step)
    assert all(step.streamed.values()), step


def reload(cluster: Cluster, **settings: str) -> None:
    """What only a machine's own file says, for all that run and that are started later."""
    cluster.settings = settings
    for n, agent in cluster.agents.items():
        cluster.configure(n)
        agent.signal(SIGHUP)


# ---------------------------------------------------------------- what comes and goes


def test_an_agent_is_killed_and_started_again(cluster: Cluster) -> None:
    before = cluster.device(1)
    with cluster.step("node 1's felixpy is killed and started again") as step:
        cluster.stop(1, killed=True)
        cluster.start(1)
        cluster.until(lambda: cluster.is_well(1), "the second agent")
        cluster.wait(SETTLED)
    assert_nothing_in_clear(step)
    assert_nothing_lost(step)
    after = cluster.device(1)
    assert before is not None
    assert after is not None
    assert after.public_key == before.public_key


def test_a_node_joins(cluster: Cluster) -> None:
    with cluster.step("node 3 joins") as step:
        join(cluster)
        cluster.until(cluster.encrypted, "a third node's encryption")
    assert step.clear_between(W1, W2, V1, V2) == 0, step
    assert_nothing_lost(step, f"w1 > {W3}")
    assert_all_is_well(cluster, "node 3 has joined")


def test_one_allowed_ip_is_one_message(three: Cluster) -> None:
    with three.messages(1) as count:
        three.write("felix.yaml", manifests.felix(**ON, bpfLogLevel="Off"))
        three.write("workload-w2.yaml", manifests.workload(2, "w2", W2, V2, role="other"))
        three.wait(SETTLED)
        assert count() == 0, "nothing that WireGuard is about"
        removed = []
        for _ in range(2):
            three.write("extra.yaml", manifests.block(2, EXTRA, "extra"))
            three.until(partial(three.behind, 1, 2, EXTRA), "an AllowedIP more")
            three.wait(SETTLED)
            assert count() == 1, "one AllowedIP more"
            three.remove("extra.yaml")
            three.until(lambda: not three.behind(1, 2, EXTRA), "an AllowedIP less")
            three.wait(SETTLED)
            removed.append(count())
    # the first time the kernel is asked whether it can take one away, and cannot
    assert removed == [2, 1], "one AllowedIP less"
    print(f"messages: nothing 0, one AllowedIP more 1, less {removed}")


def test_a_block_moves(three: Cluster) -> None:
    def move(n: int) -> None:
        three.write(
            "moving.yaml",
            manifests.together(
                manifests.block(n, MOVED, "moving"),
                manifests.workload(n, f"m{n}", MOVING),
            ),
        )

    for n in (2, 3):
        three.plug(n, f"m{n}", MOVING, told=False)
    move(2)
    three.until(partial(three.behind, 1, 2, MOVED), "a block more")
    flow = three.flow("w1", MOVING)
    three.wait(1)
    for n in (3, 2):
        with three.step(f"a block moves to node {n}") as step:
            move(n)
            three.until(partial(three.behind, 1, n, MOVED), "the move")
            three.wait(SETTLED)
        assert_nothing_in_clear(step)
        assert_nothing_lost(step, flow)
        assert step.received[flow] > 0, step
    three.flow("w1", MOVING, 0)
    three.remove("moving.yaml")
    three.until(lambda: not three.way(1, MOVED), "a block less")


def test_a_key_changes(three: Cluster) -> None:
    before = three.device(2)
    assert before is not None
    with three.step("node 2's device is deleted, and its key with it") as step:
        ip(three.nodes[2], "link del wireguard.cali")

        def changed() -> bool:
            after = three.device(2)
            return after is not None and after.public_key not in (None, before.public_key)

        three.until(changed, "another key")
        three.until(three.encrypted, "encryption with another key")
        three.wait(SETTLED)
    assert step.clear == {}, step
    assert_nothing_lost(step, f"w1 > {W2}", f"w2 > {W1}")
    assert_all_is_well(three, "node 2 has another key")


# ---------------------------------------------------------------- keys that are none


def test_two_nodes_with_one_key(three: Cluster) -> None:
    with three.step("node 3 publishes node 2's key") as step:
        three.claimed[3] = three.keys(2)
        three.until(
            lambda: all(not three.leads(1, n) for n in (2, 3)), "a route to neither of them"
        )
        three.wait(SETTLED)
    assert step.clear_between(W1, W2, V1, V2, W3) == 0, step
    told = " ".join(three.problems(1))
    assert "n2" in told, told
    assert "n3" in told, told
    assert [three.way(1, block) for block in (BLOCK2, BLOCK3)] == ["unreachable"] * 2
    del three.claimed[3]
    three.until(three.encrypted, "encryption once the keys are two again")
    assert_all_is_well(three, "the keys are two again")


def test_a_peer_without_a_key_is_reached_in_clear(three: Cluster) -> None:
    """As with Felix: nothing demands encryption."""
    three.withheld.add(3)
    three.until(lambda: three.way(1, BLOCK3) == "throw", "a route beside WireGuard")
    three.flow("w1", W3, 0)
    three.wait(ON_THE_WAY)
    before = three.said_clear(1)
    with three.step("node 3 has no key") as step:
        three.flow("w1", W3, 25)
        three.wait(SETTLED)
        three.flow("w1", W3, 0)
        three.wait(ON_THE_WAY)
    assert step.clear_between(W1, W3) == step.sent[f"w1 > {W3}"] > 20, step
    assert step.clear_between(W1, W2, V1, V2) == 0, step
    # What the dataplane has counted is what the wire has seen, to the packet.
    counted = {about: count - before[about] for about, count in three.said_clear(1).items()}
    assert {about: count for about, count in counted.items() if count} == {
        (4, "n3"): step.clear_between(W1, W3)
    }
    three.flow("w1", W3, 25)
    # What is to be encrypted or not to go at all.
    three.write("pools.yaml", manifests.pools(encryption="required"))
    three.until(lambda: three.way(1, BLOCK3) == "unreachable", "a pool to be encrypted")
    with three.step("node 3 has no key, and the pool demands encryption") as step:
        three.wait(SETTLED)
    assert_nothing_in_clear(step)
    assert step.received[f"w1 > {W3}"] == 0, step
    three.write("pools.yaml", manifests.pools())
    three.until(lambda: three.way(1, BLOCK3) == "throw", "a pool as before")
    three.write("policy.yaml", manifests.encrypted_policy("w1"))
    with three.step("node 3 has no key, and the policy that allows it demands encryption") as step:
        three.until(lambda: not three.reaches("w1", W3), "the policy")
    with three.step("… and has begun to count") as step:
        three.wait(SETTLED)
    assert_nothing_in_clear(step)
    assert step.received[f"w1 > {W3}"] == 0, step
    assert_nothing_lost(step, f"w1 > {W3}")
    three.remove("policy.yaml")
    three.withheld.clear()
    three.until(three.encrypted, "encryption with the key")
    assert_all_is_well(three, "node 3 has a key")


# ---------------------------------------------------------------- where nothing has to be


def test_workloads_of_one_node_do_not_use_the_wire(cluster: Cluster) -> None:
    """Documented: what never leaves the node is not encrypted."""
    cluster.plug(1, "w1b", "10.65.1.3")
    cluster.be_silent()
    flow = cluster.flow("w1b", W1)
    cluster.wait(1)
    with cluster.step("two workloads of one node") as step:
        cluster.wait(SETTLED)
    cluster.flow("w1b", W1, 0)
    talk(cluster)
    assert step.clear == {}, step
    assert step.sent[flow] > 50, step
    assert step.lost(flow) == 0, step
    assert step.encrypted < 10, step  # keepalives after the flows before


def test_on_and_off_under_flows(three: Cluster) -> None:
    flows = [f"{source} > {to}" for source, to, _ in FLOWS]
    with three.step("WireGuard is switched off") as step:
        three.write("felix.yaml", manifests.felix())
        three.until(
            lambda: all(three.device(n, f) is None for n in (1, 2, 3) for f in (4, 6)),
            "no device any more",
        )
    assert not step.broken, step
    with three.step("WireGuard is off") as step:
        three.wait(SETTLED)
    assert step.encrypted == 0, step
    assert all(step.lost(flow) == 0 for flow in flows), step
    with three.step("WireGuard is switched on") as step:
        three.write("felix.yaml", manifests.felix(**ON))
        three.until(three.encrypted, "encryption again")
    assert not step.broken, step
    assert_all_is_well(three, "WireGuard is on again")


def test_what_is_said_is_what_is(three: Cluster) -> None:
    """Of nodes 1 and 3, over whose device nothing goes the other way."""
    began = int(time.time())
    statuses, device, there = three.statuses(1), three.device(1), three.device(3)
    assert device is not None
    assert there is not None
    assert there.public_key is not None
    said, peer = statuses[4, "n3"], device.peers[there.public_key]
    assert said.stage == "ready"
    assert said.key == shown(there.public_key)
    assert said.endpoint == peer.endpoint == ("172.31.0.3", 51820)
    assert set(said.nets) == peer.nets
    assert BLOCK3 in said.nets
    assert said.clear_nets == said.closed_nets == ()
    assert 0 <= peer.handshake - said.handshake < 5  # seconds: there may have been another
    assert began - 180 < said.handshake <= time.time()
    assert 0 < said.sent <= peer.sent
    assert 0 < said.received <= peer.received
    status, text = three.command(1, "wireguard", "key", "--json")
    assert status == 0
    key = shown(device.public_key or b"")
    assert {"node": "n1", "family": 4, "key": key, "published": True} in json.loads(text)
    status, text = three.command(1, "status", "wireguard")
    assert status == 0, text
    assert "peer: n3 ready" in text
    assert key in text


def test_a_node_leaves(three: Cluster) -> None:
    with three.step("node 3 leaves") as step:
        leave(three)
        three.wait(SETTLED)
    assert step.clear_between(W1, W2, V1, V2) == 0, step
    assert_nothing_lost(step, f"w1 > {W3}")
    device = three.device(1)
    assert device is not None
    assert len(device.peers) == 1
    three.flow("w1", W3, 0)
    assert_all_is_well(three, "node 3 has left")


def test_hosts_are_encrypted(cluster: Cluster) -> None:
    for n in (1, 2):
        cluster.attend(n)
    flow = cluster.flow("n1", "172.31.0.2")
    talking = "02:31:00:00:00:01 UDP-9998 172.31.0.1 > 172.31.0.2"
    cluster.wait(1)
    with cluster.step("hosts talk") as step:
        cluster.wait(SETTLED)
    assert step.hosts[talking] > 50, step
    reload(cluster, RouteSource="WorkloadIPs", WireguardHostEncryptionEnabled="true")
    cluster.until(lambda: cluster.way(1, "172.31.0.2") == "device", "host encryption")
    cluster.until(lambda: cluster.way(2, "172.31.0.1") == "device", "host encryption")
    cluster.wait(SETTLED)
    with cluster.step("hosts talk, and are encrypted") as step:
        cluster.wait(SETTLED)
    assert_nothing_in_clear(step)
    assert not step.hosts, step
    assert step.received[flow] > 50, step
    cluster.flow("n1", "172.31.0.2", 0)


def test_strictness_knows_no_new_node_and_none_that_was(cluster: Cluster) -> None:
    """What the default sends in clear meanwhile is what goes to node 3, and nothing else."""
    assert 3 not in cluster.agents
    reload(cluster, WireguardStrict="true")
    cluster.until(
        lambda: all(cluster.way(n, POOL) == "unreachable" for n in cluster.agents),
        "a pool that is closed",
    )
    cluster.until(lambda: not cluster.way(1, "172.31.0.2"), "no host encryption")
    to = cluster.flow("w1", W3, 25)
    cluster.withheld.add(3)
    with cluster.step("strict: node 3 joins, without a key") as step:
        join(cluster)
        cluster.until(lambda: cluster.way(1, BLOCK3) == "unreachable", "a net that is closed")
        cluster.until(lambda: cluster.keys(3) != NO_KEYS, "a key that nobody knows")
    assert_nothing_in_clear(step)
    assert_nothing_lost(step, to)
    assert step.received[to] == 0, step
    cluster.withheld.clear()
    with cluster.step("strict: node 3's key becomes known") as step:
        cluster.until(cluster.encrypted, "a third node's encryption")
    assert_nothing_in_clear(step)
    assert_nothing_lost(step, to)
    assert_all_is_well(cluster, "strict: node 3 has joined")
    with cluster.step("strict: node 3 leaves") as step:
        leave(cluster)
    assert_nothing_in_clear(step)
    assert_nothing_lost(step, to)
    with cluster.step("strict: node 3 has left") as step:
        cluster.wait(SETTLED)
    assert_nothing_in_clear(step)
    assert_nothing_lost(step, to)
    assert step.received[to] == 0, step
    print(cluster.table())
