"""Random rules and selectors: every field, valid together."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

Rule = dict[str, Any]

RULE_NETS = {
    4: (
        "192.0.2.0/24",
        "192.0.2.128/25",
        "198.51.100.0/24",
        "203.0.113.4/30",
        "10.0.0.0/8",
        "10.66.0.0/16",
        "10.65.0.8/30",
        "10.65.0.12/30",
        "10.65.0.14/32",
    ),
    6: (
        "fd99::/32",
        "fd99:0:0:1::/64",
        "fd98::/16",
        "fd66::/64",
        "fd65::10/126",
        "fd65::14/127",
        "fd65::/64",
    ),
}
EVERYTHING = {4: "0.0.0.0/0", 6: "::/0"}
SELECTORS = (
    "role == 'client'",
    'role == "server"',
    "role != 'db'",
    "has(env)",
    "! has(app)",
    "app in {'a', 'b',}",
    "app not in {'ab'}",
    "app contains 'b'",
    "app starts with 'a'",
    "app ends with 'b'",
    "env == ''",
    "env in {}",
    "all()",
    "projectcalico.org/namespace == 'prod'",
    "has(projectcalico.org/serviceaccount)",
    "projectcalico.org/name != 'dev'",
)
PORTS = (1, 53, 80, 443, 1000, 1001, 2000, 3000, 4789, 8055, 8080, 65535)
RANGES = ("1:79", "80:81", "81:443", "1000:1999", "2000:8054", "8055:8080", "9000:65535")
ASKED_PORTS = (*PORTS, 79, 81, 444, 999, 1999, 8054, 8081)  # and those beside the ranges' ends
PORT_NAMES = ("http", "dns", "alt", "nobody")
PORT_PROTOCOLS = ("TCP", "UDP", "SCTP", 6, 17, 132)
OTHER_PROTOCOLS = (253, 254, 89, 103, "UDPLite", 4)
ICMP = {4: ("ICMP", 1), 6: ("ICMPv6", 58)}
ICMP_TYPES = {4: (8, 13), 6: (128, 139)}


def random_selector(rng: random.Random, depth: int = 2) -> str:
    if depth == 0 or rng.random() < 0.55:
        return rng.choice(SELECTORS)
    left, right = (random_selector(rng, depth - 1) for _ in range(2))
    return rng.choice(
        (f"{left} && {right}", f"{left} || {right}", f"({left} || {right})", f"!({left})", left)
    )


def random_rules(rng: random.Random, direction: str, *, actions: Mapping[str, int]) -> list[Rule]:
    """`direction` is "ingress" or "egress"; `actions` are those that are wanted, with weights.

    What follows the last rule is mostly the opposite of it, so that it shows whether it matches.
    """
    rules = [
        _rule(rng, direction, rng.choices(list(actions), list(actions.values()))[0])
        for _ in range(rng.randint(0, 5))
    ]
    closed = bool(rules) and rules[-1]["action"] != "Allow"
    if rng.random() < (0.8 if closed else 0.2):
        rules.append({"action": "Allow"})
    return rules


def _rule(rng: random.Random, direction: str, action: str) -> Rule:
    """Few conditions mostly: what has many of them hardly ever matches."""
    rule: Rule = {"action": action}
    family = rng.choice((4, 4, 6))
    source: Rule = {}
    destination: Rule = {}
    for _ in range(rng.choice((0, 0, 1, 1, 2, 4))):
        _narrow(rng, rng.choice((source, destination)), family)
    make = rng.choices((_any, _with_ports, _icmp, _other, _with_names), (7, 7, 4, 2, 4))[0]
    make(rng, rule, source, destination, family)
    if "icmp" not in str(rule.get("protocol")).lower() and rng.random() < 0.1:
        rule["ipVersion"] = family
    if direction == "ingress" and rng.random() < 0.04:
        source = {"services": {"name": "svc", "namespace": "prod"}}
    rule |= {
        name: side for name, side in (("source", source), ("destination", destination)) if side
    }
    if action == "Allow" and direction == "ingress" and rule.get("protocol") == "TCP":
        rule |= rng.choice(({}, {}, {}, {"http": {"methods": ["GET"]}}))
    if rng.random() < 0.05:
        rule["metadata"] = {"annotations": {"why": "because", "by": "whom"}}
    return rule


def _narrow(rng: random.Random, entity: Rule, family: int) -> None:
    """One more condition on a source or destination."""
    accounts = ({"names": ["web"]}, {"selector": random_selector(rng)}, {"names": ["web", "batch"]})
    everywhere = [*RULE_NETS[family], EVERYTHING[family]]
    field, value = rng.choice(
        (
            ("nets", rng.sample(everywhere, rng.randint(1, 4))),
            ("notNets", rng.sample(RULE_NETS[family], rng.randint(1, 3))),
            ("selector", random_selector(rng)),
            ("selector", random_selector(rng)),
            ("notSelector", random_selector(rng)),
            ("namespaceSelector", rng.choice(("global()", "all()", random_selector(rng)))),
            ("serviceAccounts", rng.choice(accounts)),
        )
    )
    entity[field] = value


def _any(rng: random.Random, rule: Rule, source: Rule, destination: Rule, family: int) -> None:
    if rng.random() < 0.3:
        rule["notProtocol"] = rng.choice(("TCP", "UDP", "UDPLite", 17, 253, 132))


def _with_ports(
    rng: random.Random, rule: Rule, source: Rule, destination: Rule, family: int
) -> None:
    rule["protocol"] = rng.choice(PORT_PROTOCOLS)
    for entity, field, chance in (
        (source, "ports", 0.25),
        (destination, "ports", 0.6),
        (source, "notPorts", 0.1),
        (destination, "notPorts", 0.2),
    ):
        if rng.random() < chance:
            entity[field] = _ports(rng)
    if rng.random() < 0.1:
        rule["notProtocol"] = rng.choice((1, "TCP", "UDP", 6, "UDPLite"))


def _with_names(
    rng: random.Random, rule: Rule, source: Rule, destination: Rule, family: int
) -> None:
    """Names of ports need no protocol."""
    entity = rng.choice((source, destination, destination))
    rule["protocol"] = rng.choice(("TCP", "UDP", "SCTP"))
    if rng.random() < 0.5:
        del rule["protocol"]
    entity["ports" if rng.random() < 0.7 else "notPorts"] = rng.sample(
        PORT_NAMES, rng.randint(1, 3)
    )


def _other(rng: random.Random, rule: Rule, source: Rule, destination: Rule, family: int) -> None:
    rule["protocol"] = rng.choice(OTHER_PROTOCOLS)


def _icmp(rng: random.Random, rule: Rule, source: Rule, destination: Rule, family: int) -> None:
    """Its name implies the family, its number does not."""
    rule["protocol"] = rng.choice(ICMP[family])
    if rng.random() < 0.4:
        rule["ipVersion"] = family
    for field, chance in (("icmp", 0.6), ("notICMP", 0.3)):
        if rng.random() < chance:
            rule[field] = {"type": rng.choice(ICMP_TYPES[family])}
            if rng.random() < 0.5:
                rule[field]["code"] = rng.randint(0, 1)


def _ports(rng: random.Random) -> list[int | str]:
    pool: list[int | str] = [*PORTS, *RANGES, *PORT_NAMES]
    few = rng.sample(pool, rng.randint(1, 5))
    if rng.random() < 0.8:
        return few
    # more than one match of the kernel's can hold, most of it never asked for
    many = [*few, *range(20001, 20001 + rng.randint(12, 30)), "30000:30001"]
    rng.shuffle(many)
    return many
