"""What a parsed text makes of a router."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import ip_network

WIDTH = {4: 32, 6: 128}


class RefusedError(Exception):
    """The router would not take this text, or would not do what it seems to say."""


@dataclass(frozen=True)
class Entry:
    permit: bool
    net: str
    low: int
    high: int

    def matches(self, net) -> bool:
        own = ip_network(self.net)
        return (
            own.version == net.version
            and net.subnet_of(own)
            and self.low <= net.prefixlen <= self.high
        )


@dataclass(frozen=True)
class Condition:
    """What a term asks: each part None where it asks nothing."""

    prefixes: str | None = None
    inside: bool = True
    path: str | None = None
    protocol_bgp: bool = False


@dataclass
class Router:
    """`lists` by (name, family): entries, or terms of entries where a vendor has those;
    `paths` are regular expressions over "64512 65001"."""

    lists: dict[tuple[str, int], list] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    policies: dict[str, list[tuple[bool, Condition]]] = field(default_factory=dict)
    # neighbour or group -> family -> direction -> policy
    attached: dict[str, dict[int, dict[str, str]]] = field(default_factory=dict)

    def define(self, kind: dict, name, value):
        if name in kind:
            raise RefusedError(f"{name} is there twice")
        kind[name] = value
        return value

    def attach(self, whom: str, family: int, direction: str, policy: str) -> None:
        self.define(self.attached.setdefault(whom, {}).setdefault(family, {}), direction, policy)

    def permits(self, policy: str, net: str, path: tuple[int, ...]) -> bool:
        family = ip_network(net).version
        for permit, condition in self.policies[policy]:
            if self._holds(condition, net, family, path):
                return permit
        raise RefusedError(f"{policy} leaves {net} to the vendor's default")

    def _holds(self, condition: Condition, net: str, family: int, path: tuple[int, ...]) -> bool:
        if condition.path is not None:
            words = " ".join(map(str, path))
            if not re.search(self.paths[condition.path], words):
                return False
        if condition.prefixes is None:
            return True
        return self.in_list(condition.prefixes, net, family) == condition.inside

    def in_list(self, name: str, net: str, family: int) -> bool:
        """The first entry that matches decides; none: no."""
        parsed = ip_network(net)
        entries = self.lists[name, family]
        return next((entry.permit for entry in entries if entry.matches(parsed)), False)

    def check(self) -> None:
        """Every name leads somewhere, every session has a policy both ways, nothing is for show."""
        for name, terms in self.policies.items():
            for _, condition in terms:
                if condition.prefixes is not None:
                    families = [f for f in WIDTH if (condition.prefixes, f) in self.lists]
                    if not families:
                        raise RefusedError(f"{name} asks {condition.prefixes}, which is not there")
                if condition.path is not None and condition.path not in self.paths:
                    raise RefusedError(f"{name} asks {condition.path}, which is not there")
            if terms[-1] != (False, Condition()):
                raise RefusedError(f"{name} does not end by refusing the rest")
        for name, family in self.lists:
            if not self.lists[name, family]:
                raise RefusedError(f"{name} is empty: what it matches then is the vendor's choice")
        for whom, by_family in self.attached.items():
            for directions in by_family.values():
                if set(directions) != {"in", "out"}:
                    raise RefusedError(f"{whom} has no policy both ways")
                for policy in directions.values():
                    if policy not in self.policies:
                        raise RefusedError(f"{whom} has {policy}, which is not there")


def entry(permit: bool, net: str, low: str | None, high: str | None) -> Entry:
    """As prefix lists have it: without bounds the net itself; a lower one alone goes to the end."""
    parsed = ip_network(net)  # with host bits it is refused
    length, width = parsed.prefixlen, WIDTH[parsed.version]
    least = int(low) if low else length
    most = int(high) if high else (width if low else length)
    if not length <= least <= most <= width:
        raise RefusedError(f"{net} ge {low} le {high}")
    return Entry(permit, net, least, most)


def path_pattern(expression: str) -> str:
    """Cisco's "_" is any gap between numbers."""
    return expression.replace("_", r"(?:^|$|[ ,{}()])")
