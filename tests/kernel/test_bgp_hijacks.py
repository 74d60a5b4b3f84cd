"""Routes that somebody announces without a right to them, and each of the belts that hold alone.

node's export   the agent's node, whose kernel holds routes that are not its own
nodes' import   a node in other hands, with all its passwords, whose filters are off
ToR's import    the same, at a ToR with the policy that `felixpy bgp upstream` prints
ToR's export    that ToR, with such routes in its table, and a node whose filters are off
nodes' import   a ToR in other hands
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import pytest

from dataplane.bird import reasons
from dataplane.families import Family
from tests.kernel.bgp_lab import Lab, laboratory
from tests.kernel.bgp_routers import comes_to
from tests.kernel.bgp_texts import (
    BEHIND_TOR,
    CLUSTER_AS,
    FAMILIES,
    MESH_PASSWORD,
    SERVICES,
    TOR,
    TOR_AS,
    TOR_PASSWORD,
    Neighbour,
    Route,
    block,
    by_hand,
    documents,
    endpoint,
    mesh,
    outside,
    resource,
    taken_over,
    usual_tor,
    workload,
)

pytestmark = pytest.mark.kernel

# What n2 announces, and why it is refused; 0.77 is out of n2's own block, but n3 has it.
FROM_NODE: dict[Family, dict[str, int]] = {
    4: {
        "0.0.0.0/0": reasons.DEFAULT_ROUTE,
        "198.51.100.0/24": reasons.NOT_IN_POOLS,
        "10.64.0.0/15": reasons.NOT_IN_POOLS,
        "10.65.3.0/26": reasons.NOT_OWNED,
        "10.65.3.0/27": reasons.NOT_OWNED,
        "10.65.3.5/32": reasons.NOT_OWNED,
        "10.65.2.0/28": reasons.NOT_OWNED,
        "10.65.2.50/32": reasons.NOT_OWNED,
        "10.65.0.0/16": reasons.NOT_OWNED,
        "10.65.128.0/17": reasons.NOT_OWNED,
        "10.96.0.10/32": reasons.NOT_OWNED,
    },
    6: {
        "::/0": reasons.DEFAULT_ROUTE,
        "2001:db8:9::/48": reasons.NOT_IN_POOLS,
        "fd65::/32": reasons.NOT_IN_POOLS,
        "fd65::3:0/122": reasons.NOT_OWNED,
        "fd65::3:0/123": reasons.NOT_OWNED,
        "fd65::3:5/128": reasons.NOT_OWNED,
        "fd65::2:0/124": reasons.NOT_OWNED,
        "fd65::/48": reasons.NOT_OWNED,
        "fd65::/49": reasons.NOT_OWNED,
    },
}
BORROWED: dict[Family, str] = {4: "10.65.2.50/32", 6: "fd65::2:32/128"}  # by n3, out of n2's block
OTHER_HOP: dict[Family, str] = {4: "10.0.0.3", 6: "fd00::3"}
LEARNED_BY_WIRE: dict[Family, str] = {4: "10.0.0.0/24", 6: "fd00::/64"}

# What the ToR announces.
FROM_TOR: dict[Family, tuple[str, ...]] = {
    4: ("10.65.0.0/16", "10.65.0.0/17", "10.65.1.0/26", "10.65.1.7/32", "10.65.99.0/26",
        "10.96.0.0/12", "10.96.0.1/32"),
    6: ("fd65::/48", "fd65::1:0/122", "fd65::1:7/128"),
}  # fmt: skip
HARMLESS: dict[Family, tuple[str, ...]] = {
    4: ("0.0.0.0/0", "10.64.0.0/15", "192.0.2.0/24"),
    6: ("::/0", "fd64::/15", "2001:db8:7::/48"),
}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with laboratory() as made:
        made.furnish()
        made.write("borrowed.yaml", endpoint(3, "borrower", *BORROWED.values()))
        made.plug(3, "caliborrower")
        made.start()
        made.await_established()
        yield made


@pytest.fixture
def taken_n2(lab: Lab) -> Iterator[None]:
    """n2 announces all that it should not, to everybody."""
    routes = [Route(net) for family in FAMILIES for net in (block(2, family), *FROM_NODE[family])]
    with lab.in_other_hands(2, taken_over(2, lab.nodes, routes)):
        yield


def services(family: Family) -> set[str]:
    return {SERVICES} if family == 4 else set()


def told(lab: Lab, n: int) -> dict[tuple[str, str], str]:
    """What `felixpy bgp rejected` says: session and net -> why."""
    return {
        (entry["session"], entry["net"]): entry["reason"]
        for entry in lab.nodes[n].answer("bgp", "rejected")["routes"]
        if entry["direction"] != "out"
    }


# ---------------------------------------------------------------- first belt


def test_a_node_announces_what_is_its_own_whatever_its_kernel_holds(lab: Lab) -> None:
    """Routes put by hand: as an operator's, as the agent's, as another node's workload's."""
    n2 = lab.nodes[2]
    for family, nets in ((4, ("198.51.100.0/24", "10.65.77.0/26", "10.65.3.8/32")),
                         (6, ("2001:db8:9::/48", "fd65::77:0/122", "fd65::3:8/128"))):  # fmt: skip
        for net in nets:
            n2.space.run(f"ip -{family} route add {net} dev eth0 proto static")
    n2.stop()  # lest it takes away at once what says to be its own
    n2.space.run("ip route add 10.65.3.0/27 dev caliw2 proto boot metric 1024")
    n2.space.run("ip -6 route add fd65::3:0/124 dev caliw2 proto boot metric 1024")
    comes_to("10.65.3.0/27", lambda: _first(n2.birdc("show route 10.65.3.0/27")))
    comes_to("fd65::3:0/124", lambda: _first(n2.birdc("show route fd65::3:0/124")))
    for family in FAMILIES:
        own = {block(2, family)} | services(family)
        comes_to(own, lab.tor.learned, f"p2_{family}")
        comes_to(own, lab.nodes[1].learned, mesh(2, family))
        kernel = n2.refused(f"kernel{family}")
        assert kernel["10.65.77.0/26" if family == 4 else "fd65::77:0/122"] == reasons.KERNEL_IMPORT
    n2.start()
    comes_to(True, n2.is_well)
    said = told(lab, 2)
    assert reasons.TEXTS[reasons.KERNEL_IMPORT] in said["kernel", "10.65.77.0/26"]
    n2.space.run("ip route flush proto static; ip -6 route flush proto static")


def _first(text: str) -> str:
    found = re.search(r"^([0-9a-f.:]+/\d+)\s", text, re.MULTILINE)
    return found[1] if found else ""


@pytest.mark.usefixtures("taken_n2")
def test_nodes_take_from_a_node_what_is_its_own(lab: Lab) -> None:
    n1 = lab.nodes[1]
    for family in FAMILIES:
        session = mesh(2, family)
        refused = FROM_NODE[family] | {
            LEARNED_BY_WIRE[family]: reasons.NOT_IN_POOLS,
            BEHIND_TOR[family]: reasons.NOT_IN_POOLS,
        }
        comes_to(True, lambda f=family, s=session, r=refused: r.items() <= n1.refused(s).items())
        assert n1.learned(session) == {block(2, family)}
        assert n1.learned(mesh(3, family)) >= {block(3, family), BORROWED[family]}
        comes_to(True, lab.pings, 1, workload(3, family))
    said = told(lab, 1)
    for family in FAMILIES:
        for net, why in FROM_NODE[family].items():
            assert reasons.TEXTS[why] in said[mesh(2, family), net]


@pytest.mark.usefixtures("taken_n2")
def test_a_route_of_the_right_net_has_to_lead_to_its_owner(lab: Lab) -> None:
    n1, n2 = lab.nodes[1], lab.nodes[2]
    away = [
        Neighbour(
            1,
            family,
            CLUSTER_AS,
            MESH_PASSWORD,
            "multihop;",
            exports=f"export filter {{ bgp_next_hop = {hop}; accept; }};",
            next_hop="",
        )
        for family, hop in OTHER_HOP.items()
    ]
    n2.configure(by_hand(2, CLUSTER_AS, away, [Route(block(2, family)) for family in FAMILIES]))
    for family in FAMILIES:
        session = mesh(2, family)
        comes_to(reasons.NEXT_HOP, lambda s=session, f=family: n1.refused(s).get(block(2, f)))
        assert n1.learned(session) == set()


def test_nodes_take_from_outside_everything_but_the_cluster(lab: Lab) -> None:
    n1 = lab.nodes[1]
    routes = [Route(net) for f in FAMILIES for net in (*FROM_TOR[f], *HARMLESS[f])]
    lab.tor.configure(usual_tor(lab.nodes, routes))
    try:
        for family in FAMILIES:
            session = outside(TOR, family)
            comes_to({BEHIND_TOR[family], *HARMLESS[family]}, n1.learned, session)
            refused = dict.fromkeys(FROM_TOR[family], reasons.FROM_OUTSIDE)
            comes_to(
                True,
                lambda s=session, r=refused: r.items() <= n1.refused(s).items(),
            )
        said = told(lab, 1)
        for family in FAMILIES:
            for net in FROM_TOR[family]:
                why = said[outside(TOR, family), net]
                assert reasons.TEXTS[reasons.FROM_OUTSIDE] in why
        for n in (2, 3):  # and passes none of it on
            for family in FAMILIES:
                own = {block(1, family)} | services(family)
                assert lab.nodes[n].learned(mesh(1, family)) == own
    finally:
        lab.tor.configure(usual_tor(lab.nodes))


# ---------------------------------------------------------------- second belt


def upstream_tor(lab: Lab, routes: Iterable[Route] = ()) -> str:
    """A ToR with the sessions and the policy that the command prints, passwords filled in."""
    code, text = lab.nodes[1].felixpy(
        "bgp", "upstream", "--role", "tor", "--vendor", "bird", "--sessions"
    )
    assert code == 0, text
    filled, count = re.subn(
        r'"REPLACE-ME";(?= # password: Secret bgp-secrets, key tor-v([46]))',
        lambda found: f'"{TOR_PASSWORD[4 if found[1] == "4" else 6]}";',
        text,
    )
    assert count == 2 * len(lab.nodes), text
    behind = [Route(net) for net in BEHIND_TOR.values()]
    return by_hand(TOR, TOR_AS, (), [*behind, *routes], kernel=True) + filled


def upstream_session(n: int, family: Family) -> str:
    return f"'CALICO-n{n}-V{family}-BGP'"


@pytest.fixture
def guarded_tor(lab: Lab) -> Iterator[None]:
    lab.tor.configure(upstream_tor(lab))
    lab.await_established()
    yield
    lab.tor.configure(usual_tor(lab.nodes))
    lab.await_established()


@pytest.mark.usefixtures("guarded_tor", "taken_n2")
def test_the_tor_takes_from_a_node_what_is_its_own(lab: Lab) -> None:
    for family in FAMILIES:
        session = upstream_session(2, family)
        comes_to(
            True,
            lambda s=session, f=family: FROM_NODE[f].items() <= lab.tor.refused(s).items(),
        )
        # the services' range it may pass on from the others: any node may announce that
        assert lab.tor.learned(session) - services(family) == {block(2, family)}
        assert lab.tor.learned(upstream_session(3, family)) == {
            block(3, family),
            BORROWED[family],
        } | services(family)
        assert lab.tor.reaches(workload(3, family))


@pytest.mark.usefixtures("guarded_tor")
def test_the_tor_tells_nodes_nothing_of_the_cluster(lab: Lab) -> None:
    routes = [Route(net) for f in FAMILIES for net in (*FROM_TOR[f], *HARMLESS[f])]
    lab.tor.configure(upstream_tor(lab, routes))
    open_to_all = [
        Neighbour(TOR, family, TOR_AS, TOR_PASSWORD[family], "direct; ttl security on;")
        for family in FAMILIES
    ]
    with lab.in_other_hands(1, by_hand(1, CLUSTER_AS, open_to_all)):
        for family in FAMILIES:
            wanted = {BEHIND_TOR[family], LEARNED_BY_WIRE[family], *HARMLESS[family]}
            comes_to(wanted, lab.nodes[1].learned, f"p{TOR}_{family}")


# ---------------------------------------------------------------- what changes while it is in


def test_what_a_tightened_filter_refuses_goes(lab: Lab) -> None:
    n1 = lab.nodes[1]
    usual = (lab.manifests / "tor.yaml").read_text()
    before = n1.sessions()
    lab.write("tor.yaml", usual.replace("ttlSecurity: 1", "ttlSecurity: 1, filters: [tight]"))
    lab.write("tight.yaml", resource("BGPFilter", "tight", "{importV4: [], importV6: []}"))
    for family in FAMILIES:
        comes_to({BEHIND_TOR[family]}, n1.learned, outside(TOR, family))
    lab.write(
        "tight.yaml",
        resource(
            "BGPFilter",
            "tight",
            f"{{importV4: [{{action: Reject, matchOperator: In, cidr: {BEHIND_TOR[4]}}}],"
            f' importV6: [{{action: Reject, matchOperator: In, cidr: "{BEHIND_TOR[6]}"}}]}}',
        ),
    )
    for family in FAMILIES:
        session = outside(TOR, family)
        comes_to(set(), n1.learned, session)
        assert n1.refused(session)[BEHIND_TOR[family]] >= reasons.FILTER
        comes_to(False, lambda f=family: BEHIND_TOR[f] in n1.kernel(f))
    assert "tight" in told(lab, 1)[outside(TOR, 4), BEHIND_TOR[4]]
    assert n1.sessions() == before
    lab.write("tor.yaml", usual)
    lab.remove("tight.yaml")
    for family in FAMILIES:
        comes_to({BEHIND_TOR[family]}, n1.learned, outside(TOR, family))


def test_a_block_that_moves_is_believed_of_its_new_owner_only(lab: Lab) -> None:
    n1 = lab.nodes[1]
    moving = "10.65.40.0/26"

    def owned_by(n: int) -> str:
        return documents(
            resource(
                "IPAMBlock",
                "b4-40",
                f'{{cidr: {moving}, affinity: "host:n{n}", allocations: [], attributes: []}}',
            ),
            resource(
                "BlockAffinity", "moving", f"{{node: n{n}, cidr: {moving}, state: confirmed}}"
            ),
        )

    lab.write("moving.yaml", owned_by(2))
    comes_to(True, lambda: moving in n1.learned(mesh(2, 4)))
    lab.nodes[2].stop()  # so that n2 goes on to announce it
    lab.write("moving.yaml", owned_by(3))
    comes_to(True, lambda: moving in n1.learned(mesh(3, 4)))
    comes_to(reasons.NOT_OWNED, lambda: n1.refused(mesh(2, 4)).get(moving))
    assert moving not in n1.learned(mesh(2, 4))
    assert "via 10.0.0.3" in n1.kernel(4).split(moving)[1].splitlines()[0]
    lab.nodes[2].start()
    comes_to(None, lambda: n1.refused(mesh(2, 4)).get(moving))
    lab.remove("moving.yaml")
    comes_to(False, lambda: moving in n1.learned(mesh(3, 4)))
