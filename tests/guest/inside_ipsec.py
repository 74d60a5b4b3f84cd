"""IPsec between real agents: run in the guest by test_ipsec.py.

    n1 ─┐        w1
    n2 ─┼─ wire  w2           everything that passes the wire is seen; packets of all flows are
    n3 ─┘        w3           counted, per step

One cluster for all tests, in the order of the file, because an agent takes its time to come up
here.  Keys go from 14 over 15 and 1 onwards; each test leaves behind what encrypts with its last.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from functools import partial

import pytest

from dataplane.ipsec.values import TABLE
from felixpy.ipsec.key_control import ask_drop
from tests.guest import ipsec_manifests, ipsec_shown
from tests.guest import wireguard_manifests as manifests
from tests.guest.ipsec_lab import IpsecCluster, IpsecStep
from tests.guest.wireguard_lab import within
from tests.kernel.conftest import Namespace

H1, H2, H3 = "172.31.0.1", "172.31.0.2", "172.31.0.3"
W1, W2, W3 = "10.65.1.2", "10.65.2.2", "10.65.3.2"
V1, V2 = "fd65:0:0:1::2", "fd65:0:0:2::2"
FLOWS = (
    ("w1", W2, 200),
    ("w2", V1, 100),
    ("n1", W2, 20),  # from a host to a workload, and the other way
    ("w1", H2, 20),
    ("n2", V1, 20),
)
ON = {"IPsecEnabled": "true"}
SHARED = {"IPsecStateLayout": "shared"}
CLEAR = {"IPsecAllowClear": "true"}
SETTLED = 2.0  # seconds that show that it stays so
# As strongSwan leaves them, which counts its reqids from 1 as well.
FOREIGN = """\
ip xfrm state add src {here} dst 192.0.2.7 proto esp spi 0xc0000001 reqid 1 mode tunnel \
 replay-window 32 aead 'rfc4106(gcm(aes))' 0x{key} 128
ip xfrm policy add src 10.98.0.0/24 dst 10.99.0.0/24 dir out priority 371327 \
 tmpl src {here} dst 192.0.2.7 proto esp reqid 1 mode tunnel
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IpsecCluster]:
    spaces: list[Namespace] = []

    def make(label: str) -> Namespace:
        spaces.append(Namespace(label))
        return spaces[-1]

    made = IpsecCluster(make, tmp_path_factory.mktemp("cluster"))
    made.settings = ON
    try:
        for n in (1, 2):
            made.add(n)
            made.give(14, nodes=[n])
            made.start(n)
            made.attend(n)
        made.nodes[2].run(FOREIGN.format(here=H2, key="5a" * 20))
        made.until(made.encrypted, "encryption")
        for flow in FLOWS:
            made.flow(*flow)
        made.stream("w2", W1)
        yield made
    finally:
        made.close()
        print(made.table())
        for space in reversed(spaces):
            space.delete()


def foreign(cluster: IpsecCluster) -> list[object]:
    """What is not ours on node 2, without what it has counted."""
    kernel = cluster.kernel(2)
    states = [s for s in kernel.states if s.id.spi == 0xC0000001]
    policies = [p for p in kernel.policies if p.priority == 371327]
    return [
        *((s.id, s.source, s.fingerprint, s.counters.added) for s in states),
        *((p.selector, p.templates, p.index, p.counters.added) for p in policies),
    ]


def assert_nothing_in_clear(step: IpsecStep) -> None:
    assert not step.clear, step
    assert step.encrypted > 100, step


def assert_nothing_lost(step: IpsecStep, *but: str) -> None:
    for name in step.sent:
        assert name in but or name in step.streamed or step.lost(name) == 0, step
    assert not step.broken, step


def assert_nothing_happens(step: IpsecStep) -> None:
    """Nothing that a flow would notice."""
    assert_nothing_in_clear(step)
    assert_nothing_lost(step)
    assert all(step.streamed.values()), step


def has(shown: list[str], *parts: str) -> bool:
    """Whether one of the objects has all of these parts."""
    return any(all(part in each for part in parts) for each in shown)


def rotate(cluster: IpsecCluster, before: int, after: int) -> None:
    """As an operator does: the new record takes the old one's place, everywhere at once."""
    cluster.give(after)
    cluster.until(partial(cluster.all_send, after), f"key {after} in use")
    cluster.until(partial(cluster.only_key, after), f"the end of key {before}")


def rotate_node_by_node(cluster: IpsecCluster, before: int, after: int) -> None:
    """Each gets the new one beside the old one; then the old one goes, everywhere at once."""
    for n in sorted(cluster.nodes):
        cluster.give(before, after, nodes=[n])
        cluster.wait(1)
    cluster.until(partial(cluster.all_send, after), f"key {after} in use")
    cluster.give(after)
    cluster.until(partial(cluster.only_key, after), f"the end of key {before}")


# ---------------------------------------------------------------- layout "pair"


def test_only_esp_is_on_the_wire(cluster: IpsecCluster) -> None:
    with cluster.step("two nodes") as step:
        seen = cluster.wire.run("timeout 20 tcpdump -lnni p1 -c 100 not arp and not icmp6").lower()
        cluster.wait(SETTLED)
    assert_nothing_happens(step)
    lines = [line for line in seen.splitlines() if line]
    assert len(lines) == 100
    assert all(": esp(spi=0x" in line for line in lines), seen
    assert {"ip", "ip6"} <= {line.split()[1] for line in lines}, seen


def test_a_node_joins(cluster: IpsecCluster) -> None:
    cluster.add(3)
    cluster.give(14, nodes=[3])
    with cluster.step("node 3 joins") as step:
        cluster.flow("w1", W3, 20)
        cluster.start(3)
        # Before, nobody keeps what it routes from going in clear.
        cluster.until(lambda: bool(cluster.kernel(3).policies), "node 3's first policies")
        cluster.flow("w3", V2, 20)
        cluster.until(cluster.encrypted, "a third node's encryption")
        cluster.until(partial(cluster.is_well, 3), "that all is well")
    assert_nothing_in_clear(step)
    assert_nothing_lost(step, f"w1 > {W3}", f"w3 > {V2}")
    with cluster.step("node 3 has joined") as step:
        cluster.wait(SETTLED)
    assert_nothing_happens(step)


def test_the_kernel_has_states_for_each_pair(cluster: IpsecCluster) -> None:
    node = cluster.nodes[1]
    policies, states = ipsec_shown.policies(node), ipsec_shown.states(node)
    tags = {n: cluster.record(n).tag for n in (1, 2, 3)}
    for n, here, there, net in (
        (2, H1, H2, "10.65.2.0/26"),
        (3, H1, H3, "10.65.3.0/26"),
        (2, "fd31::1", "fd31::2", "fd65:0:0:2::/122"),
    ):
        anywhere = "::/0" if ":" in net else "0.0.0.0/0"
        own_spi, their_spi = (f"spi {tags[i] << 4 | 14:#010x} reqid 1" for i in (1, n))
        for way in ("in", "fwd"):
            come = f"src {net} dst {anywhere} dir {way} priority 1006"
            through = f"tmpl src {there} dst {here} proto esp reqid 1 mode tunnel"
            assert has(policies, come, through), (come, through, policies)
        go = f"src {anywhere} dst {net} dir out priority 1006"
        through = f"tmpl src {here} dst {there} proto esp {own_spi} mode tunnel"
        assert has(policies, go, through), (go, through, policies)
        assert has(states, f"src {here} dst {there} proto esp {own_spi} mode tunnel"), states
        receiving = f"src {there} dst {here} proto esp {their_spi} mode tunnel"
        marks, counts = "output-mark 0xd00/0xf00", "replay_window 1024"
        assert has(states, receiving, marks, counts, "flag af-unspec esn") or has(
            states, receiving, marks, counts, "flag esn"
        ), states
    assert not any("optional" in each or "level use" in each for each in policies), policies
    assert_rules_and_routes(cluster)


def assert_rules_and_routes(cluster: IpsecCluster) -> None:
    rules = ipsec_shown.rules(cluster.nodes[1])
    for mark in ("0xd00/0xf00", "0xe00/0xf00"):
        assert rules.count(f"1: from all fwmark {mark} lookup 200 proto 50") == 2, rules
    routes = ipsec_shown.table(cluster.nodes[1], TABLE)
    assert has(routes, "local 172.31.0.1 dev eth0 proto 50 scope host"), routes
    assert has(routes, "10.65.2.0/26 via 172.31.0.2 dev eth0 proto 50 mtu 1446"), routes
    assert has(routes, "fd65:0:0:2::/122 via fd31::2 dev eth0 proto 50", "mtu 1426"), routes


def test_pools_that_require_encryption_have_it(cluster: IpsecCluster) -> None:
    """Every packet between workloads is asked, where it leaves and where it comes in."""

    def guarded(n: int) -> bool:
        sets = cluster.nodes[n].run("ipset list -n")
        return all(f"cali{f}0encrypted-pools" in sets for f in (4, 6))

    cluster.write("pools.yaml", manifests.pools(encryption="required"))
    for n in cluster.nodes:
        cluster.until(partial(guarded, n), f"node {n}'s guard of the pools")
    with cluster.step("pools that require encryption") as step:
        cluster.wait(SETTLED)
    cluster.write("pools.yaml", manifests.pools())
    for n in cluster.nodes:
        cluster.until(lambda n=n: not guarded(n), f"node {n} without it")  # type: ignore[misc]
    assert_nothing_happens(step)


def test_what_is_too_long_is_said_at_once(cluster: IpsecCluster) -> None:
    for name in ("w1", "w2"):
        cluster.workloads[name].run("ip link set eth0 mtu 1500")
    ping = cluster.workloads["w1"].run
    longest, too_long = "ping -nqc1 -W5 -Mdo -s {} {}", "ping -nc1 -W5 -Mdo -s {} {}"
    ping(longest.format(1446 - 28, W2))
    ping(longest.format(1426 - 48, V2))
    assert "mtu = 1446" in ping(too_long.format(1447 - 28, W2), check=False)


def test_three_rotations(cluster: IpsecCluster) -> None:
    with cluster.step("three rotations, 14 to 15 to 1 to 2") as step:
        rotate(cluster, 14, 15)
        rotate(cluster, 15, 1)
        rotate_node_by_node(cluster, 1, 2)
    assert_nothing_happens(step)


def test_a_node_gets_the_key_late(cluster: IpsecCluster) -> None:
    with cluster.step("node 3 has not got key 3") as step:
        cluster.give(3, nodes=[1, 2])
        cluster.until(partial(cluster.all_send, 3, 1, 2), "key 3 between nodes 1 and 2")
        cluster.wait(SETTLED)
        assert [cluster.sends(1, 3), cluster.sends(3, 1), cluster.sends(3, 2)] == [2, 2, 2]
    assert_nothing_happens(step)
    with cluster.step("node 3 gets it") as step:
        cluster.give(3, nodes=[3])
        cluster.until(partial(cluster.all_send, 3), "key 3 everywhere")
        cluster.until(partial(cluster.only_key, 3), "the end of key 2")
    assert_nothing_happens(step)


def test_an_agent_is_killed_in_the_middle_of_a_rotation(cluster: IpsecCluster) -> None:
    tag = cluster.record(1).tag
    with cluster.step("node 1's agent is killed half-way to key 4, and started again") as step:
        cluster.give(4, nodes=[1, 2])
        cluster.until(lambda: cluster.sends(1, 2) == 4, "key 4 half-way")
        cluster.stop(1, killed=True)
        cluster.give(4, nodes=[3])
        cluster.start(1)
        cluster.until(partial(cluster.all_send, 4), "key 4 everywhere")
        cluster.until(partial(cluster.only_key, 4), "the end of key 3")
    assert_nothing_happens(step)
    assert cluster.record(1).tag == tag


def test_a_state_that_is_deleted_has_another_life(cluster: IpsecCluster) -> None:
    """So that no key counts from the beginning twice."""
    tag = cluster.record(1).tag
    spi = tag << 4 | 4
    with cluster.step("somebody deletes a state that node 1 sends with") as step:
        cluster.nodes[1].run(f"ip xfrm state delete src {H1} dst {H2} proto esp spi {spi}")
        cluster.until(lambda: cluster.record(1).tag != tag, "another life")
        cluster.until(lambda: is_back(cluster, cluster.record(1).tag << 4 | 4), "that it is back")
        cluster.until(partial(cluster.all_send, 4), "encryption")
    assert_nothing_in_clear(step)
    with cluster.step("node 1 has another life") as step:
        cluster.wait(SETTLED)
    assert_nothing_happens(step)


def test_a_wrong_key_is_named(cluster: IpsecCluster) -> None:
    with cluster.step("node 3 has another key 5 than the others") as step:
        cluster.give(5, nodes=[1, 2])
        cluster.give(5, nodes=[3], word=ipsec_manifests.WRONG)
        cluster.until(partial(cluster.all_send, 5, 1, 2), "key 5 between nodes 1 and 2")
        cluster.until(lambda: bool(about_key(cluster, 3, 5)), "node 3's own word")
        cluster.until(lambda: "n3" in about_key(cluster, 1, 5), "node 1's word")
        assert cluster.sends(1, 3) == cluster.sends(3, 1) == 4
    assert_nothing_happens(step)
    # The operator waits no longer for who uses the last one that they have in common.
    for n in (1, 2):
        ask_drop(cluster.run_directory(n), 4)
    with cluster.step("no key in common with node 3") as step:
        cluster.until(lambda: 4 not in cluster.kernel(1).keys, "the end of key 4")
        cluster.wait(SETTLED)
    assert_nothing_in_clear(step)
    assert_nothing_lost(step, f"w1 > {W3}", f"w3 > {V2}")
    assert step.received[f"w1 > {W3}"] < step.sent[f"w1 > {W3}"], step
    cluster.until(lambda: "n3" in " ".join(cluster.problems(1)), "node 1's word about node 3")


def about_key(cluster: IpsecCluster, n: int, key: int) -> str:
    return " ".join(p for p in cluster.problems(n) if f"key {key}" in p)


def test_in_clear_where_that_is_allowed(cluster: IpsecCluster) -> None:
    """Goes on from the last: node 3 has no key in common with the others."""
    with cluster.step("IPsecAllowClear") as step:
        cluster.reload(**ON, **CLEAR)
        cluster.until(lambda: cluster.reaches("w1", W3), "clear text")
    assert step.clear_between(W1, W2, V1, V2, H1, H2) == 0, step
    assert step.clear_between(W1, W3) > 0, step
    assert_nothing_lost(step, f"w1 > {W3}", f"w3 > {V2}")
    cluster.until(lambda: "n3" in " ".join(cluster.problems(1)), "node 1's word about node 3")
    with cluster.step("node 3 gets a key that the others have") as step:
        cluster.give(6)
        cluster.until(partial(cluster.all_send, 6), "key 6 everywhere")
    assert_nothing_lost(step)
    assert step.clear_between(W1, W2, V1, V2, H1, H2) == 0, step
    with cluster.step("… and all is encrypted") as step:
        cluster.wait(SETTLED)
    assert_nothing_happens(step)


# ---------------------------------------------------------------- off and on


def test_off(cluster: IpsecCluster) -> None:
    before = foreign(cluster)
    assert len(before) == 2
    with cluster.step("IPsec goes off") as step:
        cluster.reload(**CLEAR)
        cluster.until(partial(nothing_is_left, cluster), "that all of it has gone")
    assert_nothing_lost(step)
    assert foreign(cluster) == before


def nothing_is_left(cluster: IpsecCluster) -> bool:
    for n in cluster.agents:
        kernel = cluster.kernel(n)
        if len(kernel.states) + len(kernel.policies) > (2 if n == 2 else 0):
            return False
    node = cluster.nodes[1]
    left = [line for line in ipsec_shown.rules(node) if "lookup 200" in line]
    left += ipsec_shown.table(node, TABLE)
    left += [
        line
        for family in ("", "6")
        for line in node.run(f"ip{family}tables-nft-save").splitlines()
        if "0xe00/0xf00" in line or "0xd00/0xf00" in line or "-p esp" in line
    ]
    return not left


def test_on_while_clear_is_allowed_in_the_layout_shared(cluster: IpsecCluster) -> None:
    with cluster.step("IPsec goes on, layout shared, IPsecAllowClear") as step:
        cluster.give(14)
        cluster.reload(**ON, **SHARED, **CLEAR)
        cluster.until(partial(cluster.all_send, 14), "encryption again")
    assert_nothing_lost(step)
    with cluster.step("… and is on") as step:
        cluster.wait(SETTLED)
    assert_nothing_happens(step)


def test_closing_with_node_encryption(cluster: IpsecCluster) -> None:
    with cluster.step("no IPsecAllowClear any more, and IPsecNodeEncryption") as step:
        host_flow = cluster.flow("n1", H2)
        cluster.reload(**ON, **SHARED, IPsecNodeEncryption="true")
        cluster.until(partial(hosts_are_encrypted, cluster), "node encryption")
    assert_nothing_in_clear(step)
    assert_nothing_lost(step)
    with cluster.step("hosts are encrypted") as step:
        cluster.nodes[1].run(f"ping -nqc2 -i0.2 -W5 {H2}; ping -nqc2 -i0.2 -W5 fd31::2")
        converse(cluster, 8080)
        cluster.wait(SETTLED)
    assert_nothing_happens(step)
    assert not step.hosts, step
    assert step.received[host_flow] > 100, step
    with cluster.step("BGP is not") as step:
        converse(cluster, 179)
    assert_nothing_happens(step)
    assert step.hosts, step
    assert all("TCP-179 " in what or "TCP-17900 " in what for what in step.hosts), step


def hosts_are_encrypted(cluster: IpsecCluster) -> bool:
    def is_closed(n: int) -> bool:
        there = {f"172.31.0.{other}/32" for other in cluster.agents if other != n}
        return there <= {
            policy.selector.source
            for policy in cluster.kernel(n).policies
            if policy.direction == "in"
            and policy.selector.destination == f"172.31.0.{n}/32"
            and any(not template.optional for template in policy.templates)
        }

    return all(is_closed(n) for n in cluster.agents)


def converse(cluster: IpsecCluster, port: int) -> None:
    """Node 1 asks node 2 by TCP, and gets an answer."""
    with (
        closing(within(cluster.nodes[2], lambda: socket.create_server((H2, port)))) as listener,
        closing(within(cluster.nodes[1], socket.socket)) as asking,
    ):
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        asking.bind((H1, 17900))
        asking.settimeout(20)
        asking.connect((H2, port))
        with listener.accept()[0] as answering:
            answering.settimeout(20)
            asking.sendall(b"?")
            assert answering.recv(1) == b"?"
            answering.sendall(b"!")
            assert asking.recv(1) == b"!"


# ---------------------------------------------------------------- layout "shared"


def test_the_kernel_has_the_guides_shape(cluster: IpsecCluster) -> None:
    node = cluster.nodes[1]
    policies, states = ipsec_shown.policies(node), ipsec_shown.states(node)
    for here, there, anybody, own, theirs in (
        (H1, H2, "0.0.0.0", "10.65.1.0/26", "10.65.2.0/26"),
        (H1, H3, "0.0.0.0", "10.65.1.0/26", "10.65.3.0/26"),
        ("fd31::1", "fd31::2", "::", "fd65:0:0:1::/122", "fd65:0:0:2::/122"),
    ):
        for way in ("in", "fwd"):
            come = f"src {theirs} dst {own} dir {way} priority 506 "
            through = f"tmpl src {anybody} dst {here} proto esp reqid 1 mode tunnel"
            assert has(policies, come, "mark 0xd00/0xf00", through), (come, through, policies)
        go = f"src {own} dst {theirs} dir out priority 506 "
        through = f"tmpl src {here} dst {there} proto esp spi 0x0000000e reqid 1 mode tunnel"
        assert has(policies, go, "mark 0xe00/0xf00", through), (go, through, policies)
        spi = "proto esp spi 0x0000000e reqid 1 mode tunnel replay-window 0"
        assert has(states, f"src {here} dst {there} {spi}"), states
        assert has(states, f"src {anybody} dst {here} {spi}", "output-mark 0xd00/0xf00"), states
    assert_rules_and_routes(cluster)


def test_three_rotations_of_shared_states(cluster: IpsecCluster) -> None:
    with cluster.step("three rotations in the layout shared, 14 to 15 to 1 to 2") as step:
        rotate(cluster, 14, 15)
        rotate_node_by_node(cluster, 15, 1)
        rotate(cluster, 1, 2)
    assert_nothing_happens(step)


# ---------------------------------------------------------------- what others do


def test_policies_that_are_flushed_come_back(cluster: IpsecCluster) -> None:
    with cluster.step("somebody flushes node 1's policies") as step:
        cluster.nodes[1].run("ip xfrm policy flush")
        cluster.until(partial(is_back, cluster, 2), "that they are back")
        cluster.until(lambda: cluster.reaches("w1", W2), "what they are for")
    # What goes to hosts themselves nothing but a policy of xfrm keeps from going in clear.
    to_hosts = {what for what in step.clear if what.split()[-1] in (H1, H2, H3)}
    assert set(step.clear) == to_hosts, step
    assert step.encrypted > 100, step
    with cluster.step("all is as it was") as step:
        cluster.wait(SETTLED)
    assert_nothing_happens(step)


def is_back(cluster: IpsecCluster, spi: int) -> bool:
    """What node 1 sends with to node 2, and the policy that asks for it."""
    kernel = cluster.kernel(1).ours
    out = {
        (template.destination, template.spi)
        for policy in kernel.policies
        if policy.direction == "out" and policy.selector.destination == "10.65.2.0/26"
        for template in policy.templates
    }
    there = {(s.id.destination, s.id.spi) for s in kernel.states if s.source == H1}
    return (H2, spi) in out & there


def test_a_node_leaves(cluster: IpsecCluster) -> None:
    before = foreign(cluster)
    with cluster.step("node 3 leaves") as step:
        cluster.stop(3)
        cluster.leave(3)
        cluster.until(lambda: not about(cluster, H3), "a peer less")
        cluster.wait(SETTLED)
    assert_nothing_lost(step, f"w1 > {W3}", f"w3 > {V2}")
    assert_nothing_in_clear(step)
    assert foreign(cluster) == before
    assert len(before) == 2


def about(cluster: IpsecCluster, address: str) -> list[object]:
    """States and policies of node 1 for that end of a tunnel."""
    kernel = cluster.kernel(1)
    ends = [t for p in kernel.policies for t in p.templates if address in (t.source, t.destination)]
    return [*ends, *(s for s in kernel.states if address in (s.source, s.id.destination))]
