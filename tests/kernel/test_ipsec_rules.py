"""IPsec's rules, judged by the kernel: ESP between nodes alone, marks, and what was decrypted.

fabric ══ eth0 node cali1, cali2 ══ w1, w2

No packet here is encrypted: of ESP the rules see no more than the protocol and the addresses, and
of what was decrypted no more than the mark, which a table of the test's own stands in for.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Literal

import pytest

from calc_graph.model import IpPool, IpsecNode
from calc_graph.updates import (
    ActiveRule,
    HostUpdate,
    IpsecPeer,
    IpsecPeerRemove,
    PoolUpdate,
    Update,
)
from dataplane.families import Family
from dataplane.settings import IpsecSettings, RenderSettings, Settings
from tests.dataplane.desired.builders import DENY, hep, policy, tier
from tests.kernel.conftest import Namespace, enter
from tests.kernel.forging import ear, send, udp
from tests.kernel.test_dataplane import OPEN, Lab, endpoint

pytestmark = pytest.mark.kernel

Backend = Literal["nft", "legacy"]
FAMILIES: tuple[Family, ...] = (4, 6)
ESP = 50
PORT = 7000
UPLINK_MAC, FABRIC_MAC = "02:30:00:00:00:0a", "02:30:00:00:00:01"
HOST = {4: "172.30.0.10", 6: "fd30::10"}
NODE = {4: "172.30.0.1", 6: "fd30::1"}
STRANGER = {4: "172.30.0.2", 6: "fd30::2"}
W1 = {4: "10.65.0.1", 6: "fd65::1"}
W2 = {4: "10.65.0.2", 6: "fd65::2"}
POOLED = {4: "10.65.9.9", 6: "fd65:0:0:9::9"}  # a workload of another node
TUNNELLED = (
    PoolUpdate(IpPool("10.65.0.0/16", ipip_mode="always")),
    PoolUpdate(IpPool("fd65::/48", vxlan_mode="always")),
)
REMOTE = HostUpdate("r", NODE[4], NODE[6])
PUBLISHED = IpsecPeer("r", IpsecNode(enabled=True, ipv4=NODE[4], ipv6=NODE[6]))
SHUT = (policy("shut", DENY), hep("h", "eth0", tiers=[tier("shut")]))
_TOKEN = re.compile(rb"fxesp:([0-9a-f]{2})")


def settings(
    *families: Family,
    backend: Backend = "nft",
    protection: Literal["Off", "Drop"] = "Off",
) -> Settings:
    render = RenderSettings(fabric_spoof_protection=protection, endpoint_to_host_action="ACCEPT")
    ipsec = IpsecSettings(frozenset(families), allow_clear=True)
    return Settings("n1", iptables_backend=backend, render=render, ipsec=ipsec)


class Cable(Lab):
    """The lab with a machine beside the node, that has the addresses of two."""

    def __init__(self, node: Namespace, netns: Callable[[str], Namespace]) -> None:
        super().__init__(node, netns)
        for n in (1, 2):
            self.plug(n)
        self.fabric = netns("fabric")
        node.run(
            f"ip link add eth0 address {UPLINK_MAC} type veth"
            f" peer name eth0 address {FABRIC_MAC} netns {self.fabric.name}; ip link set eth0 up"
        )
        self.fabric.run("ip link set eth0 up")
        node.await_carrier("eth0")
        node.run(
            "for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $f; done;"
            f"ip addr add {HOST[4]}/24 dev eth0; ip addr add {HOST[6]}/64 dev eth0 nodad;"
            f"ip route add default via {NODE[4]}; ip route add default via {NODE[6]}"
        )
        for family in FAMILIES:
            for address in (NODE[family], STRANGER[family]):
                length = 24 if family == 4 else 64
                nodad = "" if family == 4 else "nodad"
                self.fabric.run(f"ip addr add {address}/{length} dev eth0 {nodad}")
                # what a policy that allows nothing would not let the node ask
                node.run(f"ip neigh replace {address} lladdr {FABRIC_MAC} dev eth0")

    async def have(self, settings: Settings, *updates: Update) -> None:
        """Whether this kernel has ESP is none of these tests' business."""
        await self.start(settings)
        await self.afresh(*updates)

    async def afresh(self, *updates: Update) -> None:
        """With no flow from before: policy is not asked about those."""
        assert self.dataplane is not None
        self.dataplane.desire(updates)
        await self.settle()
        self.node.run("conntrack -F; conntrack -F -f ipv6")

    def taken(self, family: Family) -> list[int]:
        """From which the node hears ESP: 1 the other node, 2 the stranger."""
        with esp_ear(self.node, family) as heard:
            senders = {1: NODE[family], 2: STRANGER[family]}
            packets = [esp(source, HOST[family], n) for n, source in senders.items()]
            send(self.fabric, packets, UPLINK_MAC)
            return heard()

    def given(self, family: Family) -> list[int]:
        """To which the node's own ESP comes, by the same numbers."""
        kind = socket.AF_INET if family == 4 else socket.AF_INET6
        with (
            esp_ear(self.fabric, family) as heard,
            socket.socket(kind, socket.SOCK_RAW, ESP) as sending,
        ):
            for n, target in {1: NODE[family], 2: STRANGER[family]}.items():
                with contextlib.suppress(PermissionError):  # so a local sender hears of a rule
                    sending.sendto(payload(n), (target, 0))
            return heard()

    def rules(self) -> str:
        kinds = ("nft", "legacy")
        saved = [f"iptables-{kind}-save; ip6tables-{kind}-save" for kind in kinds]
        return self.node.run(f"{'; '.join(saved)}; ipset list -n; true")


def payload(token: int) -> bytes:
    return struct.pack("!II", 0x1001, token) + f"fxesp:{token:02x}".encode() + bytes(16)


def esp(source: str, target: str, token: int) -> bytes:
    one, other = ipaddress.ip_address(source), ipaddress.ip_address(target)
    data = payload(token)
    if one.version == 6:
        return struct.pack("!IHBB", 6 << 28, len(data), ESP, 64) + one.packed + other.packed + data
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(data), 0, 0, 64, ESP, 0)
    head += one.packed + other.packed
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return head[:10] + struct.pack("!H", ~total & 0xFFFF) + head[12:] + data


@contextlib.contextmanager
def esp_ear(space: Namespace, family: Family) -> Iterator[Callable[[], list[int]]]:
    """What of ESP has come past the rules of INPUT, by number."""
    made: list[socket.socket] = []

    def listen() -> None:
        enter(space.path)  # this thread alone
        kind = socket.AF_INET if family == 4 else socket.AF_INET6
        made.append(socket.socket(kind, socket.SOCK_RAW, ESP))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    with made[0] as listening:
        listening.setblocking(False)

        def heard() -> list[int]:
            found: list[int] = []
            with contextlib.suppress(BlockingIOError):
                while True:
                    found += [int(token, 16) for token in _TOKEN.findall(listening.recv(2048))]
            return found

        yield heard


@pytest.fixture
async def lab(inside: Namespace, netns: Callable[[str], Namespace]) -> AsyncIterator[Cable]:
    lab = Cable(inside, netns)
    yield lab
    await lab.close()


@pytest.mark.parametrize("backend", ["nft", "legacy"])
async def test_esp_passes_a_host_endpoint_that_is_shut_between_nodes_alone(
    lab: Cable, backend: Backend
) -> None:
    await lab.have(settings(*FAMILIES, backend=backend), REMOTE, PUBLISHED)
    for family in FAMILIES:
        assert lab.taken(family) == lab.given(family) == [1, 2], family
    await lab.afresh(*SHUT)
    for family in FAMILIES:
        assert lab.taken(family) == lab.given(family) == [1], family
    await lab.afresh(IpsecPeerRemove("r"))
    for family in FAMILIES:
        assert lab.taken(family) == lab.given(family) == [], family


async def test_rules_come_and_go_with_ipsec(lab: Cable) -> None:
    before = (REMOTE, PUBLISHED, OPEN, endpoint(1))
    await lab.have(settings(), *before)
    without = lab.rules()
    assert "ipsec" not in without
    assert "0xe00" not in without
    await lab.have(settings(4), *before)
    assert "cali40ipsec-nodes" in lab.rules()
    assert "cali60ipsec-nodes" not in lab.rules()
    await lab.have(settings(4, 6), *before)
    assert "cali60ipsec-nodes" in lab.rules()
    assert lab.node.run("iptables-nft-save -t mangle").count("--set-xmark 0xe00/0xf00") == 1
    await lab.have(settings(), *before)
    assert re.sub(r"\[\d+:\d+\]|#.*", "", lab.rules()) == re.sub(r"\[\d+:\d+\]|#.*", "", without)


MARKED = """
table inet probe {
    chain pre { type filter hook prerouting priority -145;
        meta mark and 0xf00 == 0xe00 counter accept
        meta mark and 0xf00 != 0 counter accept
        iifname "eth0" udp dport 7000 counter accept
    }
}
"""


async def test_what_workloads_send_is_marked_and_nothing_else(lab: Cable) -> None:
    await lab.have(settings(*FAMILIES), REMOTE, PUBLISHED, OPEN, endpoint(1), endpoint(2))
    lab.node.run("nft -f -", stdin=MARKED)
    assert lab.both(1, 2) == {4, 6}
    for family in FAMILIES:
        send(lab.fabric, [udp(NODE[family], HOST[family], PORT)], UPLINK_MAC)
    counts = [
        int(n) for n in re.findall(r"packets (\d+)", lab.node.run("nft list table inet probe"))
    ]
    # a question and an answer of each family, with what of discovery goes before them
    assert counts[0] >= 4
    assert counts[1:] == [0, 2]


DECRYPTED = """
table inet probe {
    chain pre { type filter hook prerouting priority -310;
        iifname "eth0" meta mark set meta mark and 0xfffff0ff or 0xd00
    }
}
"""


def arrives(lab: Cable, source: dict[int, str]) -> set[int]:
    """The families in which a packet from the fabric comes to the first workload."""
    found: set[int] = set()
    for family in FAMILIES:
        with ear(lab.workloads[1], family, PORT) as inside:
            send(lab.fabric, [udp(source[family], W1[family], PORT, token=1)], UPLINK_MAC)
            if inside():
                found.add(family)
    return found


async def test_what_was_decrypted_comes_by_a_tunnel(lab: Cable) -> None:
    everything = (REMOTE, PUBLISHED, OPEN, endpoint(1), endpoint(2), *TUNNELLED)
    await lab.have(settings(*FAMILIES, protection="Drop"), *everything)
    assert arrives(lab, POOLED) == set()
    lab.node.run("nft -f -", stdin=DECRYPTED)
    assert arrives(lab, POOLED) == {4, 6}
    lab.node.run("nft delete table inet probe")
    # a mark that nobody asked for is no reason where IPsec is off
    await lab.have(settings(protection="Drop"), *everything)
    lab.node.run("nft -f -", stdin=DECRYPTED)
    assert arrives(lab, POOLED) == set()


async def test_what_was_decrypted_satisfies_a_policy_that_requires_encryption(lab: Cable) -> None:
    udp_in = policy("p", ActiveRule("allow", protocol="udp"), encrypted=True)
    guarded = (REMOTE, PUBLISHED, OPEN, udp_in, endpoint(1, "p", profiles=()))
    await lab.have(settings(*FAMILIES), *guarded)
    assert arrives(lab, POOLED) == set()
    lab.node.run("nft -f -", stdin=DECRYPTED)
    assert arrives(lab, POOLED) == {4, 6}
