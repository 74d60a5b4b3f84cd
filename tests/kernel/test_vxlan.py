"""Three nodes, VXLAN over IPv4 and IPv6, real traffic: this node is ours, the others Calico's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from tests.kernel.conftest import Namespace
from tests.kernel.vxlan_lab import ALL_WAYS, BOTH, Lab, cluster, mac

pytestmark = pytest.mark.kernel


@pytest.fixture
async def lab(inside: Namespace, netns: Callable[[str], Namespace]) -> AsyncIterator[Lab]:
    made = Lab(inside, netns)
    yield made
    await made.stop()


def links(lab: Lab, name: str) -> str:
    return lab.node.run(f"ip -d addr show {name}")


async def test_nodes_reach_each_other_in_both_families(lab: Lab) -> None:
    for n in (2, 3):
        lab.populate(n, "vxlan")
    await lab.start()
    await lab.told(*cluster("vxlan", BOTH))
    assert lab.reached() == ALL_WAYS
    v4 = links(lab, "vxlan.calico")
    assert f"link/ether {mac(1)}" in v4
