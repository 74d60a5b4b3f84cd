"""The policy for the routers above, held by a real BIRD: every row of the matrix of hijacks.

Nodes and neighbours filter nothing here: the router's belt has to be enough.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec import structs

from felixpy.bgp.upstream.build import build
from felixpy.bgp.upstream.model import Cluster, Wish
from felixpy.bgp.upstream.render import bird
from tests.felixpy.bgp.upstream.clusters import MESH
from tests.felixpy.bgp.upstream.matrix import EXACT_TOR, MATRIX, Setting
from tests.kernel.bgp_routers import eventually
from tests.kernel.upstream_lab import (
    Around,
    BirdRouter,
    outcome,
    players,
    settle,
    wire,
)

pytestmark = pytest.mark.kernel

_REASONS = {
    "0.0.0.0/0": 2, "::/0": 2,
    "198.51.100.0/24": 3, "2001:db8:9::/48": 3, "10.64.0.0/15": 3, "10.0.0.0/24": 3,
    "10.65.0.0/16": 4, "fd65::/48": 4, "10.65.3.0/26": 4, "fd65::3:0/122": 4,
    "10.65.3.5/32": 4, "10.65.2.0/28": 4, "10.65.2.77/32": 4, "10.96.0.10/32": 4,
}  # fmt: skip


@pytest.fixture
def settled(netns, veth, tmp_path) -> Callable[[Setting], tuple[BirdRouter, Around]]:
    def start(setting: Setting) -> tuple[BirdRouter, Around]:
        above, around = wire(netns, veth, setting)
        router = BirdRouter(above, tmp_path / "router", setting)
        neighbours = Around(around, tmp_path / "around", setting)
        settle(router, neighbours, setting)
        return router, neighbours

    return start


@pytest.mark.parametrize("setting", MATRIX, ids=lambda setting: setting.label)
def test_bird_stops_what_it_should_and_no_more(setting, settled):
    router, neighbours = settled(setting)
    found = outcome(router, neighbours, setting)
    assert not found.wrong
    assert found.tried == len(MATRIX[setting])
    if setting == EXACT_TOR:
        _names_its_reasons(router, setting)


def _names_its_reasons(router: BirdRouter, setting) -> None:
    n2 = {player.family: player for player in players(setting) if player.whom == "n2"}
    for net, reason in _REASONS.items():
        assert router.reason(n2[6 if ":" in net else 4], net) == reason, net
    n1 = next(player for player in players(setting) if player.name == "n1_4")
    assert router.reason(n1, "10.65.1.0/26") == 6


# Beside n3's blocks, and so close to them that BIRD 2.0.12 by itself sees no other set.
_BESIDE = {4: "10.65.3.0/27", 6: "fd65::3:0/123"}


def test_a_net_that_a_new_version_refuses_goes(settled):
    router, _ = settled(EXACT_TOR)
    n3 = [player for player in players(EXACT_TOR) if player.whom == "n3"]
    for cluster in (_with_nets_beside(), MESH):
        router.configure(bird.render(build(cluster, Wish("tor", sessions=True))))

        def follows(cluster: Cluster = cluster) -> bool:
            return all(
                (_BESIDE[player.family] in seen.accepted) == (cluster != MESH)
                for player, seen in router.seen(n3).items()
            )

        eventually(follows, "what n3 may announce now")


def _with_nets_beside() -> Cluster:
    n1, n2, n3 = MESH.members
    return structs.replace(
        MESH, members=(n1, n2, structs.replace(n3, nets=(*n3.nets, *_BESIDE.values())))
    )
