"""Strictness against the kernel, whether or not it has WireGuard: what is closed, and what is left
of it when WireGuard is switched off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from calc_graph.updates import HostUpdate, RouteType, RouteUpdate, Update
from dataplane.build import build_dataplane
from dataplane.dataplane import Dataplane
from dataplane.settings import Settings, WireguardSettings
from tests.kernel.conftest import Namespace

pytestmark = pytest.mark.kernel

ON = WireguardSettings(families=frozenset({4}), strict=True)
NEAR, FAR = "10.65.1.0/26", "10.65.2.0/26"
TOLD: list[Update] = [
    RouteUpdate(NEAR, RouteType.LOCAL_WORKLOAD, "none", "n1"),
    RouteUpdate(FAR, RouteType.REMOTE_WORKLOAD, "none", "n2"),
    HostUpdate("n1", "172.30.0.1", ""),
]
PATIENCE = 60.0  # seconds; a device that goes is waited for


async def until(wanted: Callable[[], bool], dataplane: Dataplane) -> None:
    async with asyncio.timeout(PATIENCE):
        while not wanted():
            await dataplane.apply()
            await asyncio.sleep(0.05)


async def test_what_cannot_be_encrypted_is_refused_until_it_is_switched_off(
    inside: Namespace,
) -> None:
    def rules() -> str:
        return inside.run("ip rule show")

    def routes() -> set[str]:
        shown = inside.run("ip route show table 1 2>/dev/null; true")
        return {line.strip() for line in shown.splitlines()}

    dataplane = await build_dataplane(
        Settings("n1", iptables_backend="nft", ipv6=False, wireguard=ON), lambda: None
    )
    dataplane.desire(TOLD)
    await until(lambda: "99:\tnot from all fwmark 0x200000/0x200000 lookup 1" in rules(), dataplane)
    assert routes() == {f"throw {NEAR}", f"unreachable {FAR}"}
    await dataplane.close()

    dataplane = await build_dataplane(
        Settings("n1", iptables_backend="nft", ipv6=False), lambda: None
    )
    dataplane.desire(TOLD)
    await until(lambda: "lookup 1 " not in rules() and not routes(), dataplane)
    assert dataplane.wireguard.keys() == {4: "", 6: ""}
    await until(lambda: "wireguard.cali" not in inside.run("ip link show"), dataplane)
    await dataplane.close()
