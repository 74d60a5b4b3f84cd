"""The rules of one policy or profile, made ready to be asked.

    in   ActiveRules, in order
    out  those that can match a protocol, and the tests that tell whether they do

Rules are made ready when a protocol is first asked about, and only those that can match it: what
remains to be tested is addresses, ports and sets.  A log rule decides nothing and is left out.

What cannot be rendered is no rule of the kernel's, and its whole policy drops everything instead:
dataplane/desired/policies.py; so a rule that cannot be rendered has to be known here too.
Source: projectcalico/calico felix/rules/policy.go; sections 3.1 and 3.2 of the rules reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, TypeAlias, get_args

from calc_graph.judge.flow import Family
from calc_graph.judge.members import Members, family_of, number_of
from calc_graph.judge.verdict import Direction
from calc_graph.model import Action, Icmp, PortRange
from calc_graph.protocols import ICMP_OF, WITH_PORTS, protocol_number
from calc_graph.updates import ActivePolicy, ActiveProfile, ActiveRule, PeerMatch

_BITS = {4: 32, 6: 128}
_EVERYTHING = {4: "0.0.0.0/0", 6: "::/0"}
_MAX_PORT = 65535
_ACTIONS = frozenset(get_args(Action))


class Facts(NamedTuple):
    """A packet in numbers; -1 for a port, type or code that it has not.

    The order counts: tests know a side by the places of its address and port.
    """

    source: int
    destination: int
    source_port: int
    destination_port: int
    family: Family
    protocol: int
    icmp_type: int
    icmp_code: int
    sets: Mapping[str, Members]  # of this family


Test: TypeAlias = Callable[[Facts], bool]


class Ready(NamedTuple):
    """`number` is -1 and `rule` None for what stands for a whole policy.

    One of `ports`, if there are any, must be the destination's; `test` is what remains.
    """

    number: int
    rule: ActiveRule | None
    action: Action
    ports: tuple[PortRange, ...]
    test: Test

    def at(self, port: int) -> bool:
        """Whether it can match a packet with this destination port."""
        return not self.ports or any(each.first <= port <= each.last for each in self.ports)


class _Side(NamedTuple):
    """Places in Facts."""

    address: int
    port: int


_SOURCE, _DESTINATION = _Side(0, 2), _Side(1, 3)


def _always(_: Facts) -> bool:
    return True


_CLOSED = (Ready(-1, None, "deny", (), _always),)


class RuleBook:
    """Never changes, and may be shared."""

    __slots__ = ("_of", "_ready")

    def __init__(self, of: ActivePolicy | ActiveProfile) -> None:
        self._of = of
        self._ready: dict[tuple[Direction, Family, int], tuple[Ready, ...]] = {}

    def rules(self, direction: Direction, family: Family, protocol: int) -> tuple[Ready, ...]:
        """Those that can match, in order."""
        key = (direction, family, protocol)
        ready = self._ready.get(key)
        if ready is None:
            ready = self._ready[key] = self._prepare(*key)
        return ready

    def _prepare(self, direction: Direction, family: Family, protocol: int) -> tuple[Ready, ...]:
        both = (*self._of.ingress, *self._of.egress)
        if not all(_renderable(rule, family) for rule in both):
            return _CLOSED
        rules = self._of.ingress if direction == "ingress" else self._of.egress
        try:
            return tuple(
                Ready(
                    number, rule, rule.action, _sole_ports(rule), _all(list(_tests(rule, family)))
                )
                for number, rule in enumerate(rules)
                if rule.action != "log" and _possible(rule, family, protocol)
            )
        except ValueError:  # a net that is none
            return _CLOSED


# ---------------------------------------------------------------- what can be said beforehand


def _renderable(rule: ActiveRule, family: Family) -> bool:
    """Whether the rule can stand in a table of this family: dataplane/render/matches.py.

    What no packet of the family can match is not rendered, so nothing can be wrong with it.
    """
    if rule.ip_version not in (None, family):
        return True
    protocol, excluded = protocol_number(rule.protocol), protocol_number(rule.not_protocol)
    if any(number is not None and not 1 <= number <= 255 for number in (protocol, excluded)):
        return False
    if protocol is not None and protocol == excluded:
        return True
    if rule.icmp or rule.not_icmp:
        if protocol not in ICMP_OF.values():
            return False
        if protocol != ICMP_OF[family]:
            return True
    source, destination = rule.source, rule.destination
    if source.ip_port_ipsets:
        return False
    if not (_of_family(source, family) and _of_family(destination, family)):
        return True
    ports = (*source.ports, *source.not_ports, *destination.ports, *destination.not_ports)
    if any(not 0 <= port.first <= port.last <= _MAX_PORT for port in ports):
        return False
    return rule.action in _ACTIONS and (not ports or protocol in WITH_PORTS)


def _possible(rule: ActiveRule, family: Family, protocol: int) -> bool:
    """Whether any packet of this family and protocol can match."""
    if rule.ip_version not in (None, family):
        return False
    if rule.protocol is not None and protocol_number(rule.protocol) != protocol:
        return False
    if rule.not_protocol is not None and protocol_number(rule.not_protocol) == protocol:
        return False
    if (rule.icmp or rule.not_icmp) and protocol != ICMP_OF[family]:
        return False
    return _of_family(rule.source, family) and _of_family(rule.destination, family)


def _of_family(peer: PeerMatch, family: Family) -> bool:
    """A side that speaks of nets of the other family only is about that family."""
    return _EVERYTHING[family] not in peer.not_nets and all(
        not nets or any(family_of(net) == family for net in nets)
        for nets in (peer.nets, peer.not_nets)
    )


# ---------------------------------------------------------------- what is left to be tested


def _sole_ports(rule: ActiveRule) -> tuple[PortRange, ...]:
    """The destination's, unless a set of named ports is an alternative."""
    return () if rule.destination.named_port_ipsets else rule.destination.ports


def _tests(rule: ActiveRule, family: Family) -> Iterator[Test]:
    """The cheap ones first."""
    sides = ((_DESTINATION, rule.destination), (_SOURCE, rule.source))
    if rule.icmp is not None:
        yield _is_icmp(rule.icmp)
    if rule.not_icmp is not None:
        yield _not(_is_icmp(rule.not_icmp))
    for side, peer in sides:
        if peer.named_port_ipsets or (peer.ports and side is _SOURCE):
            alternatives = [_in_ports(side, peer.ports)] if peer.ports else []
            alternatives += [_with_port_in(side, name) for name in peer.named_port_ipsets]
            yield _either(alternatives)
        if peer.not_ports:
            yield _not(_in_ports(side, peer.not_ports))
    for side, peer in sides:
        if peer.nets:
            yield _in_nets(side, peer.nets, family)
        if peer.not_nets:
            yield _not(_in_nets(side, peer.not_nets, family))
    for side, peer in sides:
        yield from (_in_set(side, name) for name in peer.ipsets)
        yield from (_not(_in_set(side, name)) for name in peer.not_ipsets)
        yield from (_with_port_in(side, name) for name in peer.ip_port_ipsets)
        yield from (_not(_with_port_in(side, name)) for name in peer.not_named_port_ipsets)


def _all(tests: list[Test]) -> Test:
    """One call is cheaper than a loop, and most rules have one or two tests."""
    match tests:
        case []:
            return _always
        case [only]:
            return only
        case [first, second]:
            return lambda facts: first(facts) and second(facts)
        case _:
            return lambda facts: all(test(facts) for test in tests)


def _not(test: Test) -> Test:
    return lambda facts: not test(facts)


def _either(tests: list[Test]) -> Test:
    return tests[0] if len(tests) == 1 else lambda facts: any(test(facts) for test in tests)


def _is_icmp(icmp: Icmp) -> Test:
    kind, code = icmp.type, icmp.code
    if code is None:
        return lambda facts: facts.icmp_type == kind
    return lambda facts: facts.icmp_type == kind and facts.icmp_code == code


def _in_ports(side: _Side, ports: tuple[PortRange, ...]) -> Test:
    at = side.port
    if len(ports) == 1:
        first, last = ports[0].first, ports[0].last
        return lambda facts: first <= facts[at] <= last  # type: ignore[operator]
    ranges = [(port.first, port.last) for port in ports]

    def test(facts: Facts) -> bool:
        number: int = facts[at]  # type: ignore[assignment]
        return any(first <= number <= last for first, last in ranges)

    return test


def _in_nets(side: _Side, nets: tuple[str, ...], family: Family) -> Test:
    at = side.address
    masked = [mask_and_value(net) for net in nets if family_of(net) == family]
    if len(masked) == 1:
        mask, value = masked[0]
        return lambda facts: facts[at] & mask == value  # type: ignore[operator]

    def test(facts: Facts) -> bool:
        address: int = facts[at]  # type: ignore[assignment]
        return any(address & mask == value for mask, value in masked)

    return test


def _in_set(side: _Side, name: str) -> Test:
    at = side.address
    return lambda facts: facts[at] in facts.sets[name]  # type: ignore[operator]


def _with_port_in(side: _Side, name: str) -> Test:
    address, port = side
    return lambda facts: (facts[address], facts.protocol, facts[port]) in facts.sets[name]  # type: ignore[operator]


def mask_and_value(net: str) -> tuple[int, int]:
    """Of a canonical CIDR: what an address in it has left under the mask."""
    address, _, length = net.partition("/")
    bits = _BITS[family_of(net)]
    mask = (1 << bits) - (1 << bits - int(length))
    return mask, number_of(address) & mask
