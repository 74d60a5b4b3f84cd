"""Parameters of translation, with flows and where they seem to come from, in both families.

x1 is beyond the masqueraded pools, x2 is sometimes within a pool, sometimes a host of the cluster.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable

import pytest

from tests.kernel.conftest import Namespace
from tests.kernel.host_lab import ADDRESSES, HostLab, policy, workload

pytestmark = pytest.mark.kernel

NATTED = """\
kind: IPPool
metadata: {name: four}
spec: {cidr: 10.65.0.0/16, natOutgoing: true}
---
kind: IPPool
metadata: {name: six}
spec: {cidr: "fd65::/64", natOutgoing: true}
"""
NOT_NATTED = NATTED.replace("true", "false")
POOL_OF_X2 = """\
kind: IPPool
metadata: {name: fabric-four}
spec: {cidr: 172.31.0.0/24}
---
kind: IPPool
metadata: {name: fabric-six}
spec: {cidr: "fd31::/64"}
"""
HOST_X2 = """\
kind: Node
metadata: {name: n2}
spec: {bgp: {ipv4Address: 172.31.0.1/24, ipv6Address: "fd31::1/64"}}
"""


@pytest.fixture
async def lab(inside: Namespace, netns: Callable[[str], Namespace]) -> AsyncIterator[HostLab]:
    lab = HostLab(inside, netns)
    yield lab
    await lab.close()


# parameters, resources; from where a flow seems to come, by name or address
OUTGOING = [
    (
        {},
        NATTED,
        {
            "w1 -> x1 tcp 80": "node",
            "w1 -> x1 udp 80": "node",
            "w1 -> x2 tcp 80": "node2",
            "w1 -> w2 tcp 80": "w1",
            "w1 -> w2 udp 80": "w1",
            "x1 -> w1 tcp 80": "x1",
            "node -> x1 tcp 80": "node",
            "node -> w1 tcp 80": "node",
        },
    ),
    ({}, NOT_NATTED, {"w1 -> x1 tcp 80": "w1", "w1 -> x2 udp 80": "w1"}),
    (
        {},
        f"{NATTED}---\n{POOL_OF_X2}",
        {"w1 -> x2 tcp 80": "w1", "w1 -> x2 udp 80": "w1", "w1 -> x1 tcp 80": "node"},
    ),
    (
        {"NATOutgoingExclusions": "IPPoolsAndHostIPs"},
        f"{NATTED}---\n{HOST_X2}",
        {"w1 -> x2 tcp 80": "w1", "w1 -> x2 udp 80": "w1", "w1 -> x1 tcp 80": "node"},
    ),
    (
        {"NATOutgoingExclusions": "IPPoolsOnly"},
        f"{NATTED}---\n{HOST_X2}",
        {"w1 -> x2 tcp 80": "node2", "w1 -> x2 udp 80": "node2", "w1 -> x1 tcp 80": "node"},
    ),
    (
        {"IptablesNATOutgoingInterfaceFilter": "eth1"},
        NATTED,
        {"w1 -> x2 tcp 80": "node2", "w1 -> x1 tcp 80": "w1", "w1 -> x1 udp 80": "w1"},
    ),
    (
        {"NATOutgoingAddress": "172.30.0.150"},
        NATTED,
        {
            "w1 -> x1 tcp 80 v4": "172.30.0.150",
            "w2 -> x1 udp 80 v4": "172.30.0.150",
            "w1 -> x1 tcp 80 v6": "node",  # the address is of the other family
            "w1 -> w2 tcp 80": "w1",
            "node -> x1 tcp 80": "node",
        },
    ),
]


async def test_whose_address_leaves_with_a_workload_s_flow(lab: HostLab) -> None:
    lab.node.run("ip addr add 172.30.0.150/32 dev eth0")
    for parameters, resources, flows in OUTGOING:
        await lab.have(resources)
        await lab.configure(**parameters)
        seen = lab.origins(*flows)
        for text, name in flows.items():
            wanted = set(ADDRESSES.get(name, (name,)))
            assert {address for address, _ in seen[text]} <= wanted, (parameters, text, seen[text])
        lab.check("an echo has no port", open="w1 -> x1 icmp, w1 -> x2 icmp")


@pytest.mark.parametrize("address", ["", "172.30.0.150"])
async def test_the_ports_of_translated_flows(lab: HostLab, address: str) -> None:
    lab.node.run("ip addr add 172.30.0.150/32 dev eth0")
    await lab.have(NATTED)
    named = {"NATOutgoingAddress": address} if address else {}
    await lab.configure(NATPortRange="61500:61509", **named)
    wanted = {address or ADDRESSES["node"][0], ADDRESSES["node"][1]}
    seen = lab.origins("w1 -> x1 tcp 80", "w1 -> x1 udp 80", "w1 -> x1 udp 80 sport 1000")
    for text, origins in seen.items():
        assert {origin for origin, _ in origins} == wanted, text
        assert all(61500 <= port <= 61509 for _, port in origins), origins
    lab.check("nothing else has a port", open="w1 -> x1 icmp, w1 -> x1 ip 253")
    ((_, port), _) = lab.origins("node -> x1 udp 80 sport 1000")["node -> x1 udp 80 sport 1000"]
    assert port == 1000


FLOATING = ("172.30.9.1", "fd30:9::1")
NATS = [
    {"internalIP": internal, "externalIP": external}
    for internal, external in zip(ADDRESSES["w1"], FLOATING, strict=True)
]
TO_FLOATING = (
    "x1 -> floating@w1 tcp 80, x2 -> floating@w1 udp 80, node -> floating@w1 tcp 80,"
    "w2 -> floating@w1 tcp 80, w1 -> floating@w1 tcp 80"
)


async def test_floating_addresses(lab: HostLab) -> None:
    lab.addresses["floating"] = FLOATING
    await lab.have(workload(1, ipNATs=NATS))
    await lab.configure(FloatingIPs="Enabled")
    lab.check("enabled", open=TO_FLOATING)
    flows = {
        "x1 -> floating@w1 tcp 80": ADDRESSES["x1"],
        "w2 -> floating@w1 udp 80": ADDRESSES["w2"],
        "w1 -> floating@w1 tcp 80": FLOATING,  # itself, as others see it
        "w1 -> x1 tcp 80": ADDRESSES["w1"],  # outgoing flows are not translated
    }
    seen = lab.origins(*flows)
    assert {text: tuple(each for each, _ in seen[text]) for text in flows} == flows

    allow = [{"action": "Allow", "protocol": "TCP", "destination": {"nets": ["10.65.0.1/32"]}}]
    judged = policy("server", "name == 'w1'", types=["Ingress"], ingress=allow)
    await lab.have(workload(1, ipNATs=NATS), judged)
    lab.check(
        "policy is asked about the address behind it",
        open="x1 -> floating@w1 tcp 80 v4",
        shut="x1 -> floating@w1 udp 80, x1 -> floating@w1 tcp 80 v6",
    )
    moved = [
        {"internalIP": internal, "externalIP": external}
        for internal, external in zip(ADDRESSES["w2"], FLOATING, strict=True)
    ]
    await lab.have(workload(2, ipNATs=moved))
    lab.check("it moves", open="x1 -> floating@w2 tcp 80, w1 -> floating@w2 udp 80")
    await lab.have(workload(1, ipNATs=NATS))
    await lab.configure(FloatingIPs="Disabled")
    lab.check("disabled", shut=TO_FLOATING, open="x1 -> w1 tcp 80")


SERVICES = ("10.96.0.9", "fd96::9")
TRANSLATED = ("10.96.0.10", "fd96::a")
SERVICE_NETS = json.dumps(
    {
        "kind": "BGPConfiguration",
        "metadata": {"name": "default"},
        "spec": {
            "serviceClusterIPs": [{"cidr": "10.96.0.0/24"}],
            "serviceExternalIPs": [{"cidr": "fd96::/64"}],
        },
    }
)
LOOPING = "x2 -> service@x1 tcp 80, w1 -> service@x1 tcp 80, w1 -> service@x1 icmp"
SERVED = "x2 -> translated@w2 tcp 80, w1 -> translated@w2 udp 80, node -> service@x1 tcp 80"


async def test_packets_to_services_that_nobody_serves(lab: HostLab) -> None:
    """They would go back to where routes of services lead: x1 listens there."""
    lab.addresses |= {"service": SERVICES, "translated": TRANSLATED}
    for address in SERVICES:
        lab.spaces["x1"].run(f"ip addr add {address} dev lo")
    lab.spaces["x1"].run("ip route add 172.31.0.0/24 via 172.30.0.10")
    for family, command in enumerate(("iptables-nft", "ip6tables-nft")):
        translation = f"-d {TRANSLATED[family]} -j DNAT --to-destination {ADDRESSES['w2'][family]}"
        lab.node.run(f"{command} -w -t nat -A PREROUTING {translation}")
    await lab.have(SERVICE_NETS)
    for action, state in (("Drop", "shut"), ("Reject", "refused"), ("Disabled", "open")):
        await lab.configure(ServiceLoopPrevention=action)
        lab.check(action, **{state: LOOPING})
        lab.check(action, open=SERVED)
    await lab.configure()
    lab.check("by default", shut=LOOPING)
    await lab.have()
    lab.check("no such net", open=LOOPING)
