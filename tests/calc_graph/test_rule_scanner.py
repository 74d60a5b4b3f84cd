"""Rules to IP sets: the reference's table, and the ids the original gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from calc_graph.model import Peer, Policy, PortRange, Profile, Rule
from calc_graph.rule_scanner import check_selectors, scan
from calc_graph.selector import SelectorError, parse
from calc_graph.updates import ANY, ActivePolicy, IpsetType, PeerMatch

VECTORS = Path(__file__).parent.parent / "vectors"

SEL = "a == 'b'"
PROD = 'projectcalico.org/namespace == "prod"'
PLAIN = "s:flMh0m0X_BowkAK_W3j3MgH8oQOsj3WxGDoXCQ"
NOT_AB = "s:Nx82quSiQDReg0K-G_bP30Nmx32uDaoGbVK4Pw"
HTTP_TCP = "n:cl9_Kgeu4H0OGLbhovVR3NBLUOZscKeMK1Mu4A"
HTTP_ANY = "n:FvKMFOOSYvkZZJ0ch1bwT7bt3AAgySwlMLqMDA"
SEL_DNS_UDP = "n:SrtQVTETLY14IEby2ZwUceYk3baktsM9Af6tvw"
SEL_HTTP_TCP = "n:giMFYSw5poQ6yIr5HFpqHp51MajefTbF1b7atg"
SVC = "svc:PMX6-V53cgXVtT6p1c9FM-XkUmon52QINgk6cg"
SVC_NO_PORT = "svcnoport:CUNMZMbxx7t4BPpBDXAT-7rpDNiIzEx-rHMssg"
PORTS = (PortRange(80, 80), PortRange(1, 2))


def scan_rule(rule: Rule) -> tuple[PeerMatch, PeerMatch, dict[str, IpsetType]]:
    scanned = scan(Policy("default", "all()", ingress=(rule,)))
    (found,) = scanned.rules.ingress
    return found.source, found.destination, {i: s.type for i, s in scanned.ipsets.items()}


SOURCES = [
    # what the source asks for                          sets             negated
    (Peer(selector=f"({PROD}) && ({SEL})"),
     ("s:ARXRr0TebnXeyLAY9gMyVjgMHUL0yzR94Rciaw",),                      ()),
    (Peer(selector=PROD, not_selector=SEL),
     ("s:QcUd5ztVShWVD_J3uGAaibixxM-ZoiEsxBLPsQ",),                      ()),
    (Peer(not_selector=SEL),                            (),              (PLAIN,)),
    (Peer(selector=SEL, not_selector="c == 'd'"),
     ("s:y8s-rg2KnoC0a-DBAotO9uojLdJUkCh4kauw1w",),                      ()),
    (Peer(selector='pcns.env == "x"'),
     ("s:hd8MBnMDvJuZMYp8FTlxo2D2o9akrK5oJjENJg",),                      ()),
    (Peer(selector=f"(has(projectcalico.org/namespace)) && ({SEL})"),
     ("s:9eeAwAIT2R7waAv3_tjfGaQpHFPs0MTd6KXGyA",),                      ()),
    (Peer(selector=f"(!has(projectcalico.org/namespace)) && ({SEL})"),
     ("s:e8y5YPBeDgrstcFpHbv4JqgvYOkRiysJaeK6nA",),                      ()),
    (Peer(selector=f'({PROD}) && ((pcsa.k == "v") && '
          '(projectcalico.org/serviceaccount in {"s1", "s2"}))'),
     ("s:JKv80j5MkIfonD94I-8VInoZIQPhJOY-48hifg",),                      ()),
    (Peer(service="prod/web"),                          (SVC_NO_PORT,),  ()),
    (Peer(selector=SEL, service="prod/web"),            (PLAIN, SVC_NO_PORT), ()),
    (Peer(selector="!a == 'b'", not_selector=""),       (NOT_AB,),       ()),
]  # fmt: skip


@pytest.mark.parametrize(("peer", "ipsets", "not_ipsets"), SOURCES)
def test_selectors_of_a_source(
    peer: Peer, ipsets: tuple[str, ...], not_ipsets: tuple[str, ...]
) -> None:
    source, destination, used = scan_rule(Rule("allow", source=peer))
    assert source == PeerMatch(ipsets=ipsets, not_ipsets=not_ipsets)
    assert destination == ANY
    assert used == dict.fromkeys((*ipsets, *not_ipsets), IpsetType.NET)


DESTINATIONS = [
    # protocol  what the destination asks for        the match
    ("tcp",     Peer(named_ports=("http",)),         PeerMatch(named_port_ipsets=(HTTP_TCP,))),
    (6,         Peer(named_ports=("http",)),         PeerMatch(named_port_ipsets=(HTTP_TCP,))),
    (None,      Peer(named_ports=("http",)),         PeerMatch(named_port_ipsets=(HTTP_ANY,))),
    (17,        Peer(selector=SEL, named_ports=("dns",)),
     PeerMatch(named_port_ipsets=(SEL_DNS_UDP,))),
    ("tcp",     Peer(selector=SEL, ports=PORTS, named_ports=("http",)),
     PeerMatch(ipsets=(PLAIN,), ports=PORTS, named_port_ipsets=(SEL_HTTP_TCP,))),
    ("tcp",     Peer(selector=SEL, not_named_ports=("http",)),
     PeerMatch(ipsets=(PLAIN,), not_named_port_ipsets=(SEL_HTTP_TCP,))),
    ("tcp",     Peer(not_selector=SEL, named_ports=("http",)),
     PeerMatch(not_ipsets=(PLAIN,), named_port_ipsets=(HTTP_TCP,))),
    (None,      Peer(service="prod/web"),            PeerMatch(ip_port_ipsets=(SVC,))),
    (None,      Peer(nets=("10.0.0.0/8",), not_nets=("10.1.0.0/16",)),
     PeerMatch(nets=("10.0.0.0/8",), not_nets=("10.1.0.0/16",))),
    ("tcp",     Peer(ports=PORTS, not_ports=PORTS),  PeerMatch(ports=PORTS, not_ports=PORTS)),
]  # fmt: skip


@pytest.mark.parametrize(("protocol", "peer", "match"), DESTINATIONS)
def test_ports_and_services_of_a_destination(
    protocol: int | str | None, peer: Peer, match: PeerMatch
) -> None:
    source, destination, used = scan_rule(Rule("allow", protocol=protocol, destination=peer))
    assert (source, destination) == (ANY, match)
    ip_port = {*match.named_port_ipsets, *match.not_named_port_ipsets, *match.ip_port_ipsets}
    net = {*match.ipsets, *match.not_ipsets}
    assert used == dict.fromkeys(ip_port, IpsetType.IP_PORT) | dict.fromkeys(net, IpsetType.NET)


def ipset_cases() -> list[dict[str, Any]]:
    cases = json.loads((VECTORS / "ipset-names.json").read_text())["cases"]
    return [case for case in cases if "port" in case or "service" in case]


@pytest.mark.parametrize("case", ipset_cases(), ids=lambda c: f"{c['what']} {c['set_id'][:12]}")
def test_original_names_the_same_set(case: dict[str, Any]) -> None:
    if "port" in case:
        protocol = None if case["protocol"] == "any" else case["protocol"]
        peer = Peer(selector=case["selector"], named_ports=(case["port"],))
        rule = Rule("allow", protocol=protocol, destination=peer)
    elif case["set_id"].startswith("svcnoport"):
        rule = Rule("allow", source=Peer(service=case["service"]))
    else:
        rule = Rule("allow", destination=Peer(service=case["service"]))
    kind = IpsetType.IP_PORT if case["content"] == "IP_AND_PORT" else IpsetType.NET
    assert scan_rule(rule)[2] == {case["set_id"]: kind}


VERSIONS = [
    ("icmp", None, 4),
    ("icmpv6", None, 6),
    ("icmp", 6, 6),
    ("tcp", None, None),
    (1, None, None),
]


@pytest.mark.parametrize(("protocol", "given", "version"), VERSIONS)
def test_ip_version_follows_the_name_of_the_protocol(
    protocol: int | str, given: Any, version: int | None
) -> None:
    scanned = scan(Profile(egress=(Rule("deny", given, protocol),)))
    assert scanned.rules.egress[0].ip_version == version


def test_policy_keeps_what_the_dataplane_needs() -> None:
    policy = Policy("t", " a=='b'", 1.0, do_not_track=True, pre_dnat=True, needed_everywhere=True)
    expected = ActivePolicy("t", 'a == "b"', (), (), True, True, True)
    assert scan(policy).rules == expected
    encrypted = scan(structs.replace(policy, encrypted=True)).rules
    assert encrypted == structs.replace(expected, encrypted=True)


BAD = [
    Policy("t", "a ="),
    Policy("t", "", ingress=(Rule("allow", source=Peer(selector="a =")),)),
    Policy("t", "", egress=(Rule("allow", destination=Peer(not_selector="a =")),)),
    Profile(egress=(Rule("allow", source=Peer(selector="all()", not_selector="a =")),)),
]  # fmt: skip


@pytest.mark.parametrize("rules", BAD)
def test_any_bad_selector_is_found(rules: Policy | Profile) -> None:
    with pytest.raises(SelectorError):
        check_selectors(rules)


def test_a_stray_parenthesis_cannot_widen_a_folded_selector() -> None:
    with pytest.raises(SelectorError):
        scan_rule(Rule("allow", source=Peer(selector=SEL, not_selector="a == 'b') || (all()")))
    assert parse(SEL).id == PLAIN
