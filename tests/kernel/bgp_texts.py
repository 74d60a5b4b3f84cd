"""What the BGP laboratory is written in: addresses, manifests, and BIRD's language by hand.

node n    10.0.0.n and fd00::n, AS 64512; the blocks 10.65.n.0/26 and fd65::n:0/122
wn        its workload, 10.65.n.2 and fd65::n:2
the ToR   10.0.0.254 and fd00::254, AS 65001, announcing 203.0.113.0/24 and 2001:db8:1::/48

BIRD's language is written by hand for those who do not run the agent: the ToR, a reflector of
another make, and a node that somebody has taken over.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final, NamedTuple

from dataplane.families import Family

FAMILIES: Final[tuple[Family, ...]] = (4, 6)
CLUSTER_AS: Final = 64512
TOR_AS: Final = 65001
TOR: Final = 254
POOL: Final[dict[Family, str]] = {4: "10.65.0.0/16", 6: "fd65::/48"}
SERVICES: Final = "10.96.0.0/12"
BEHIND_TOR: Final[dict[Family, str]] = {4: "203.0.113.0/24", 6: "2001:db8:1::/48"}
BEYOND: Final[dict[Family, str]] = {4: "203.0.113.1", 6: "2001:db8:1::1"}


def address(n: int, family: Family) -> str:
    return f"10.0.0.{n}" if family == 4 else f"fd00::{n}"


def block(n: int, family: Family) -> str:
    return f"10.65.{n}.0/26" if family == 4 else f"fd65::{n}:0/122"


def workload(n: int, family: Family) -> str:
    return f"10.65.{n}.2" if family == 4 else f"fd65::{n}:2"


def mesh(n: int, family: Family) -> str:
    """What the session with node n is called."""
    return "Mesh_" + address(n, family).replace(".", "_").replace(":", "_")


def outside(n: int, family: Family) -> str:
    return "Global_" + address(n, family).replace(".", "_").replace(":", "_")


# ---------------------------------------------------------------- manifests


def resource(kind: str, name: str, spec: str, metadata: str = "") -> str:
    """`spec` in YAML's flow style."""
    return (
        f"apiVersion: projectcalico.org/v3\nkind: {kind}\n"
        f"metadata: {{name: {name}{metadata and ', ' + metadata}}}\nspec: {spec}\n"
    )


def documents(*texts: str) -> str:
    return "---\n".join(texts)


def secret(name: str, **values: str) -> str:
    data = "".join(
        f"  {key.replace('_', '-')}: {json.dumps(value)}\n" for key, value in values.items()
    )
    return (
        "apiVersion: v1\nkind: Secret\n"
        f"metadata: {{name: {name}, namespace: calico-system}}\nstringData:\n{data}"
    )


def affinity(n: int, family: Family, state: str = "confirmed") -> str:
    spec = f'{{node: n{n}, cidr: "{block(n, family)}", state: {state}, deleted: false}}'
    return resource("BlockAffinity", f"n{n}-v{family}", spec)


def endpoint(n: int, name: str, *nets: str) -> str:
    listed = ", ".join(f'"{net}"' for net in nets)
    return resource(
        "WorkloadEndpoint",
        f"n{n}-lab-{name}-eth0",
        f"{{node: n{n}, orchestrator: lab, workload: {name}, endpoint: eth0,"
        f" interfaceName: cali{name}, ipNetworks: [{listed}],"
        f' mac: "02:65:00:00:00:0{n}", profiles: [open]}}',
        f"namespace: default, labels: {{app: {name}}}",
    )


def node(n: int, bgp: str = "", labels: str = "") -> str:
    """`bgp`: more fields of its `spec.bgp`."""
    spec = (
        f"{{bgp: {{ipv4Address: {address(n, 4)}/24,"
        f' ipv6Address: "{address(n, 6)}/64"{bgp and ", " + bgp}}}}}'
    )
    return resource("Node", f"n{n}", spec, labels and f"labels: {{{labels}}}")


def population(n: int) -> str:
    """A node's blocks, and its workload in them."""
    blocks = [
        resource(
            "IPAMBlock",
            f"b{family}-{n}",
            f'{{cidr: "{block(n, family)}", affinity: "host:n{n}",'
            " allocations: [], attributes: []}",
        )
        for family in (4, 6)
    ]
    nets = (f"{workload(n, 4)}/32", f"{workload(n, 6)}/128")
    return documents(*blocks, affinity(n, 4), affinity(n, 6), endpoint(n, f"w{n}", *nets))


PROFILE: Final = resource(
    "Profile", "open", "{ingress: [{action: Allow}], egress: [{action: Allow}]}"
)
POOLS: Final = documents(
    resource("IPPool", "p4", f"{{cidr: {POOL[4]}, ipipMode: Never, vxlanMode: Never}}"),
    resource("IPPool", "p6", f'{{cidr: "{POOL[6]}", blockSize: 122}}'),
)


def password_of(secret_name: str, key: str) -> str:
    return f"secretKeyRef: {{name: {secret_name}, key: {key}}}"


def configuration(mesh_password: str = "", more: str = "", *, mesh_enabled: bool = True) -> str:
    given = [f"asNumber: {CLUSTER_AS}", f"serviceClusterIPs: [{{cidr: {SERVICES}}}]"]
    given.append(f"nodeToNodeMeshEnabled: {str(mesh_enabled).lower()}")
    if mesh_password:
        given.append(f"nodeMeshPassword: {{{mesh_password}}}")
    if more:
        given.append(more)
    return resource("BGPConfiguration", "default", "{" + ", ".join(given) + "}")


MESH_PASSWORD: Final = "mesh secret 7Zt"
TOR_PASSWORD: Final[dict[Family, str]] = {4: "tor-v4.9Kq", 6: "tor-v6.3Lm"}
SECRETS: Final = secret(
    "bgp-secrets", mesh=MESH_PASSWORD, tor_v4=TOR_PASSWORD[4], tor_v6=TOR_PASSWORD[6]
)


def tor_peer(family: Family, more: str = "") -> str:
    return resource(
        "BGPPeer",
        f"tor-v{family}",
        f'{{peerIP: "{address(TOR, family)}", asNumber: {TOR_AS}{more and ", " + more}}}',
    )


def usual_tor_peers() -> str:
    """With a password each, and TTL security as directly connected routers have it."""
    return documents(
        *(
            tor_peer(
                family,
                f"ttlSecurity: 1, password: {{{password_of('bgp-secrets', f'tor-v{family}')}}}",
            )
            for family in FAMILIES
        )
    )


# ---------------------------------------------------------------- BIRD by hand


class Neighbour(NamedTuple):
    """One session of a hand-written configuration; `more` are statements of the protocol."""

    number: int
    family: Family
    as_number: int
    password: str = ""
    more: str = "direct;"
    imports: str = "import all;"
    exports: str = "export where source ~ [RTS_STATIC, RTS_BGP];"
    next_hop: str = "next hop self;"
    own_as: int = 0

    @property
    def name(self) -> str:
        return f"p{self.number}_{self.family}"


class Route(NamedTuple):
    """What a hand-written configuration announces; `statements` run before it leaves."""

    net: str
    statements: str = ""

    @property
    def family(self) -> Family:
        return 6 if ":" in self.net else 4


def by_hand(
    n: int,
    as_number: int,
    neighbours: Iterable[Neighbour],
    routes: Iterable[Route] = (),
    *,
    kernel: bool = False,
    preamble: str = "",
) -> str:
    """A whole configuration, which announces its routes and what it has learned, unguarded.

    `kernel`: what is learned is written to the kernel.
    """
    routes = tuple(routes)
    parts = [
        f"log stderr all;\nrouter id {address(n, 4)};\n"
        "timeformat protocol iso long us; timeformat base iso long us;\n"
        f"{preamble}protocol device {{ scan time 2; }}\n"
        'protocol direct { ipv4; ipv6; interface "eth0"; }\n'
    ]
    for family in (4, 6):
        lines = "".join(
            f" route {route.net} blackhole {{ {route.statements} }};\n"
            if route.statements
            else f" route {route.net} blackhole;\n"
            for route in routes
            if route.family == family
        )
        parts.append(f"protocol static announced{family} {{ ipv{family};\n{lines}}}\n")
        if kernel:
            parts.append(
                f"protocol kernel kernel{family} {{ persist; scan time 2;"
                f" ipv{family} {{ import none; export where source = RTS_BGP; }}; }}\n"
            )
    parts += [_session(n, as_number, neighbour) for neighbour in neighbours]
    return "".join(parts)


def _session(n: int, as_number: int, peer: Neighbour) -> str:
    password = f'password "{peer.password}"; ' if peer.password else ""
    return (
        f"protocol bgp {peer.name} {{\n"
        f" local {address(n, peer.family)} as {peer.own_as or as_number};"
        f" neighbor {address(peer.number, peer.family)} as {peer.as_number};\n"
        f" {password}{peer.more} graceful restart on;\n"
        " connect delay time 1; connect retry time 2; error wait time 1, 4;\n"
        f" ipv{peer.family} {{ {peer.next_hop} import keep filtered;"
        f" {peer.imports} {peer.exports} }};\n}}\n"
    )


def usual_tor(nodes: Iterable[int], routes: Iterable[Route] = ()) -> str:
    """A ToR without any policy of its own, which announces what is behind it and the routes."""
    neighbours = [
        Neighbour(n, family, CLUSTER_AS, TOR_PASSWORD[family], "direct; ttl security on;")
        for n in nodes
        for family in FAMILIES
    ]
    behind = [Route(net) for net in BEHIND_TOR.values()]
    return by_hand(TOR, TOR_AS, neighbours, [*behind, *routes], kernel=True)


def taken_over(n: int, others: Iterable[int], routes: Iterable[Route], more: str = "") -> str:
    """Node n in the hands of somebody who knows its passwords and wants other nodes' traffic.

    It announces whatever it has learned, too.  `more`: options of its channels.
    """
    neighbours = [
        *(
            Neighbour(
                other, family, CLUSTER_AS, MESH_PASSWORD, "multihop;", exports=f"export all; {more}"
            )
            for other in others
            if other != n
            for family in FAMILIES
        ),
        *(
            Neighbour(TOR, family, TOR_AS, TOR_PASSWORD[family], "direct; ttl security on;")
            for family in FAMILIES
        ),
    ]
    return by_hand(n, CLUSTER_AS, neighbours, routes)
