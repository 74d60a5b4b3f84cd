"""Addresses for workloads that speak BGP with this node, in a real kernel."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator

import pytest

from dataplane.drivers.peer_addresses import PeerAddressDriver
from dataplane.errors import DataplaneError
from dataplane.interfaces import Interface
from dataplane.settings import Settings
from tests.kernel.conftest import Namespace

pytestmark = pytest.mark.kernel

V4, V6 = "169.254.9.9", "fd00:9::9"


@pytest.fixture
def cable(
    inside: Namespace,
    netns: Callable[[str], Namespace],
    veth: Callable[[Namespace, str, Namespace, str], None],
) -> Namespace:
    workload = netns("w1")
    veth(inside, "cali1", workload, "eth0")
    return workload


@pytest.fixture
def make(inside: Namespace) -> Iterator[Callable[[], PeerAddressDriver]]:
    made: list[PeerAddressDriver] = []

    def driver() -> PeerAddressDriver:
        made.append(PeerAddressDriver(Settings("here")))
        return made[-1]

    yield driver
    for each in made:
        each.close()


def known(name: str, *, up: bool = True, generation: int = 0) -> Interface:
    return Interface(name, socket.if_nametoindex(name), up, generation=generation)


def held(inside: Namespace, name: str = "cali1") -> set[str]:
    (found,) = json.loads(inside.run(f"ip -j addr show {name}"))
    texts = (f"{each['local']}/{each['prefixlen']}" for each in found["addr_info"])
    return {text for text in texts if not text.startswith("fe80:")}


async def test_made_kept_and_withdrawn(inside, cable, make):
    driver = make()
    driver.interface_changed("cali1", known("cali1"))
    driver.desire("cali1", [V4, V6])
    await driver.apply()
    assert held(inside) == {f"{V4}/32", f"{V6}/128"}
    assert driver.written == 2
    assert "tentative" not in inside.run("ip -6 addr show cali1 scope global")
    assert not await driver.check()
    inside.run(f"ip addr del {V4}/32 dev cali1")
    assert await driver.check()
    await driver.apply()
    assert held(inside) == {f"{V4}/32", f"{V6}/128"}
    driver.desire("cali1", ["169.254.1.1"])
    await driver.apply()
    assert held(inside) == {"169.254.1.1/32"}
    driver.desire("cali1", [])
    await driver.apply()
    assert held(inside) == set()


async def test_the_workload_reaches_it(inside, cable, make):
    driver = make()
    driver.interface_changed("cali1", known("cali1"))
    driver.desire("cali1", [V4])
    await driver.apply()
    cable.run("ip addr add 10.65.0.2/32 dev eth0 && ip route add default dev eth0")
    inside.run("ip route add 10.65.0.2/32 dev cali1")
    assert "1 received" in cable.run(f"ping -c 1 -W 2 {V4}")


async def test_what_an_earlier_agent_has_left_goes_and_others_addresses_stay(inside, cable, make):
    inside.run(
        "ip link add eth9 type veth peer name eth8 && ip addr add 10.1.0.1/32 dev eth9 scope link"
    )
    inside.run("ip addr add 10.2.0.1/32 dev cali1 && ip addr add fd00:2::1/64 dev cali1 nodad")
    first = make()
    first.interface_changed("cali1", known("cali1"))
    first.desire("cali1", [V4, V6])
    await first.apply()
    second = make()
    for name in ("cali1", "eth9"):
        second.interface_changed(name, known(name))
    second.desire("cali1", [V4])
    await second.apply()
    assert held(inside) == {f"{V4}/32", "10.2.0.1/32", "fd00:2::1/64"}
    assert await second.remove_everything(dry_run=True) == 1
    assert f"{V4}/32" in held(inside)
    assert await second.remove_everything(dry_run=False) == 1
    assert held(inside) == {"10.2.0.1/32", "fd00:2::1/64"}
    assert held(inside, "eth9") == {"10.1.0.1/32"}


async def test_an_address_that_is_there_does_instead_of_ours(inside, cable, make):
    inside.run(f"ip addr add {V4}/32 dev cali1")
    driver = make()
    driver.interface_changed("cali1", known("cali1"))
    driver.desire("cali1", [V4])
    await driver.apply()
    driver.desire("cali1", [])
    await driver.apply()
    assert held(inside) == {f"{V4}/32"}


async def test_an_interface_that_comes_later_goes_down_and_is_another_one(
    inside, cable, make, netns, veth
):
    driver = make()
    driver.desire("cali2", [V4, V6])
    await driver.apply()
    veth(inside, "cali2", netns("w2"), "eth0")
    driver.interface_changed("cali2", known("cali2"))
    await driver.apply()
    assert held(inside, "cali2") == {f"{V4}/32", f"{V6}/128"}
    inside.run("ip link set cali2 down")  # takes what is of IPv6 along
    driver.interface_changed("cali2", known("cali2", up=False))
    await driver.apply()
    assert held(inside, "cali2") == {f"{V4}/32"}
    inside.run("ip link set cali2 up")
    driver.interface_changed("cali2", known("cali2", generation=1))
    await driver.apply()
    assert held(inside, "cali2") == {f"{V4}/32", f"{V6}/128"}
    inside.run("ip link del cali2")
    await driver.apply()
    driver.interface_changed("cali2", None)
    await driver.apply()
    veth(inside, "cali2", netns("w3"), "eth0")
    driver.interface_changed("cali2", known("cali2", generation=2))
    await driver.apply()
    assert held(inside, "cali2") == {f"{V4}/32", f"{V6}/128"}


async def test_what_the_kernel_refuses_is_said_and_tried_again(inside, cable, make):
    inside.run("sysctl -qw net.ipv6.conf.cali1.disable_ipv6=1")
    driver = make()
    driver.interface_changed("cali1", known("cali1"))
    driver.desire("cali1", [V4, V6])
    with pytest.raises(DataplaneError, match=V6):
        await driver.apply()
    assert held(inside) == {f"{V4}/32"}
    inside.run("sysctl -qw net.ipv6.conf.cali1.disable_ipv6=0")
    await driver.apply()
    assert held(inside) == {f"{V4}/32", f"{V6}/128"}
