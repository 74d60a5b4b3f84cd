"""The clusters of these tests: three nodes in both families, and variations of it.

n1 10.65.1.0/26, n2 10.65.2.0/26, n3 10.65.3.0/26 and one address out of n2's block; all three
announce the services' range, and peer with a ToR, 10.0.0.254 and fd00::254, of AS 65001.
"""

from __future__ import annotations

from msgspec import structs

from calc_graph.bgp.resources import SecretRef
from felixpy.bgp.upstream.model import Cluster, Member, Peering, Pool

SERVICES = ("10.96.0.0/12",)
POOLS = (Pool("10.65.0.0/16", (26,)), Pool("fd65::/48", (122,)))
SECRET = SecretRef("bgp-secrets", "tor-password")

_NETS = {
    "n1": ("10.65.1.0/26", "fd65::1:0/122"),
    "n2": ("10.65.2.0/26", "fd65::2:0/122"),
    "n3": ("10.65.2.77/32", "10.65.3.0/26", "fd65::2:4d/128", "fd65::3:0/122"),
}


def peerings(number: int, *, node_as: int = 64512, router: int = 254) -> tuple[Peering, ...]:
    def peering(family, node, above):
        return Peering(family, node, node_as, above, 65001, 1, direct=True, password=SECRET)

    return (
        peering(4, f"10.0.0.{number}", f"10.0.0.{router}"),
        peering(6, f"fd00::{number}", f"fd00::{router}"),
    )


MESH = Cluster(
    POOLS,
    SERVICES,
    tuple(
        Member(name, nets, SERVICES, peerings=peerings(number))
        for number, (name, nets) in enumerate(_NETS.items(), 1)
    ),
)
# no mesh: the nodes hear of each other through the routers alone
FABRIC = structs.replace(
    MESH, members=tuple(structs.replace(member, fabric=True) for member in MESH.members)
)
