"""IPIP on Debian's own kernel: run in the guest by test_ipip.py, for this machine's kernel may lack
it.

Two nodes on one wire; this one is ours, the other one made by the ip tool.  One long way through
all states, because each start costs the guest half a minute.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from calc_graph.updates import EncapUpdate, RouteRemove
from tests.kernel import vxlan_lab
from tests.kernel.conftest import Namespace
from tests.kernel.conftest import inside as inside
from tests.kernel.conftest import netns as netns
from tests.kernel.vxlan_lab import NO_TUNNEL, Lab, blocks, cluster

IPIP = EncapUpdate(ipip=True, vxlan=False, vxlan_v6=False)
VXLAN_4 = EncapUpdate(ipip=False, vxlan=True, vxlan_v6=False)
WAYS = {(1, 2, 4), (2, 1, 4)}
BY_IPIP = "10.65.2.0/26 via 172.30.0.2 dev tunl0 proto 80 onlink mtu 1480"
BY_VXLAN = "10.65.2.0/26 via 10.65.2.0 dev vxlan.calico onlink mtu 1450"
DIRECT = "10.65.2.0/26 via 172.30.0.2 dev eth0 proto 80 onlink"


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without KVM takes its time."""
    monkeypatch.setattr(vxlan_lab, "PATIENCE", 60.0)


@pytest.fixture
async def lab(inside: Namespace, netns: Callable[[str], Namespace]) -> AsyncIterator[Lab]:
    made = Lab(inside, netns, (2,))
    made.populate(2, "vxlan")
    yield made
    await made.stop()


def answer_by(lab: Lab, way: str) -> None:
    """How node 2 sends to node 1."""
    lab.nodes[2].run(
        "ip link set tunl0 up; ip addr replace 10.65.2.1/32 dev tunl0;"
        f"ip route replace 10.65.1.0/26 {way} onlink"
    )


def ipv4_ways(lab: Lab) -> set[tuple[int, int, int]]:
    return {(a, b, 4) for a, b in ((1, 2), (2, 1)) if lab.pings(a, b, 4)}


async def test_ipip_from_the_first_pool_to_the_last(lab: Lab) -> None:
    await lab.start()
    await lab.told(*cluster("ipip", IPIP))
    tunnel = lab.node.run("ip addr show tunl0")
    assert "mtu 1480" in tunnel
    assert "UP" in tunnel
    assert "inet 10.65.1.1/32" in tunnel
    assert {BY_IPIP, "blackhole 10.65.1.0/26 proto 80"} <= lab.routes()
    assert "IPIP packets from Calico hosts" in lab.node.saved("-t filter", "iptables")
    answer_by(lab, "via 172.30.0.1 dev tunl0")
    assert ipv4_ways(lab) == WAYS

    # what others do
    before = lab.node.run("ip addr show tunl0"), lab.routes()
    for deed in (
        "ip link set tunl0 down",
        "ip addr flush dev tunl0",
        "ip link del tunl0",
        "ip route add 10.9.0.0/26 via 172.30.0.2 dev tunl0 onlink proto bird",
    ):
        lab.node.run(deed)
        await lab.settle()
        assert (lab.node.run("ip addr show tunl0"), lab.routes()) == before, deed

    # in one subnet no tunnel is needed
    await lab.told(*blocks(2, "ipip", same_subnet=True)[:1])
    assert DIRECT in lab.routes()
    assert ipv4_ways(lab) == WAYS
    await lab.told(*blocks(2, "ipip")[:1])
    assert ipv4_ways(lab) == WAYS

    # another mode, under a flow, and back
    with lab.flow(4) as lost:
        await lab.told(*cluster("vxlan", VXLAN_4))
        await lab.until(lambda: BY_VXLAN in lab.routes())
        lab.populate(2, "vxlan")
        await lab.until(lambda: "10.65.1.1" not in lab.node.run("ip addr show tunl0"))
        await lab.told(*cluster("ipip", IPIP))
        await lab.until(lambda: BY_IPIP in lab.routes())
        answer_by(lab, "via 172.30.0.1 dev tunl0")
        await lab.until(lambda: "vxlan" not in lab.node.run("ip link"))
    assert lost == [0]

    # nobody asks for it any more: the device cannot go, but nothing else is left
    await lab.told(
        NO_TUNNEL, *(RouteRemove(route.cidr) for n in (1, 2) for route in blocks(n, "ipip"))
    )
    await lab.until(lambda: "inet" not in lab.node.run("ip addr show tunl0"))
    await lab.settle()
    assert ",UP" not in lab.node.run("ip link show tunl0")
    assert not any("tunl0" in route or "blackhole" in route for route in lab.routes())
    assert "IPIP packets from" not in lab.node.saved("-t filter", "iptables")
