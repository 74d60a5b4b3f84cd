"""Parameters that protect the host, each with traffic that shows it, in both families."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.kernel.conftest import Namespace
from tests.kernel.forging import icmp, send, udp
from tests.kernel.host_lab import ADDRESSES, COMMANDS, HostLab, host_endpoint, policy
from tests.kernel.host_traffic import ear

pytestmark = pytest.mark.kernel

HOST_MAC = "ee:ee:ee:ee:ee:ee"


@pytest.fixture
async def lab(inside: Namespace, netns: Callable[[str], Namespace]) -> AsyncIterator[HostLab]:
    lab = HostLab(inside, netns)
    await lab.have()
    yield lab
    await lab.close()


# ---------------------------------------------------------------- workloads and their host

TO_HOST = [
    # what the parameter says; what w1, whose policy allows all, finds of the host
    ({}, {"shut": "w1 -> node tcp 80, w1 -> node udp 80, w1 -> node icmp, w1 -> node tcp 81"}),
    (
        {"DefaultEndpointToHostAction": "Return"},
        {
            "open": "w1 -> node tcp 80, w1 -> node udp 80, w1 -> node icmp",
            "shut": "w1 -> node tcp 81",  # the host's own rule
        },
    ),
    (
        {"DefaultEndpointToHostAction": "Accept"},
        {"open": "w1 -> node tcp 80, w1 -> node udp 80, w1 -> node icmp, w1 -> node tcp 81"},
    ),
]


async def test_what_becomes_of_what_policy_lets_a_workload_send_to_its_host(lab: HostLab) -> None:
    """And of nothing else: neither of what policy forbids, nor of what is forwarded."""
    allow = [{"action": "Allow", "protocol": "TCP", "destination": {"ports": [80]}}]
    await lab.have(policy("quiet", "name == 'w2'", types=["Egress"], egress=allow))
    lab.operator("-A INPUT -i cali+ -p tcp --dport 81 -j DROP")
    for parameters, expected in TO_HOST:
        await lab.configure(**parameters)
        lab.check(
            str(parameters),
            open=expected.get("open", "")
            + ", w1 -> w2 tcp 81, w2 -> w1 tcp 80, node -> w1 tcp 80, w1 -> x1 udp 80",
            shut=expected.get("shut", "")
            + ", w2 -> w1 tcp 81, w2 -> node udp 80, w2 -> node icmp, w2 -> node tcp 81",
        )


DNS = "w2 -> node udp 53"
DHCP = "w2 -> node udp 67 sport 68 v4, w2 -> node udp 547 sport 546 v6"
SERVICE = "w2 -> metadata@node tcp 80 to 8775 v4"
DIRECTLY = "w2 -> node tcp 8775 v4"
METADATA = f"{SERVICE}, {DIRECTLY}"
BESIDE = (
    "w2 -> node tcp 53, w2 -> node udp 54, w2 -> node udp 67 sport 69, w2 -> node udp 68 sport 67,"
    "w2 -> node udp 67 sport 68 v6, w2 -> node udp 547 sport 546 v4, w2 -> node tcp 8775 v6,"
    "w2 -> node tcp 8774, w2 -> node udp 8775, w2 -> node tcp 80, w2 -> node icmp,"
    "w2 -> node2 tcp 8775, w2 -> x1 udp 53, w2 -> w1 udp 53"
)
SERVICES = [
    ({}, "", f"{DNS},{DHCP},{METADATA}"),
    ({"MetadataAddr": "none"}, "", f"{DNS},{DHCP},{METADATA}"),
    # the service is at 127.0.0.1 unless it is said to be elsewhere
    ({"ClusterType": "k8s,openstack"}, f"{DNS},{DHCP},{SERVICE}", DIRECTLY),
    ({"InterfacePrefix": "cali,tap"}, f"{DNS},{DHCP},{SERVICE}", DIRECTLY),
    ({"MetadataAddr": "172.30.0.10"}, f"{DNS},{DHCP},{METADATA}", "w2 -> node tcp 9775 v4"),
    (
        {"MetadataAddr": "172.30.0.10", "MetadataPort": "9775"},
        f"{DNS},{DHCP}, w2 -> metadata@node tcp 80 to 9775 v4, w2 -> node tcp 9775 v4",
        "w2 -> node tcp 8775 v4",
    ),
    ({"ClusterType": "openstack", "MetadataAddr": "none"}, f"{DNS},{DHCP}", METADATA),
    ({"MetadataAddr": "172.30.0.10", "MetadataPort": "none"}, f"{DNS},{DHCP}", METADATA),
]


async def test_what_a_workload_may_always_ask_its_host_and_no_more(lab: HostLab) -> None:
    """Though its policy forbids everything."""
    lab.addresses["metadata"] = ("169.254.169.254", "::")
    await lab.have(policy("mute", "name == 'w2'", types=["Egress"], egress=[{"action": "Deny"}]))
    for parameters, may, may_not in SERVICES:
        await lab.configure(**parameters)
        lab.check(str(parameters), open=may, shut=f"{BESIDE},{may_not}")


BROADCAST, ALL_DHCP_AGENTS = "ff:ff:ff:ff:ff:ff", "33:33:00:01:00:02"
NO_ADDRESS_YET = [
    # sent from, sent to, ports, whether the host of an OpenStack hears it
    (4, "0.0.0.0", "255.255.255.255", 68, 67, BROADCAST, True),
    (4, "0.0.0.0", "255.255.255.255", 67, 68, BROADCAST, False),
    (4, "0.0.0.0", "255.255.255.255", 68, 5000, BROADCAST, False),
    (6, "fe80::65:ff:fe00:2", "ff02::1:2", 546, 547, ALL_DHCP_AGENTS, True),
    (6, "fe80::65:ff:fe00:2", "ff02::1:2", 547, 546, ALL_DHCP_AGENTS, False),
    (6, "fe80::65:ff:fe00:2", "ff02::1:2", 546, 5000, ALL_DHCP_AGENTS, False),
]


@pytest.mark.parametrize("openstack", [True, False])
async def test_a_workload_without_an_address_asks_for_one(lab: HostLab, openstack: bool) -> None:
    await lab.have(policy("mute", "name == 'w2'", types=["Egress"], egress=[{"action": "Deny"}]))
    await lab.configure(ClusterType="openstack" if openstack else "k8s")
    for family, source, target, source_port, port, mac, heard in NO_ADDRESS_YET:
        with ear(
            lab.node, family, port, group=target if family == 6 else "", device="cali2"
        ) as ask:
            send(lab.workloads[2], [udp(source, target, port, source_port=source_port)], mac)
            assert ask() == [0] * (heard and openstack), (family, source_port, port)


NEIGHBOUR_TYPES = (130, 131, 132, 133, 135, 136)
OTHER_TYPES = (1, 128, 129, 134, 137, 138, 139, 143)


@pytest.mark.parametrize("openstack", [True, False])
async def test_neighbour_discovery_of_ipv6_and_no_other_message(
    lab: HostLab, openstack: bool
) -> None:
    """A router's advertisement (134) is not for a workload to send."""
    await lab.have(policy("mute", "name == 'w2'", types=["Egress"], egress=[{"action": "Deny"}]))
    await lab.configure(ClusterType="openstack" if openstack else "k8s")
    types = NEIGHBOUR_TYPES + OTHER_TYPES
    packets = [icmp("fd65::2", ADDRESSES["node"][1], kind, token=kind) for kind in types]
    with ear(lab.node, 6, socket.IPPROTO_ICMPV6, raw=True) as heard:
        send(lab.workloads[2], packets, HOST_MAC)
        assert heard() == list(NEIGHBOUR_TYPES)
    with ear(lab.workloads[1], 6, socket.IPPROTO_ICMPV6, raw=True) as heard:  # not through it
        send(lab.workloads[2], [icmp("fd65::2", "fd65::1", kind) for kind in types], HOST_MAC)
        assert heard() == []


VXLAN = "w1 -> x1 udp 4789, w1 -> w2 udp 4789, w1 -> node udp 4789"
IPIP = "w1 -> x1 ip 4, w1 -> w2 ip 4, w1 -> node ip 4"
OTHER = "w1 -> x1 tcp 4789, w1 -> x1 udp 4788, w1 -> w2 ip 253, x1 -> w1 udp 4789, x2 -> w1 ip 4"
TUNNELLED = [
    ({}, OTHER, f"{VXLAN},{IPIP}"),
    ({"AllowVXLANPacketsFromWorkloads": "true"}, f"{OTHER},{VXLAN}", IPIP),
    ({"AllowIPIPPacketsFromWorkloads": "true"}, f"{OTHER},{IPIP}", VXLAN),
    (
        {"AllowVXLANPacketsFromWorkloads": "true", "AllowIPIPPacketsFromWorkloads": "true"},
        f"{OTHER},{VXLAN},{IPIP}",
        "",
    ),
    ({"VXLANPort": "8472"}, f"{OTHER},{VXLAN}", f"{IPIP}, w1 -> x1 udp 8472, w1 -> w2 udp 8472"),
]


async def test_packets_that_look_like_the_cluster_s_tunnels(lab: HostLab) -> None:
    for parameters, may, may_not in TUNNELLED:
        await lab.configure(DefaultEndpointToHostAction="Accept", **parameters)
        lab.check(str(parameters), open=may, shut=may_not)


# ---------------------------------------------------------------- failsafe ports

DENY = [{"action": "Deny"}]
ALLOW = [{"action": "Allow"}]
BOTH = {"types": ["Ingress", "Egress"]}
SHUTTING = {
    # where policy denies everything; the tables after it allow it
    "filter": {"order": 1, **BOTH, "ingress": DENY, "egress": DENY},
    "raw": {"doNotTrack": True, "applyOnForward": True, **BOTH, "ingress": DENY, "egress": DENY},
    "mangle": {"preDNAT": True, "applyOnForward": True, "types": ["Ingress"], "ingress": DENY},
}
FAILSAFES = [
    # in, out: open from outside, shut from outside; open from the node, shut from the node
    (
        "tcp:22, udp:8055, tcp:172.30.0.0/24:8056, tcp:[fd30::/64]:8056, 8057",
        "tcp:2379, udp:172.31.0.1:53, udp:[fd31::1]:53",
        "x1 -> node tcp 22, x2 -> node2 tcp 22, x1 -> node udp 8055, x1 -> node tcp 8056,"
        "x2 -> node2 tcp 8057",
        "x2 -> node2 tcp 8056, x1 -> node udp 22, x1 -> node tcp 8055, x1 -> node udp 8057,"
        "x1 -> node icmp, x1 -> node tcp 2379, x1 -> node tcp 80",
        "node -> x1 tcp 2379, node -> x2 tcp 2379, node -> x2 udp 53",
        "node -> x1 udp 53, node -> x1 tcp 22, node -> x2 tcp 53, node -> x1 icmp,"
        "node -> x2 udp 2379",
    ),
    (
        "none",
        "none",
        "",
        "x1 -> node tcp 22, x1 -> node udp 68, x1 -> node tcp 179",
        "",
        "node -> x1 udp 53, node -> x1 udp 67, node -> x1 tcp 179",
    ),
    (
        "",  # the defaults
        "",
        "x1 -> node tcp 22, x1 -> node udp 68, x1 -> node tcp 179, x1 -> node tcp 2379,"
        "x1 -> node tcp 2380, x1 -> node tcp 5473, x1 -> node tcp 6443, x1 -> node tcp 6666,"
        "x1 -> node tcp 6667",
        "x1 -> node udp 22, x1 -> node udp 67, x1 -> node tcp 68, x1 -> node tcp 80",
        "node -> x1 udp 53, node -> x1 udp 67, node -> x1 tcp 179, node -> x1 tcp 2379,"
        "node -> x1 tcp 2380, node -> x1 tcp 5473, node -> x1 tcp 6443, node -> x1 tcp 6666,"
        "node -> x1 tcp 6667",
        "node -> x1 tcp 22, node -> x1 tcp 53, node -> x1 udp 68, node -> x1 tcp 80",
    ),
]
HOSTS = tuple(host_endpoint(f"h{n}", interfaceName=f"eth{n}", profiles=["open"]) for n in (0, 1))


@pytest.mark.parametrize("table", SHUTTING)
async def test_failsafe_ports_stay_open(lab: HostLab, table: str) -> None:
    """Whichever table has the policy that shuts the host."""
    await lab.have(*HOSTS, policy("shut", "has(host)", **SHUTTING[table]))
    for inbound, outbound, in_open, in_shut, out_open, out_shut in FAILSAFES:
        await lab.configure(
            **({"FailsafeInboundHostPorts": inbound} if inbound else {}),
            **({"FailsafeOutboundHostPorts": outbound} if outbound else {}),
        )
        if table == "mangle":  # where policy is about what comes in
            out_open, out_shut = f"{out_open},{out_shut}", ""
        lab.check(inbound or "defaults", open=f"{in_open},{out_open}", shut=f"{in_shut},{out_shut}")


# ---------------------------------------------------------------- verdicts and their place


HOST_RULES = [
    # policy allows it; a rule of the operator's, behind ours, does not
    ("-A INPUT -p tcp --dport 80 -j DROP", "x1 -> node tcp 80"),
    ("-A INPUT -p udp --dport 53 -j DROP", "w1 -> node udp 53"),  # always allowed
    ("-A OUTPUT -p tcp --dport 82 -j DROP", "node -> x1 tcp 82"),
    # what is forwarded is judged at the end: behind it there is the chain's own verdict
    ("-P FORWARD DROP", "w1 -> w2 tcp 81, x1 -> w1 tcp 81, w1 -> x1 udp 81"),
]


@pytest.mark.parametrize("action", ["Accept", "Return"])
async def test_where_what_policy_allows_goes_on(lab: HostLab, action: str) -> None:
    """With Return the host's other rules are asked, too."""
    await lab.have(*HOSTS)
    await lab.configure(IptablesFilterAllowAction=action, ClusterType="openstack")
    lab.operator(";".join(rule for rule, _ in HOST_RULES))
    flows = ",".join(flow for _, flow in HOST_RULES)
    lab.check(action, **{"open" if action == "Accept" else "shut": flows})


@pytest.mark.parametrize("action", ["Accept", "Return"])
async def test_where_what_pre_dnat_policy_allows_goes_on(lab: HostLab, action: str) -> None:
    early = {"preDNAT": True, "applyOnForward": True, "types": ["Ingress"], "ingress": ALLOW}
    await lab.have(host_endpoint("h", interfaceName="eth0"), policy("early", "has(host)", **early))
    await lab.configure(IptablesMangleAllowAction=action)
    lab.operator("-t mangle -A PREROUTING -p tcp --dport 80 -j DROP")
    lab.check(action, **{"open" if action == "Accept" else "shut": "x1 -> node tcp 80"})
    lab.check(action, open="x1 -> node tcp 81, x1 -> w1 udp 80")


@pytest.mark.parametrize("action", ["Drop", "Reject"])
async def test_what_is_denied_is_dropped_or_refused(lab: HostLab, action: str) -> None:
    """Where the kernel can refuse: in the filter table."""
    closed = {"types": ["Ingress"], "ingress": [{"action": "Deny", "protocol": "TCP"}]}
    early = [{"action": "Deny", "protocol": "TCP", "destination": {"ports": [99]}}]
    await lab.have(
        *HOSTS,
        policy("closed", "name == 'w2' || host == 'h0'", **closed),
        policy(
            "early",
            "has(host)",
            preDNAT=True,
            applyOnForward=True,
            types=["Ingress"],
            ingress=early,
        ),
    )
    await lab.configure(IptablesFilterDenyAction=action)
    denied = (
        "w1 -> w2 tcp 80, w1 -> w2 udp 80, x1 -> w2 udp 80, x1 -> node tcp 80, x1 -> node udp 80"
    )
    # a parameter of its own, and a table that comes before the filter
    lab.check(action, shut="w1 -> node tcp 80, x1 -> node tcp 99")
    lab.check(action, **{"shut" if action == "Drop" else "refused": denied})


async def test_the_log_action_s_prefix(lab: HostLab) -> None:
    """The kernel's log is not a namespace's, but the rules that write it count."""
    rules = [{"action": "Log", "protocol": "TCP"}, {"action": "Allow"}]
    await lab.have(policy("noted", "name == 'w2'", types=["Ingress"], ingress=rules))
    for prefix, expected in (
        ("hp-test", "hp-test: "),
        ("hp %t/%p", "hp default/noted: "),
        (None, "calico-packet: "),
    ):
        await lab.configure(**({"LogPrefix": prefix} if prefix else {}))
        lab.check(str(prefix), open="w1 -> w2 tcp 80, w1 -> w2 udp 80")
        for command in ("iptables", "ip6tables"):
            lines = [each for each in lab.node.saved("-c", command).split("\n") if "LOG" in each]
            counted = [re.sub(r"^\[(\d+):.*--log-prefix (\S.*?) --.*", r"\1 \2", e) for e in lines]
            assert counted == [f'1 "{expected}"'], command


async def test_our_rule_before_and_behind_those_of_the_host(lab: HostLab) -> None:
    first, last = "INPUT -p tcp --dport 80 -j ACCEPT", "INPUT -p tcp --dport 81 -j DROP"
    allow = [{"action": "Allow", "protocol": "TCP", "destination": {"ports": [81]}}]
    shut = policy("shut", "has(host)", types=["Ingress"], ingress=allow)
    await lab.have(*HOSTS, shut)
    lab.operator(f"-I {first}; -A {last}")
    await lab.configure()
    lab.check("insert", open="x1 -> node tcp 81", shut="x1 -> node tcp 80, x1 -> node tcp 82")
    lab.operator(f"-D {first}; -I {first}")  # in front of ours, where it does not stay

    def first_of_all() -> bool:
        heads = (lab.node.run(f"{command} -S INPUT 1") for command in COMMANDS.values())
        return all("cali-INPUT" in head for head in heads)

    await lab.until(first_of_all)
    lab.check("insert", open="x1 -> node tcp 81", shut="x1 -> node tcp 80, x1 -> node tcp 82")
    await lab.configure(ChainInsertMode="append")
    lab.check("append", open="x1 -> node tcp 80", shut="x1 -> node tcp 81, x1 -> node tcp 82")
    lab.operator(f"-D {last}; -A {last}")
    lab.check("append", open="x1 -> node tcp 80, x1 -> node tcp 81", shut="x1 -> node tcp 82")


MARKED = "-p udp --dport 90"


@pytest.mark.parametrize("mask", [0xFFFF0000, 0x0000FF00, 0x3F])
async def test_another_mask(lab: HostLab, mask: int) -> None:
    """What is not ours in a packet's mark stays as it is."""
    allow = [{"action": "Allow", "protocol": "UDP", "destination": {"ports": [90]}}]
    quick = {"doNotTrack": True, "applyOnForward": True, **BOTH}
    late = {"preDNAT": True, "applyOnForward": True, "types": ["Ingress"]}
    spare = 0x40000 if mask != 0xFFFF0000 else 0x40
    await lab.have(
        host_endpoint("h0", interfaceName="eth0"),
        policy("w2", "name == 'w2'", types=["Ingress"], ingress=allow),
        policy("quick", "host == 'h0'", **quick, ingress=[{**allow[0], "notProtocol": "ICMP"}]),
        policy("late", "host == 'h0'", **late, ingress=_ports("TCP", 91)),
    )
    await lab.configure(IptablesMarkMask=hex(mask))
    lab.operator(
        f"-t mangle -A PREROUTING {MARKED} -j MARK --or-mark {spare:#x};"
        f"-t mangle -A POSTROUTING {MARKED} -m mark --mark {spare:#x}/{spare:#x}"
    )
    lab.check(
        hex(mask),
        open="w1 -> w2 udp 90, w2 -> w1 tcp 80, x1 -> node tcp 91",
        heard="x1 -> node udp 90",  # stateless, and nothing allows the answer
        shut="w1 -> w2 tcp 90, w1 -> node udp 90, x1 -> node tcp 90",
    )
    for command in ("iptables", "ip6tables"):
        rules = [line for line in lab.node.saved("-c", command).split("\n") if "cali-" in line]
        used = re.findall(r"(?:xmark|--mark) 0x\w+/(0x\w+)", "\n".join(rules))
        assert used
        assert {int(each, 16) & ~mask for each in used} == {0}
        mangle = lab.node.saved("-c -t mangle", command)
        assert re.search(r"^\[1:\d+\] -A POSTROUTING.*dport 90", mangle, re.MULTILINE), mangle


def test_a_mask_that_is_too_small_is_refused(inside: Namespace, tmp_path: Path) -> None:
    """And the kernel stays as it was."""
    (tmp_path / "manifests").mkdir()
    config = tmp_path / "felixpy.cfg"
    config.write_text(
        f"FelixHostname = n1\nDatastorePath = {tmp_path}/manifests\nRunDir = {tmp_path}/run\n"
        "IptablesMarkMask = 0x1f00\n"
    )
    before = inside.run("nft list ruleset")
    agent = inside.start(sys.executable, "-m", "felixpy", "run", "--config", str(config))
    text, _ = agent.communicate(timeout=30)
    assert agent.returncode == 2, text
    assert "IptablesMarkMask" in text
    assert "has 5 bits set, and at least 6 are needed" in text
    assert inside.run("nft list ruleset") == before


def _ports(protocol: str, *ports: int) -> list[dict[str, object]]:
    return [{"action": "Allow", "protocol": protocol, "destination": {"ports": list(ports)}}]
