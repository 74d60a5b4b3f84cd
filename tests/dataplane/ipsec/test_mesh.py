"""What is in the kernel and in the record, for one node and what it is told."""

from __future__ import annotations

from typing import Literal

import pytest
from msgspec import structs

from calc_graph.model import IpPool, IpsecPeering
from calc_graph.updates import (
    HostRemove,
    HostUpdate,
    IpsecPeerRemove,
    PoolRemove,
    PoolUpdate,
    RouteRemove,
    RouteType,
)
from dataplane.ipsec.life import Life
from dataplane.ipsec.values import (
    DECRYPTED,
    ENCRYPT,
    PolicyId,
    PolicyWish,
    Selector,
    StateId,
    StateWish,
    Template,
)
from tests.dataplane.ipsec.one_mesh import (
    ALL,
    BLOCK,
    BLOCK2,
    FIRST,
    FIRST6,
    FIRST_TAG,
    FOUR,
    HERE,
    HERE6,
    LIFE,
    OWN,
    SECOND,
    SECOND_TAG,
    TAG,
    THREE,
    OneMesh,
    own,
    record,
    remote,
    settings,
)

BOOTS = "bb" * 16, LIFE.boot
OUT3 = Template(HERE, FIRST, TAG << 4 | 3)
OUT4 = Template(HERE, FIRST, TAG << 4 | 4)
IN = Template(FIRST, HERE)


def encrypted() -> OneMesh:
    made = OneMesh()
    made.first(record())
    made.run()
    return made


# ---------------------------------------------------------------- states


def test_states_of_a_pair() -> None:
    made = encrypted()
    theirs, ours = BOOTS
    receiving, sending = StateId(HERE, FIRST_TAG << 4 | 3), StateId(FIRST, TAG << 4 | 3)
    assert made.mesh.states(4) == {
        receiving: StateWish(receiving, FIRST, 3, True, "first", theirs + ours),
        sending: StateWish(sending, HERE, 3, False, "first", ours + theirs),
    }


def test_states_that_all_share() -> None:
    made = OneMesh(settings(layout="shared"))
    made.first(record(layout="shared", taken_in=0))
    made.run()
    receiving, sending = StateId(HERE, 3), StateId(FIRST, 3)
    assert made.mesh.states(4) == {
        receiving: StateWish(receiving, "0.0.0.0", 3, True),
        sending: StateWish(sending, HERE, 3, False, "first"),
    }


def test_it_receives_before_it_sends() -> None:
    made = OneMesh()
    made.first(record(taken_in=0))
    made.run()
    assert [s.receives for s in made.mesh.states(4).values()] == [True]
    assert made.mesh.record.peers == {"first": IpsecPeering(FIRST_TAG, 0)}


def test_nobody_is_told_before_the_kernel_has_it() -> None:
    made = OneMesh()
    made.late = {StateId(HERE, FIRST_TAG << 4 | 3)}
    made.first(record())
    made.run()
    assert (made.mesh.record.receive, made.mesh.record.peers) == ({}, {"first": IpsecPeering(0, 3)})


def test_nobody_is_told_before_the_kernel_has_what_all_share() -> None:
    made = OneMesh(settings(layout="shared"))
    made.late = {StateId(HERE, 3)}
    made.first(record(layout="shared"))
    made.run()
    assert made.mesh.record.receive == {}
    made.mesh.observe(4, {StateId(HERE, 3): made.mesh.states(4)[StateId(HERE, 3)]}, {})
    made.run()
    assert made.mesh.record.receive == THREE


def test_all_are_told_when_the_last_state_has_come() -> None:
    made = OneMesh()
    last = StateId(HERE, SECOND_TAG << 4 | 3)
    made.late = {last}
    made.first(record())
    made.mesh.update(HostUpdate("second", SECOND, ""))
    made.say(record(SECOND_TAG, ipv4=SECOND), "second")
    made.run()
    assert made.mesh.record.receive == {}
    made.mesh.observe(4, {last: made.mesh.states(4)[last]}, {})
    made.run()
    assert made.mesh.record.receive == THREE
    assert {n: p.tag for n, p in made.mesh.record.peers.items()} == {
        "first": FIRST_TAG,
        "second": SECOND_TAG,
    }


def test_a_key_that_is_told_stays_so_when_a_peer_comes() -> None:
    made = encrypted()
    made.late = {StateId(HERE, SECOND_TAG << 4 | 3)}
    made.mesh.update(HostUpdate("second", SECOND, ""))
    made.say(record(SECOND_TAG, ipv4=SECOND, taken_in=0), "second")
    made.run()
    assert made.mesh.record.receive == THREE
    assert made.mesh.record.peers == {"first": IpsecPeering(FIRST_TAG, 3)}


# ---------------------------------------------------------------- policies of a net


@pytest.mark.parametrize(
    ("allow_clear", "taken_in", "out", "into"),
    [
        (False, TAG, (1006, OUT3), (1006, IN)),
        (False, 0, (1006, "block"), (1006, IN)),
        (True, TAG, (1006, OUT3), (1006, structs.replace(IN, optional=True))),
        (True, 0, None, (1006, structs.replace(IN, optional=True))),
    ],
)
def test_policies_of_a_net(allow_clear: bool, taken_in: int, out: object, into: object) -> None:
    made = OneMesh(settings(allow_clear=allow_clear))
    made.first(record(taken_in=taken_in))
    made.run()
    assert made.policy("out", ALL, BLOCK) == out
    assert made.policy("in", BLOCK, ALL) == into
    assert made.policy("fwd", BLOCK, ALL) == into
    assert made.mesh.routes(4) == ({BLOCK: FIRST} if taken_in else {})


@pytest.mark.parametrize(
    ("allow_clear", "out", "into"), [(False, (1006, "block"), (1006, IN)), (True, None, None)]
)
def test_a_node_without_a_record(allow_clear: bool, out: object, into: object) -> None:
    made = OneMesh(settings(allow_clear=allow_clear))
    made.first()
    made.run()
    assert made.policy("out", ALL, BLOCK) == out
    assert made.policy("in", BLOCK, ALL) == into
    assert made.policy("out", OWN, f"{FIRST}/32") is None


def test_a_net_of_a_node_that_nothing_is_known_of() -> None:
    made = OneMesh()
    made.mesh.update(remote(BLOCK, "nobody"))
    made.run()
    assert made.policy("out", ALL, BLOCK) == (1006, "block")
    assert made.policy("fwd", BLOCK, ALL) == (1006, "block")


def test_the_tunnel_turns_only_when_its_state_is_there() -> None:
    made = OneMesh()
    made.late = {StateId(FIRST, TAG << 4 | 3)}
    made.first(record())
    made.run()
    assert made.policy("out", ALL, BLOCK) == (1006, "block")
    made.late = set()
    made.mesh.observe(4, dict(made.mesh.states(4)), {})
    made.run()
    assert made.policy("out", ALL, BLOCK) == (1006, OUT3)


def test_a_borrowed_address_comes_before_its_block() -> None:
    made = encrypted()
    made.mesh.update(remote("10.60.1.9/32", "second"))
    made.run()
    assert made.policy("out", ALL, "10.60.1.9/32") == (1000, "block")


def test_what_we_have_borrowed_is_here() -> None:
    made = encrypted()
    made.mesh.update(own("10.60.1.9/32"))
    made.mesh.update(own("10.60.0.9/32"))
    made.run()
    assert made.policy("out", ALL, "10.60.1.9/32") == (400, "allow")
    assert made.policy("in", "10.60.1.9/32", ALL) == (400, "allow")
    assert made.policy("fwd", "10.60.1.9/32", ALL) == (400, "allow")
    assert made.policy("out", "10.60.1.9/32", f"{FIRST}/32") == (1000, OUT3)
    assert made.policy("out", ALL, "10.60.0.9/32") is None


def test_what_we_had_borrowed_when_the_block_around_becomes_ours() -> None:
    made = OneMesh()
    made.mesh.update(own("10.60.9.9/32"))
    made.run()
    assert made.policy("out", ALL, "10.60.9.9/32") == (400, "allow")
    made.mesh.update(own("10.60.9.0/26"))
    made.run()
    assert made.policy("out", ALL, "10.60.9.9/32") is None
    made.mesh.update(RouteRemove("10.60.9.0/26"))
    made.run()
    assert made.policy("out", ALL, "10.60.9.9/32") == (400, "allow")


def test_a_block_that_moves_is_exchanged_in_place() -> None:
    made = encrypted()
    made.mesh.update(HostUpdate("second", SECOND, ""))
    made.say(record(SECOND_TAG, ipv4=SECOND), "second")
    made.run()
    made.mesh.update(remote(BLOCK, "second"))
    made.mesh.resolve(0.0)
    changes = made.mesh.take_changes(4)
    assert changes.states == {}
    assert None not in changes.policies.values()
    assert made.policy("out", ALL, BLOCK) == (1006, Template(HERE, SECOND, TAG << 4 | 3))
    assert made.policy("in", BLOCK, ALL) == (1006, Template(SECOND, HERE))
    assert changes.routes == {BLOCK: SECOND}


def test_a_net_that_goes() -> None:
    made = encrypted()
    made.mesh.update(RouteRemove(BLOCK))
    made.run()
    assert made.policy("out", ALL, BLOCK) is None
    assert made.policy("in", BLOCK, ALL) is None
    assert made.mesh.routes(4) == {}


def test_the_path_of_the_tunnel_itself_is_no_net() -> None:
    made = encrypted()
    made.mesh.update(remote(f"{FIRST}/32", types=RouteType.REMOTE_HOST | RouteType.REMOTE_TUNNEL))
    made.run()
    assert made.policy("out", ALL, f"{FIRST}/32") is None


def test_an_address_that_is_here_as_well_is_ours() -> None:
    made = encrypted()
    types = RouteType.REMOTE_WORKLOAD | RouteType.LOCAL_WORKLOAD
    update = remote("10.60.1.9/32", types=types)
    made.mesh.update(type(update)(update.cidr, types, "none", "first", local_workload=True))
    made.run()
    assert made.policy("out", ALL, "10.60.1.9/32") == (400, "allow")


# ---------------------------------------------------------------- policies of this node


@pytest.mark.parametrize("allow_clear", [False, True])
def test_what_nobody_else_judges(allow_clear: bool) -> None:
    made = OneMesh(settings(allow_clear=allow_clear))
    made.run()
    rest = 63000, Template("0.0.0.0", HERE)
    assert made.policy("in", ALL, ALL, DECRYPTED) == rest
    assert made.policy("fwd", ALL, ALL, DECRYPTED) == rest
    guard = made.policy("out", ALL, "10.60.0.0/16", ENCRYPT)
    assert guard == (None if allow_clear else (65000, "block"))
    assert made.policy("out", ALL, OWN, ENCRYPT) == (None if allow_clear else (62000, "allow"))


@pytest.mark.parametrize(
    "pool",
    [
        IpPool("10.70.0.0/16", disabled=True),
        IpPool("10.70.0.0/16", allowed_uses=("LoadBalancer",)),
    ],
)
def test_pools_that_nobody_is_given_addresses_of(pool: IpPool) -> None:
    made = OneMesh()
    made.mesh.update(PoolUpdate(IpPool("10.70.0.0/16")))
    made.run()
    assert made.policy("out", ALL, "10.70.0.0/16", ENCRYPT) == (65000, "block")
    made.mesh.update(PoolUpdate(pool))
    made.run()
    assert made.policy("out", ALL, "10.70.0.0/16", ENCRYPT) is None


def test_a_pool_that_is_ours_alone_is_not_closed() -> None:
    made = OneMesh()
    made.mesh.update(PoolUpdate(IpPool("10.70.0.0/26")))
    made.mesh.update(own("10.70.0.0/26"))
    made.run()
    assert made.policy("out", ALL, "10.70.0.0/26", ENCRYPT) == (62000, "allow")
    made.mesh.update(RouteRemove("10.70.0.0/26"))
    made.run()
    assert made.policy("out", ALL, "10.70.0.0/26", ENCRYPT) == (65000, "block")


def test_a_pool_that_goes() -> None:
    made = OneMesh()
    made.mesh.update(PoolRemove("10.60.0.0/16"))
    made.run()
    assert made.policy("out", ALL, "10.60.0.0/16", ENCRYPT) is None


@pytest.mark.parametrize(
    ("allow_clear", "taken_in", "wished"),
    [(False, TAG, (1000, OUT3)), (False, 0, (1000, "block")), (True, 0, None)],
)
def test_what_workloads_say_to_a_peer_itself(
    allow_clear: bool, taken_in: int, wished: object
) -> None:
    made = OneMesh(settings(allow_clear=allow_clear))
    made.first(record(taken_in=taken_in))
    made.run()
    assert made.policy("out", OWN, f"{FIRST}/32") == wished
    made.mesh.update(own("10.60.5.0/26"))
    made.run()
    assert made.policy("out", "10.60.5.0/26", f"{FIRST}/32") == wished


def test_the_guides_policies() -> None:
    made = OneMesh(settings(layout="shared"))
    made.first(record(layout="shared"))
    made.run()
    here = Template("0.0.0.0", HERE)
    assert made.policy("fwd", BLOCK, OWN, DECRYPTED) == (506, here)
    assert made.policy("in", BLOCK, OWN, DECRYPTED) == (506, here)
    assert made.policy("out", OWN, BLOCK, ENCRYPT) == (506, Template(HERE, FIRST, 3))
    assert made.policy("in", BLOCK, ALL) == (1006, here)


def test_the_guides_policies_are_not_those_of_a_pair() -> None:
    assert encrypted().policy("out", OWN, BLOCK, ENCRYPT) is None


# ---------------------------------------------------------------- between nodes


@pytest.mark.parametrize(
    ("theirs", "hosts", "taken_in", "out", "into"),
    [
        (False, False, TAG, None, None),
        (True, False, 0, None, (2000, structs.replace(IN, optional=True))),
        (True, False, TAG, (2000, OUT3), (2000, structs.replace(IN, optional=True))),
        (True, True, TAG, (2000, OUT3), (2000, IN)),
        (True, True, 0, (2000, "block"), (2000, IN)),
    ],
)
def test_between_nodes(theirs: bool, hosts: bool, taken_in: int, out: object, into: object) -> None:
    """That the peer sends encrypted to workloads is nothing new."""
    made = OneMesh(settings(node_encryption=True))
    made.first(record(nodes=theirs, sends=3, hosts=hosts, taken_in=taken_in))
    made.run()
    assert made.policy("out", f"{HERE}/32", f"{FIRST}/32") == out
    assert made.policy("in", f"{FIRST}/32", f"{HERE}/32") == into


def test_between_nodes_it_says_what_it_does() -> None:
    made = OneMesh(settings(node_encryption=True))
    made.first(record(nodes=True))
    made.run()
    assert made.mesh.record.peers == {"first": IpsecPeering(FIRST_TAG, 3, hosts=True)}
    made.say(record(nodes=False))
    made.run()
    assert made.mesh.record.peers == {"first": IpsecPeering(FIRST_TAG, 3)}


def test_between_nodes_a_reboot_opens_nothing() -> None:
    made = OneMesh(settings(node_encryption=True))
    made.first(record(nodes=True, hosts=True))
    made.run()
    made.say(record(0x444444, boot="cc" * 16, taken_in=0, receive={}, nodes=True))
    made.run()
    assert made.policy("out", f"{HERE}/32", f"{FIRST}/32") == (2000, "block")
    assert made.policy("in", f"{FIRST}/32", f"{HERE}/32") == (2000, IN)


def test_between_nodes_an_agent_that_begins_opens_nothing() -> None:
    """What the one before it has closed is told of when peers are known already."""
    made = OneMesh(settings(node_encryption=True))
    made.first(record(0x444444, boot="cc" * 16, taken_in=0, receive={}, nodes=True))
    made.mesh.resolve(0.0)
    into = PolicyId("in", Selector(f"{FIRST}/32", f"{HERE}/32"))
    out = PolicyId("out", Selector(f"{HERE}/32", f"{FIRST}/32"))
    there = PolicyWish(into, 2000, template=IN), PolicyWish(out, 2000, "block")
    made.mesh.observe(4, {}, {policy.id: policy for policy in there})
    made.run()
    assert made.policy("in", f"{FIRST}/32", f"{HERE}/32") == (2000, IN)
    assert made.policy("out", f"{HERE}/32", f"{FIRST}/32") == (2000, "block")


@pytest.mark.parametrize(
    ("protocol", "source_port", "destination_port"),
    [(6, 179, 0), (6, 0, 179), (17, 500, 0), (17, 0, 4500), (6, 2379, 0), (6, 0, 2379)],
)
def test_what_nodes_say_in_clear(protocol: int, source_port: int, destination_port: int) -> None:
    made = OneMesh(settings(node_encryption=True, clear_ports=(("tcp", 2379),)))
    made.run()
    ports = (protocol, source_port, destination_port)
    assert made.policy("out", f"{HERE}/32", ALL, 0, *ports) == (1900, "allow")
    assert made.policy("in", ALL, f"{HERE}/32", 0, *ports) == (1900, "allow")


def test_neighbours_of_ipv6_stay_in_clear() -> None:
    made = OneMesh(settings(families=(4, 6), node_encryption=True))
    made.run()
    for kind in (133, 134, 135, 136, 137):
        assert made.policy("out", f"{HERE6}/128", "::/0", 0, 58, kind) == (10, "allow")
        assert made.policy("in", "::/0", f"{HERE6}/128", 0, 58, kind) == (10, "allow")


def test_without_it_there_are_no_exceptions() -> None:
    made = encrypted()
    assert made.policy("out", f"{HERE}/32", ALL, 0, 6, 179, 0) is None


# ---------------------------------------------------------------- families


def test_a_family_that_the_peer_has_no_address_of() -> None:
    made = OneMesh(settings(families=(4, 6)))
    made.first(record())
    made.mesh.update(remote("fd60:1::/122"))
    made.run()
    assert made.policy("out", ALL, BLOCK) == (1006, OUT3)
    assert made.policy("out", "::/0", "fd60:1::/122") == (1006, "block")
    assert made.policy("in", "fd60:1::/122", "::/0") == (1006, "block")
    progress = made.mesh.progress()["first"]
    assert progress.stage == "encrypted"
    assert progress.families == {6: "has no IPv6 address"}


def test_both_families() -> None:
    made = OneMesh(settings(families=(4, 6)))
    made.first(record(ipv6=FIRST6), v6=FIRST6)
    made.mesh.update(remote("fd60:1::/122"))
    made.run()
    spi = TAG << 4 | 3
    assert made.policy("out", "::/0", "fd60:1::/122") == (1006, Template(HERE6, FIRST6, spi))
    assert made.mesh.record.ipv6 == HERE6
    assert StateId(HERE6, FIRST_TAG << 4 | 3) in made.mesh.states(6)


def test_a_family_that_it_is_not_on_for() -> None:
    made = encrypted()
    made.mesh.update(remote("fd60:1::/122"))
    made.mesh.update(PoolUpdate(IpPool("fd60::/48")))
    before = dict(made.mesh.policies(4))
    made.run()
    assert made.mesh.policies(4) == before


# ---------------------------------------------------------------- keys


def test_a_new_key_is_received_first_and_sent_with_when_both_have_it() -> None:
    made = encrypted()
    made.mesh.keys(FOUR)
    made.run()
    assert made.mesh.record.receive == FOUR
    assert made.policy("out", ALL, BLOCK) == (1006, OUT3)
    made.say(record(receive=FOUR))
    made.run()
    assert made.policy("out", ALL, BLOCK) == (1006, OUT4)
    assert made.mesh.record.peers["first"].sends == 4


def test_the_old_key_is_used_until_the_state_of_the_new_one_is_there() -> None:
    made = encrypted()
    made.mesh.keys(FOUR)
    made.late = {StateId(FIRST, TAG << 4 | 4)}
    made.say(record(receive=FOUR))
    made.run()
    assert made.policy("out", ALL, BLOCK) == (1006, OUT3)


def test_a_key_goes_when_nobody_sends_with_it() -> None:
    made = encrypted()
    made.say(record(sends=3, receive=FOUR))
    made.mesh.keys({4: "c4"})
    assert made.run(100.0) == 400.0
    assert made.mesh.record.receive == FOUR
    made.say(record(sends=4, receive=FOUR))
    made.run(110.0)
    assert made.mesh.record.receive == {4: "c4"}
    assert made.run(111.9) == 112.0
    assert StateId(HERE, FIRST_TAG << 4 | 3) in made.mesh.states(4)
    made.run(112.0)
    assert {state.key for state in made.mesh.states(4).values()} == {4}
    assert made.mesh.alive == {4: "c4"}


def test_a_key_goes_when_its_grace_time_is_over() -> None:
    made = encrypted()
    made.say(record(sends=3))
    made.mesh.keys({4: "c4"})
    made.run(100.0)
    made.run(400.0)
    assert made.mesh.record.receive == {4: "c4"}
    made.run(430.0)
    assert made.mesh.alive == {4: "c4"}
    assert made.policy("out", ALL, BLOCK) == (1006, "block")


def test_a_key_on_its_way_out_is_taken_where_it_turns_out_to_be_in_use() -> None:
    made = OneMesh()
    made.first(record(taken_in=0, sends=4))
    made.run()
    made.mesh.keys({4: "c4"})
    made.run(1.0)
    made.say(record(sends=4))
    made.run(1.1)
    assert made.mesh.record.receive == {4: "c4"}
    assert made.policy("out", ALL, BLOCK) == (1006, "block")
    name = PolicyId("out", Selector(ALL, BLOCK))
    for policy in (PolicyWish(name, 1006, template=OUT3), PolicyWish(name, 1006, template=OUT4)):
        made.mesh.observe(4, {}, {name: policy})
        made.run()
    assert made.policy("out", ALL, BLOCK) == (1006, OUT3)


def test_what_is_not_sent_with_any_more_is_not_said_to_be() -> None:
    made = encrypted()
    made.say(record(taken_in=0))
    made.run()
    assert made.mesh.record.peers == {"first": IpsecPeering(FIRST_TAG, 0)}


def test_a_key_of_an_agent_before_is_kept_where_it_is() -> None:
    made = OneMesh(ring={4: "c4"})
    there = StateId(HERE, FIRST_TAG << 4 | 3)
    made.mesh.life(Life(LIFE.boot, LIFE.tag, FOUR))
    made.mesh.adopt(4, {there: FIRST})
    assert made.mesh.alive == FOUR
    made.first(record(sends=3))
    made.mesh.update(HostUpdate("second", SECOND, ""))
    made.say(record(SECOND_TAG, ipv4=SECOND, receive=FOUR), "second")
    made.run()
    assert there in made.mesh.states(4)
    assert StateId(HERE, SECOND_TAG << 4 | 3) not in made.mesh.states(4)
    assert made.mesh.record.receive == FOUR
    assert {n: p.tag for n, p in made.mesh.record.peers.items()} == {
        "first": FIRST_TAG,
        "second": SECOND_TAG,
    }


def test_a_state_that_cannot_be_made_again_is_wished_for_until_it_is_gone() -> None:
    made = OneMesh(ring={4: "c4"})
    receiving, sending = StateId(HERE, FIRST_TAG << 4 | 3), StateId(FIRST, TAG << 4 | 3)
    made.mesh.life(Life(LIFE.boot, LIFE.tag, FOUR))
    made.mesh.adopt(4, {receiving: FIRST, sending: HERE})
    made.first(record(sends=3, receive=FOUR))
    made.run()
    assert made.policy("out", ALL, BLOCK) == (1006, OUT4)
    assert {receiving, sending} <= made.mesh.states(4).keys()
    made.mesh.observe(4, {sending: None}, {})
    made.run()
    assert sending not in made.mesh.states(4)
    made.mesh.observe(4, {receiving: None}, {})
    made.run()
    assert receiving not in made.mesh.states(4)


def test_a_key_of_an_agent_before_that_nothing_is_left_of() -> None:
    made = OneMesh(ring={4: "c4"})
    made.mesh.life(Life(LIFE.boot, LIFE.tag, FOUR))
    made.run()
    assert made.mesh.alive == {4: "c4"}


def test_another_key_under_an_id_that_is_used() -> None:
    made = encrypted()
    made.say(record(sends=3))
    made.run()
    made.mesh.keys({3: "other"})
    made.run(10.0)
    assert made.mesh.alive == THREE
    assert "another key" in made.mesh.problems()["key 3"]
    made.run(400.0)
    made.run(500.0)
    assert made.mesh.alive == {3: "other"}


# ---------------------------------------------------------------- peers that change


def test_a_peer_that_has_rebooted() -> None:
    made = encrypted()
    old = StateId(HERE, FIRST_TAG << 4 | 3)
    made.say(record(0x444444, boot="cc" * 16, receive={}, taken_in=0))
    made.run(10.0)
    assert made.policy("out", ALL, BLOCK) == (1006, "block")
    assert old in made.mesh.states(4)
    made.say(record(0x444444, boot="cc" * 16, sends=3))
    made.run(20.0)
    assert made.mesh.states(4)[StateId(FIRST, TAG << 4 | 3)].life == LIFE.boot + "cc" * 16
    assert made.policy("out", ALL, BLOCK) == (1006, OUT3)
    made.run(22.0)
    assert old not in made.mesh.states(4)
    assert StateId(HERE, 0x444444 << 4 | 3) in made.mesh.states(4)


@pytest.mark.parametrize("allow_clear", [False, True])
def test_a_peer_that_is_switched_off(allow_clear: bool) -> None:
    made = OneMesh(settings(allow_clear=allow_clear))
    made.first(record(sends=3))
    made.run()
    made.say(record(enabled=False, sends=3))
    made.run(10.0)
    assert made.policy("out", ALL, BLOCK) == (None if allow_clear else (1006, "block"))
    assert StateId(HERE, FIRST_TAG << 4 | 3) in made.mesh.states(4)
    made.say(record(enabled=False))
    made.run(20.0)
    made.run(22.0)
    assert StateId(HERE, FIRST_TAG << 4 | 3) not in made.mesh.states(4)
    made.run(310.0)
    assert made.mesh.states(4) == {}


def test_what_was_sent_with_is_not_made_twice() -> None:
    made = encrypted()
    sending = StateId(FIRST, TAG << 4 | 3)
    for event in (HostRemove("first"), HostUpdate("first", FIRST, "")):
        made.mesh.update(event)
        made.mesh.resolve(1.0)
        assert made.mesh.take_changes(4).states.get(sending, "unchanged") == "unchanged"


def test_a_peer_that_is_back_has_its_states_for_as_long_as_it_is_there() -> None:
    made = encrypted()
    before = dict(made.mesh.states(4))
    made.mesh.update(HostRemove("first"))
    made.run(1.0)
    made.first(record())
    made.run(2.0)
    made.run(1000.0)
    made.run(2000.0)
    assert made.mesh.states(4) == before


def test_a_state_that_a_peer_has_left_goes_when_somebody_takes_it_away() -> None:
    made = encrypted()
    made.mesh.update(HostRemove("first"))
    made.run(1.0)
    sending = StateId(FIRST, TAG << 4 | 3)
    assert sending in made.mesh.states(4)
    made.mesh.observe(4, {sending: None}, {})
    made.run(1.0)
    assert sending not in made.mesh.states(4)


def test_a_state_that_a_peer_has_left_goes_with_its_key() -> None:
    made = encrypted()
    made.mesh.update(HostRemove("first"))
    made.run(1.0)
    assert StateId(FIRST, TAG << 4 | 3) in made.mesh.states(4)
    made.mesh.keys({4: "c4"})
    made.run(2.0)
    made.run(100.0)
    assert (made.mesh.alive, made.mesh.states(4)) == ({4: "c4"}, {})


def test_a_peer_that_is_gone() -> None:
    made = encrypted()
    made.mesh.update(IpsecPeerRemove("first"))
    made.mesh.update(HostRemove("first"))
    made.mesh.update(RouteRemove(BLOCK))
    made.run(10.0)
    made.run(310.0)
    assert made.mesh.states(4) == {}
    assert made.mesh.record.peers == {}
    assert made.mesh.progress() == {}


def test_a_peer_with_another_address() -> None:
    made = encrypted()
    made.mesh.update(HostUpdate("first", SECOND, ""))
    made.say(record(ipv4=SECOND))
    made.run()
    assert made.policy("out", ALL, BLOCK) == (1006, Template(HERE, SECOND, TAG << 4 | 3))
    assert made.policy("in", BLOCK, ALL) == (1006, Template(SECOND, HERE))
    assert made.mesh.states(4)[StateId(HERE, FIRST_TAG << 4 | 3)].source == SECOND


def test_this_node_with_another_address() -> None:
    made = encrypted()
    made.late = {StateId("192.168.77.99", FIRST_TAG << 4 | 3)}
    made.mesh.update(HostUpdate("here", "192.168.77.99", ""))
    made.run()
    assert made.mesh.record.receive == {}
    assert made.mesh.record.peers["first"].tag == 0
    assert made.policy("in", BLOCK, ALL) == (1006, Template(FIRST, "192.168.77.99"))


def test_another_life_of_this_node() -> None:
    made = encrypted()
    made.mesh.life(Life("dd" * 16, 0x555555))
    made.run()
    assert made.policy("out", ALL, BLOCK) == (1006, "block")
    assert [state.life for state in made.mesh.states(4).values()] == ["bb" * 16 + "dd" * 16]
    made.say(record(taken_in=0x555555))
    made.run()
    assert made.policy("out", ALL, BLOCK) == (1006, Template(HERE, FIRST, 0x555555 << 4 | 3))


def test_in_another_life_nothing_is_received_before_its_states_are_there() -> None:
    made = encrypted()
    made.mesh.life(Life("dd" * 16, 0x555555))
    made.mesh.resolve(0.0)
    assert made.mesh.record.receive == {}
    made.run()
    assert made.mesh.record.receive == THREE


# ---------------------------------------------------------------- tags


def test_of_two_nodes_with_one_tag_the_smaller_name_has_it() -> None:
    made = encrypted()
    made.mesh.update(HostUpdate("second", SECOND, ""))
    made.say(record(FIRST_TAG, ipv4=SECOND), "second")
    made.run()
    assert made.mesh.states(4)[StateId(HERE, FIRST_TAG << 4 | 3)].peer == "first"
    assert "second" not in made.mesh.record.peers
    assert made.mesh.problems()["second"] == "its tag is that of first as well"
    assert not made.mesh.needs_new_life


@pytest.mark.parametrize(("name", "gives_way"), [("first", True), ("zero", False)])
def test_who_gives_way(name: str, gives_way: bool) -> None:
    made = OneMesh()
    made.mesh.update(HostUpdate(name, FIRST, ""))
    made.say(record(TAG), name)
    made.run()
    assert made.mesh.needs_new_life == gives_way


# ---------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("end", "stage", "reason"),
    [
        (None, "closed", "has no record"),
        (record(enabled=False), "closed", "is switched off there"),
        (record(layout="shared"), "closed", "publishes another layout: shared, here pair"),
        (record(receive={}), "waiting", "waits for first to receive a key"),
        (record(receive={4: "c4"}), "closed", "no key in common: first has 4, this node 3"),
        (record(receive={3: "x"}), "closed", "key 3 here is another one than at first"),
        (record(taken_in=0), "waiting", "waits for first to say that it has taken us in"),
        (record(taken_in=9), "waiting", "waits for first to say that it has taken us in"),
        (record(tag=0), "closed", "publishes no tag"),
        (record(ipv4=""), "closed", "has no address of its own"),
        (record(), "encrypted", ""),
    ],
)
def test_progress(end: object, stage: str, reason: str) -> None:
    made = OneMesh()
    made.first(end)  # type: ignore[arg-type]
    made.run()
    progress = made.mesh.progress()["first"]
    assert (progress.stage, progress.reason) == (stage, reason)


def test_progress_in_clear() -> None:
    made = OneMesh(settings(allow_clear=True))
    made.first()
    made.run()
    assert made.mesh.progress()["first"].stage == "in clear"


def test_progress_in_numbers() -> None:
    made = encrypted()
    made.mesh.keys(FOUR)
    made.say(record(receive=FOUR, sends=3))
    made.run()
    progress = made.mesh.progress()["first"]
    assert (progress.sends, progress.sent, progress.common) == (4, 3, (4, 3))
    assert progress.spis == (TAG << 4 | 4, TAG << 4 | 3)
    assert progress.ends == {4: FIRST}


def test_a_node_that_only_nets_tell_of() -> None:
    made = OneMesh()
    made.mesh.update(remote(BLOCK2, "nobody"))
    made.run()
    assert made.mesh.progress()["nobody"].reason == "has no record"


def test_without_a_key() -> None:
    made = OneMesh(ring={})
    made.first(record())
    made.run()
    assert made.mesh.progress()["first"].reason == "there is no key here"
    assert made.mesh.problems() == {"key ring": "there is no key to encrypt with"}


def test_a_change_and_its_reversal_come_to_nothing() -> None:
    made = encrypted()
    made.mesh.update(remote(BLOCK, "second"))
    made.mesh.resolve(0.0)
    made.mesh.update(remote(BLOCK, "first"))
    made.mesh.resolve(0.0)
    changes = made.mesh.take_changes(4)
    assert (changes.states, changes.policies, changes.routes) == ({}, {}, {})


@pytest.mark.parametrize(("layout", "kept"), [("pair", True), ("shared", False)])
def test_a_node_that_is_gone_leaves_what_could_not_be_made_again(
    layout: Literal["pair", "shared"], kept: bool
) -> None:
    made = OneMesh(settings(layout=layout))
    made.first(record(layout=layout))
    made.run()
    made.mesh.update(IpsecPeerRemove("first"))
    made.mesh.update(HostRemove("first"))
    made.run()
    ends = {state.destination for state in made.mesh.states(4)}
    assert (FIRST in ends) == kept
