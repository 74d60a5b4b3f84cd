"""The policy for the routers above, loaded by FRR: every row of the matrix of hijacks.

Nodes and neighbours filter nothing here: the router's belt has to be enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from msgspec import structs

from felixpy.bgp.upstream.build import build
from felixpy.bgp.upstream.model import Cluster, Wish
from felixpy.bgp.upstream.render import frr
from tests.felixpy.bgp.upstream.clusters import MESH
from tests.felixpy.bgp.upstream.matrix import EXACT_TOR, MATRIX, N2, Setting
from tests.felixpy.bgp.upstream.rendering import text_of
from tests.kernel.bgp_routers import eventually
from tests.kernel.upstream_lab import (
    Around,
    FrrRouter,
    Player,
    outcome,
    players,
    settle,
    wire,
)

pytestmark = pytest.mark.kernel


@pytest.fixture
def home() -> Iterator[Path]:
    """Not below pytest's directory, which only root may enter."""
    with TemporaryDirectory(prefix="felixpy-frr-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture
def settled(netns, veth, tmp_path, home) -> Callable[[Setting], tuple[FrrRouter, Around]]:
    def start(setting: Setting) -> tuple[FrrRouter, Around]:
        above, around = wire(netns, veth, setting)
        neighbours = Around(around, tmp_path / "around", setting)
        router = FrrRouter(above, home, setting)
        settle(router, neighbours, setting)
        return router, neighbours

    return start


@pytest.mark.parametrize("setting", MATRIX, ids=lambda setting: setting.label)
def test_frr_stops_what_it_should_and_no_more(setting, settled):
    found = outcome(*settled(setting), setting)
    assert not found.wrong
    assert found.tried == len(MATRIX[setting])


def test_a_new_version_takes_the_place_of_the_old_and_no_session_falls(settled):
    router, neighbours = settled(EXACT_TOR)
    router.paste(text_of(EXACT_TOR, "frr"))
    assert not outcome(router, neighbours, EXACT_TOR).wrong

    # n2's blocks go to n3: what n2 still announces is refused, what n3 has long tried goes through
    router.paste(frr.render(build(_moved(), Wish("tor"))))
    by_name = {player.name: player for player in players(EXACT_TOR)}
    for family, net in zip((4, 6), N2, strict=True):
        old, new = by_name[f"n2_{family}"], by_name[f"n3_{family}"]

        def has_moved(old: Player = old, new: Player = new, net: str = net) -> bool:
            seen = router.seen([old, new])
            return net in seen[old].refused and net in seen[new].accepted

        eventually(has_moved, f"{net} from n3 and not from n2")
    assert set(router.drops().values()) == {0}


def _moved() -> Cluster:
    n1, n2, n3 = MESH.members
    return structs.replace(
        MESH,
        members=(
            n1,
            structs.replace(n2, nets=()),
            structs.replace(n3, nets=(*n2.nets, *n3.nets)),
        ),
    )
