"""Settings in a directory that stands in for /proc/sys: order, failures, hostile names."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataplane.drivers.sysctls import SysctlDriver, SysctlError
from dataplane.interfaces import Interface

UP = Interface("cali1", 3, up=True, generation=1)
CONF = "net/ipv4/conf/cali1"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("rp_filter", "proxy_arp", "forwarding"):
        path = tmp_path / CONF / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("0\n")
    return tmp_path


def driver_of(root: Path) -> SysctlDriver:
    driver = SysctlDriver(root=root)
    driver.interface_changed("cali1", UP)
    return driver


async def test_what_comes_after_a_failure_is_not_written(root: Path) -> None:
    driver = driver_of(root)
    (root / CONF / "rp_filter").unlink()
    driver.desire_interface("cali1", {f"{CONF}/rp_filter": "1", f"{CONF}/forwarding": "1"})
    with pytest.raises(SysctlError, match="rp_filter: there is no such setting"):
        await driver.apply()
    assert (root / CONF / "forwarding").read_text() == "0\n"
    assert not driver.configured("cali1")
    assert driver.pending
    (root / CONF / "rp_filter").write_text("0")
    await driver.apply()
    assert (root / CONF / "forwarding").read_text().strip() == "1"
    assert driver.configured("cali1")


async def test_optional_settings_do_not_stop_the_rest(root: Path) -> None:
    driver = driver_of(root)
    driver.desire_interface(
        "cali1", {"net/ipv6/conf/cali1/accept_ra": "0", f"{CONF}/forwarding": "1"}
    )
    await driver.apply()
    assert driver.configured("cali1")


async def test_equal_values_are_not_written(root: Path) -> None:
    driver = driver_of(root)
    path = root / CONF / "proxy_arp"
    path.write_text("1\n")
    driver.desire_interface("cali1", {f"{CONF}/proxy_arp": "1"})
    await driver.apply()
    assert path.read_text() == "1\n"  # a write would have left no end of line


@pytest.mark.parametrize("name", ["../lo", "..", ".", "a/b", "", "x" * 16, "a b", "eth0\n"])
def test_hostile_names_never_become_paths(root: Path, name: str) -> None:
    driver = SysctlDriver(root=root)
    with pytest.raises(ValueError, match="is no"):
        driver.desire_interface(name, {f"net/ipv4/conf/{name}/forwarding": "1"})
    assert not driver.configured(name)


@pytest.mark.parametrize(
    "path", ["kernel/x/cali1/y", "net/../cali1/y", "net/ipv4/conf/eth0/forwarding", "/net/cali1/y"]
)
def test_only_settings_of_the_interface_itself(root: Path, path: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        SysctlDriver(root=root).desire_interface("cali1", {path: "1"})


async def test_the_same_again_changes_nothing(root: Path) -> None:
    driver = driver_of(root)
    values = {f"{CONF}/rp_filter": "1", f"{CONF}/proxy_arp": "1"}
    driver.desire_interface("cali1", values)
    await driver.apply()
    driver.desire_interface("cali1", dict(values))
    assert driver.configured("cali1")
    assert not driver.pending
    driver.desire_interface("cali1", {**values, f"{CONF}/proxy_arp": "0"})
    assert not driver.configured("cali1")
    assert driver.pending


async def test_no_longer_of_interest(root: Path) -> None:
    driver = driver_of(root)
    driver.desire_interface("cali1", {f"{CONF}/proxy_arp": "1"})
    driver.desire_interface("cali1", None)
    await driver.apply()
    assert (root / CONF / "proxy_arp").read_text() == "0\n"
    assert not driver.configured("cali1")
