"""Ends of tunnels that cannot all be had."""

from __future__ import annotations

import pytest

from dataplane.drivers.vteps import Vtep, VtepDriver

MAC, OTHER = "66:00:00:00:00:02", "66:00:00:00:00:03"


def test_two_nodes_with_one_mac_or_address_are_told_of_the_lower_one_has_it() -> None:
    driver = VtepDriver(4, "vxlan.calico")
    driver.desire("n3", Vtep("10.65.3.0", MAC, "172.30.0.3"))
    assert driver.problems() == {}
    driver.desire("n2", Vtep("10.65.2.0", MAC, "172.30.0.2"))
    assert driver.problems() == {"VXLAN to n3": f"{MAC} is n2's as well"}
    assert driver._forwarding.desired == {b"\x66\0\0\0\0\x02": b"\xac\x1e\0\x02"}
    driver.desire("n3", Vtep("10.65.2.0", OTHER, "172.30.0.3"))
    assert driver.problems() == {"VXLAN to n3": "10.65.2.0 is n2's as well"}
    driver.desire("n2", None)
    assert driver.problems() == {}
    assert driver._neighbours.desired == {b"\x0a\x41\x02\0": b"\x66\0\0\0\0\x03"}
    driver.desire("n3", None)
    assert (driver._neighbours.desired, driver._forwarding.desired) == ({}, {})


@pytest.mark.parametrize(
    "vtep",
    [
        Vtep("10.65.2", MAC, "172.30.0.2"),
        Vtep("10.65.2.0", MAC[:-3], "172.30.0.2"),
        Vtep("10.65.2.0", "calico", "172.30.0.2"),
        Vtep("10.65.2.0", MAC, ""),
    ],
)
def test_what_is_no_end_is_refused_and_changes_nothing(vtep: Vtep) -> None:
    driver = VtepDriver(4, "vxlan.calico")
    good = Vtep("10.65.2.0", MAC, "172.30.0.2")
    driver.desire("n2", good)
    with pytest.raises(ValueError):
        driver.desire("n2", vtep)
    assert driver._vteps == {"n2": good}
    assert len(driver._neighbours.desired) == 1
