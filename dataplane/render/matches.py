"""What one rule matches, in one address family: an ActiveRule in, rules of blocks and the match
of the rule proper out.

The order of everything is Felix's, because it enters the ids: section 3.2 of the rules reference.
Three differences are deliberate:
  - `protocol` with `not_protocol` becomes one protocol match, or nothing if they contradict
    (defect D1: two "-p" in one rule make iptables-restore refuse the whole table);
  - an ICMP type exists only in the family of its protocol; elsewhere the rule matches nothing
    and is left out (the tools refuse it);
  - what has no text raises UnrenderableError: a part left out would widen the rule.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from calc_graph.model import Icmp, PortRange, Protocol
from calc_graph.protocols import ICMP_OF, WITH_PORTS, protocol_number
from calc_graph.updates import ActiveRule, PeerMatch
from dataplane.families import Family
from dataplane.render import text
from dataplane.render.blocks import MatchBlocks
from dataplane.render.errors import UnrenderableError
from dataplane.render.names import ipset_name
from dataplane.settings import MarkBits

_PORT_SLOTS = 15  # of one multiport match: a port takes one, a range two
_MAX_PORT = 65535
_EVERYTHING = {4: "0.0.0.0/0", 6: "::/0"}
_NET = {
    4: re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}/[0-9]{1,2}"),
    6: re.compile(r"[0-9a-f:.]+/[0-9]{1,3}"),
}
_SET_ID = re.compile(r"[A-Za-z0-9:._-]+")
_ICMP_OPTION = {4: ("-m icmp", "--icmp-type"), 6: ("-m icmp6", "--icmpv6-type")}


class RuleMatch(NamedTuple):
    """`before` are whole rules that must come first, `match` the text of the rule proper."""

    before: tuple[str, ...]
    match: str


def match_rule(rule: ActiveRule, family: Family, marks: MarkBits) -> RuleMatch | None:
    """None: no packet of this family can match.

    Raises UnrenderableError for a value that validation should have refused.
    """
    if rule.ip_version not in (None, family):
        return None
    protocol = _number(rule.protocol)
    excluded = _number(rule.not_protocol)
    if protocol is not None and protocol == excluded:
        return None
    if not _icmp_possible(rule, protocol, family):
        return None
    if rule.source.ip_port_ipsets:
        raise UnrenderableError("a service can only be a destination")
    source = _Side.of(rule.source, _SOURCE, family)
    destination = _Side.of(rule.destination, _DESTINATION, family)
    if source is None or destination is None:
        return None
    if protocol not in WITH_PORTS and (source.needs_protocol or destination.needs_protocol):
        raise UnrenderableError(f"ports need tcp, udp or sctp, not {rule.protocol!r}")

    said_protocol = "" if rule.protocol is None else text.protocol(rule.protocol)
    blocks = _blocks(source, destination, said_protocol, marks)
    parts = [said_protocol, *source.positive(), *destination.positive()]
    if rule.icmp is not None:
        parts.append(_icmp(rule.icmp, family, ""))
    if excluded is not None and protocol is None:
        parts.append(f"! -p {rule.not_protocol}")
    parts += source.negative()
    parts += destination.negative()
    if rule.not_icmp is not None:
        parts.append(_icmp(rule.not_icmp, family, "! "))
    return RuleMatch(tuple(blocks.bodies), text.body(*parts, blocks.result))


class _Words(NamedTuple):
    """How rules speak of one side."""

    net: str
    ports: str
    address: str
    address_and_port: str


_SOURCE = _Words("--source", "--source-ports", "src", "src,src")
_DESTINATION = _Words("--destination", "--destination-ports", "dst", "dst,dst")


class _Side:
    """One side of a rule in one family: what the rule proper still has to say about it."""

    def __init__(self, peer: PeerMatch, words: _Words, family: Family) -> None:
        self._words = words
        self._family = family
        self._peer = peer
        self.nets = _nets(peer.nets, family)
        self.not_nets = _nets(peer.not_nets, family)
        self.port_groups = _port_groups(peer.ports)
        self.named = self._sets("", peer.named_port_ipsets, words.address_and_port)
        self._not_port_groups = _port_groups(peer.not_ports)

    @classmethod
    def of(cls, peer: PeerMatch, words: _Words, family: Family) -> _Side | None:
        """None: no packet of this family can match."""
        this = cls(peer, words, family)
        lost = (peer.nets and not this.nets) or (peer.not_nets and not this.not_nets)
        return None if lost or _EVERYTHING[family] in this.not_nets else this

    @property
    def needs_protocol(self) -> bool:
        return bool(self.port_groups or self._not_port_groups)

    def port_matches(self, protocol: str) -> list[str]:
        """Alternatives of a block; a set of named ports holds the protocol itself."""
        ports = self._words.ports
        numeric = [f"{protocol} -m multiport {ports} {group}" for group in self.port_groups]
        return [*numeric, *self.named]

    def net_matches(self, nets: tuple[str, ...]) -> list[str]:
        return [f"{self._words.net} {net}" for net in nets]

    def positive(self) -> tuple[str, ...]:
        peer, words = self._peer, self._words
        return (
            *self.net_matches(self.nets),
            *self._sets("", peer.ipsets, words.address),
            *self._sets("", peer.ip_port_ipsets, words.address_and_port),
            *[f"-m multiport {words.ports} {group}" for group in self.port_groups],
            *self.named,
        )

    def negative(self) -> tuple[str, ...]:
        peer, words = self._peer, self._words
        return (
            *[f"! {match}" for match in self.net_matches(self.not_nets)],
            *self._sets("! ", peer.not_ipsets, words.address),
            *[f"-m multiport ! {words.ports} {group}" for group in self._not_port_groups],
            *self._sets("! ", peer.not_named_port_ipsets, words.address_and_port),
        )

    def _sets(self, negation: str, set_ids: tuple[str, ...], dimensions: str) -> tuple[str, ...]:
        if not set_ids:
            return ()
        for set_id in set_ids:
            if not _SET_ID.fullmatch(set_id):
                raise UnrenderableError(f"bad IP set id {set_id!r}")
        return tuple(
            f"-m set {negation}--match-set {ipset_name(set_id, self._family)} {dimensions}"
            for set_id in set_ids
        )


def _blocks(source: _Side, destination: _Side, protocol: str, marks: MarkBits) -> MatchBlocks:
    """Moves what does not fit into one rule from the sides into blocks."""
    blocks = MatchBlocks(marks)
    sides = (source, destination)
    for side in sides:
        if len(side.port_groups) + len(side.named) > 1:
            blocks.any_of(side.port_matches(protocol))
            side.port_groups = side.named = ()
    for side in sides:
        if len(side.nets) > 1:
            blocks.any_of(side.net_matches(side.nets))
            side.nets = ()
    for side in sides:
        if side.not_nets and len(side.nets) + len(side.not_nets) > 1:
            blocks.none_of(side.net_matches(side.not_nets))
            side.not_nets = ()
    return blocks


def _number(protocol: Protocol | None) -> int | None:
    number = protocol_number(protocol)
    if number is not None and not 1 <= number <= 255:
        raise UnrenderableError(f"bad protocol {protocol!r}")
    return number


def _icmp_possible(rule: ActiveRule, protocol: int | None, family: Family) -> bool:
    if rule.icmp is None and rule.not_icmp is None:
        return True
    if protocol not in ICMP_OF.values():
        raise UnrenderableError(f"an ICMP type needs an ICMP protocol, not {rule.protocol!r}")
    return protocol == ICMP_OF[family]


def _icmp(icmp: Icmp, family: Family, negation: str) -> str:
    if not 0 <= icmp.type <= 255 or not 0 <= (icmp.code or 0) <= 255:
        raise UnrenderableError(f"bad ICMP type or code {icmp}")
    module, option = _ICMP_OPTION[family]
    kind = f"{icmp.type}" if icmp.code is None else f"{icmp.type}/{icmp.code}"
    return f"{module} {negation}{option} {kind}"


def _nets(nets: tuple[str, ...], family: Family) -> tuple[str, ...]:
    """Those of this family."""
    if not nets:
        return nets
    mine = tuple(net for net in nets if (":" in net) == (family == 6))
    for net in mine:
        if not _NET[family].fullmatch(net):
            raise UnrenderableError(f"bad net {net!r}")
    return mine


def _port_groups(ports: tuple[PortRange, ...]) -> tuple[str, ...]:
    """Comma lists, each of at most 15 slots."""
    if not ports:
        return ()
    groups: list[list[str]] = [[]]
    free = _PORT_SLOTS
    for port in ports:
        if not 0 <= port.first <= port.last <= _MAX_PORT:
            raise UnrenderableError(f"bad ports {port.first}:{port.last}")
        slots = 1 if port.first == port.last else 2
        if slots > free:
            groups.append([])
            free = _PORT_SLOTS
        groups[-1].append(f"{port.first}" if slots == 1 else f"{port.first}:{port.last}")
        free -= slots
    return tuple(",".join(group) for group in groups)
