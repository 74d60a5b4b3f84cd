"""Settings against the /proc/sys of a namespace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dataplane.drivers.sysctls import SysctlDriver, SysctlError
from dataplane.interfaces import Interface
from tests.kernel.conftest import Namespace

pytestmark = pytest.mark.kernel

V4 = "net/ipv4/conf/caliw1"
VALUES = {
    f"{V4}/rp_filter": "1",
    "net/ipv6/conf/caliw1/accept_ra": "0",
    f"{V4}/route_localnet": "1",
    "net/ipv4/neigh/caliw1/proxy_delay": "0",
    f"{V4}/proxy_arp": "1",
    f"{V4}/forwarding": "1",
    "net/ipv6/conf/caliw1/proxy_ndp": "1",
}


def read(path: str) -> str:
    return (Path("/proc/sys") / path).read_text().strip()


async def test_an_interface_and_the_one_that_follows_it(
    inside: Namespace,
    netns: Callable[[str], Namespace],
    veth: Callable[[Namespace, str, Namespace, str], None],
) -> None:
    driver, other = SysctlDriver(), netns("w1")
    driver.desire_interface("caliw1", VALUES)
    driver.desire_global("net/ipv4/ip_forward", "1")
    await driver.apply()
    assert not driver.configured("caliw1")
    assert read("net/ipv4/ip_forward") == "1"
    veth(inside, "caliw1", other, "eth0")
    driver.interface_changed("caliw1", Interface("caliw1", 5, up=True, generation=1))
    assert driver.pending
    await driver.apply()
    assert {path: read(path) for path in VALUES} == VALUES
    assert driver.configured("caliw1")
    inside.run("ip link del caliw1")
    veth(inside, "caliw1", other, "eth0")
    assert read(f"{V4}/proxy_arp") == "0"
    driver.interface_changed("caliw1", Interface("caliw1", 7, up=True, generation=2))
    assert not driver.configured("caliw1")
    await driver.apply()
    assert {path: read(path) for path in VALUES} == VALUES


async def test_drift_is_repaired(
    inside: Namespace,
    netns: Callable[[str], Namespace],
    veth: Callable[[Namespace, str, Namespace, str], None],
) -> None:
    driver = SysctlDriver()
    veth(inside, "caliw1", netns("w1"), "eth0")
    driver.interface_changed("caliw1", Interface("caliw1", 5, up=True, generation=1))
    driver.desire_interface("caliw1", VALUES)
    driver.desire_global("net/ipv4/ip_forward", "1")
    await driver.apply()
    assert not await driver.check()
    inside.run("echo 0 > /proc/sys/net/ipv4/ip_forward")  # takes forwarding of interfaces with it
    assert read(f"{V4}/forwarding") == "0"
    assert await driver.check()
    await driver.apply()
    assert read("net/ipv4/ip_forward") == "1"
    assert {path: read(path) for path in VALUES} == VALUES
    assert not driver.pending


async def test_one_that_has_just_gone_is_no_error(inside: Namespace) -> None:
    driver = SysctlDriver()
    driver.interface_changed("caliw1", Interface("caliw1", 5, up=True, generation=1))
    driver.desire_interface("caliw1", VALUES)
    await driver.apply()
    assert not driver.configured("caliw1")


async def test_a_refused_value_is_an_error(inside: Namespace) -> None:
    driver = SysctlDriver()
    driver.desire_global("net/ipv4/ip_forward", "nonsense")
    driver.desire_global("net/netfilter/nothing", "1", required=False)
    with pytest.raises(SysctlError, match="ip_forward: Invalid argument"):
        await driver.apply()
    assert driver.pending
