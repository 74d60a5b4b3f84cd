"""Rules of BGPFilters of every kind, and what BIRD really lets through because of them.

tor (65001) ══ n1 (64512) ── other (65002, also outside, where n2 would be)

The ToR has an address for each case, and n1 a BGPPeer with a BGPFilter of its own for each of them;
so all cases stand side by side.  Both families get the same rules with their nets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from dataplane.bird import reasons
from dataplane.families import Family
from tests.kernel.bgp_lab import Lab, laboratory
from tests.kernel.bgp_routers import comes_to
from tests.kernel.bgp_texts import (
    CLUSTER_AS,
    FAMILIES,
    POOL,
    POOLS,
    SERVICES,
    TOR,
    TOR_AS,
    Neighbour,
    Route,
    address,
    block,
    by_hand,
    configuration,
    documents,
    endpoint,
    node,
    outside,
    resource,
)

pytestmark = pytest.mark.kernel

OTHER_AS = 65002
# name in the cases -> net, what else the ToR says of it
TOLD: dict[Family, dict[str, tuple[str, str]]] = {
    4: {
        "wide": ("198.18.0.0/15", ""),
        "half": ("198.18.0.0/16", ""),
        "small": ("198.18.1.0/24", ""),
        "marked": ("192.0.2.0/24", "bgp_community.add((65001, 7));"),
        "large": ("203.0.113.0/24", "bgp_large_community.add((65001, 1, 2));"),
        "far": ("198.51.100.0/24", "bgp_path.prepend(65010);"),
    },
    6: {
        "wide": ("2001:db8:10::/44", ""),
        "half": ("2001:db8:10::/45", ""),
        "small": ("2001:db8:11::/48", ""),
        "marked": ("2001:db8:2::/48", "bgp_community.add((65001, 7));"),
        "large": ("2001:db8:3::/48", "bgp_large_community.add((65001, 1, 2));"),
        "far": ("2001:db8:4::/48", "bgp_path.prepend(65010);"),
    },
}
ALL = frozenset(TOLD[4])
BORROWED: dict[Family, str] = {4: "10.65.9.9/32", 6: "fd65::9:9/128"}


class Case(NamedTuple):
    """`rules` in YAML's flow style, {wide} and the like are nets; what is left then."""

    rules: str
    left: frozenset[str]


REJECT_REST = ", {{action: Reject}}"
IMPORTS = {
    "Equal": Case("{{action: Reject, matchOperator: Equal, cidr: '{wide}'}}", ALL - {"wide"}),
    "NotEqual": Case(
        "{{action: Reject, matchOperator: NotEqual, cidr: '{half}'}}", frozenset({"half"})
    ),
    "In": Case(
        "{{action: Reject, matchOperator: In, cidr: '{wide}'}}", ALL - {"wide", "half", "small"}
    ),
    "NotIn": Case(
        "{{action: Reject, matchOperator: NotIn, cidr: '{wide}'}}",
        frozenset({"wide", "half", "small"}),
    ),
    "prefixLength from the half to the half": Case(
        "{{action: Reject, matchOperator: In, cidr: '{wide}',"
        " prefixLength: {{min: {half_length}, max: {half_length}}}}}",
        ALL - {"half"},
    ),
    "prefixLength below the net's own": Case(
        "{{action: Reject, matchOperator: In, cidr: '{half}', prefixLength: {{min: 4}}}}",
        ALL - {"half"} - {"small"},
    ),
    "a prefixLength that nothing has": Case(
        "{{action: Reject, matchOperator: In, cidr: '{small}', prefixLength: {{max: 8}}}}", ALL
    ),
    "source": Case("{{action: Reject, source: RemotePeers}}", frozenset()),
    "interface": Case("{{action: Accept, interface: 'eth*'}}" + REJECT_REST, ALL),
    "another interface": Case("{{action: Accept, interface: eth1}}" + REJECT_REST, frozenset()),
    "eBGP": Case("{{action: Reject, peerType: eBGP}}", frozenset()),
    "iBGP": Case("{{action: Reject, peerType: iBGP}}", ALL),
    "community": Case(
        "{{action: Accept, communities: {{values: ['65001:7']}}}}" + REJECT_REST,
        frozenset({"marked"}),
    ),
    "large community": Case(
        "{{action: Reject, communities: {{values: ['65001:1:2']}}}}", ALL - {"large"}
    ),
    "asPathPrefix": Case("{{action: Reject, asPathPrefix: [65001, 65010]}}", ALL - {"far"}),
    "asPathPrefix of all": Case("{{action: Reject, asPathPrefix: [65001]}}", frozenset()),
    "the first rule decides": Case(
        "{{action: Accept, matchOperator: Equal, cidr: '{half}'}},"
        " {{action: Reject, matchOperator: In, cidr: '{wide}'}}",
        ALL - {"wide", "small"},
    ),
    "all conditions together": Case(
        "{{action: Reject, matchOperator: In, cidr: '{wide}', asPathPrefix: [65001, 65010]}},"
        " {{action: Reject, matchOperator: In, cidr: '{far}', asPathPrefix: [65001, 65010],"
        " source: RemotePeers, peerType: eBGP, interface: eth0}}",
        ALL - {"far"},
    ),
}
# "own" is n1's block, "borrowed" an address of its workload, "services" the range
EXPORTED = frozenset({"own", "borrowed", "services"})
OWN: dict[Family, dict[str, str]] = {
    4: {"own": block(1, 4), "borrowed": BORROWED[4], "services": SERVICES},
    6: {"own": block(1, 6), "borrowed": BORROWED[6]},
}
EXPORTS = {
    "Equal": Case("{{action: Reject, matchOperator: Equal, cidr: '{own}'}}", EXPORTED - {"own"}),
    "In": Case(
        "{{action: Accept, matchOperator: In, cidr: '{own}'}}" + REJECT_REST, frozenset({"own"})
    ),
    "prefixLength": Case(
        "{{action: Reject, matchOperator: In, cidr: '{pool}', prefixLength: {{min: {host}}}}}",
        EXPORTED - {"borrowed"},
    ),
    "interface": Case("{{action: Reject, interface: 'cali*'}}", EXPORTED - {"borrowed"}),
    "eBGP": Case("{{action: Reject, peerType: eBGP}}", frozenset()),
    "iBGP": Case("{{action: Reject, peerType: iBGP}}", EXPORTED),
    "source": Case("{{action: Reject, source: RemotePeers}}", EXPORTED),
    "priority": Case("{{action: Reject, priority: 1024}}", frozenset()),
    "another priority": Case("{{action: Reject, priority: 1025}}", EXPORTED),
}


IMPORTS_NAMED = tuple(f"import, {case}" for case in IMPORTS)
CASES = {
    **{f"import, {case}": ("import", *found) for case, found in IMPORTS.items()},
    **{f"export, {case}": ("export", *found) for case, found in EXPORTS.items()},
}
NUMBER = {case: number for number, case in enumerate(CASES, 101)}  # in addresses of the ToR
_ALONE = "direct; strict bind on;"  # many daemons on one machine
OPERATIONS = (
    "operations: [{{addCommunity: {{value: '65001:99'}}}},"
    " {{addCommunity: {{value: '65001:3:4'}}}},"
    " {{prependASPath: {{prefix: [65020, 65021]}}}}, {{setPriority: {{value: 512}}}}]"
)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with laboratory(1, 2) as made:
        made.write("pools.yaml", POOLS)
        made.write("nodes.yaml", node(1))
        made.remove("n2-population.yaml")
        made.write("bgp.yaml", configuration())
        made.write("borrowed.yaml", endpoint(1, "borrower", *BORROWED.values()))
        made.plug(1, "caliborrower")
        for case, (direction, rules, _) in CASES.items():
            number = NUMBER[case]
            filters = ("nothing", f"f{number}")  # no rules, so that the next one has to be reached
            text = documents(bgp_filter(f"f{number}", direction, rules), peers(number, filters))
            made.write(f"case{number}.yaml", text)
        made.write("nothing.yaml", resource("BGPFilter", "nothing", "{}"))
        made.write("peers.yaml", documents(peers(TOR), peers(2)))
        routes = [Route(net, more) for family in FAMILIES for net, more in TOLD[family].values()]
        neighbours = [Neighbour(1, family, CLUSTER_AS, more=_ALONE) for family in FAMILIES]
        for number in NUMBER.values():
            made.beside_tor(number)
        for router in made.tors.values():
            router.configure(by_hand(router.number, TOR_AS, neighbours, routes))
        other = [Neighbour(1, family, CLUSTER_AS) for family in FAMILIES]
        made.nodes[2].configure(by_hand(2, OTHER_AS, other))
        made.start(only=(1,))
        made.nodes[1].await_established(
            outside(n, family) for n in (2, TOR, *NUMBER.values()) for family in FAMILIES
        )
        yield made


def peers(number: int, filters: tuple[str, ...] = ()) -> str:
    """One for each family."""
    as_number = OTHER_AS if number == 2 else TOR_AS
    return documents(
        *(
            resource(
                "BGPPeer",
                f"p{number}-v{family}",
                f'{{peerIP: "{address(number, family)}", asNumber: {as_number},'
                f" filters: [{', '.join(filters)}]}}",
            )
            for family in FAMILIES
        )
    )


def nets(family: Family) -> dict[str, str]:
    """What may stand between braces in a rule."""
    known = {name: net for name, (net, _) in TOLD[family].items()}
    return (
        known
        | OWN[family]
        | {
            "half_length": known["half"].partition("/")[2],
            "pool": POOL[family],
            "host": "32" if family == 4 else "128",
        }
    )


def bgp_filter(name: str, direction: str, rules: str) -> str:
    parts = (f"{direction}V{family}: [{rules.format(**nets(family))}]" for family in FAMILIES)
    return resource("BGPFilter", name, "{" + ", ".join(parts) + "}")


def imported(lab: Lab, family: Family, number: int = TOR) -> set[str]:
    learned = lab.nodes[1].learned(outside(number, family))
    return {name for name, (net, _) in TOLD[family].items() if net in learned}


def exported(lab: Lab, family: Family, number: int = TOR) -> set[str]:
    learned = lab.tors[number].learned(f"p1_{family}")
    return {name for name, net in OWN[family].items() if net in learned}


@pytest.mark.parametrize("family", FAMILIES)
def test_each_rule_lets_through_what_it_should(lab: Lab, family: Family) -> None:
    passing = {"import": imported, "export": exported}
    all_of = {"import": ALL, "export": frozenset(OWN[family])}
    wanted = {case: left & all_of[direction] for case, (direction, _, left) in CASES.items()}

    def let_through() -> dict[str, set[str]]:
        return {
            case: passing[direction](lab, family, NUMBER[case])
            for case, (direction, _, _) in CASES.items()
        }

    def refused() -> dict[str, set[str]]:
        return {
            case: _named(lab.nodes[1].refused(outside(NUMBER[case], family)), family)
            for case in IMPORTS_NAMED
        }

    comes_to(wanted, let_through)
    comes_to({case: set(ALL - wanted[case]) for case in IMPORTS_NAMED}, refused)


def _named(refused: dict[str, int], family: Family) -> set[str]:
    """What a rule of the second filter has refused, by its number."""
    names = {net: name for name, (net, _) in TOLD[family].items()}
    second = range(reasons.FILTER + reasons.STEP, reasons.FILTER + 2 * reasons.STEP)
    return {names[net] for net, why in refused.items() if why in second}


def test_operations(lab: Lab) -> None:
    """What an Accept does to a route on its way, both ways."""
    n1 = lab.nodes[1]
    before = n1.sessions()
    rule = f"{{{{action: Accept, matchOperator: Equal, cidr: '{{%s}}', {OPERATIONS}}}}}"
    lab.write(
        "operations.yaml",
        documents(
            bgp_filter("in", "import", rule % "marked"), bgp_filter("out", "export", rule % "own")
        ),
    )
    lab.write("peers.yaml", documents(peers(TOR, ("in", "out")), peers(2)))
    for family in FAMILIES:
        session = f"protocol p1_{family}"
        comes_to(True, lambda s=session: "(65001,99)" in lab.tor.birdc(f"show route {s} all"))
        text = lab.tor.birdc(f"show route {block(1, family)} {session} all")
        assert re.search(r"BGP\.as_path: 64512 65020 65021\b", text), text
        assert "(65001, 3, 4)" in text
        net, session = TOLD[family]["marked"][0], f"protocol {outside(TOR, family)}"
        shown = f"show route {net} {session} all"
        comes_to(True, lambda s=shown: "(65001,99)" in n1.birdc(s))
        text = n1.birdc(shown)
        assert re.search(r"BGP\.as_path: 65020 65021 65001\b", text), text
        assert "(65001,99)" in text
        assert f"BGP.local_pref: {2147483647 - 512}" in text
        gateway = f"{net} via {address(TOR, 4) if family == 4 else 'fe80::'}"
        comes_to(True, lambda f=family, g=gateway: g in n1.kernel(f))
        assert "metric 512" in n1.kernel(family).split(net)[1].splitlines()[0]
    lab.write("peers.yaml", documents(peers(TOR), peers(2)))
    for family in FAMILIES:  # BIRD by itself leaves the route with the metric of earlier
        net = re.escape(TOLD[family]["marked"][0])
        route = re.compile(rf"^{net} .*?metric (\d+)", re.MULTILINE)
        comes_to(["1024"], lambda f=family, r=route: r.findall(n1.kernel(f)))
    assert n1.sessions() == before


def test_a_filter_that_does_not_exist_lets_nothing_pass(lab: Lab) -> None:
    n1 = lab.nodes[1]
    before = n1.sessions()
    lab.write("peers.yaml", documents(peers(TOR, ("nothing", "absent")), peers(2)))
    for family in FAMILIES:
        comes_to(set(), imported, lab, family)
        comes_to(set(), exported, lab, family)
        refused = n1.refused(outside(TOR, family))
        assert set(refused.values()) == {reasons.UNKNOWN_FILTER}
    assert n1.sessions() == before
    comes_to(True, lambda: "absent" in n1.felixpy("status", "bgp")[1])
    lab.write("peers.yaml", documents(peers(TOR), peers(2)))
    for family in FAMILIES:
        comes_to(ALL, imported, lab, family)


def test_an_accept_widens_nothing_unless_the_session_is_named(lab: Lab) -> None:
    """To announce the ToR's routes to others takes BGPUnguardedPeers as well as a rule."""
    n1, other = lab.nodes[1], lab.nodes[2]
    lab.write("passing.yaml", bgp_filter("passing", "export", "{{action: Accept}}"))
    lab.write("peers.yaml", documents(peers(TOR), peers(2, ("passing",))))
    comes_to(True, lambda: "passing" in n1.file.read_text())
    for family in FAMILIES:
        comes_to(set(OWN[family].values()), other.learned, f"p1_{family}")
    n1.stop()
    n1.start(BGPUnguardedPeers="p2-v4")
    told = {net for net, _ in TOLD[4].values()}
    n1.comes_to(True, lambda: set(OWN[4].values()) | told <= other.learned("p1_4"))
    assert other.learned("p1_6") == set(OWN[6].values())
