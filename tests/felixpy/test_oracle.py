"""The interpreter that the kernel is compared with, held to cases worked out by hand.

Selectors are held to what the original's own code answered.
"""

from __future__ import annotations

import functools
import ipaddress
import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kernel.packets_clusters import random_cluster
from tests.kernel.packets_lab import HOST_ADDRESSES, NODE
from tests.kernel.packets_questions import random_packets
from tests.oracle import HOST, OUTSIDE, Packet, Settings, Verdict, judge, read_cluster
from tests.oracle.selectors import SelectorError, selector

VECTORS = Path(__file__).parent.parent / "vectors"
SETTINGS = Settings(
    host_addresses=frozenset(map(ipaddress.ip_address, ("172.30.0.10", "fd30::10")))
)


def load(name: str) -> list[dict[str, Any]]:
    return json.loads((VECTORS / name).read_text())["cases"]


@pytest.mark.parametrize("case", load("selector-matching.json"), ids=lambda case: case["selector"])
def test_selectors_match_what_they_match_in_the_original(case) -> None:
    matches = selector(case["selector"])
    for answer in case["results"]:
        assert matches(answer["labels"]) == answer["match"], answer["labels"]


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "(a",
        "a == b",
        "a = 'b'",
        "a == 'b' &&",
        "a == 'b' c == 'd'",
        "()",
        "a in 'b'",
        "a in {b}",
    ],
)
def test_what_is_no_selector_is_refused(text) -> None:
    with pytest.raises(SelectorError):
        selector(text)


# ---------------------------------------------------------------- clusters, in short

OPEN = (
    "{kind: Profile, metadata: {name: open},"
    " spec: {ingress: [{action: Allow}], egress: [{action: Allow}]}}"
)
WORKLOADS = {  # name: (last part of the addresses, labels, profiles)
    "client": (2, "{app: client, env: prod}", "[open]"),
    "server": (3, "{app: server}", "[open]"),
    "closed": (4, "{app: closed}", "[]"),
    "lost": (5, "{app: lost}", "[missing, open]"),
}


def workload(name: str) -> str:
    number, labels, profiles = WORKLOADS[name]
    return f"""
kind: WorkloadEndpoint
metadata: {{name: n1-lab-{name}-eth0, namespace: default, labels: {labels}}}
spec: {{node: n1, orchestrator: lab, workload: {name}, endpoint: eth0, interfaceName: cali{name},
  ipNetworks: [10.65.0.{number}/32, "fd65::{number}/128"], profiles: {profiles},
  ports: [{{name: web, protocol: TCP, port: 8080}}]}}"""


BASE = "\n---\n".join([OPEN, *map(workload, WORKLOADS)])
WORDS = {"tcp": 6, "udp": 17, "icmp": 1, "icmpv6": 58, "sctp": 132}


def packet(text: str) -> Packet:
    """`client -> server tcp 1000 80`, `outside 192.0.2.1 -> server icmp 8 0`, … `v6`."""
    words = text.split()
    six = words[-1] == "v6"
    if six:
        words.pop()
    first, arrow = words[0], words.index("->")
    target, protocol, *numbers = words[arrow + 1 :]

    def address(name: str) -> str:
        if name in WORKLOADS:
            number = WORKLOADS[name][0]
            return f"fd65::{number}" if six else f"10.65.0.{number}"
        if name == HOST:
            return "fd30::10" if six else "172.30.0.10"
        return name

    source = words[1] if arrow == 2 else first
    enters = f"cali{first}" if first in WORKLOADS else first
    number = WORDS.get(protocol) or int(protocol)
    values = [int(value) for value in numbers] or [1000, 80]
    places = (0, 0, *values) if number in (1, 58) else tuple(values)
    return Packet(
        enters,
        ipaddress.ip_address(address(source)),
        ipaddress.ip_address(address(target)),
        number,
        *places,
    )


def ask(manifests: str, text: str) -> Verdict:
    documents = [d for d in yaml.safe_load_all(f"{BASE}\n---\n{manifests}") if d]
    return judge(read_cluster(documents, "n1"), packet(text), SETTINGS)


def gnp(spec: str, name: str = "p") -> str:
    return f"{{kind: GlobalNetworkPolicy, metadata: {{name: {name}}}, spec: {{{spec}}}}}\n---\n"


def np(spec: str, name: str = "p") -> str:
    metadata = f"{{name: {name}, namespace: default}}"
    return f"{{kind: NetworkPolicy, metadata: {metadata}, spec: {{{spec}}}}}\n---\n"


def tier(name: str, spec: str) -> str:
    return f"{{kind: Tier, metadata: {{name: {name}}}, spec: {{{spec}}}}}\n---\n"


def rule(fields: str) -> str:
    """A policy for the server with one ingress rule."""
    return gnp(f"selector: app == 'server', ingress: [{{action: Allow, {fields}}}]")


def in_namespace(fields: str) -> str:
    return np(f"selector: app == 'server', ingress: [{{action: Allow, {fields}}}]")


SERVER = "selector: app == 'server'"
ALLOW, DENY, PASS = "{action: Allow}", "{action: Deny}", "{action: Pass}"
TCP_PASS, TCP_DENY = "{action: Pass, protocol: TCP}", "{action: Deny, protocol: TCP}"
STAGED = "kind: StagedGlobalNetworkPolicy, metadata: {name: s}"
NET_SET = (
    "{kind: GlobalNetworkSet, metadata: {name: s, labels: {set: s}}, spec: {nets: [192.0.2.7/24]}}"
)
OWN_SET = (
    "{kind: NetworkSet, metadata: {name: s, namespace: default, labels: {set: own}},"
    " spec: {nets: [198.51.100.0/24, 'fd00:2::/32']}}"
)
INHERITED = (
    "{kind: Profile, metadata: {name: open}, spec: {labelsToApply: {app: server, role: x},"
    " ingress: [{action: Allow}], egress: [{action: Allow}]}}\n---\n"
)
NAMESPACES = (
    "{kind: Profile, metadata: {name: missing}, spec: {labelsToApply: {pcns.env: prod}}}\n---\n"
)

PATHS = [
    ("profiles alone let through", "", "client -> server tcp", True),
    ("and from outside", "", "outside 192.0.2.1 -> server udp 1 2", True),
    ("no profile", "", "client -> closed tcp", False),
    ("no profile, on the way out", "", "closed -> server tcp", False),
    ("a missing profile denies before the next is asked", "", "client -> lost tcp", False),
    ("the host reaches its workloads", gnp("types: [Ingress]"), "host -> closed tcp", True),
    ("a workload does not reach its host", "", "client -> host tcp", False),
    ("but solicits its neighbours", "", "closed -> fd30::10 icmpv6 135 0 v6", True),
    ("which is not said of IPv4", "", "closed -> host icmp 135 0", False),
    ("to outside", "", "client -> 192.0.2.1 tcp", True),
    ("from outside to the host", "", "outside 192.0.2.1 -> host tcp", True),
    ("a forged source", "", "client 10.65.0.3 -> server tcp", False),
    ("VXLAN", "", "client -> 192.0.2.1 udp 1 4789", False),
    ("IPIP", "", "client -> 192.0.2.1 4", False),
    (
        "VXLAN from outside is traffic like any other",
        "",
        "outside 192.0.2.1 -> server udp 1 4789",
        True,
    ),
]

ORDER = [
    (
        "a policy without rules isolates",
        gnp(f"{SERVER}, types: [Ingress]"),
        "client -> server tcp",
        False,
    ),
    ("in its direction only", gnp(f"{SERVER}, types: [Ingress]"), "server -> client tcp", True),
    (
        "no types, egress rules only",
        gnp(f"{SERVER}, egress: [{DENY}]"),
        "client -> server tcp",
        True,
    ),
    (
        "no types, both kinds of rules",
        gnp(f"{SERVER}, ingress: [{DENY}], egress: [{ALLOW}]"),
        "client -> server tcp",
        False,
    ),
    (
        "staged policies do not exist",
        f"{{{STAGED}, spec: {{{SERVER}, ingress: [{DENY}]}}}}",
        "client -> server tcp",
        True,
    ),
    (
        "the lower order first",
        gnp(f"order: 2, ingress: [{DENY}]", "a") + gnp(f"order: 1, ingress: [{ALLOW}]", "b"),
        "client -> server tcp",
        True,
    ),
    (
        "none is last",
        gnp(f"ingress: [{DENY}]", "a") + gnp(f"order: 1000000000, ingress: [{ALLOW}]", "b"),
        "client -> server tcp",
        True,
    ),
    (
        "ties go by name",
        gnp(f"order: 1, ingress: [{DENY}]", "b") + gnp(f"order: 1, ingress: [{ALLOW}]", "a"),
        "client -> server tcp",
        True,
    ),
    (
        "with what is behind it",
        gnp(f"order: 1, ingress: [{DENY}]", "b") + gnp(f"order: 1, ingress: [{ALLOW}]", "b-x"),
        "client -> server tcp",
        True,
    ),
    ("log goes on", gnp(f"ingress: [{{action: Log}}, {ALLOW}]"), "client -> server tcp", True),
    ("log decides nothing", gnp("ingress: [{action: Log}]"), "client -> server tcp", False),
    (
        "pass leaves the tier",
        gnp(f"order: 1, ingress: [{PASS}]", "a") + gnp(f"order: 2, ingress: [{DENY}]", "b"),
        "client -> server tcp",
        True,
    ),
    (
        "for the next tier",
        tier("t", "order: 5")
        + gnp(f"tier: t, ingress: [{PASS}]")
        + gnp(f"ingress: [{TCP_DENY}]", "q"),
        "client -> server tcp",
        False,
    ),
    (
        "the end of a tier drops",
        tier("t", "order: 5") + gnp(f"tier: t, ingress: [{TCP_PASS}]"),
        "client -> server udp",
        False,
    ),
    (
        "or passes",
        tier("t", "{order: 5, defaultAction: Pass}"[1:-1]) + gnp("tier: t, types: [Ingress]"),
        "client -> server udp",
        True,
    ),
    (
        "no order of a tier is filled in",
        tier("a", "")
        + tier("b", "order: 999999")
        + gnp(f"tier: a, ingress: [{DENY}]")
        + gnp(f"tier: b, ingress: [{ALLOW}]", "q"),
        "client -> server tcp",
        True,
    ),
    (
        "a missing tier is the last",
        gnp(f"tier: gone, ingress: [{DENY}]") + gnp(f"ingress: [{ALLOW}]", "q"),
        "client -> server tcp",
        True,
    ),
    ("and drops at its end", gnp("tier: gone, types: [Ingress]"), "client -> server tcp", False),
    (
        "an inherited label",
        INHERITED + gnp("selector: role == 'x', types: [Ingress]"),
        "client -> server tcp",
        False,
    ),
    (
        "an own label wins",
        INHERITED + gnp(f"{SERVER}, types: [Ingress]"),
        "server -> client tcp",
        True,
    ),
    (
        "a namespace's labels",
        NAMESPACES + gnp("namespaceSelector: env == 'prod', types: [Egress]"),
        "lost -> client tcp",
        False,
    ),
    (
        "not another's",
        NAMESPACES + gnp("namespaceSelector: env == 'prod', types: [Egress]"),
        "client -> server tcp",
        True,
    ),
    (
        "another namespace",
        "{kind: NetworkPolicy, metadata: {name: p, namespace: other}, spec: {}}",
        "client -> server tcp",
        True,
    ),
]

MATCHES = [
    ("a protocol by name", rule("protocol: TCP"), "client -> server tcp", True),
    ("another", rule("protocol: TCP"), "client -> server udp", False),
    ("by number", rule("protocol: 132"), "client -> server sctp", True),
    ("not one", rule("notProtocol: 17"), "client -> server udp", False),
    ("not that one", rule("notProtocol: 17"), "client -> server 253", True),
    (
        "the name implies a family",
        rule("protocol: ICMP"),
        "client -> server icmpv6 128 0 v6",
        False,
    ),
    ("the number does not", rule("protocol: 58"), "client -> server icmpv6 128 0 v6", True),
    ("ipVersion", rule("ipVersion: 6"), "client -> server tcp", False),
    ("type of ICMP", rule("protocol: ICMP, icmp: {type: 8}"), "client -> server icmp 8 3", True),
    ("another type", rule("protocol: ICMP, icmp: {type: 8}"), "client -> server icmp 13 0", False),
    (
        "another code",
        rule("protocol: ICMP, icmp: {type: 8, code: 0}"),
        "client -> server icmp 8 1",
        False,
    ),
    (
        "not type and code",
        rule("protocol: ICMP, notICMP: {type: 8, code: 0}"),
        "client -> server icmp 8 1",
        True,
    ),
    (
        "not them, but both",
        rule("protocol: ICMP, notICMP: {type: 8, code: 0}"),
        "client -> server icmp 8 0",
        False,
    ),
    ("a net", rule("source: {nets: [10.65.0.0/30]}"), "client -> server tcp", True),
    (
        "nets of the other family",
        rule("source: {notNets: [10.65.0.0/30]}"),
        "client -> server tcp v6",
        False,
    ),
    (
        "not in nets",
        rule("source: {notNets: [10.66.0.0/30, 10.65.0.0/30]}"),
        "client -> server tcp",
        False,
    ),
    (
        "a port",
        rule("protocol: TCP, destination: {ports: [80]}"),
        "client -> server tcp 1 80",
        True,
    ),
    (
        "a range",
        rule("protocol: TCP, destination: {ports: ['70:79', '81:90']}"),
        "client -> server tcp 1 80",
        False,
    ),
    (
        "the range's end",
        rule("protocol: TCP, source: {ports: ['70:79']}"),
        "client -> server tcp 79 80",
        True,
    ),
    (
        "not a port",
        rule("protocol: TCP, destination: {notPorts: [80]}"),
        "client -> server tcp 1 80",
        False,
    ),
    ("a named port", rule("destination: {ports: [web]}"), "client -> server tcp 1 8080", True),
    ("of that protocol", rule("destination: {ports: [web]}"), "client -> server udp 1 8080", False),
    (
        "of whoever is meant",
        rule("destination: {ports: [web], selector: app == 'client'}"),
        "client -> server tcp 1 8080",
        False,
    ),
    (
        "named or numeric",
        rule("protocol: TCP, destination: {ports: [web, 80], selector: app == 'server'}"),
        "client -> server tcp 1 80",
        True,
    ),
    (
        "not a named one",
        rule("protocol: TCP, destination: {notPorts: [web]}"),
        "client -> server tcp 1 8080",
        False,
    ),
    (
        "not one of somebody else's",
        rule("protocol: TCP, destination: {selector: has(app), notPorts: [other]}"),
        "client -> server tcp 1 8080",
        True,
    ),
    ("a selector", rule("source: {selector: app == 'client'}"), "client -> server tcp", True),
    (
        "not a selector",
        rule("source: {notSelector: app == 'client'}"),
        "client -> server tcp",
        False,
    ),
    (
        "nobody is not selected",
        rule("source: {notSelector: app == 'client'}"),
        "outside 192.0.2.1 -> server tcp",
        True,
    ),
    (
        "and not there with a namespace",
        in_namespace("source: {notSelector: app == 'client'}"),
        "outside 192.0.2.1 -> server tcp",
        False,
    ),
    (
        "no selector, no namespace",
        in_namespace("protocol: TCP"),
        "outside 192.0.2.1 -> server tcp",
        True,
    ),
    (
        "one but not the other",
        rule("source: {selector: has(app), notSelector: has(env)}"),
        "client -> server tcp",
        False,
    ),
    (
        "a set of networks",
        NET_SET + "\n---\n" + rule("source: {selector: set == 's'}"),
        "outside 192.0.2.1 -> server tcp",
        True,
    ),
    (
        "a global one in a namespaced policy",
        NET_SET + "\n---\n" + in_namespace("source: {selector: set == 's'}"),
        "outside 192.0.2.1 -> server tcp",
        False,
    ),
    (
        "where global() is said",
        NET_SET
        + "\n---\n"
        + in_namespace("source: {selector: set == 's', namespaceSelector: global()}"),
        "outside 192.0.2.1 -> server tcp",
        True,
    ),
    (
        "a set of the namespace",
        OWN_SET + "\n---\n" + in_namespace("source: {selector: set == 'own'}"),
        "outside fd00:2:: -> server tcp v6",
        True,
    ),
    (
        "services have no members",
        rule("source: {services: {name: s, namespace: default}}"),
        "client -> server tcp",
        False,
    ),
    ("HTTP is not looked at", rule("http: {methods: [GET]}"), "client -> server tcp", True),
]


@pytest.mark.parametrize(
    ("manifests", "question", "allowed"),
    [pytest.param(*case[1:], id=case[0]) for case in (*PATHS, *ORDER, *MATCHES)],
)
def test_verdicts(manifests, question, allowed) -> None:
    verdict = ask(manifests, question)
    assert verdict.allowed == allowed, verdict.who


def test_a_verdict_says_who_decided() -> None:
    cluster = np(f"{SERVER}, ingress: [{TCP_PASS}, {DENY}]")
    assert ask(cluster, "client -> server udp").who == (
        "egress of caliclient: profile open, rule 0: Allow; "
        "ingress of caliserver: tier default, NetworkPolicy/default/p, rule 1: Deny"
    )
    assert ask("", f"{OUTSIDE} 192.0.2.1 -> closed tcp").who == (
        "from outside; ingress of caliclosed: no profile allows it"
    )


def test_random_questions_have_both_answers_often_enough() -> None:
    settings = Settings(frozenset(HOST_ADDRESSES.values()))
    answers = []
    for seed in range(20):
        rng = random.Random(seed)
        cluster = read_cluster(random_cluster(rng).values(), NODE)
        decide = functools.partial(judge, cluster, settings=settings)
        packets = random_packets(rng, 100, lambda packet: decide(packet).who)  # noqa: B023
        answers += [decide(packet).allowed for packet in packets]
    assert 0.15 < sum(answers) / len(answers) < 0.85
