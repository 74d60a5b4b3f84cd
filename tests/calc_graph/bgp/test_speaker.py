"""What this node's own settings contradict themselves in."""

from __future__ import annotations

from calc_graph.bgp.cluster import Cluster
from calc_graph.bgp.felix import FelixSettings
from calc_graph.bgp.resources import BgpConfiguration
from calc_graph.bgp.speaker import speaker_faults


def test_what_of_a_configuration_cannot_be_used_is_said() -> None:
    cluster = Cluster("n1")
    for name in ("default", "node.n1", "node.n2"):
        cluster.put_configuration(name, BgpConfiguration(faults=(f"of {name}",)))
    found = list(speaker_faults(cluster, (), FelixSettings()))
    assert [fault for fault in found if fault[1].startswith("of ")] == [
        ("BGPConfiguration default", "of default"),
        ("BGPConfiguration node.n1", "of node.n1"),
    ]
