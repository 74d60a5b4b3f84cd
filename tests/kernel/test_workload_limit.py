"""A workload that floods its host with what policy cannot close: its limit, and nobody else's."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

import pytest

from dataplane.dropped import Dropped, read_dropped
from dataplane.settings import RenderSettings, Settings
from tests.kernel import agent_lab
from tests.kernel.conftest import Namespace
from tests.kernel.forging import ear, icmp, send, udp
from tests.kernel.test_dataplane import OPEN, Lab, endpoint

pytestmark = pytest.mark.kernel

HOST_MAC, BROADCAST_MAC = "ee:ee:ee:ee:ee:ee", "ff:ff:ff:ff:ff:ff"
ADDRESS = {4: "172.30.0.10", 6: "fd30::10"}
BURST, FLOOD, FEW = 30, 300, 5
SOLICITATION = 135
_METRICS = """
import urllib.request
print(urllib.request.urlopen("http://127.0.0.1:9091/metrics").read().decode())
"""


def limited(backend: str = "nft", *, openstack: bool = True) -> Settings:
    render = RenderSettings(
        openstack=openstack, workload_to_host_rate=1, workload_to_host_burst=BURST
    )
    return Settings(
        "n1", iptables_backend="legacy" if backend == "legacy" else "nft", render=render
    )


@pytest.fixture
async def lab(inside: Namespace, netns: Callable[[str], Namespace]) -> AsyncIterator[Lab]:
    lab = Lab(inside, netns)
    for n in (1, 2):
        lab.plug(n)
    inside.run(f"ip addr add {ADDRESS[4]}/32 dev lo; ip addr add {ADDRESS[6]}/128 dev lo nodad")
    yield lab
    await lab.close()


async def dropped() -> dict[tuple[int, str], int]:
    counts = (await read_dropped((4, 6))).limited
    return {key: packets for key, packets in counts.items() if packets}


def dns(family: int, n: int, count: int) -> list[bytes]:
    source = f"10.65.0.{n}" if family == 4 else f"fd65::{n}"
    return [udp(source, ADDRESS[family], 53, token=token) for token in range(count)]


@pytest.mark.parametrize("backend", ["nft", "legacy"])
@pytest.mark.parametrize("family", [4, 6])
async def test_a_flood_of_names_asked_for(lab: Lab, backend: str, family: int) -> None:
    await lab.start(limited(backend))
    await lab.told(OPEN, endpoint(1), endpoint(2))
    before = await dropped()
    assert {key: n for key, n in before.items() if key[0] == family} == {}
    with ear(lab.node, family, 53) as heard:
        send(lab.workloads[1], dns(family, 1, FLOOD), HOST_MAC)
        answered = len(heard())
        assert 0 < answered <= BURST + 5
        send(lab.workloads[2], dns(family, 2, FEW), HOST_MAC)
        assert len(heard()) == FEW
    assert await dropped() == before | {(family, "default/w1"): FLOOD - answered}


async def test_a_flood_without_a_source_is_still_one_workload_s(lab: Lab) -> None:
    await lab.start(limited())
    await lab.told(OPEN, endpoint(1), endpoint(2))

    def discover(count: int) -> Iterable[bytes]:
        return (udp("0.0.0.0", "255.255.255.255", 67, source_port=68) for _ in range(count))

    with ear(lab.node, 4, 67) as heard:
        send(lab.workloads[1], discover(FLOOD), BROADCAST_MAC)
        answered = len(heard())
        assert 0 < answered <= BURST + 5
        send(lab.workloads[2], discover(FEW), BROADCAST_MAC)
        assert len(heard()) == FEW
    assert await dropped() == {(4, "default/w1"): FLOOD - answered}


async def test_neighbours_are_found_while_another_one_floods(lab: Lab) -> None:
    """Without OpenStack as well; each solicitation from another link-local address."""
    await lab.start(limited(openstack=False))
    await lab.told(OPEN, endpoint(1), endpoint(2))
    forged = [icmp(f"fe80::{n:x}", "ff02::1:ffee:eeee", SOLICITATION) for n in range(1, FLOOD + 1)]
    send(lab.workloads[1], forged, "33:33:ff:ee:ee:ee")
    counts = await dropped()
    assert set(counts) == {(6, "default/w1")}
    assert FLOOD - BURST - 5 <= counts[6, "default/w1"] < FLOOD
    host = "fe80::ecee:eeff:feee:eeee"
    lab.workloads[2].run(f"ping -c1 -W0.3 {host}%eth0; true", check=False)
    assert HOST_MAC in lab.workloads[2].run(f"ip neigh show {host}")
    assert set(await dropped()) == {(6, "default/w1")}
    assert "cali-lw-" not in lab.node.saved("-t filter", "iptables")  # nothing to limit in IPv4


async def test_what_policy_allows_is_not_counted(lab: Lab) -> None:
    settings = limited()
    render = RenderSettings(
        openstack=True,
        workload_to_host_rate=1,
        workload_to_host_burst=BURST,
        endpoint_to_host_action="ACCEPT",
    )
    await lab.start(Settings(settings.hostname, iptables_backend="nft", render=render))
    await lab.told(OPEN, endpoint(1), endpoint(2))
    packets = [udp("10.65.0.1", ADDRESS[4], 5000, token=token) for token in range(FLOOD)]
    with ear(lab.node, 4, 5000) as heard:
        send(lab.workloads[1], packets, HOST_MAC)
        assert len(heard()) == FLOOD
    assert await dropped() == {}


async def test_interfaces_without_an_endpoint_share_a_limit(lab: Lab) -> None:
    await lab.start(limited())
    await lab.told(OPEN, endpoint(2))
    with ear(lab.node, 4, 67) as heard:
        some = [udp("0.0.0.0", "255.255.255.255", 67, source_port=68)] * FLOOD
        send(lab.workloads[1], some, BROADCAST_MAC)
        assert 0 < len(heard()) <= BURST + 5
        send(lab.workloads[2], some[:FEW], BROADCAST_MAC)
        assert len(heard()) == FEW
    assert set(await dropped()) == {(4, "no endpoint")}


def test_operators_are_told_who_was_limited(
    netns: Callable[[str], Namespace], tmp_path: Path
) -> None:
    lab = agent_lab.Lab(netns, tmp_path)
    lab.configure(
        ClusterType="openstack",
        WorkloadToHostPacketRate="1",
        WorkloadToHostPacketBurst=str(BURST),
        PrometheusMetricsEnabled="true",
        PrometheusMetricsHost="127.0.0.1",
    )
    lab.node.run(f"ip addr add {ADDRESS[4]}/32 dev lo")
    agent = lab.start()
    assert "limited" not in lab.ask("status")[1]
    source = agent_lab.WORKLOADS["w1"]
    flood = [udp(source, ADDRESS[4], 53, token=token) for token in range(FLOOD)]
    with ear(lab.node, 4, 53) as heard:
        send(lab.workloads["w1"], flood, agent_lab.MAC)
        over = FLOOD - len(heard())
    line = f"  limited     {over} packets to the host dropped: default/w1\n"
    assert line in lab.ask("status")[1]
    told = json.loads(lab.ask("status", "--json")[1])
    assert (told["limited"], told["forged"]) == ({"default/w1": over}, {})
    page = lab.node.run(f"{sys.executable} -c '{_METRICS}'")
    name = "felixpy_workload_to_host_limited_packets_total"
    assert f'{name}{{ip_version="4",workload="default/w1"}} {over}.0\n' in page
    assert f'{name}{{ip_version="4",workload="default/w2"}} 0.0\n' in page
    assert agent.end(signal.SIGTERM)[0] == 0


async def test_nothing_is_limited_by_default(lab: Lab) -> None:
    await lab.start(Settings("n1", iptables_backend="nft", render=RenderSettings(openstack=True)))
    await lab.told(OPEN, endpoint(1))
    with ear(lab.node, 4, 53) as heard:
        send(lab.workloads[1], dns(4, 1, FLOOD), HOST_MAC)
        assert len(heard()) == FLOOD
    assert "limit" not in lab.node.saved()
    assert await read_dropped((4, 6)) == Dropped()
