"""The judge in tables: one node, one flow, what decides it and where."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from msgspec import structs

from calc_graph.judge import (
    FailsafePort,
    Flow,
    Hook,
    HostInterface,
    HostView,
    Judge,
    JudgeSettings,
    Reason,
)
from calc_graph.model import HostEndpointKey, Icmp, PolicyKey, PortRange
from calc_graph.updates import (
    ActivePolicy,
    ActiveProfile,
    ActiveRule,
    IpsetDelta,
    IpsetType,
    IpsetUpdate,
    PeerMatch,
    PolicyUpdate,
    ProfileUpdate,
    RouteRemove,
    RouteType,
    RouteUpdate,
    ServiceCidrsUpdate,
    TierPolicies,
)
from tests.dataplane.desired.builders import (
    ALLOW,
    DENY,
    from_set,
    gnp,
    hep,
    policy,
    staged,
    tier,
    wep,
    wep_key,
)

PASS, LOG = ActiveRule("pass"), ActiveRule("log")
OPEN = ProfileUpdate("open", ActiveProfile((ALLOW,), (ALLOW,)))
SHUT = ProfileUpdate("shut", ActiveProfile((PASS, DENY), (PASS, DENY)))
VIEW = HostView(
    {
        "eth0": HostInterface(2, frozenset({"172.30.0.10", "fd30::10"})),
        "eth1": HostInterface(3, frozenset({"172.31.0.10"})),
        "lo": HostInterface(1, frozenset({"127.0.0.1"})),
        "cali1": HostInterface(4),
        "cali2": HostInterface(5),
    }
)
W1 = wep("w1", "cali1", "10.65.0.1/32", "fd65::1/128", profiles=("open",))
W2 = wep("w2", "cali2", "10.65.0.2/32", "fd65::2/128", profiles=("open",))
SSH = FailsafePort("tcp", 22)
DNS = FailsafePort("udp", 53, "10.0.0.0/8")
USUAL = JudgeSettings(failsafe_inbound=(SSH,), failsafe_outbound=(DNS,))
OPENSTACK = JudgeSettings(openstack=True, metadata_addr="172.30.0.10")


def flow(source: str, destination: str, port: int = 80, /, **more) -> Flow:
    facts = {"protocol": 6, "source_port": 40000, "destination_port": port, **more}
    return Flow(ip_address(source), ip_address(destination), **facts)


def to_host(port: int = 80, **more) -> Flow:
    return flow("192.0.2.1", "172.30.0.10", port, in_interface="eth0", **more)


def from_host(port: int = 80, **more) -> Flow:
    return flow("172.30.0.10", "192.0.2.1", port, out_interface="eth0", **more)


def past(**more) -> Flow:
    where = {"in_interface": "eth0", "out_interface": "eth1", **more}
    return flow("192.0.2.1", "198.51.100.1", **where)


def between(**more) -> Flow:
    where = {"in_interface": "cali1", "out_interface": "cali2", **more}
    return flow("10.65.0.1", "10.65.0.2", **where)


def up(**more) -> Flow:
    """From a workload to its host."""
    return flow("10.65.0.1", "172.30.0.10", **{"in_interface": "cali1", **more})


def icmp6(source: str, kind: int) -> Flow:
    numbers = {"protocol": 58, "source_port": None, "destination_port": None, "icmp_type": kind}
    return flow(source, "fd30::10", in_interface="cali1", icmp_code=0, **numbers)


A, B = tier("a"), tier("b", name="second")
ALLOWING, DENYING = policy("a", ALLOW), policy("a", DENY)
SHARED = (OPEN, SHUT, W1, W2)
GUARDED = hep("h", "eth0", tiers=[A])
HANDLED = [
    # case, updates, flow, allowed, reason, hook
    ("two workloads", SHARED, between(), True, Reason.PROFILE, Hook.FORWARD),
    ("no such workload there", (OPEN, W1), between(), False, Reason.UNKNOWN_INTERFACE,
     Hook.FORWARD),
    ("nor here", (OPEN, W2), between(), False, Reason.UNKNOWN_INTERFACE, Hook.RAW_PREROUTING),
    ("a forged source", SHARED, flow("10.65.0.2", "9.9.9.9", in_interface="cali1",
     out_interface="eth0"), False, Reason.SPOOFED, Hook.RAW_PREROUTING),
    ("switched off", (OPEN, W1, wep("w2", "cali2", "10.65.0.2/32", admin_up=False)), between(),
     False, Reason.ADMIN_DOWN, Hook.FORWARD),
    ("no profile", (OPEN, W1, wep("w2", "cali2", "10.65.0.2/32")), between(), False,
     Reason.NO_PROFILE, Hook.FORWARD),
    ("a profile's pass ends the profile only", (OPEN, SHUT, W1, wep("w2", "cali2",
     "10.65.0.2/32", profiles=("shut", "open"))), between(), True, Reason.PROFILE, Hook.FORWARD),
    ("VXLAN", SHARED, between(protocol=17, destination_port=4789), False, Reason.TUNNEL,
     Hook.FORWARD),
    ("established", (OPEN, DENYING, W1, wep("w2", "cali2", "10.65.0.2/32", tiers=[A])),
     between(established=True), True, Reason.ESTABLISHED, Hook.FORWARD),
    ("up to the host", SHARED, up(), False, Reason.ENDPOINT_TO_HOST, Hook.INPUT),
    ("a neighbour", SHARED, icmp6("fe80::1", 135), True, Reason.BOOTSTRAP, Hook.INPUT),
    ("no neighbour advertises routes", SHARED, icmp6("fe80::1", 134), False,
     Reason.ENDPOINT_TO_HOST, Hook.INPUT),
    ("down from the host", (OPEN, DENYING, wep("w1", "cali1", "10.65.0.1/32", tiers=[A])),
     flow("172.30.0.10", "10.65.0.1", out_interface="cali1"), True, Reason.TO_WORKLOAD,
     Hook.OUTPUT),
    ("a looping service", (*SHARED, ServiceCidrsUpdate(("198.51.100.0/24", "fd96::/112"))), past(),
     False, Reason.SERVICE_LOOP, Hook.FORWARD),
    ("nobody's", (), to_host(), True, Reason.NOT_GOVERNED, Hook.INPUT),
    ("nobody's, out", (), from_host(), True, Reason.NOT_GOVERNED, Hook.OUTPUT),
    ("nobody's, past", (), past(), True, Reason.NOT_GOVERNED, Hook.FORWARD),
    ("a guarded host", (DENYING, GUARDED), to_host(), False, Reason.POLICY, Hook.INPUT),
    ("its failsafe", (DENYING, GUARDED), to_host(22), True, Reason.FAILSAFE, Hook.INPUT),
    ("its failsafe, out", (DENYING, GUARDED), flow("172.30.0.10", "10.0.0.1", 53, protocol=17,
     out_interface="eth0"), True, Reason.FAILSAFE, Hook.OUTPUT),
    ("no failsafe for that peer", (DENYING, GUARDED), from_host(53, protocol=17), False,
     Reason.POLICY, Hook.OUTPUT),
    ("an interface with nothing but *", (DENYING, hep("h", "*", tiers=[A])), to_host(), False,
     Reason.POLICY, Hook.INPUT),
    ("the lowest name", (DENYING, GUARDED, hep("g", "", "fd30::10", profiles=("open",)), OPEN),
     to_host(), True, Reason.PROFILE, Hook.INPUT),
    ("by addresses of another", (DENYING, hep("h", "", "172.31.0.10", tiers=[A])), to_host(), True,
     Reason.NOT_GOVERNED, Hook.INPUT),
    ("own policy is not about forwarding", (DENYING, GUARDED), past(), True,
     Reason.NO_FORWARD_POLICY, Hook.FORWARD),
    ("forward policy is", (DENYING, hep("h", "eth0", forward=[A])), past(), False, Reason.POLICY,
     Hook.FORWARD),
    ("to itself", (DENYING, hep("h", "*", tiers=[A])), flow("127.0.0.1", "127.0.0.1"), False,
     Reason.POLICY, Hook.OUTPUT),
    ("untracked", (DENYING, hep("h", "eth0", untracked=[A])), to_host(), False, Reason.POLICY,
     Hook.RAW_PREROUTING),
    ("untracked, established", (DENYING, hep("h", "eth0", untracked=[A])),
     to_host(established=True), False, Reason.POLICY, Hook.RAW_PREROUTING),
    ("untracked of * is not in force", (DENYING, hep("h", "*", untracked=[A], profiles=("open",)),
     OPEN), to_host(), True, Reason.PROFILE, Hook.INPUT),
    ("untracked lets through", (ALLOWING, policy("b", DENY), hep("h", "eth0", tiers=[B],
     untracked=[A])), to_host(), True, Reason.POLICY, Hook.RAW_PREROUTING),
    ("pre-DNAT lets through", (ALLOWING, policy("b", DENY), hep("h", "eth0", tiers=[B],
     pre_dnat=[A])), to_host(), True, Reason.POLICY, Hook.MANGLE_PREROUTING),
    ("but not past the workload", (ALLOWING, policy("b", DENY), hep("h", "eth0", pre_dnat=[A]),
     wep("w1", "cali1", "10.65.0.1/32", tiers=[B])), flow("192.0.2.1", "10.65.0.1",
     in_interface="eth0", out_interface="cali1"), False, Reason.POLICY, Hook.FORWARD),
    ("it goes before forward policy", (ALLOWING, policy("b", DENY), hep("h", "eth0", forward=[B],
     pre_dnat=[A])), past(), True, Reason.POLICY, Hook.MANGLE_PREROUTING),
    ("which is asked where it leaves", (ALLOWING, policy("b", DENY), hep("h", "eth0",
     pre_dnat=[A]), hep("i", "eth1", forward=[B])), past(), False, Reason.POLICY, Hook.FORWARD),
    ("what comes back by lo is translated already", (OPEN, policy("a", ActiveRule("deny",
     destination=PeerMatch(nets=("203.0.113.1/32",)))), hep("h", "*", pre_dnat=[A],
     profiles=("open",))), flow("127.0.0.1", "127.0.0.1",
     original_destination=ip_address("203.0.113.1")), True, Reason.PROFILE, Hook.INPUT),
    ("what is translated is asked in mangle", (DENYING, GUARDED),
     from_host(original_destination=ip_address("203.0.113.1")), False, Reason.POLICY,
     Hook.MANGLE_POSTROUTING),
    ("staged decides nothing", (policy(staged("s"), DENY), OPEN, hep("h", "eth0", profiles=
     ("open",), tiers=[tier(staged("s"))])), to_host(), True, Reason.PROFILE, Hook.INPUT),
    ("log goes on", (policy("a", LOG, ALLOW), GUARDED), to_host(), True, Reason.POLICY, Hook.INPUT),
    ("pass goes to the next tier", (policy("a", PASS, ALLOW), policy("b", DENY), hep("h", "eth0",
     tiers=[A, B])), to_host(), False, Reason.POLICY, Hook.INPUT),
    ("pass goes to the profiles", (policy("a", PASS), OPEN, hep("h", "eth0", tiers=[A],
     profiles=("open",))), to_host(), True, Reason.PROFILE, Hook.INPUT),
    ("the end of a tier", (policy("a"), GUARDED), to_host(), False, Reason.TIER_END, Hook.INPUT),
    ("a tier that passes", (policy("a"), OPEN, hep("h", "eth0", profiles=("open",),
     tiers=[tier("a", default="Pass")])), to_host(), True, Reason.PROFILE, Hook.INPUT),
]  # fmt: skip


@pytest.mark.parametrize(
    ("updates", "asked", "allowed", "reason", "hook"),
    [pytest.param(*case[1:], id=case[0]) for case in HANDLED],
)
def test_what_decides(updates, asked: Flow, allowed: bool, reason: Reason, hook: Hook) -> None:
    judge = Judge(USUAL)
    judge.update(updates)
    verdict = judge.judge(asked, VIEW)
    found = (verdict.allowed, verdict.decision.reason, verdict.decision.hook)
    assert found == (allowed, reason, hook), verdict


MUST = policy("a", ALLOW, encrypted=True)
OTHER = policy("b", ALLOW)
WG = {"in_interface": "wireguard.cali"}
POLICED = wep("w1", "cali1", "10.65.0.1/32", tiers=[A]), wep("w2", "cali2", "10.65.0.2/32",
    tiers=[A])  # fmt: skip
OUTWARD = flow("10.65.0.1", "10.66.0.1", in_interface="cali1", out_interface="eth0")
INWARD = flow("10.66.0.1", "10.65.0.1", in_interface="eth0", out_interface="cali1")
ENCRYPTIONS = [
    # case, updates, flow, encrypted, direction in which it is in clear
    ("nobody asks", (policy("a", ALLOW), *POLICED), OUTWARD, False, None),
    ("a workload's way out", (MUST, *POLICED), OUTWARD, True, "egress"),
    ("by the device", (MUST, *POLICED), structs.replace(OUTWARD, out_interface="wireguard.cali"),
     True, None),
    ("by the device of the other family", (MUST, *POLICED), structs.replace(OUTWARD,
     out_interface="wg-v6.cali"), True, "egress"),
    ("the way in", (MUST, *POLICED), INWARD, True, "ingress"),
    ("in by the device", (MUST, *POLICED), structs.replace(INWARD, **WG), True, None),
    ("neighbours", (MUST, *POLICED), between(), True, None),
    ("up to the host", (MUST, *POLICED), up(), True, None),
    ("a host", (MUST, GUARDED), to_host(), True, "ingress"),
    ("a host, out", (MUST, GUARDED), from_host(), True, "egress"),
    ("a host, out by its failsafe", (MUST, GUARDED), flow("172.30.0.10", "10.0.0.1", 53,
     protocol=17, out_interface="eth0"), False, None),
    ("a host, by the device", (MUST, hep("h", "*", tiers=[A])), structs.replace(to_host(), **WG),
     True, None),
    ("a host to itself", (MUST, hep("h", "lo", tiers=[A])), flow("127.0.0.1", "127.0.0.1"), True,
     None),
    ("untracked", (MUST, hep("h", "eth0", untracked=[A])), to_host(), True, "ingress"),
    ("before translation", (MUST, hep("h", "eth0", pre_dnat=[A])), to_host(), True, "ingress"),
    ("passing", (MUST, hep("h", "eth1", forward=[A])), past(), True, "egress"),
    ("it passes on to one that does not ask", (policy("a", PASS, encrypted=True), OTHER,
     hep("h", "eth0", tiers=[A, B])), to_host(), False, None),
    ("no longer", (MUST, policy("a", ALLOW), GUARDED), to_host(), False, None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("updates", "asked", "encrypted", "in_clear"),
    [pytest.param(*c[1:], id=c[0]) for c in ENCRYPTIONS],
)
def test_to_have_to_be_encrypted_is_no_denial(updates, asked, encrypted: bool, in_clear) -> None:
    judge = Judge(JudgeSettings(failsafe_outbound=(DNS,), endpoint_to_host_action="ACCEPT"))
    judge.update(updates)
    verdict = judge.judge(asked, VIEW)
    assert verdict.allowed
    assert verdict.encrypted == encrypted
    step = verdict.in_clear
    assert (step.direction if step else None) == in_clear
    if step is not None:
        assert (step.outcome, step.reason, step.policy) == ("deny", Reason.IN_CLEAR, gnp("a"))
    other = judge.fork()
    other.update((policy("a", DENY, encrypted=True),))
    refused = other.judge(asked, VIEW)
    assert refused.allowed or not (refused.encrypted or refused.in_clear)
    assert judge.judge(asked, VIEW) == verdict


REMOTE = RouteUpdate("10.66.0.0/26", RouteType.REMOTE_WORKLOAD, "no-encap", "n2")
IPSEC = JudgeSettings(ipsec=frozenset({4}), endpoint_to_host_action="ACCEPT")
BY_IPSEC = [
    # case, settings, routes, flow, direction in which it is in clear
    ("out", IPSEC, [REMOTE], OUTWARD, None),
    ("in", IPSEC, [REMOTE], INWARD, None),
    ("to a tunnel's end", IPSEC, [RouteUpdate("10.66.0.1/32", RouteType.REMOTE_TUNNEL, "ipip",
     "n2")], OUTWARD, None),
    ("without IPsec", JudgeSettings(), [REMOTE], OUTWARD, "egress"),
    ("in the other family", JudgeSettings(ipsec=frozenset({6})), [REMOTE], OUTWARD, "egress"),
    ("to nobody's net", IPSEC, [], OUTWARD, "egress"),
    ("to one that is gone", IPSEC, [REMOTE, RouteRemove("10.66.0.0/26")], INWARD, "ingress"),
    ("to another node itself", IPSEC, [RouteUpdate("10.66.0.1/32", RouteType.REMOTE_HOST, "none",
     "n2")], OUTWARD, "egress"),
    ("to one of ours now", IPSEC, [REMOTE, structs.replace(REMOTE, local_workload=True)], OUTWARD,
     "egress"),
    ("to the net beside it", IPSEC, [structs.replace(REMOTE, cidr="10.66.0.64/26")], OUTWARD,
     "egress"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "routes", "asked", "in_clear"), [pytest.param(*c[1:], id=c[0]) for c in BY_IPSEC]
)
def test_what_ipsec_leads_through_a_tunnel_is_encrypted(settings, routes, asked, in_clear) -> None:
    judge = Judge(settings)
    judge.update((MUST, *POLICED, *routes))
    for one in (judge, judge.fork()):
        verdict = one.judge(asked, VIEW)
        assert (verdict.allowed, verdict.encrypted) == (True, True)
        assert (verdict.in_clear.direction if verdict.in_clear else None) == in_clear


BOOTSTRAPS = [
    ("metadata", up(destination_port=8775), OPENSTACK, True),
    ("metadata of another port", up(destination_port=8776), OPENSTACK, False),
    ("metadata without OpenStack", up(destination_port=8775), JudgeSettings(), False),
    ("no metadata service", up(destination_port=8775), JudgeSettings(openstack=True,
     metadata_addr=""), False),
    ("DNS", up(protocol=17, destination_port=53), OPENSTACK, True),
    ("DNS by TCP", up(destination_port=53), OPENSTACK, False),
    ("DHCP", flow("0.0.0.0", "255.255.255.255", 67, protocol=17, source_port=68,
     in_interface="cali1"), OPENSTACK, True),
    ("DHCP without OpenStack", flow("0.0.0.0", "255.255.255.255", 67, protocol=17, source_port=68,
     in_interface="cali1"), JudgeSettings(), False),
    ("DHCP from another port", flow("0.0.0.0", "255.255.255.255", 67, protocol=17,
     in_interface="cali1"), OPENSTACK, False),
    ("DHCP of IPv6", flow("fe80::1", "ff02::1:2", 547, protocol=17, source_port=546,
     in_interface="cali1"), OPENSTACK, True),
]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "configured", "allowed"), [pytest.param(*c[1:], id=c[0]) for c in BOOTSTRAPS]
)
def test_what_a_workload_may_always_ask(asked, configured, allowed: bool) -> None:
    judge = Judge(configured)
    judge.update((policy("a", DENY), wep("w1", "cali1", "10.65.0.1/32", tiers=[A])))
    verdict = judge.judge(asked, VIEW)
    assert verdict.allowed == allowed == (verdict.decision.reason is Reason.BOOTSTRAP), verdict


MATCHES = [
    # rule, the packets that match and those that do not
    (ActiveRule("allow", protocol="tcp"), [to_host()], [to_host(protocol=17)]),
    (ActiveRule("allow", protocol=6), [to_host()], [to_host(protocol=132)]),
    (ActiveRule("allow", not_protocol="udp"), [to_host()], [to_host(protocol=17)]),
    (ActiveRule("allow", protocol="tcp", not_protocol=6), [], [to_host(), to_host(protocol=17)]),
    (ActiveRule("allow", ip_version=6), [], [to_host()]),
    (ActiveRule("allow", source=PeerMatch(nets=("192.0.2.0/24", "fd00::/8"))), [to_host()],
     [flow("192.0.3.1", "172.30.0.10", in_interface="eth0")]),
    (ActiveRule("allow", source=PeerMatch(nets=("fd00::/8",))), [], [to_host()]),
    (ActiveRule("allow", source=PeerMatch(not_nets=("fd00::/8",))), [], [to_host()]),
    (ActiveRule("allow", source=PeerMatch(not_nets=("192.0.2.0/25",))), [], [to_host()]),
    (ActiveRule("allow", protocol="tcp", destination=PeerMatch(ports=(PortRange(1, 79),
     PortRange(90, 99)))), [to_host(1), to_host(79), to_host(95)], [to_host(80), to_host(100)]),
    (ActiveRule("allow", protocol="tcp", destination=PeerMatch(not_ports=(PortRange(80, 81),))),
     [to_host(79), to_host(82)], [to_host(80), to_host(81)]),
    (ActiveRule("allow", protocol="tcp", source=PeerMatch(ports=(PortRange(40000, 40000),))),
     [to_host()], [to_host(source_port=40001)]),
    (ActiveRule("allow", destination=PeerMatch(named_port_ipsets=("n:http",))), [to_host(80)],
     [to_host(81), to_host(80, protocol=17), to_host(protocol=1, source_port=None,
      destination_port=None)]),
    (ActiveRule("allow", protocol="tcp", destination=PeerMatch(named_port_ipsets=("n:http",),
     ports=(PortRange(443, 443),))), [to_host(80), to_host(443)], [to_host(81)]),
    (ActiveRule("allow", destination=PeerMatch(not_named_port_ipsets=("n:http",))), [to_host(81)],
     [to_host(80)]),
    (ActiveRule("allow", destination=PeerMatch(ip_port_ipsets=("n:http",))), [to_host(80)],
     [to_host(81)]),
    (from_set("s:some"), [to_host()], [flow("192.0.4.1", "172.30.0.10", in_interface="eth0")]),
    (ActiveRule("allow", source=PeerMatch(not_ipsets=("s:some",))),
     [flow("192.0.4.1", "172.30.0.10", in_interface="eth0")], [to_host()]),
    (ActiveRule("allow", protocol="icmp", icmp=Icmp(8)), [to_host(protocol=1, icmp_type=8,
     icmp_code=0)], [to_host(protocol=1, icmp_type=0, icmp_code=0), to_host()]),
    (ActiveRule("allow", protocol="icmp", not_icmp=Icmp(8, 1)), [to_host(protocol=1, icmp_type=8,
     icmp_code=0)], [to_host(protocol=1, icmp_type=8, icmp_code=1)]),
    (ActiveRule("allow", protocol="icmpv6", icmp=Icmp(8)), [], [to_host(protocol=58, icmp_type=8,
     icmp_code=0)]),
]  # fmt: skip
SETS = (
    IpsetUpdate("s:some", IpsetType.NET, frozenset({"192.0.2.0/25", "192.0.3.1/32", "fd99::/64"})),
    IpsetUpdate("n:http", IpsetType.IP_PORT, frozenset({"172.30.0.10,tcp:80", "fd30::10,tcp:80"})),
)


@pytest.mark.parametrize(("rule", "matching", "others"), MATCHES)
def test_what_a_rule_matches(rule: ActiveRule, matching: list[Flow], others: list[Flow]) -> None:
    judge = Judge(JudgeSettings())
    judge.update((*SETS, policy("a", rule), GUARDED))
    found = [judge.judge(asked, VIEW) for asked in (*matching, *others)]
    assert [v.allowed for v in found] == [True] * len(matching) + [False] * len(others)
    assert all(v.decision.rule == rule for v in found if v.allowed)


def test_a_verdict_names_what_decided_it() -> None:
    key = PolicyKey("NetworkPolicy", "ns", "p")
    rules = ActivePolicy("gate", "all()", ingress=(LOG, ActiveRule("deny", protocol="udp"), DENY))
    judge = Judge(JudgeSettings())
    listed = TierPolicies("gate", "Deny", (key,))
    judge.update((OPEN, PolicyUpdate(key, rules), W1))
    judge.update((wep("w2", "cali2", "10.65.0.2/32", tiers=[listed]),))
    verdict = judge.judge(between(), VIEW)
    left, entered = verdict.path
    assert (left.endpoint, left.direction, left.outcome) == (wep_key("w1"), "egress", "allow")
    assert (left.profile, left.rule_index, left.rule) == ("open", 0, ALLOW)
    assert verdict.decision is entered
    assert (entered.endpoint, entered.direction) == (wep_key("w2"), "ingress")
    assert (entered.interface, entered.tier, entered.policy) == ("cali2", "gate", key)
    assert (entered.rule_index, entered.rule) == (2, DENY)


@pytest.mark.parametrize(
    ("configured", "asked", "final"),
    [
        (JudgeSettings(), to_host(), True),
        (JudgeSettings(filter_allow_action="RETURN"), to_host(), False),
        (JudgeSettings(), flow("192.0.2.1", "172.31.0.10", in_interface="eth1"), False),
        (JudgeSettings(), past(), True),  # the forward chain of an endpoint accepts by default
        (JudgeSettings(), past(in_interface="eth1", out_interface="eth2"), False),
        (JudgeSettings(endpoint_to_host_action="ACCEPT"), up(), True),
        (JudgeSettings(endpoint_to_host_action="RETURN"), up(), False),
        (JudgeSettings(ipv6=False), flow("fd99::1", "fd30::10", in_interface="eth0"), False),
    ],
)
def test_whether_others_have_the_last_word(configured, asked: Flow, final: bool) -> None:
    judge = Judge(configured)
    judge.update((OPEN, W1, policy("a", ALLOW), GUARDED))
    verdict = judge.judge(asked, VIEW)
    assert (verdict.allowed, verdict.final) == (True, final), verdict


def test_pre_dnat_policy_is_about_the_address_that_the_packet_came_with() -> None:
    """And about its port; the workload's own policy is about those it is sent on with."""
    rule = ActiveRule(
        "deny",
        protocol="tcp",
        destination=PeerMatch(nets=("203.0.113.1/32",), ports=(PortRange(8080, 8080),)),
    )
    judge = Judge(JudgeSettings())
    judge.update((OPEN, W1, policy("a", rule), hep("h", "eth0", pre_dnat=[A])))
    where = {"in_interface": "eth0", "out_interface": "cali1"}
    arriving = {"original_destination": ip_address("203.0.113.1"), "original_port": 8080}
    stopped = judge.judge(flow("192.0.2.1", "10.65.0.1", 80, **where, **arriving), VIEW)
    direct = judge.judge(flow("192.0.2.1", "10.65.0.1", 80, **where), VIEW)
    assert (stopped.allowed, stopped.decision.hook) == (False, Hook.MANGLE_PREROUTING)
    assert (direct.allowed, direct.decision.hook) == (True, Hook.FORWARD)


UNRENDERABLE = [
    ActiveRule("allow", protocol="nonsense"),
    ActiveRule("allow", protocol=256),
    ActiveRule("allow", destination=PeerMatch(ports=(PortRange(80, 80),))),
    ActiveRule("allow", protocol="tcp", source=PeerMatch(not_ports=(PortRange(81, 80),))),
    ActiveRule("allow", protocol="tcp", icmp=Icmp(8)),
    ActiveRule("allow", source=PeerMatch(ip_port_ipsets=("n:http",))),
    ActiveRule("allow", source=PeerMatch(nets=("10.0.0.0",))),
]


@pytest.mark.parametrize("rule", UNRENDERABLE)
def test_a_policy_that_cannot_be_rendered_drops_everything(rule: ActiveRule) -> None:
    judge = Judge(JudgeSettings())
    judge.update((*SETS, policy("a", ALLOW, rule), GUARDED))
    step = judge.judge(to_host(), VIEW).decision
    assert (step.outcome, step.reason, step.policy) == ("deny", Reason.UNENFORCEABLE, gnp("a"))
    assert (step.rule_index, step.rule) == (-1, None)


def test_a_reply_to_the_host_is_dropped_where_acceptance_returns() -> None:
    """So it is rendered: RETURN only leaves the endpoint's chain, and the action follows."""
    judge = Judge(JudgeSettings(filter_allow_action="RETURN"))
    judge.update((OPEN, W1))
    verdict = judge.judge(up(established=True), VIEW)
    assert [step.reason for step in verdict.path] == [Reason.ESTABLISHED, Reason.ENDPOINT_TO_HOST]
    assert not verdict.allowed


def test_members_come_and_go() -> None:
    judge = Judge(JudgeSettings())
    judge.update((*SETS, policy("a", from_set("s:some")), GUARDED))
    asked = flow("192.0.4.1", "172.30.0.10", in_interface="eth0")
    judge.update([IpsetDelta("s:some", frozenset({"192.0.4.0/24"}), frozenset({"192.0.2.0/25"}))])
    assert judge.judge(asked, VIEW).allowed
    assert not judge.judge(to_host(), VIEW).allowed
    judge.update([IpsetDelta("s:some", frozenset(), frozenset({"192.0.4.0/24"}))])
    assert not judge.judge(asked, VIEW).allowed


def test_a_fork_foretells() -> None:
    judge = Judge(USUAL)
    judge.update((*SETS, policy("a", from_set("s:some")), GUARDED))
    guess = judge.fork()
    guess.update([IpsetDelta("s:some", frozenset(), frozenset({"192.0.2.0/25"}))])
    assert not guess.judge(to_host(), VIEW).allowed
    assert judge.judge(to_host(), VIEW).allowed
    judge.update([IpsetDelta("s:some", frozenset({"192.0.4.0/24"}), frozenset())])
    asked = flow("192.0.4.1", "172.30.0.10", in_interface="eth0")
    assert judge.judge(asked, VIEW).allowed
    assert not guess.judge(asked, VIEW).allowed


def test_the_newer_interface_has_the_address() -> None:
    judge = Judge(JudgeSettings())
    judge.update((OPEN, W1, wep("x", "cali2", "10.65.0.1/32", profiles=("open",))))
    address = ip_address("10.65.0.1")
    assert judge.workload_interface(address, VIEW) == "cali2"
    assert judge.workload_interface(ip_address("10.65.0.9"), VIEW) is None
    assert judge.judge(up(), VIEW).decision.reason is Reason.SPOOFED
    newer = HostView({**VIEW.interfaces, "cali1": HostInterface(9)})
    assert judge.workload_interface(address, newer) == "cali1"


def test_another_view_is_another_machine() -> None:
    judge = Judge(JudgeSettings())
    judge.update((policy("a", DENY), hep("h", "", "172.30.0.10", tiers=[A])))
    assert judge.judge(to_host(), VIEW).decision.endpoint == HostEndpointKey("here", "h")
    bare = HostView({"eth0": HostInterface(2)})
    assert judge.judge(to_host(), bare).decision.reason is Reason.NOT_GOVERNED


def test_a_rule_of_a_policy_rewritten_is_the_one_that_counts() -> None:
    judge = Judge(JudgeSettings())
    judge.update((policy("a", ALLOW), GUARDED))
    assert judge.judge(to_host(), VIEW).allowed
    judge.update([policy("a", DENY)])
    assert judge.judge(to_host(), VIEW).decision.policy == gnp("a")
    assert not judge.judge(to_host(), VIEW).allowed
