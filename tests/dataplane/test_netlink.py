"""Attributes, slices and messages as bytes; the socket itself is the kernel lane's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane import netlink
from dataplane.netlink import Request, attribute, attributes, nested

PAIRS = st.lists(st.tuples(st.integers(1, 0x3FFF), st.binary(max_size=20)))


@given(PAIRS)
def test_attributes_are_read_back(pairs: list[tuple[int, bytes]]) -> None:
    body = b"".join(attribute(kind, value) for kind, value in pairs)
    assert len(body) % 4 == 0
    assert list(attributes(body)) == pairs
    assert list(attributes(b"head" + body, 4)) == pairs
    assert list(attributes(nested(7, body))) == [(7, body)]


@pytest.mark.parametrize("broken", [b"\x03\0\1\0", b"\xff\0\1\0abcd", b"\x08\0\1"])
def test_what_follows_a_broken_attribute_is_left_out(broken: bytes) -> None:
    body = attribute(1, b"abcd") + broken
    assert list(attributes(body)) == [(1, b"abcd")]


@given(st.lists(st.integers(0, 60_000), max_size=40), st.integers(0, 600))
def test_slices_keep_order_and_size(sizes: list[int], small: int) -> None:
    requests = [Request(1, 0, bytes(size)) for size in [*sizes, *[4] * small]]
    parts = list(netlink._slices(requests))
    assert [request for part in parts for request in part] == requests
    assert all(
        len(part) == 1 or (len(part) <= 250 and sum(len(r.body) + 16 for r in part) <= 105_000)
        for part in parts
    )
