"""The kernel and its tools take every rule that the renderers make, with both backends.

Each chain of the vectors' cases, rendered by us, is written for real into a namespace, in each
table that it is meant for: dry runs do not ask the kernel, and it is the kernel that refuses a
target in the wrong table.  The upstream forms that ours replace are shown to be refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from calc_graph.model import Icmp, PolicyKey
from calc_graph.updates import ActivePolicy, ActiveRule
from dataplane.chains import Chain
from dataplane.families import Family
from dataplane.render.names import Table
from dataplane.render.nat import egress_dscp_chain, nat_outgoing_chain, rpf_skip_chain
from dataplane.render.rules import policy_chains
from dataplane.settings import RenderSettings
from tests.dataplane.render import test_dispatch as dispatch
from tests.dataplane.render import test_endpoints as endpoints
from tests.dataplane.render import test_nat as nat
from tests.dataplane.render import test_rules as rules
from tests.dataplane.render import test_static as static
from tests.dataplane.render.vectors import cases
from tests.kernel.conftest import Namespace

pytestmark = pytest.mark.kernel

_SET = re.compile(r"--match-set (cali([46])0\S+) (\S+)")
_FAMILIES: tuple[Family, Family] = (4, 6)
_POLICY_TABLES: tuple[Table, ...] = ("filter", "mangle", "raw")


class Placed(NamedTuple):
    table: Table
    family: Family
    chain: Chain


def _policies() -> Iterator[Placed]:
    for case in cases("rule-rendering"):
        for table in _POLICY_TABLES:
            yield Placed(table, case["options"].get("ip_version", 4), rules.render(case, table))


def _fixed() -> Iterator[Placed]:
    for case in cases("chain-hashes-static"):
        if not static._of_ipvs(case):
            yield Placed(case["table"], case["ip_version"], static.render(case))


def _endpoints() -> Iterator[Placed]:
    tables = {c["what"]: c["table"] for c in cases("chain-hashes-endpoints")}
    for what, rendered in endpoints.RENDERED.items():
        for chain in (*rendered.chains, *rendered.groups):
            for family in _FAMILIES:
                yield Placed(tables[what], family, chain)
    for what, chain in nat.SAME.items():
        yield Placed(tables[what], 4, chain)


def _dispatch() -> Iterator[Placed]:
    for case in cases("dispatch"):
        if not case["what"].startswith("endpoint marks"):
            for chain in dispatch.render(case):
                yield Placed("filter", 4, chain)
                yield Placed("filter", 6, chain)


def _hostile() -> Iterator[Placed]:
    name = 'x" --jump ACCEPT\nCOMMIT\n\\ \N{SNOWMAN}'
    note = ((name, name), ("long", "x" * 300))
    wanted = (ActiveRule("log", annotations=note), ActiveRule("deny", annotations=note))
    policy = ActivePolicy(name, name, ingress=wanted, egress=wanted)
    settings = RenderSettings(log_prefix="%n %p %t %k", log_rate_limit="1/minute")
    for family in _FAMILIES:
        for chain in policy_chains(PolicyKey(name, name, name), policy, family, settings):
            yield Placed("filter", family, chain)


def _mended() -> Iterator[Placed]:
    """Forms that no vector has, because the original's are refused."""
    values = [("10.65.0.2/32", 0), ("10.65.0.1/32", 46), ("fd00::1/128", 46), ("fd00::2/128", 1)]
    sources = [("cali1", "10.1.0.0/16"), ("cali1", "fd00::/8")]
    for family in _FAMILIES:
        yield Placed("mangle", family, egress_dscp_chain(values, family))
        yield Placed("raw", family, rpf_skip_chain(sources, family))
        for address in ("", "192.0.2.1", "2001:db8::1"):
            for ports in (None, (99, 100)):
                settings = RenderSettings(nat_outgoing_address=address, nat_port_range=ports)
                yield Placed("nat", family, nat_outgoing_chain(family, settings, active=True))
        icmp = tuple(
            ActiveRule("deny", protocol=protocol, icmp=Icmp(1, 0), not_icmp=Icmp(2))
            for protocol in ("icmp", 1, "icmpv6", 58)
        )
        names = ("tcp", "udp", "icmp", "icmpv6", "ipv6-icmp", "sctp", "udplite")
        known = tuple(ActiveRule("deny", protocol=name) for name in names)
        policy = ActivePolicy("t", "all()", ingress=icmp, egress=known)
        for chain in policy_chains(rules.KEY, policy, family, RenderSettings()):
            yield Placed("filter", family, chain)


PLACED = [*_policies(), *_fixed(), *_endpoints(), *_dispatch(), *_hostile(), *_mended()]


def script(placed: list[Placed]) -> str:
    """For iptables-restore: every chain under a name of its own, its targets empty."""
    lines: list[str] = []
    for table in ("raw", "mangle", "nat", "filter"):
        chains = [one.chain for one in placed if one.table == table]
        targets = {target for chain in chains for target in chain.targets()}
        lines.append(f"*{table}")
        lines += [f":{name} - [0:0]" for name in sorted(targets)]
        lines += [f":t{number} - [0:0]" for number in range(len(chains))]
        lines += [
            f"-A t{number} {body}" for number, chain in enumerate(chains) for body in chain.rules
        ]
        lines.append("COMMIT")
    return "\n".join(lines) + "\n"


def make_ipsets(namespace: Namespace, text: str) -> None:
    sets = {
        f"create {name} hash:{'ip,port' if ',' in dimensions else 'net'}"
        f" family {'inet' if family == '4' else 'inet6'}"
        for name, family, dimensions in _SET.findall(text)
    }
    namespace.run("ipset restore", stdin="\n".join(sorted(sets)) + "\n")


@pytest.mark.parametrize("backend", ["nft", "legacy"])
@pytest.mark.parametrize(("family", "command"), [(4, "iptables"), (6, "ip6tables")])
def test_all_rules_are_taken(inside: Namespace, family: Family, command: str, backend: str) -> None:
    placed = [one for one in PLACED if one.family == family]
    text = script(placed)
    make_ipsets(inside, text)
    inside.run(f"{command}-{backend}-restore --noflush --wait 10", stdin=text)
    bodies = sum(len(one.chain.rules) for one in placed)
    saved = inside.run(f"{command}-{backend}-save")
    assert saved.count("\n-A t") == bodies > 400


_MULTIPORT = "-m multiport --destination-ports"
_REFUSED = [
    # defect   table     command       what the original writes
    ("D1", "filter", "iptables", "-p tcp ! -p udp --jump DROP"),
    ("D6", "nat", "ip6tables", "--jump SNAT --to-source 192.0.2.1"),
    ("D8", "raw", "iptables", "--jump REJECT"),
    ("D8", "mangle", "iptables", "--jump REJECT"),
    ("D21", "filter", "iptables", "-m limit --limit 10001/sec --limit-burst 5 --jump DROP"),
    ("icmp family", "filter", "ip6tables", "-p 1 -m icmp6 --icmpv6-type 8 --jump DROP"),
    ("icmp protocol", "filter", "iptables", "-m icmp --icmp-type 8 --jump DROP"),
    ("ports", "filter", "iptables", f"{_MULTIPORT} 80 --jump DROP"),
    ("ports", "filter", "iptables", f"-p icmp {_MULTIPORT} 80 --jump DROP"),
]


@pytest.mark.parametrize("backend", ["nft", "legacy"])
@pytest.mark.parametrize(("defect", "table", "command", "body"), _REFUSED)
def test_what_ours_replaces_is_refused(
    inside: Namespace, defect: str, table: str, command: str, body: str, backend: str
) -> None:
    text = f"*{table}\n:t0 - [0:0]\n-A t0 {body}\nCOMMIT\n"
    with pytest.raises(AssertionError, match="exit"):
        inside.run(f"{command}-{backend}-restore --noflush --wait 10", stdin=text)
