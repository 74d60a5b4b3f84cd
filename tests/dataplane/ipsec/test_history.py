"""Whatever has happened to a mesh, it wants what one wants that was told only how it is now: what
is kept from before is kept only as long as it is true.
"""

from __future__ import annotations

from random import Random

import pytest

from calc_graph.model import IpPool, IpsecNode
from calc_graph.updates import (
    HostRemove,
    HostUpdate,
    IpsecPeer,
    IpsecPeerRemove,
    PoolRemove,
    PoolUpdate,
    RouteRemove,
    RouteType,
)
from dataplane.ipsec.life import Life
from dataplane.ipsec.mesh import Event
from dataplane.ipsec.values import StateId
from dataplane.settings import IpsecSettings
from tests.dataplane.ipsec.one_mesh import TAG, OneMesh, own, record, remote, settings

NODES = ("first", "here", "second", "third")
NETS = ("10.60.0.0/26", "10.60.1.0/26", "10.60.1.9/32", "10.60.2.0/26", "fd60:1::/122")
POOLS = ("10.60.0.0/16", "10.70.0.0/16", "fd60::/16")
KEYS = {1: "c1", 2: "c2", 3: "c3"}
RINGS = ((1,), (2, 1), (2,), (3, 2))
LIVES = (Life("aa" * 16, TAG), Life("dd" * 16, 0x555555))


def event_of(random: Random) -> tuple[tuple[str, str], Event]:
    """What it is about, and what is said of it."""
    node, net = random.choice(NODES), random.choice(NETS)
    number = random.choice((NODES.index(node),) * 7 + (0, 1))
    addresses = f"192.168.77.{number + 10}", f"fd77::{number + 10}"
    kind = random.randrange(10)
    if kind < 4 and node != "here":
        said = said_by(random, NODES.index(node), addresses)
        return ("record", node), IpsecPeer(node, said) if said else IpsecPeerRemove(node)
    if kind < 6:
        update = HostUpdate(node, addresses[0], random.choice((addresses[1], "")))
        return ("host", node), random.choice((*(update,) * 6, HostRemove(node)))
    if kind < 9:
        there = remote(net, random.choice((*NODES, "nobody")))
        host = remote(net, node, RouteType.REMOTE_HOST)
        return ("net", net), random.choice((there, there, own(net), RouteRemove(net), host))
    pool = random.choice(POOLS)
    kinds = PoolUpdate(IpPool(pool)), PoolUpdate(IpPool(pool, disabled=True)), PoolRemove(pool)
    return ("pool", pool), random.choice(kinds)


def said_by(random: Random, number: int, addresses: tuple[str, str]) -> IpsecNode | None:
    if random.random() < 0.1:
        return None
    receive = random.choice(((), (1,), (1, 2), (2,), (2, 3)))
    return record(
        random.choice((*(0x100 + number,) * 6, 0, 0x101, TAG)),
        boot=random.choice(("bb", "cc")) * 16,
        receive={key: random.choice((*(KEYS[key],) * 9, "x")) for key in receive},
        taken_in=random.choice((0, TAG, TAG, 0x555555)),
        sends=random.choice((0, 1, 2)),
        ipv4=random.choice((*(addresses[0],) * 6, "")),
        ipv6=random.choice((addresses[1], "")),
        enabled=random.random() < 0.9,
        layout=random.choice(("pair", "shared")),
        nodes=True,
    )


def asked_of(random: Random) -> IpsecSettings:
    return settings(
        families=random.choice(((4,), (4, 6))),
        layout=random.choice(("pair", "shared")),
        allow_clear=random.random() < 0.5,
    )


@pytest.mark.parametrize("seed", range(60))
def test_what_happened_before_makes_no_difference(seed: int) -> None:
    random = Random(seed)
    asked = asked_of(random)
    made = OneMesh(asked, {1: "c1"})
    facts: dict[tuple[str, str], Event] = {}
    life, ring = LIVES[0], {1: "c1"}
    for _ in range(40):
        for _ in range(random.choice((1, 1, 3, 10))):
            about, event = event_of(random)
            facts[about] = event
            made.mesh.update(event)
        if random.random() < 0.1:
            life = random.choice(LIVES)
            made.mesh.life(life)
        if random.random() < 0.15:
            ring = {key: KEYS[key] for key in random.choice(RINGS)}
            made.mesh.keys(ring)
        made.now += random.choice((0.0, 1.0, 400.0))
        made.mesh.resolve(made.now)
        made.late = some_of(random, made)
        made.run()
        make_late_ones(made)
    made.run(made.now + 1000.0)
    made.run(made.now + 1000.0)
    made.run(made.now + 1000.0)
    assert made.mesh.alive == ring

    other = OneMesh(asked, ring)
    other.mesh.life(life)
    for event in facts.values():
        other.mesh.update(event)
    other.run()
    for family in sorted(asked.families):
        assert made.mesh.policies(family) == other.mesh.policies(family)
        assert made.mesh.routes(family) == other.mesh.routes(family)
        # what was sent with once stays as long as its key
        assert made.mesh.states(family).items() >= other.mesh.states(family).items()
        receiving = {i for i, state in made.mesh.states(family).items() if state.receives}
        assert receiving <= other.mesh.states(family).keys()
    assert made.mesh.record == other.mesh.record
    assert made.mesh.problems() == other.mesh.problems()


def some_of(random: Random, made: OneMesh) -> set[StateId]:
    """States that will be there later."""
    if random.random() < 0.5:
        return set()
    wished = [i for f in sorted(made.asked.families) for i in made.mesh.states(f)]
    return {i for i in wished if i not in made.states and random.random() < 0.5}


def make_late_ones(made: OneMesh) -> None:
    late, made.late = made.late, set()
    for family in sorted(made.asked.families):
        wished = made.mesh.states(family)
        there = {i: wished[i] for i in late if i in wished}
        made.mesh.observe(family, there, {})
        made.states.update(there)
    made.run()
