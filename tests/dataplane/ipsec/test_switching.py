"""A cluster that is switched on and off node by node, while every node sends to every other."""

from __future__ import annotations

from typing import Literal

import pytest

from dataplane.settings import IpsecSettings
from tests.dataplane.ipsec.simulation import World, ring

Layout = Literal["pair", "shared"]

pytestmark = [
    pytest.mark.parametrize(("seed", "layout"), [(0, "pair"), (1, "shared")]),
    pytest.mark.parametrize("node_encryption", [False, True]),
]


def plain(seed: int, layout: Layout, *, allow_clear: bool, node_encryption: bool) -> World:
    settings = IpsecSettings(
        families=frozenset({4}),
        layout=layout,
        allow_clear=allow_clear,
        node_encryption=node_encryption,
    )
    made = World(seed, settings)
    made.closed = False
    for node in made.nodes.values():
        node.be_plain()
    made.run()
    made.lossless = True
    return made


def switch_on(made: World) -> None:
    for name, node in list(made.nodes.items()):
        node.file = ring(3)
        node.start()
        made.turns(made.random.randrange(200))
        assert name in made.nodes
    made.run()


def test_on_and_off_without_a_loss_where_clear_is_allowed(
    seed: int, layout: Layout, node_encryption: bool
) -> None:
    made = plain(seed, layout, allow_clear=True, node_encryption=node_encryption)
    switch_on(made)
    assert made.stages() == {"encrypted"}
    made.closed = True
    made.talk()
    made.closed = False
    for node in list(made.nodes.values()):
        node.leave()
        made.turns(made.random.randrange(200))
    made.run()
    for node in made.nodes.values():
        assert node.leaving is not None
        assert node.leaving.phase == "off"
        assert (node.kernel.states, node.kernel.policies) == ({}, {})
    sealed = made.sealed
    made.talk()
    assert made.sealed == sealed


def test_one_node_off_and_on_again(seed: int, layout: Layout, node_encryption: bool) -> None:
    made = plain(seed, layout, allow_clear=True, node_encryption=node_encryption)
    switch_on(made)
    made.nodes["n2"].leave()
    made.run()
    progress = made.nodes["n1"].mesh.progress()
    assert (progress["n2"].stage, progress["n2"].reason) == ("in clear", "is switched off there")
    made.nodes["n2"].start()
    made.run()
    assert made.stages() == {"encrypted"}


def test_those_that_allow_no_clear_close_themselves(
    seed: int, layout: Layout, node_encryption: bool
) -> None:
    """Who is not there yet, or no more, is not sent to; it does not matter who comes first."""
    made = plain(seed, layout, allow_clear=False, node_encryption=node_encryption)
    made.lossless = False
    switch_on(made)
    assert made.stages() == {"encrypted"}
    made.lossless = made.closed = True
    made.talk()
    made.excused = {"n2"}
    made.nodes["n2"].leave()
    made.closed = False
    made.run()
    made.nodes["n2"].kernel.forget_all()
    made.in_clear = 0
    progress = made.nodes["n1"].mesh.progress()
    assert (progress["n2"].stage, progress["n2"].reason) == ("closed", "is switched off there")
    before = dict(made.lost)
    made.talk()
    assert made.lost != before
