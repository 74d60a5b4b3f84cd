"""Settings of the host for WireGuard, by what `all` says already."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataplane.drivers.sysctls import SysctlDriver
from dataplane.interfaces import Interface
from dataplane.settings import WireguardSettings
from dataplane.wireguard.host import desire_host_settings

CONF = "net/ipv4/conf"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for path in ("all/rp_filter", "all/src_valid_mark", "wg0/rp_filter"):
        (tmp_path / CONF / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / CONF / path).write_text("0\n")
    (tmp_path / CONF / "wg0/rp_filter").write_text("1\n")
    return tmp_path


async def written(root: Path, settings: WireguardSettings) -> tuple[str, str]:
    """The device's filter and `src_valid_mark`, once the device has come."""
    driver = SysctlDriver(root=root)
    desire_host_settings(driver, settings, root)
    await driver.apply()
    driver.interface_changed("wg0", Interface("wg0", 7, up=False, generation=1))
    await driver.apply()
    filter_, mark = root / CONF / "wg0/rp_filter", root / CONF / "all/src_valid_mark"
    return filter_.read_text().strip(), mark.read_text().strip()


def settings(**more: object) -> WireguardSettings:
    return WireguardSettings(frozenset({4}), devices=("wg0", "wg1"), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("everywhere", "here"), [("0", "0"), ("1", "2"), ("2", "0")])
async def test_nothing_is_strict_where_packets_come_decrypted(
    root: Path, everywhere: str, here: str
) -> None:
    (root / CONF / "all/rp_filter").write_text(f"{everywhere}\n")
    assert await written(root, settings()) == (here, "0")


async def test_host_encryption_has_marks_looked_at(root: Path) -> None:
    assert await written(root, settings(host_encryption=True)) == ("0", "1")


@pytest.mark.parametrize("families", [frozenset(), frozenset({6})], ids=["off", "IPv6 alone"])
async def test_nothing_is_said_without_wireguard_of_ipv4(
    root: Path, families: frozenset[int]
) -> None:
    given = WireguardSettings(families, devices=("wg0", "wg1"), host_encryption=True)  # type: ignore[arg-type]
    assert await written(root, given) == ("1", "0")


async def test_a_host_without_the_setting_is_not_strict(tmp_path: Path) -> None:
    driver = SysctlDriver(root=tmp_path)
    desire_host_settings(driver, settings(), tmp_path)
    assert not driver.pending
