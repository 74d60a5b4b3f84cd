"""Keys change while every node sends to every other: what is lost, and what is in clear."""

from __future__ import annotations

from typing import Literal

import pytest

from dataplane.families import Family
from dataplane.ipsec.life import Life
from dataplane.settings import IpsecSettings
from tests.dataplane.ipsec.simulation import World, check_of, ring

Layout = Literal["pair", "shared"]
CASES: tuple[tuple[int, Layout], ...] = ((0, "pair"), (1, "shared"), (2, "pair"))
BOTH: tuple[Family, ...] = (4, 6)

pytestmark = pytest.mark.parametrize(("seed", "layout"), CASES)


def world(
    seed: int,
    layout: Layout,
    *,
    first: int = 14,
    families: tuple[Family, ...] = (4,),
    allow_clear: bool = False,
    node_encryption: bool = False,
    nodes: int = 3,
    lateness: float = 5.0,
) -> World:
    """A cluster that encrypts everything, and has a borrowed address."""
    settings = IpsecSettings(
        families=frozenset(families),
        layout=layout,
        allow_clear=allow_clear,
        node_encryption=node_encryption,
    )
    made = World(seed, settings, nodes=nodes, lateness=lateness)
    made.borrow("10.60.1.9", "n2")
    made.give_keys(first)
    made.run()
    assert made.stages() == {"encrypted"}
    made.lossless = made.closed = True
    made.hosts_closed = node_encryption
    return made


def rotate(made: World, *keys: int) -> None:
    """Each node gets the file when it gets it, the next rotation begins in the middle of this."""
    for key in keys:
        names = list(made.nodes)
        made.random.shuffle(names)
        for name in names:
            made.give_keys(key, nodes=(name,))
            made.turns(made.random.randrange(120))


def test_three_rotations_in_a_row_lose_nothing(seed: int, layout: Layout) -> None:
    made = world(seed, layout, allow_clear=seed % 2 == 0)
    before = made.in_clear, made.sealed
    rotate(made, 15, 1, 2)
    made.run()
    assert made.keys_in_use() == {2}
    assert made.in_clear == before[0]
    assert made.sealed > before[1]


def test_of_both_families(seed: int, layout: Layout) -> None:
    made = world(seed, layout, families=BOTH, node_encryption=True, nodes=2)
    rotate(made, 15, 1)
    made.run()
    assert made.keys_in_use() == {1}


def test_rings_of_two_keys(seed: int, layout: Layout) -> None:
    made = world(seed, layout)
    rotate_to = ((14, 15), (15,), (15, 1), (1,))
    for keys in rotate_to:
        for name in made.nodes:
            made.nodes[name].file = ring(*sorted(keys, reverse=keys != (15, 1)))
            made.nodes[name].read_file()
            made.turns(made.random.randrange(120))
    made.run()
    assert made.keys_in_use() == {1}


def test_a_datastore_that_is_very_late(seed: int, layout: Layout) -> None:
    made = world(seed, layout, lateness=60.0)
    for key in (15, 1):
        made.give_keys(key)
        made.turns(2000, seconds=250)
    made.run()
    assert made.keys_in_use() == {1}


def test_one_node_has_the_file_late(seed: int, layout: Layout) -> None:
    made = world(seed, layout)
    made.give_keys(15, nodes=("n1", "n3"))
    made.turns(2000, seconds=200)
    assert made.nodes["n1"].mesh.progress()["n3"].sends == 15
    assert made.nodes["n1"].mesh.progress()["n2"].sends == 14
    assert made.nodes["n1"].mesh.problems() == {
        "key 14": "has left the key file, and is used by n2"
    }
    made.give_keys(15, nodes=("n2",))
    made.run()
    assert made.keys_in_use() == {15}


def test_one_node_never_gets_it(seed: int, layout: Layout) -> None:
    """When the grace time is over what it sends is lost, and nothing is in clear."""
    made = world(seed, layout)
    made.excused = {"n2"}
    made.give_keys(15, nodes=("n1", "n3"))
    made.run()
    progress = made.nodes["n1"].mesh.progress()
    assert progress["n3"].stage == "encrypted"
    assert progress["n2"].stage == "closed"
    assert progress["n2"].reason == "no key in common: n2 has 14, this node 15"
    made.give_keys(15, nodes=("n2",))
    made.run()
    assert made.stages() == {"encrypted"}
    assert made.keys_in_use() == {15}


def test_the_operator_drops_a_key(seed: int, layout: Layout) -> None:
    made = world(seed, layout)
    made.excused = {"n2"}
    made.give_keys(15, nodes=("n1", "n3"))
    made.turns(2000, seconds=100)
    for name in ("n1", "n3"):
        made.nodes[name].mesh.drop(14)
        made.nodes[name].due = 0.0
    made.turns(2000, seconds=100)
    assert set(made.nodes["n1"].mesh.alive) == {15}


def test_back_to_the_key_before_that_all_still_have(seed: int, layout: Layout) -> None:
    """What was sent with before is still there, and goes on counting."""
    made = world(seed, layout)
    one, other = made.nodes["n1"], made.nodes["n2"]
    made.give_keys(15, nodes=("n1", "n2"))
    made.run(
        until=lambda: one.mesh.progress()["n2"].sends == other.mesh.progress()["n1"].sends == 15
    )
    made.turns(100)
    made.give_keys(14, nodes=("n1", "n2"))
    made.run()
    assert made.keys_in_use() == {14}
    assert made.stages() == {"encrypted"}


def test_back_to_a_key_that_some_have_forgotten(seed: int, layout: Layout) -> None:
    """Its states are made again, and counting begins anew: so must a node's life."""
    made = world(seed, layout)
    made.give_keys(15)
    made.run()
    made.lossless = False
    lives = {node.life.tag for node in made.nodes.values()}
    made.give_keys(14)
    made.run()
    assert made.stages() == {"encrypted"}
    assert made.keys_in_use() == {14}
    changed = lives != {node.life.tag for node in made.nodes.values()}
    assert changed == (layout == "pair")


def test_a_node_joins(seed: int, layout: Layout) -> None:
    """Nobody sends to it, and it sends to nobody, before the other end is there."""
    made = world(seed, layout, lateness=5.0 * (seed % 2))
    rotate(made, 15)
    made.excused = {"n4"}
    made.lost.clear()
    made.join(4, ring(15))
    rotate(made, 1)
    made.run()
    assert not any("NoStates" in why for why in made.lost)
    assert made.stages() == {"encrypted"}
    assert made.keys_in_use() == {1}
    made.excused = set()
    rotate(made, 2)
    made.run()


def test_a_node_leaves(seed: int, layout: Layout) -> None:
    made = world(seed, layout, nodes=4)
    made.give_keys(15, nodes=("n1", "n2"))
    made.turns(made.random.randrange(200))
    made.excused = {"n4"} | {a for a, n in made.place.items() if n == "n4"}
    made.excused |= set(made.nodes["n4"].address.values())
    made.leave("n4")
    made.give_keys(15)
    made.run()
    assert made.keys_in_use() == {15}
    assert all(state.wish.peer != "n4" for state in made.nodes["n1"].kernel.states.values())


def test_a_node_reboots(seed: int, layout: Layout) -> None:
    made = world(seed, layout)
    made.excused = {"n3"}
    made.give_keys(15)
    made.turns(made.random.randrange(150))
    made.nodes["n3"].start(reboot=True)
    made.run()
    assert made.stages() == {"encrypted"}
    assert made.keys_in_use() == {15}
    made.excused = set()
    rotate(made, 1)
    made.run()
    tags = {node.life.tag for node in made.nodes.values()}
    senders = {i.spi >> 4 for node in made.nodes.values() for i in node.kernel.states}
    assert layout == "shared" or senders == tags


def test_agents_restart_between_any_two_writes(seed: int, layout: Layout) -> None:
    made = world(seed, layout)
    for key in (15, 1):
        for name in list(made.nodes):
            made.give_keys(key, nodes=(name,))
            for _ in range(3):
                made.turns(made.random.randrange(40), seconds=5)
                made.nodes[made.random.choice(list(made.nodes))].start()
    made.run()
    assert made.stages() == {"encrypted"}
    assert made.keys_in_use() == {1}


def test_the_key_of_one_node_is_another(seed: int, layout: Layout) -> None:
    made = world(seed, layout)
    made.excused = set()
    wrong = {15: check_of(15, "f")}
    made.give_keys(15, nodes=("n1", "n2"))
    made.nodes["n3"].file = {14: check_of(14), **wrong}
    made.nodes["n3"].read_file()
    made.turns(3000, seconds=200)
    assert made.nodes["n3"].mesh.problems()["key 15"] == "here is another one than at n1, n2"
    assert made.nodes["n1"].mesh.problems()["key 15"] == "is another one at n3 than here"
    assert made.nodes["n1"].mesh.progress()["n3"].sends == 14
    made.give_keys(1)
    made.run()
    assert made.keys_in_use() == {1}


def test_a_block_moves(seed: int, layout: Layout) -> None:
    """What is sent to where it was, or is not yet, may be lost; nothing is in clear."""
    made = world(seed, layout)
    moving = ("10.60.1.2", "10.60.1.9")
    made.excused = set(moving)
    made.give_keys(15)
    made.turns(made.random.randrange(50))
    made.place["10.60.1.2"] = "n3"
    made.place_net("10.60.1.0/26", "n3")
    made.run()
    made.excused = set()
    rotate(made, 1)
    made.run()
    assert made.keys_in_use() == {1}


def test_all_states_of_a_node_are_taken(seed: int, layout: Layout) -> None:
    """Its life begins anew: what is lost until all have heard of that cannot be helped."""
    made = world(seed, layout)
    made.excused = {"n2"}
    made.nodes["n2"].flush()
    made.run()
    assert made.stages() == {"encrypted"}
    made.excused = set()
    rotate(made, 15)
    made.run()


def test_nodes_that_encrypt_what_they_say_themselves(seed: int, layout: Layout) -> None:
    made = world(seed, layout, node_encryption=True)
    rotate(made, 15)
    made.excused = {"n3"}
    made.nodes["n3"].start(reboot=True)
    made.hosts_closed = False  # who has rebooted has to find out first
    rotate(made, 1)
    made.run()
    made.excused, made.hosts_closed = set(), True
    rotate(made, 2)
    made.run()
    assert made.keys_in_use() == {2}


def test_nodes_begin_to_encrypt_what_they_say_themselves(seed: int, layout: Layout) -> None:
    """One after the other; what they say to workloads is encrypted since long before."""
    made = world(seed, layout)
    made.encrypt_hosts()
    for node in list(made.nodes.values()):
        node.start()
        made.turns(made.random.randrange(200))
        made.talk()
    made.run()
    made.hosts_closed = True
    made.talk()


def test_a_node_that_gets_another_address(seed: int, layout: Layout) -> None:
    made = world(seed, layout)
    made.excused = {"n2"}
    made.move_host("n2", "192.168.77.99", "fd77::99")
    rotate(made, 15)
    made.run()
    assert made.stages() == {"encrypted"}
    made.excused = set()
    rotate(made, 1)
    made.run()
    ends = {state.wish.source for n in made.nodes.values() for state in n.kernel.states.values()}
    assert "192.168.77.2" not in ends


def test_two_nodes_with_one_tag(seed: int, layout: Layout) -> None:
    """The one with the greater name begins another life."""
    made = world(seed, layout)
    made.excused = {"n1", "n3"}
    same = made.nodes["n1"].life.tag
    node = made.nodes["n3"]
    node.life = Life("ee" * 16, same)
    node.mesh.life(node.life)
    node.due = 0.0
    made.run()
    assert made.stages() == {"encrypted"}
    assert made.nodes["n1"].life.tag == same
    assert (node.life.tag == same) == (layout == "shared")
    made.excused = set()
    rotate(made, 15)
    made.run()
