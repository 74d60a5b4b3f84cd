"""Rendered chains do what the rules say: random policies and packets, two interpreters.

One reads the rules as they are, the other the rendered text.  Scratch bits start at random: raw
leaves one set, and a rule must not depend on what the rule before it left.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from calc_graph.model import Icmp, PolicyKey, PortRange
from calc_graph.updates import ActivePolicy, ActiveRule, PeerMatch
from dataplane.render.names import ipset_name
from dataplane.render.rules import policy_chains
from dataplane.settings import MarkBits, RenderSettings
from tests.dataplane.render.interpreter import Packet, number, run

_MARKS = MarkBits()
_NETS = {
    4: ["10.0.0.0/8", "10.1.0.0/16", "10.1.1.1/32", "11.0.0.0/8", "0.0.0.0/0"],
    6: ["fd00::/8", "fd00:1::/32", "fd00:1::1/128", "2001:db8::/32", "::/0"],
}
_ADDRESSES = {
    4: ["10.0.0.1", "10.1.0.1", "10.1.1.1", "11.0.0.1", "12.0.0.1"],
    6: ["fd00::1", "fd00:1::2", "fd00:1::1", "2001:db8::1", "2001::1"],
}
_SETS = ["s:a", "s:b"]
_NAMED = ["n:a", "n:b"]
_SERVICES = ["svc:a"]
_PORT_PROTOCOLS: list[Any] = ["tcp", 6, "udp", "sctp"]
_OTHER_PROTOCOLS: list[Any] = [None, 253, "udplite"]
_MAX_PORT = 40


def some(values: list[str], most: int = 3) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(values), max_size=most, unique=True).map(tuple)


_RANGES = st.tuples(st.integers(1, _MAX_PORT), st.integers(0, 3)).map(
    lambda pair: PortRange(pair[0], pair[0] + pair[1])
)
_PORTS = st.one_of(st.just(()), st.lists(_RANGES, max_size=20).map(tuple))
_ANY_NET = some(_NETS[4] + _NETS[6][:2])


def peers(*, ports: bool, service: bool) -> st.SearchStrategy[PeerMatch]:
    numeric = _PORTS if ports else st.just(())
    return st.builds(
        PeerMatch,
        nets=_ANY_NET,
        ipsets=some(_SETS, 1),
        ports=numeric,
        named_port_ipsets=some(_NAMED),
        ip_port_ipsets=some(_SERVICES) if service else st.just(()),
        not_nets=some(_NETS[4][:4]),
        not_ipsets=some(_SETS, 1),
        not_ports=numeric,
        not_named_port_ipsets=some(_NAMED, 1),
    )


_ICMP = st.none() | st.builds(Icmp, st.integers(0, 2), st.none() | st.integers(0, 2))


def rules_of(protocols: list[Any], *, ports: bool, icmp: bool) -> st.SearchStrategy[ActiveRule]:
    peer = peers(ports=ports, service=False)
    return st.builds(
        ActiveRule,
        action=st.sampled_from(["allow", "deny", "pass", "log"]),
        ip_version=st.sampled_from([None, None, 4, 6]),
        protocol=st.sampled_from(protocols),
        not_protocol=st.sampled_from([None, None, "tcp", 17]),
        icmp=_ICMP if icmp else st.none(),
        not_icmp=_ICMP if icmp else st.none(),
        source=st.just(PeerMatch()) | peer,
        destination=st.just(PeerMatch()) | peers(ports=ports, service=True),
    )


# Peers whose every list needs a block: alternatives that one rule cannot hold.
_CROWDED = st.builds(
    PeerMatch,
    nets=st.just(()) | st.lists(st.sampled_from(_NETS[4][:4]), min_size=2, unique=True).map(tuple),
    ports=st.just(()) | st.just(tuple(PortRange(port, port) for port in range(2, 40, 2))),
    named_port_ipsets=some(_NAMED),
    not_nets=some(_NETS[4][1:3]),
)
_RULES = st.one_of(
    st.builds(
        ActiveRule,
        action=st.sampled_from(["allow", "deny", "pass"]),
        protocol=st.just("tcp"),
        source=_CROWDED,
        destination=_CROWDED,
    ),
    rules_of(_PORT_PROTOCOLS, ports=True, icmp=False),
    rules_of(_OTHER_PROTOCOLS, ports=False, icmp=False),
    rules_of(["icmp", 1, "icmpv6", 58], ports=False, icmp=True),
)


def packets(rule: ActiveRule, family: int) -> st.SearchStrategy[Packet]:
    """Packets that come near to matching a rule: most of what it asks for holds."""
    members = [(ipset_name(s, family), d) for s in _SETS for d in ("src", "dst")]
    members += [(ipset_name(s, family), f"{d},{d}") for s in _NAMED for d in ("src", "dst")]
    members += [(ipset_name(s, family), "dst,dst") for s in _SERVICES]
    asked = {(ipset_name(s, family), "src") for s in rule.source.ipsets}
    asked |= {(ipset_name(s, family), "dst") for s in rule.destination.ipsets}
    asked |= {(ipset_name(s, family), "dst,dst") for s in rule.destination.ip_port_ipsets}
    protocols = [6, 17, 132, 1 if family == 4 else 58, 253]
    if rule.protocol is not None:
        protocols = [number(rule.protocol)] * 5 + protocols
    address = st.sampled_from(_ADDRESSES[family])
    return st.builds(
        Packet,
        protocol=st.sampled_from(protocols),
        source=address,
        destination=address,
        source_port=_port_near(rule.source),
        destination_port=_port_near(rule.destination),
        icmp=st.tuples(st.integers(0, 2), st.integers(0, 2)),
        sets=st.frozensets(st.sampled_from(members), max_size=4).map(lambda some: some | asked),
    )


def _port_near(peer: PeerMatch) -> st.SearchStrategy[int]:
    anything = st.integers(1, _MAX_PORT + 4)
    if not peer.ports:
        return anything
    return st.one_of(st.sampled_from([port.last for port in peer.ports]), anything)


def plain_verdict(rules: list[ActiveRule], packet: Packet, family: int) -> str:
    for rule in rules:
        if rule.action != "log" and applies(rule, packet, family):
            return rule.action
    return ""


def applies(rule: ActiveRule, packet: Packet, family: int) -> bool:
    return (
        rule.ip_version in (None, family)
        and (rule.protocol is None or number(rule.protocol) == packet.protocol)
        and (rule.not_protocol is None or number(rule.not_protocol) != packet.protocol)
        and speaks_of(rule, family)
        and (rule.icmp is None or same_icmp(rule.icmp, packet))
        and (rule.not_icmp is None or not same_icmp(rule.not_icmp, packet))
        and side_applies(rule.source, packet.source, packet.source_port, "src", packet, family)
        and side_applies(
            rule.destination, packet.destination, packet.destination_port, "dst", packet, family
        )
    )


def speaks_of(rule: ActiveRule, family: int) -> bool:
    """A rule about ICMP types speaks of ICMP packets, which are of one family only."""
    about_types = rule.icmp is not None or rule.not_icmp is not None
    return not about_types or rule.protocol in (("icmp", 1) if family == 4 else ("icmpv6", 58))


def same_icmp(icmp: Icmp, packet: Packet) -> bool:
    return icmp.type == packet.icmp[0] and icmp.code in (None, packet.icmp[1])


def side_applies(  # the order of the arguments is that of the text above
    peer: PeerMatch, address: str, port: int, way: str, packet: Packet, family: int
) -> bool:
    def within(nets: tuple[str, ...]) -> bool:
        return any(ip_address(address) in ip_network(net) for net in nets)

    def member(set_id: str, dimensions: str) -> bool:
        return (ipset_name(set_id, family), dimensions) in packet.sets

    def one_of(ports: tuple[PortRange, ...]) -> bool:
        return any(r.first <= port <= r.last for r in ports)

    pair = f"{way},{way}"
    any_port = not peer.ports and not peer.named_port_ipsets
    of_family = all(
        not nets or any((":" in net) == (family == 6) for net in nets)
        for nets in (peer.nets, peer.not_nets)
    )
    return (
        of_family
        and (not peer.nets or within(peer.nets))
        and all(member(set_id, way) for set_id in peer.ipsets)
        and all(member(set_id, pair) for set_id in peer.ip_port_ipsets)
        and (any_port or one_of(peer.ports) or any(member(s, pair) for s in peer.named_port_ipsets))
        and not within(peer.not_nets)
        and not any(member(set_id, way) for set_id in peer.not_ipsets)
        and not one_of(peer.not_ports)
        and not any(member(set_id, pair) for set_id in peer.not_named_port_ipsets)
    )


_SCRATCH = st.sampled_from([0, _MARKS.scratch0, _MARKS.scratch1, _MARKS.scratch0 | _MARKS.scratch1])


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_rendered_chains_mean_what_the_rules_say(data: st.DataObject) -> None:
    family = data.draw(st.sampled_from([4, 4, 6]))
    rules = data.draw(st.lists(_RULES, min_size=1, max_size=4))
    policy = ActivePolicy("default", "all()", ingress=tuple(rules))
    key = PolicyKey("NetworkPolicy", "fv", "p1")
    chain, _ = policy_chains(key, policy, family, RenderSettings())  # type: ignore[arg-type]
    near = st.sampled_from(rules).flatmap(lambda rule: packets(rule, family))
    for packet in data.draw(st.lists(near, min_size=5, max_size=20)):
        target, mark = run(chain.rules, packet, data.draw(_SCRATCH))
        accepted, passed = mark & _MARKS.accept, mark & _MARKS.passed
        verdict = "deny" if target == "DROP" else "allow" if accepted else "pass" if passed else ""
        assert verdict == plain_verdict(rules, packet, family), (chain.rules, packet)
        assert not (accepted and passed)
