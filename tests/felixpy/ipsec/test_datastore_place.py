"""A datastore that is reached through a workload is noticed."""

from __future__ import annotations

import pytest

from felixpy.ipsec.datastore_place import Inside, addresses_of, inside

POOLS = ["10.65.0.0/16", "10.65.4.0/24", "fd65::/64"]
PLACES = [
    (["192.0.2.1"], None),
    (["192.0.2.1", "10.65.4.1"], Inside("10.65.4.1", "10.65.0.0/16")),
    (["2001:db8::1", "fd65::1"], Inside("fd65::1", "fd65::/64")),
    ([], None),
]


@pytest.mark.parametrize(("addresses", "found"), PLACES)
def test_whether_it_is_in_a_pool(addresses: list[str], found: Inside | None) -> None:
    assert inside(addresses, POOLS) == found
    assert inside(addresses, []) is None


def test_names_are_looked_up_and_what_is_none_is_nowhere() -> None:
    assert addresses_of(["192.0.2.1", "fd65::1", "192.0.2.1"]) == ("192.0.2.1", "fd65::1")
    assert "127.0.0.1" in addresses_of(["localhost"])
    assert addresses_of(["no such host", "a..b", "x" * 70]) == ()
