"""Whose is a route of the kernel: section 1.3 of the routes reference, as a table."""

from __future__ import annotations

from typing import Any

import pytest

from dataplane.drivers.route_ownership import Ownership
from dataplane.rtnetlink import BLACKHOLE, KernelRoute, RouteKey
from dataplane.settings import Settings, TunnelSettings

KEY = RouteKey(b"\x0a\x41\0\0", 26, 0)
KERNEL, BOOT, STATIC, BIRD, CALICO = 2, 3, 4, 12, 80
BY_BIRD: dict[str, Any] = {"tunnels": TunnelSettings(program_ipip=False)}
LENIENT: dict[str, Any] = {"remove_external_routes": False}
OTHER: dict[str, Any] = {"device_route_protocol": 99}

CASES: list[tuple[str, int, dict[str, Any], bool, bool]] = [
    # device, protocol, settings, ours to remove, made by us
    ("", CALICO, {}, False, False),
    ("eth0", CALICO, {}, True, True),
    ("eth0", BOOT, {}, False, False),
    ("eth0", STATIC, {}, False, False),
    ("eth0", BIRD, {}, False, False),
    ("eth0", 99, OTHER, True, True),
    ("cali1", KERNEL, {}, False, False),
    ("cali1", STATIC, {}, True, False),
    ("cali1", BOOT, {}, True, True),
    ("cali1", STATIC, LENIENT, False, False),
    ("cali1", BOOT, LENIENT, True, True),
    ("cali1", CALICO, LENIENT, True, True),
    ("cali1", 99, {**LENIENT, **OTHER}, True, True),
    ("tunl0", BIRD, {}, True, False),
    ("tunl0", BIRD, BY_BIRD, False, False),
    ("tunl0", CALICO, BY_BIRD, True, True),
    ("tunl0", STATIC, {}, False, False),
    ("vxlan.calico", STATIC, {}, True, False),
    ("vxlan.calico", BOOT, LENIENT, True, True),
    ("vxlan.calico", KERNEL, {}, False, False),
    ("vxlan-v6.calico", STATIC, {}, False, False),
]


@pytest.mark.parametrize(("device", "protocol", "settings", "ours", "made"), CASES)
def test_a_route_over_a_device(device, protocol, settings, ours, made) -> None:
    ownership = Ownership(4, Settings("n1", **settings))
    route = KernelRoute(KEY, 3, protocol, 0)
    assert ownership.is_ours(route, device) == ours
    assert ownership.is_made_by_us(route, device) == made


def test_what_bird_learned_from_a_workload_is_birds() -> None:
    ownership = Ownership(4, Settings("n1"))
    by_bird, by_hand = (KernelRoute(KEY, 3, protocol, 0) for protocol in (BIRD, STATIC))
    assert ownership.is_ours(by_bird, "cali1")
    ownership.share_with_bird("cali1", shared=True)
    assert not ownership.is_ours(by_bird, "cali1")
    assert ownership.is_ours(by_hand, "cali1")
    assert ownership.is_ours(by_bird, "cali2")
    ownership.share_with_bird("cali1", shared=False)
    assert ownership.is_ours(by_bird, "cali1")


def test_what_leads_nowhere_is_ours_by_its_protocol_alone() -> None:
    ownership = Ownership(4, Settings("n1"))
    for protocol, ours in ((CALICO, True), (BIRD, False), (BOOT, False)):
        route = KernelRoute(KEY, 0, protocol, 0, type=BLACKHOLE)
        assert ownership.is_ours(route, "") == ours


def test_in_ipv6_it_is_the_other_device_and_never_link_local() -> None:
    ownership = Ownership(6, Settings("n1"))
    route = KernelRoute(RouteKey(bytes(16), 64, 1024), 3, STATIC, 0)
    assert ownership.is_ours(route, "vxlan-v6.calico")
    assert not ownership.is_ours(route, "vxlan.calico")
    link_local = RouteKey(b"\xfe\x80" + bytes(14), 64, 256)
    assert not ownership.is_ours(KernelRoute(link_local, 3, CALICO, 0), "cali1")
