"""The spelling of every fragment that the renderers use."""

from __future__ import annotations

import pytest

from dataplane.render import text
from tests.dataplane.render.vectors import cases

_MATCHES = {
    "mark bits clear 0x30000": text.mark_clear(0x30000),
    "mark bits not clear 0x30000": text.mark_not_clear(0x30000),
    "single mark bit set 0x10000": text.mark_set(0x10000),
    "in interface": text.in_interface("cali1234"),
    "out interface": text.out_interface("eth0"),
    "reverse path check failed": text.REVERSE_PATH_FAILED,
    "source address not local to the out interface": text.NOT_FROM_OUT_INTERFACE,
    "source address local": text.FROM_LOCAL,
    "destination address local": text.TO_LOCAL,
    "conntrack state": text.ESTABLISHED,
    "protocol name": text.protocol("tcp"),
    "protocol number": text.protocol(123),
    "source net": text.source("10.0.0.0/8"),
    "destination net": text.destination("10.0.0.0/8"),
    "source set": text.in_set("cali40s:abc", "src"),
    "not source set": text.not_in_set("cali40s:abc", "src"),
    "destination set": text.in_set("cali40s:abc", "dst"),
    "not destination set": text.not_in_set("cali40s:abc", "dst"),
    "source ip,port set": text.in_set("cali40n:abc", "src,src"),
    "not source ip,port set": text.not_in_set("cali40n:abc", "src,src"),
    "destination ip,port set": text.in_set("cali40n:abc", "dst,dst"),
    "not destination ip,port set": text.not_in_set("cali40n:abc", "dst,dst"),
    "udp, source ports 1,2": f"-p udp {text.source_ports('1,2')}",
    "udp, destination ports 1,2": f"-p udp {text.destination_ports('1,2')}",
    "tcp, source ranges 1,5-9": f"-p tcp {text.source_ports('1,5:9')}",
    "tcp, destination ranges 1,5-9": f"-p tcp {text.destination_ports('1,5:9')}",
    "number 6, destination ranges": f"-p 6 {text.destination_ports('1,5:9')}",
    "rate limit with burst": text.limit("10/second", 5),
    "rate limit without burst": text.limit("10/second", 0),
}
_ACTIONS = {
    "allow": text.verdict("ACCEPT"),
    "drop": text.verdict("DROP"),
    "reject": text.verdict("REJECT"),
    "return": text.RETURN,
    "jump": text.jump("cali-x"),
    "goto": text.goto("cali-x"),
    "set mark 0x10000": text.set_mark(0x10000),
    "clear mark 0x10000": text.clear_mark(0x10000),
    "set mark 0x80000 in mask 0x180000": text.set_masked_mark(0x80000, 0x180000),
    "set mark 0 in mask 0x180000": text.set_masked_mark(0, 0x180000),
    "notrack": text.NOTRACK,
    "log": text.log("pfx"),
    "snat": text.snat("192.0.2.1", random_fully=True),
    "dnat without port": text.dnat("10.0.0.1"),
    "dnat with port": text.dnat("10.0.0.1:80"),
    "masquerade": text.masquerade(random_fully=True),
    "masquerade to ports": text.masquerade(random_fully=True, ports=(1000, 2000)),
    "packet rate 100, burst 200, mark 0x80000": (
        f"{text.limit('100/sec', 200)} {text.set_mark(0x80000)}"
    ),
    "connection limit 10, tcp-reset": (
        f"{text.new_connections_above(10)} {text.REJECT_WITH_RESET}"
    ),
    "dscp 46": text.set_dscp(46),
}
_WITHOUT_RANDOM_FULLY = {
    "snat": text.snat("192.0.2.1", random_fully=False),
    "masquerade": text.masquerade(random_fully=False),
    "masquerade to ports": text.masquerade(random_fully=False, ports=(1000, 2000)),
}
# Spelled where whole rules are, and held by the cases of rule-rendering.
_IN_RULES = {
    "not protocol name",
    "not protocol number",
    "not source net",
    "not destination net",
    "udp, not source ports 1,2",
    "udp, not destination ports 1,2",
    "tcp, not source ranges 1,5-9",
    "tcp, not destination ranges 1,5-9",
    "icmp type",
    "not icmp type",
    "icmp type and code",
    "not icmp type and code",
    "icmpv6 type",
    "not icmpv6 type",
    "icmpv6 type and code",
    "not icmpv6 type and code",
    "udp, destination port 4789 (single form)",  # held by chain-hashes-static
}
_LEFT_OUT = {
    "mark equals 0x100 in mask 0xf00": "IPVS",
    "mark differs from 0x100 in mask 0xf00": "IPVS",
    "mark differs from 0 in mask 0xf00": "IPVS",
    "IPVS connection": "IPVS",
    "no IPVS connection": "IPVS",
    "source address not local": "in no chain",
    "source address local to the out interface": "in no chain",
    "destination address not local": "in no chain",
    "not conntrack state": "in no chain with INVALID; with DNAT held by chain-hashes-static",
    "destination ranges without a protocol": "refused by the tools; validation and RenderError",
    "destination ranges with protocol udplite": "refused by validation; RenderError",
    "in interface map": "nft",
    "out interface map": "nft",
    "arp operation": "nft",
    "arp source address": "nft",
    "reject with tcp-reset": "in no chain but in the form of the connection limit",
    "set connmark": "in no chain",
    "nflog, default size": "flow logs",
    "nflog, size 100": "flow logs",
    "packet rate 100, burst 0": "no text; the original stops",
    "flow offload": "nft",
}


def test_fragments_are_spelled_as_the_original_spells_them() -> None:
    wanted = {case.get("match") or case["action"]: case["iptables"] for case in cases("fragments")}
    ours = _MATCHES | _ACTIONS
    assert ours == {name: wanted[name] for name in ours}
    assert wanted.keys() == ours.keys() | _IN_RULES | _LEFT_OUT.keys()
    assert (len(ours), len(_IN_RULES), len(_LEFT_OUT)) == (49, 17, 21)


def test_without_random_fully() -> None:
    wanted = {
        case["action"]: case["iptables_without_features"]
        for case in cases("fragments")
        if case.get("action") in _WITHOUT_RANDOM_FULLY
    }
    assert wanted == _WITHOUT_RANDOM_FULLY


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("plain_09 @%+=:,./-", "plain_09 @%+=:,./-"),
        ('a"b\\c', "a_b_c"),
        ("a\nCOMMIT\n", "a_COMMIT_"),
        ("\N{SNOWMAN}$(x)`y`", "___x__y_"),
        ("x" * 300, "x" * 256),
    ],
)
def test_comments_stay_in_their_quotes(said: str, kept: str) -> None:
    assert text.comment(said) == f'-m comment --comment "{kept}"'


@pytest.mark.parametrize(
    ("prefix", "kept"),
    [
        ("x" * 27, "x" * 27),
        ("x" * 28, "x" * 27),
        ('a"b\\c\nd', "a_b_c_d"),
        ("\N{SNOWMAN}", "_"),
        ("%t|%k ~", "%t|%k ~"),
    ],
)
def test_log_prefixes_stay_in_their_quotes_and_within_the_limit(prefix: str, kept: str) -> None:
    """Defect D15: iptables keeps 29 characters, so that the original loses the separator."""
    assert text.log(prefix) == f'--jump LOG --log-prefix "{kept}: " --log-level 5'
