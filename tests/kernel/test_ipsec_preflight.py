"""The pre-flight of IPsec against a kernel: interface, settings, marks, others who use it, the way.

ESP itself is not needed: what a kernel without it says is a finding, too.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dataplane.ipsec.kernel import open_xfrm
from dataplane.ipsec.keys import Algorithm, KeyRing
from felixpy.config import Config
from felixpy.ipsec import machine
from felixpy.ipsec.esp_probe import Target, probe_all
from felixpy.ipsec.preflight import check_kernel, check_way, examine
from felixpy.wireguard.facts import NodeEnd
from tests.kernel.conftest import Namespace

pytestmark = pytest.mark.kernel

Connect = Callable[[Namespace, str, Namespace, str], None]
GCM = Algorithm(aead="rfc4106(gcm(aes))", icv_bits=128)
INTERFACES = [
    # IPsecInterface, what there is, verdict, what is said
    ("", "true", "warn", "there is no default route over one interface"),
    ("", "ip route add default dev eth0", "ok", "eth0"),
    ("", "ip -6 route add default dev eth0", "ok", "eth0"),
    (
        "",
        "ip route add default nexthop dev eth0 nexthop dev eth1",
        "warn",
        "there is no default route over one interface",
    ),
    (
        "",
        "ip route add default dev eth0 metric 7; ip route add default dev eth1 metric 8",
        "ok",
        "eth0",
    ),
    ("eth1", "ip route add default dev eth0", "ok", "eth1"),
    ("eth7", "ip route add default dev eth0", "fail", "there is no eth7"),
]


@pytest.mark.parametrize(("configured", "others", "verdict", "text"), INTERFACES)
async def test_the_interface_that_faces_the_network(
    inside: Namespace,
    netns: Callable[[str], Namespace],
    veth: Connect,
    configured: str,
    others: str,
    verdict: str,
    text: str,
) -> None:
    other = netns("other")
    veth(inside, "eth0", other, "eth0")
    veth(inside, "eth1", other, "eth1")
    inside.run(others)
    first, *rest = await machine.check_interface(configured, [GCM], (4, 6))
    assert (first.verdict, first.text) == (verdict, text)
    if verdict == "ok":
        assert [(each.verdict, each.text) for each in rest] == [
            ("ok", f"1500 on {text}, of which 1446 are left for workloads"),
            ("ok", f"1500 on {text}, of which 1426 are left for workloads"),
        ]


async def test_a_small_mtu_is_said(
    inside: Namespace, netns: Callable[[str], Namespace], veth: Connect
) -> None:
    veth(inside, "eth0", netns("other"), "eth0")
    inside.run("ip link set eth0 mtu 1300")
    found = await machine.check_interface("eth0", [GCM], (4,))
    assert [(each.check, each.verdict) for each in found] == [("interface", "ok"), ("MTU", "warn")]


SYSCTLS = [
    ("true", "ok"),
    ("echo 1 > /proc/sys/net/ipv4/conf/eth0/disable_policy", "warn"),
    ("echo 1 > /proc/sys/net/ipv4/conf/cali0/disable_xfrm", "fail"),
    ("echo 1 > /proc/sys/net/ipv4/conf/all/disable_policy", "fail"),
]


@pytest.mark.parametrize(("others", "verdict"), SYSCTLS)
def test_interfaces_that_leave_policies_aside(
    inside: Namespace,
    netns: Callable[[str], Namespace],
    veth: Connect,
    others: str,
    verdict: str,
) -> None:
    veth(inside, "eth0", netns("other"), "cali0")
    veth(inside, "cali0", netns("another"), "cali0")
    inside.run(others)
    assert machine.check_sysctls(("cali",)).verdict == verdict


MARKS = [
    ("true", 0xFFFF0000, []),
    ("true", 0xFFFFFF00, [("fail", 0)]),
    ("ip rule add fwmark 0x100/0x100 table 7", 0xFFFF0000, [("warn", 4)]),
    ("ip -6 rule add fwmark 0xd00/0xf00 table 200", 0xFFFF0000, [("warn", 6)]),
    ("ip rule add fwmark 0xd00/0xf00 table 200 proto 50", 0xFFFF0000, []),
    ("ip rule add fwmark 0x10000/0x10000 table 200", 0xFFFF0000, []),
    ("ip rule add fwmark 7 table 7", 0xFFFF0000, [("warn", 4)]),
]


@pytest.mark.parametrize(("others", "mask", "found"), MARKS)
async def test_marks_of_others(
    inside: Namespace, others: str, mask: int, found: list[tuple[str, int]]
) -> None:
    inside.run(others)
    said = await machine.check_marks(mask)
    assert [(each.verdict, each.family) for each in said] == (found or [("ok", 0)])


OTHERS = [
    ("true", "ok", "nobody else uses IPsec"),
    (
        "ip xfrm policy add src 10.1.0.0/16 dst 10.2.0.0/16 dir out priority 200000",
        "ok",
        "1 policies of others, all after ours",
    ),
    (
        "ip xfrm policy add src 10.1.0.0/16 dst 10.2.0.0/16 dir out priority 10"
        " tmpl src 192.0.2.1 dst 192.0.2.2 proto esp reqid 5 mode tunnel",
        "warn",
        "somebody's policy out 10.1.0.0/16 -> 10.2.0.0/16 has priority 10, before ours",
    ),
    (
        "ip xfrm policy add src 10.1.0.0/16 dst 10.2.0.0/16 dir fwd priority 10"
        " tmpl src 192.0.2.1 dst 192.0.2.2 proto esp reqid 1 mode tunnel",
        "warn",
        "the policy fwd 10.1.0.0/16 -> 10.2.0.0/16 may be ours or somebody else's; "
        "it is left alone",
    ),
]


@pytest.mark.parametrize(("others", "verdict", "text"), OTHERS)
async def test_others_who_use_ipsec(
    inside: Namespace, others: str, verdict: str, text: str
) -> None:
    inside.run(others)
    kernel = open_xfrm(1)
    try:
        (found,) = await machine.check_others(kernel, 1)
    finally:
        kernel.close()
    assert (found.verdict, found.text) == (verdict, text)


async def test_esp_is_tried_and_leaves_nothing_behind(inside: Namespace) -> None:
    kernel = open_xfrm(1)
    try:
        found = await check_kernel(kernel, KeyRing(), (4, 6))
    finally:
        kernel.close()
    assert [(each.check, each.family) for each in found] == [("kernel", 4), ("kernel", 6)]
    assert {each.verdict for each in found} <= {"ok", "fail"}
    assert inside.run("ip xfrm state") == ""


WAYS = [
    # what a node on the way does with ESP, what comes of it
    ("iptables -A INPUT -p esp -j DROP", ""),
    ("iptables -A INPUT -p esp -j REJECT --reject-with icmp-admin-prohibited", "No route to host"),
    ("iptables -A INPUT -p esp -j REJECT --reject-with icmp-proto-unreachable", "Protocol not"),
]


@pytest.mark.parametrize(("firewall", "said"), WAYS)
async def test_who_refuses_esp_says_so(
    inside: Namespace,
    netns: Callable[[str], Namespace],
    veth: Connect,
    firewall: str,
    said: str,
) -> None:
    other = netns("other")
    veth(inside, "eth0", other, "eth0")
    inside.run("ip addr add 192.0.2.1/24 dev eth0")
    other.run(f"ip addr add 192.0.2.2/24 dev eth0; {firewall}")
    found = await probe_all([Target("n2", 4, "192.0.2.2"), Target("n3", 4, "198.51.100.1")])
    assert found["n2"].startswith(said)
    assert bool(found["n2"]) == bool(said)
    assert found["n3"] == "Network is unreachable"
    way = await check_way([NodeEnd("n2", "192.0.2.2")], (4, 6))
    assert [(each.check, each.verdict) for each in way] == [("way", "warn" if said else "ok")]


async def test_everything_at_once(inside: Namespace, tmp_path: Path) -> None:
    assert inside.name
    keys = tmp_path / "keys"
    keys.write_text(f"3 rfc4106(gcm(aes)) {bytes(range(20)).hex()} 128\n")
    keys.chmod(0o600)
    found = await examine(Config(ipsec_key_file=str(keys)), {}, [])
    assert [each.check for each in found[:3]] == ["keys", "kernel", "kernel"]
    assert found[0].text == f"{keys}: 3, the newest first"
    keys.write_text("3 x y\n")
    bad, *_ = await examine(Config(ipsec_key_file=str(keys), ipv6_support=False), {}, [])
    assert bad.verdict == "fail"
    none, *_ = await examine(Config(), {}, [])
    assert (none.verdict, none.text) == ("warn", "the configuration names none")
