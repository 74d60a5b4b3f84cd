"""BGP's keys in the big graph, which has no use for them."""

from __future__ import annotations

import pytest

from calc_graph.bgp import resources as bgp
from calc_graph.graph import CalcGraph

VALUES: dict[bgp.BgpKey, bgp.BgpValue] = {
    bgp.BgpPeerKey("p"): bgp.BgpPeer(),
    bgp.BgpFilterKey("f"): bgp.BgpFilter(),
    bgp.BgpConfigurationKey("node.n1"): bgp.BgpConfiguration(as_number=1),
    bgp.BlockAffinityKey("n1", "10.0.0.0/26"): bgp.BlockAffinity(),
    bgp.NodeStatusKey("s"): bgp.NodeStatusRequest("n1", ("BGP",), 10),
}


@pytest.mark.parametrize("key", VALUES)
def test_it_takes_them_and_says_nothing(key: bgp.BgpKey) -> None:
    graph = CalcGraph("n1")
    graph.in_sync()
    graph.flush()
    for value in (VALUES[key], None):
        graph.update(key, value)
        assert graph.flush() == []
