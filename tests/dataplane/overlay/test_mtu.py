"""The MTU of tunnels and workloads, from the interfaces of the host."""

from __future__ import annotations

import re

import pytest

from dataplane.interfaces import Interface
from dataplane.overlay.mtu import host_mtu, tunnel_mtu, workload_mtu
from dataplane.settings import TunnelSettings

PATTERN = re.compile(TunnelSettings().mtu_interfaces)


def nic(name: str, mtu: int, *, up: bool = True) -> Interface:
    return Interface(name, 2, up, mtu=mtu)


CASES: list[tuple[str, list[Interface], int]] = [
    ("none", [], 1460),
    ("one", [nic("eth0", 1500)], 1500),
    ("the smallest", [nic("eth0", 9000), nic("ens3", 1400), nic("wlan0", 1500)], 1400),
    ("one that is down", [nic("eth0", 1500), nic("eth1", 1300, up=False)], 1500),
    ("others", [nic("docker0", 1400), nic("lo", 65536), nic("enlightened", 1300)], 1460),
    ("tunnels", [nic("eth0", 1500), nic("vxlan.calico", 1450), nic("cali1", 1450)], 1500),
    ("of unknown size", [nic("eth0", 0)], 1460),
]


@pytest.mark.parametrize(("case", "interfaces", "expected"), CASES, ids=[c[0] for c in CASES])
def test_the_host(case, interfaces, expected) -> None:
    assert host_mtu(interfaces, PATTERN) == expected


def test_tunnels_take_their_headers_off_or_what_was_configured() -> None:
    assert tunnel_mtu("ipip", 1500, 0) == 1480
    assert tunnel_mtu("vxlan", 1500, 0) == 1450
    assert tunnel_mtu("vxlan_v6", 1500, 0) == 1430
    assert tunnel_mtu("vxlan", 1500, 8950) == 8950


def test_workloads_get_the_smallest_of_those_in_use() -> None:
    assert workload_mtu(1500, []) == 1500
    assert workload_mtu(1500, [1450, 1480]) == 1450
