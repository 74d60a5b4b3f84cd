"""What `felixpy cleanup` takes of WireGuard where the kernel has its device: run in the guest by
test_wireguard_sweep.py.
"""

from __future__ import annotations

import socket

import pytest
from msgspec import structs

from dataplane.cleanup import clean
from dataplane.families import Family
from dataplane.settings import WIREGUARD_DEVICES, Settings, WireguardSettings
from dataplane.wireguard.kernel import KernelDevice
from dataplane.wireguard.sweep import Swept, sweep
from tests.guest.wireguard_ends import End
from tests.kernel.conftest import Namespace
from tests.kernel.conftest import inside as inside
from tests.kernel.conftest import netns as netns
from tests.kernel.test_wireguard_sweep import interfaces, populate

SETTINGS = Settings("n1", iptables_backend="nft")


def kernel(node: Namespace) -> str:
    shown = "ip -{0} rule; ip -{0} route show table all type {1};"
    kinds = ("unicast", "unreachable", "throw")
    return node.run("".join(shown.format(f, k) for f in (4, 6) for k in kinds) + "ip -br link")


async def swept(family: Family, settings: Settings) -> Swept:
    return await sweep(family, settings, await interfaces(), dry_run=False)


async def test_rule_table_and_device_go(inside: Namespace) -> None:
    before = kernel(inside)
    addresses: dict[Family, str] = {4: "10.200.0.1", 6: "fd00:200::1"}
    for family, address in addresses.items():
        end = End(inside, address, family)
        await end.start()
        end.stop()
        await populate(family, SETTINGS)
    during = kernel(inside)
    assert all(name in during for name in WIREGUARD_DEVICES)
    cleaned = await clean(SETTINGS, dry_run=False)
    assert (cleaned.rules, cleaned.routes, cleaned.tunnels, cleaned.errors) == (2, 6, 2, ())
    assert kernel(inside) == before


async def test_a_table_without_its_rule_is_known_by_the_device(inside: Namespace) -> None:
    """As a cleanup leaves it that was interrupted."""
    end = End(inside, "10.200.0.1")
    await end.start()
    end.stop()
    await populate(4, SETTINGS)
    inside.run("ip rule del pref 99")
    assert await swept(4, SETTINGS) == Swept(0, 3, "wireguard.cali")
    assert "throw" not in kernel(inside)


@pytest.mark.parametrize(("mark", "ours"), [(7, ""), (0x200000, "wg7")], ids=["theirs", "ours"])
async def test_a_device_of_another_name_is_ours_by_its_mark(
    inside: Namespace, mark: int, ours: str
) -> None:
    inside.run("ip link add wg7 type wireguard")
    device = KernelDevice()
    await device.set_device(socket.if_nametoindex("wg7"), None, mark)
    device.close()
    named = WireguardSettings(devices=("wg7", "wg8"), mark=0x200000)
    assert await swept(4, structs.replace(SETTINGS, wireguard=named)) == Swept(0, 0, ours)


async def test_a_device_of_another_kind_is_not_ours(inside: Namespace) -> None:
    inside.run("ip link add wireguard.cali type veth peer name other0")
    assert await swept(4, SETTINGS) == Swept(0, 0, "")
