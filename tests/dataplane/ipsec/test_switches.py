from __future__ import annotations

from pathlib import Path

import pytest

from dataplane.families import Family
from dataplane.ipsec.switches import policies_count, switched_off


def put(root: Path, setting: str, value: str) -> None:
    path = root / setting
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{value}\n")


@pytest.mark.parametrize(
    ("family", "setting"),
    [
        (4, "ipv4/conf/eth0/disable_policy"),
        (4, "ipv4/conf/eth0/disable_xfrm"),
        (4, "ipv4/conf/all/disable_xfrm"),
        (6, "ipv6/conf/eth0/disable_policy"),
    ],
)
def test_what_switches_policies_off_is_told(tmp_path: Path, family: Family, setting: str) -> None:
    put(tmp_path, setting, "0")
    assert switched_off(family, ["eth0"], tmp_path) == {}
    put(tmp_path, setting, "1")
    assert switched_off(family, ["eth0"], tmp_path) == {
        f"net/{setting}": "is not 0: IPsec's policies do not count there"
    }


def test_of_other_interfaces_and_families_nothing_is_told(tmp_path: Path) -> None:
    put(tmp_path, "ipv4/conf/eth1/disable_policy", "1")
    put(tmp_path, "ipv6/conf/eth0/disable_policy", "1")
    assert switched_off(4, ["eth0"], tmp_path) == {}


def test_what_interfaces_of_workloads_get() -> None:
    assert policies_count(4, "cali1") == {
        "net/ipv4/conf/cali1/disable_policy": "0",
        "net/ipv4/conf/cali1/disable_xfrm": "0",
    }
    assert policies_count(6, "cali1") == {"net/ipv6/conf/cali1/disable_policy": "0"}
