"""A workload that forges its source, whatever the host says of the reverse-path filter.

The kernel takes the higher one of `all` and the interface's own value, so that 2 (loose) in `all`
undoes the strict 1 that the agent gives to a workload's interface; the rule in raw goes by neither.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from dataplane.settings import Settings
from tests.dataplane.desired.builders import wep
from tests.kernel.conftest import Namespace
from tests.kernel.forging import ear, send, udp
from tests.kernel.test_dataplane import MAC, OPEN, Lab, endpoint

pytestmark = pytest.mark.kernel

HOST_MAC = "ee:ee:ee:ee:ee:ee"
OWN, TARGET = ("10.65.0.1", "fd65::1"), ("10.65.0.2", "fd65::2")
# the neighbour's, one of nowhere, the host's, one with a route by way of the host's uplink
FORGED = {
    4: ("10.65.0.3", "192.0.2.1", "172.30.0.10", "10.99.0.1"),
    6: ("fd65::3", "2001:db8::1", "fd30::10", "fd99::1"),
}
SETTINGS = tuple(itertools.product((0, 1, 2), repeat=2))  # all, default


@pytest.fixture
async def lab(inside: Namespace, netns: Callable[[str], Namespace]) -> AsyncIterator[Lab]:
    lab = Lab(inside, netns)
    inside.run(
        "ip link add eth0 type veth peer name far; ip link set far up; ip link set eth0 up;"
        "ip addr add 172.30.0.10/24 dev eth0; ip addr add fd30::10/64 dev eth0 nodad;"
        "ip route add default via 172.30.0.1; ip route add default via fd30::1;"
        "ip route add 10.99.0.0/16 via 172.30.0.1; ip -6 route add fd99::/16 via fd30::1"
    )
    for n in (2, 3):
        lab.plug(n)
    yield lab
    await lab.close()


def arriving(lab: Lab, family: int, sources: Sequence[str]) -> list[str]:
    """Of packets from these sources, those that the neighbour gets."""
    target = TARGET[family == 6]
    packets = [udp(source, target, 7000, token=n) for n, source in enumerate(sources)]
    with ear(lab.workloads[2], family, 7000) as heard:
        send(lab.workloads[1], packets, HOST_MAC)
        return [sources[token] for token in heard()]


async def test_forged_sources_go_nowhere(lab: Lab) -> None:
    await lab.start(Settings("n1", iptables_backend="nft"))
    await lab.told(OPEN, *map(endpoint, (1, 2, 3)))
    run, where = lab.node.run, "/proc/sys/net/ipv4/conf"
    for of_all, default in SETTINGS:
        run(f"echo {of_all} > {where}/all/rp_filter; echo {default} > {where}/default/rp_filter")
        lab.plug(1)  # `default` is what a new interface begins with
        await lab.until(lambda: lab.routes().count("dev cali1 ") >= 2)
        # an interface that comes in the middle of an apply has its route a moment earlier
        await lab.until(lambda: run(f"cat {where}/cali1/rp_filter").strip() == "1")
        for family, own, forged in ((4, OWN[0], FORGED[4]), (6, OWN[1], FORGED[6])):
            arrived = arriving(lab, family, (own, *forged, own))
            assert arrived == [own, own], (of_all, default)
        # the rest of the host keeps what it was given
        assert run(f"cat {where}/all/rp_filter {where}/eth0/rp_filter").split()[0] == str(of_all)
        lab.unplug(1)
        await lab.until(lambda: "dev cali1 " not in lab.routes())


async def test_a_forged_source_that_is_allowed_arrives_and_no_other(lab: Lab) -> None:
    """But for IPv4 under a strict `all`, which is the host's to say."""
    await lab.start(Settings("n1", iptables_backend="nft", source_spoofing=True))
    allowed = {4: "192.0.2.1", 6: "2001:db8::1"}
    spoofing = wep(
        "w1",
        "cali1",
        "10.65.0.1/32",
        "fd65::1/128",
        mac=MAC.format(1),
        profiles=("open",),
        spoofable_sources=("192.0.2.0/24", "2001:db8::/32"),
    )
    lab.node.run("echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter")
    lab.plug(1)
    await lab.told(OPEN, spoofing, endpoint(2), endpoint(3))
    for family, source in allowed.items():
        others = [each for each in FORGED[family] if each != source]
        assert arriving(lab, family, (source, *others)) == [source]
    lab.node.run("echo 1 > /proc/sys/net/ipv4/conf/all/rp_filter")
    assert {f for f, source in allowed.items() if arriving(lab, f, [source])} == {6}
