"""The policy for the routers above, held by a real BIRD: every row of the matrix of hijacks.

Nodes and neighbours filter nothing here: the router's belt has to be enough.
"""

from __future__ import annotations

import pytest

from tests.felixpy.bgp.upstream.matrix import EXACT_TOR, MATRIX
from tests.kernel.upstream_lab import Around, BirdRouter, outcome, players, settle, wire

pytestmark = pytest.mark.kernel

_REASONS = {
    "0.0.0.0/0": 2, "::/0": 2,
    "198.51.100.0/24": 3, "2001:db8:9::/48": 3, "10.64.0.0/15": 3, "10.0.0.0/24": 3,
    "10.65.0.0/16": 4, "fd65::/48": 4, "10.65.3.0/26": 4, "fd65::3:0/122": 4,
    "10.65.3.5/32": 4, "10.65.2.0/28": 4, "10.65.2.77/32": 4, "10.96.0.10/32": 4,
}  # fmt: skip


@pytest.mark.parametrize("setting", MATRIX, ids=lambda setting: setting.label)
def test_bird_stops_what_it_should_and_no_more(setting, netns, veth, tmp_path):
    above, around = netns("router"), netns("around")
    veth(above, "eth0", around, "eth0")
    wire(above, around, setting)
    router = BirdRouter(above, tmp_path / "router", setting)
    neighbours = Around(around, tmp_path / "around", setting)
    settle(router, neighbours, setting)
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
