"""A BIRD that is told of another set of prefixes looks at its routes again, however small the
difference is: 2.0.12 by itself takes 10.65.2.0/26 alone and with 10.65.2.64/26 beside it for one.
"""

from __future__ import annotations

import pytest

from calc_graph.bgp.updates import BgpOrigins
from tests.dataplane.bird.golden_cases import N1, N2, N3, SPEAKER, Case, mesh, node
from tests.kernel.bgp_routers import comes_to
from tests.kernel.conftest import Namespace

pytestmark = pytest.mark.kernel

ONE, OTHER = "10.65.2.0/26", "10.65.2.64/26"
# What node n2 says to n1, and a reflector after it, with the node's next hop.
PEERS = f"""\
log stderr all; router id 10.0.0.2;
protocol device {{ }}
protocol static {{ ipv4; route {ONE} blackhole; route {OTHER} blackhole; }}
template bgp says {{
  connect delay time 1;
  ipv4 {{ import none; export filter {{ bgp_next_hop = 10.0.0.2; accept; }}; }};
}}
protocol bgp n2 from says {{ local 10.0.0.2 as 64512; neighbor 10.0.0.1 as 64512; multihop; }}
protocol bgp n9 from says {{ local 10.0.0.9 as 64512; neighbor 10.0.0.11 as 64512; multihop; }}
"""


def _n1(nets: tuple[str, ...]) -> str:
    peers = (
        mesh(N2),
        node("10.0.0.9", "reflector", remote="n9", local_address="10.0.0.11"),
    )
    told = BgpOrigins("n2", "10.0.0.2", "", nets, services=False)
    return Case((SPEAKER, N1, told, N3, *peers)).version().text


def _accepted(space: Namespace, session: str) -> set[str]:
    shown = space.run(f"birdc -s n1.ctl show route protocol {session}", check=False)
    return {line.split()[0] for line in shown.splitlines() if line.startswith("10.")}


def test_a_net_beside_another_is_accepted_and_refused_again(netns, veth, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one, two = netns("n1"), netns("n2")
    veth(one, "eth0", two, "eth0")
    one.run("ip addr add 10.0.0.1/24 dev eth0 && ip addr add 10.0.0.11/24 dev eth0")
    two.run("ip addr add 10.0.0.2/24 dev eth0 && ip addr add 10.0.0.9/24 dev eth0")
    configuration = tmp_path / "n1.conf"
    configuration.write_text(_n1((ONE,)))
    (tmp_path / "peers.conf").write_text(PEERS)
    one.start("bird", "-f", "-c", str(configuration), "-s", "n1.ctl", "-P", "n1.pid")
    two.start("bird", "-f", "-c", "peers.conf", "-s", "peers.ctl", "-P", "peers.pid")
    for nets in ((ONE,), (ONE, OTHER), (OTHER,), (ONE,)):
        configuration.write_text(_n1(nets))
        one.run("birdc -s n1.ctl configure", check=False)
        for session in ("Mesh_10_0_0_2", "Node_10_0_0_9"):
            comes_to(set(nets), _accepted, one, session)
