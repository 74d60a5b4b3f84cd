"""WireGuard as the whole dataplane has it: its device, its MTU, its place among the writes."""

from __future__ import annotations

from typing import Any

import pytest

from calc_graph.updates import HostUpdate, WireguardEndpoint, WireguardEndpointRemove
from dataplane.interfaces import Interface
from dataplane.overlay.devices import Tunnel
from dataplane.settings import Settings, WireguardSettings
from dataplane.wireguard.state import DeviceState, PeerState, shown
from tests.dataplane.wireguard.builders import OWN_KEY, behind, end, gone, key, node
from tests.fakes.node import FakeNode

ETH0 = Interface("eth0", 2, up=True, addresses=frozenset({"172.30.0.1", "fd30::1"}), mtu=1500)
WG = Interface("wireguard.cali", 7, up=True, generation=1, mtu=1440)
HERE = HostUpdate("here", "172.30.0.1", "fd30::1")
OWN = WireguardEndpoint("here", address="10.65.1.9", address_v6="fd65::9")
A = "10.0.1.0/26"


def wireguard_node(*interfaces: Interface, families: Any = (4, 6), **given: Any) -> FakeNode:
    settings = WireguardSettings(families=frozenset(families), **given)
    node = FakeNode(Settings("here", wireguard=settings))
    node.has(ETH0, *interfaces)
    return node


V4 = Tunnel("wireguard.cali", "wireguard", 4, "10.65.1.9", 1440)
V6 = Tunnel("wg-v6.cali", "wireguard", 6, "fd65::9", 1420)


def named(*tunnels: Tunnel) -> dict[str, Tunnel]:
    return {tunnel.name: tunnel for tunnel in tunnels}


def tunnel(**given: Any) -> Tunnel:
    fixed = {"name": "wireguard.cali", "kind": "wireguard", "family": 4}
    return Tunnel(**{**fixed, "address": "10.65.1.9", "mtu": 1440, **given})


HOSTS = {"host_encryption": True}
DEVICES: list[tuple[str, Any, dict[str, Any], list[Any], dict[str, Tunnel], set[str], int]] = [
    # case, families, settings, what is told, devices, problems, MTU of workloads
    ("both", (4, 6), {}, [OWN], named(V4, V6), set(), 1420),
    ("IPv4", (4,), {}, [OWN], named(V4), set(), 1440),
    ("off", (), {}, [OWN], {}, set(), 1500),
    ("an MTU", (4,), {"mtus": (1300, 0)}, [OWN], named(tunnel(mtu=1300)), set(), 1300),
    ("a name", (4,), {"devices": ("wg9", "wg6")}, [OWN], named(tunnel(name="wg9")), set(), 1440),
    ("no address", (4,), {}, [HERE], named(tunnel(address="")), {"wireguard.cali"}, 1440),
    (
        "an address taken away",
        (4,),
        {},
        [OWN, WireguardEndpointRemove("here")],
        named(tunnel(address="")),
        {"wireguard.cali"},
        1440,
    ),
    ("between hosts", (4,), HOSTS, [HERE], named(tunnel(address="172.30.0.1")), set(), 1440),
    ("between hosts, and an address", (4,), HOSTS, [HERE, OWN], named(V4), set(), 1440),
]  # fmt: skip


@pytest.mark.parametrize(("case", "on", "given", "told", "tunnels", "problems", "mtu"), DEVICES)
def test_devices(case, on, given, told, tunnels, problems, mtu) -> None:
    node = wireguard_node(families=on, **given)
    node.told(*told)
    assert node.links.tunnels == tunnels, case
    assert not node.links.unwanted & {"wireguard.cali", "wg-v6.cali", "wg9"}
    assert set(node.problems) == problems
    assert node.desired.overlays.workload_mtu == mtu


def test_a_kernel_without_it_is_a_problem_and_counts_for_the_mtu() -> None:
    n = wireguard_node(families=(4,))
    n.links.unavailable = {"wireguard.cali": "this kernel has no WireGuard"}
    n.told(OWN)
    assert n.problems == {"wireguard.cali": "this kernel has no WireGuard"}
    assert n.dataplane.wireguard.keys() == {4: "", 6: ""}
    assert n.desired.overlays.workload_mtu == 1440


async def test_what_is_to_be_published() -> None:
    n = wireguard_node(families=(4,))
    assert n.dataplane.wireguard.keys() == {6: ""}  # of IPv4 it is not known yet
    n.peers[4].state = DeviceState(7, OWN_KEY, 51820, 0x200000, {})
    assert n.dataplane.wireguard.keys() == {4: shown(OWN_KEY), 6: ""}


async def test_what_comes_is_before_the_main_table_and_what_goes_after_it() -> None:
    n = wireguard_node(WG, families=(4,))
    n.peers[4].state = DeviceState(7, OWN_KEY, 51820, 0x200000, {})
    await n.dataplane.start()
    n.desire(OWN, HERE, *node("a", A))
    await n.dataplane.apply()
    steps = [line for line in n.journal.take() if line.startswith("IPv4")]
    wanted = [
        *("IPv4 tunnels made", "IPv4 WireGuard peers added", "IPv4 WireGuard routes written"),
        "IPv4 routes",
        *("IPv4 WireGuard routes written", "IPv4 WireGuard peers added"),
        *("IPv4 WireGuard peers removed", "IPv4 tunnels removed"),
    ]
    assert [step for step in steps if step in wanted] == wanted
    assert (n.wireguard_tables[4].routes, n.wireguard_tables[4].asked_by) == (
        {A: "throw"},
        "forwarded",
    )
    assert n.wireguard_tables[6].asked_by == "nobody"
    await n.dataplane.close()


async def test_a_main_table_that_cannot_be_written_keeps_what_would_go() -> None:
    n = wireguard_node(WG, families=(4,))
    answered = {key("a"): PeerState(nets=frozenset({A}), handshake=1.0)}
    n.peers[4].state = DeviceState(7, OWN_KEY, 51820, 0x200000, answered)
    await n.dataplane.start()
    n.desire(OWN, HERE, *node("a", A))
    await n.dataplane.apply()
    assert n.wireguard_tables[4].routes == {A: "device"}
    n.journal.failing = {"IPv4 routes": "no"}
    n.desire(*gone(A))
    await n.dataplane.apply()
    assert n.wireguard_tables[4].routes == {A: "device"}
    n.journal.failing = {}
    n.desire(HERE)
    await n.dataplane.apply()
    assert n.wireguard_tables[4].routes == {}
    await n.dataplane.close()


async def test_a_net_is_told_to_its_own_family() -> None:
    n = wireguard_node(families=(4, 6))
    await n.dataplane.start()
    n.desire(OWN, HERE, *behind("a", A, "fd00:1::/122"))
    await n.dataplane.apply()
    assert n.wireguard_tables[4].routes == {A: "throw"}
    assert n.wireguard_tables[6].routes == {"fd00:1::/122": "throw"}
    await n.dataplane.close()


async def test_switched_off_the_device_goes_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataplane.wireguard.off.QUIET_SECONDS", 0.0)
    n = wireguard_node(WG, families=())
    n.peers[4].state = DeviceState(7, OWN_KEY, 51820, 0x200000, {})
    n.wireguard_tables[4].asked_by = "everything"
    await n.dataplane.start()
    n.desire(end("here", OWN_KEY))
    await n.dataplane.apply()
    assert n.dataplane.wireguard.keys()[4] == ""
    assert (n.wireguard_tables[4].asked_by, "wireguard.cali" in n.links.unwanted) == (
        "everything",
        False,
    )
    n.desire(end("here", ""))
    await n.dataplane.apply()
    assert (n.wireguard_tables[4].asked_by, "wireguard.cali" in n.links.unwanted) == (
        "nobody",
        False,
    )
    n.desire(HERE)
    await n.dataplane.apply()
    assert "wireguard.cali" in n.links.unwanted
    await n.dataplane.close()


def test_a_family_that_the_node_does_without() -> None:
    settings = WireguardSettings(families=frozenset({6}))
    n = FakeNode(Settings("here", ipv6=False, wireguard=settings))
    n.resolve()
    assert n.problems == {"wg-v6.cali": "this node does without IPv6"}
    assert n.dataplane.wireguard.keys() == {4: "", 6: ""}
