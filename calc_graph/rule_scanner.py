"""Replace the selectors, named ports and services of rules by the IP sets that stand for them.

    in   rules of a policy or profile that matters on this node
    out  ActiveRules, and an IpsetSpec for every set they refer to

    one side of a rule asks for          IP sets
    selector S                           S
    S and not selector N                 (S) && (!(N)), as one
    not selector N                       N, negated
    named ports, with or without S       one of (S or all(), protocol, port name) each; S itself
                                         only if there are numbers among the ports too
    not named ports                      the same sets, negated; S itself as ever
    a service                            its addresses and ports as destination, addresses as source

Source: section 4.3 of the reference; projectcalico/calico felix/calc/rule_scanner.go.
"""

from __future__ import annotations

from msgspec import Struct

from calc_graph.model import Peer, Policy, Profile, Protocol, Rule
from calc_graph.selector import Selector, hashed_id, parse
from calc_graph.updates import (
    ANY,
    ActivePolicy,
    ActiveProfile,
    ActiveRule,
    IpsetType,
    PeerMatch,
)

ANY_PROTOCOL = "any"
_PROTOCOL_NAMES = {6: "tcp", 17: "udp", 132: "sctp"}


class IpsetSpec(Struct, frozen=True):
    """What is in a set: the addresses of all that `selector` matches, None for services.

    With a `port`, only those with a port of that name and `protocol` ("any" for every one).
    """

    id: str
    type: IpsetType
    selector: Selector | None = None
    port: str = ""
    protocol: str = ""


class Scanned(Struct, frozen=True):
    """A policy or profile as the dataplane wants it, and the sets it needs, by id."""

    rules: ActivePolicy | ActiveProfile
    ipsets: dict[str, IpsetSpec]


def protocol_name(protocol: Protocol) -> str:
    """One spelling for names and numbers of the protocols that have ports."""
    return protocol if isinstance(protocol, str) else _PROTOCOL_NAMES.get(protocol, str(protocol))


def check_selectors(policy: Policy | Profile) -> None:
    """Raises SelectorError for the first selector that is none."""
    if isinstance(policy, Policy):
        parse(policy.selector)
    for rule in (*policy.ingress, *policy.egress):
        for peer in (rule.source, rule.destination):
            _positive(peer)
            parse(peer.not_selector)


def scan(policy: Policy | Profile) -> Scanned:
    """Raises SelectorError if a selector in it is none."""
    ipsets: dict[str, IpsetSpec] = {}
    ingress = tuple(_scan_rule(rule, ipsets) for rule in policy.ingress)
    egress = tuple(_scan_rule(rule, ipsets) for rule in policy.egress)
    if isinstance(policy, Profile):
        return Scanned(ActiveProfile(ingress, egress), ipsets)
    rules = ActivePolicy(
        tier=policy.tier,
        selector=parse(policy.selector).canonical,
        ingress=ingress,
        egress=egress,
        untracked=policy.do_not_track,
        pre_dnat=policy.pre_dnat,
        needed_everywhere=policy.needed_everywhere,
        encrypted=policy.encrypted,
    )
    return Scanned(rules, ipsets)


def _scan_rule(rule: Rule, ipsets: dict[str, IpsetSpec]) -> ActiveRule:
    protocol = ANY_PROTOCOL if rule.protocol is None else protocol_name(rule.protocol)
    version = rule.ip_version
    if version is None and rule.protocol in ("icmp", "icmpv6"):
        version = 4 if rule.protocol == "icmp" else 6
    return ActiveRule(
        action=rule.action,
        ip_version=version,
        protocol=rule.protocol,
        not_protocol=rule.not_protocol,
        icmp=rule.icmp,
        not_icmp=rule.not_icmp,
        source=_PeerScan(rule.source, protocol, ipsets).match(is_source=True),
        destination=_PeerScan(rule.destination, protocol, ipsets).match(is_source=False),
        annotations=rule.annotations,
    )


class _PeerScan:
    """One side of one rule; notes the sets it uses in `ipsets`."""

    def __init__(self, peer: Peer, protocol: str, ipsets: dict[str, IpsetSpec]) -> None:
        self._peer = peer
        self._protocol = protocol
        self._ipsets = ipsets

    def match(self, *, is_source: bool) -> PeerMatch:
        peer = self._peer
        positive = _positive(peer)
        ipsets: list[str] = []
        if positive is not None and not (peer.named_ports and not peer.ports):
            ipsets.append(self._use_selector(positive))
        not_ipsets: list[str] = []
        if positive is None and peer.not_selector:
            not_ipsets.append(self._use_selector(parse(peer.not_selector)))
        ip_port_ipsets: list[str] = []
        if peer.service and is_source:
            ipsets.append(self._use_service("svcnoport", IpsetType.NET))
        elif peer.service:
            ip_port_ipsets.append(self._use_service("svc", IpsetType.IP_PORT))
        found = PeerMatch(
            nets=peer.nets,
            ipsets=tuple(ipsets),
            ports=peer.ports,
            named_port_ipsets=self._use_ports(positive, peer.named_ports),
            ip_port_ipsets=tuple(ip_port_ipsets),
            not_nets=peer.not_nets,
            not_ipsets=tuple(not_ipsets),
            not_ports=peer.not_ports,
            not_named_port_ipsets=self._use_ports(positive, peer.not_named_ports),
        )
        return ANY if found == ANY else found

    def _use(self, spec: IpsetSpec) -> str:
        self._ipsets[spec.id] = spec
        return spec.id

    def _use_selector(self, selector: Selector) -> str:
        return self._use(IpsetSpec(selector.id, IpsetType.NET, selector))

    def _use_service(self, prefix: str, kind: IpsetType) -> str:
        # The sets stay empty: the endpoints of services are known only to a Kubernetes datastore.
        return self._use(IpsetSpec(hashed_id(prefix, self._peer.service), kind))

    def _use_ports(self, selector: Selector | None, names: tuple[str, ...]) -> tuple[str, ...]:
        filtered = selector or parse("")
        return tuple(
            self._use(
                IpsetSpec(
                    id=hashed_id("n", f"{filtered.id},{self._protocol},{name}"),
                    type=IpsetType.IP_PORT,
                    selector=filtered,
                    port=name,
                    protocol=self._protocol,
                )
            )
            for name in names
        )


def _positive(peer: Peer) -> Selector | None:
    """What the peer must match; a negated selector beside a positive one is folded into it."""
    if not peer.selector:
        return None
    selector = parse(peer.selector)
    if not peer.not_selector:
        return selector
    # The canonical texts: the folded one cannot be closed early by a stray parenthesis.
    return parse(f"({selector.canonical}) && (!({parse(peer.not_selector).canonical}))")
