"""While routes are exchanged, every address is led where it was led before, or where it will be."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from dataplane.drivers.route_order import order_of_removal, order_of_writing
from dataplane.rtnetlink import KernelRoute, RouteKey

WIDTH = 4  # bits of an address in this small world
Table = dict[RouteKey, KernelRoute]


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Routes of one letter each: nested prefixes, two metrics, a few places to lead to."""
    routes: Table = {}
    for _ in range(draw(st.integers(0, 8))):
        length = draw(st.integers(0, WIDTH))
        prefix = draw(st.integers(0, 2**length - 1)) << (WIDTH - length)
        key = RouteKey(bytes([prefix]), length, draw(st.sampled_from([0, 1024])))
        routes[key] = KernelRoute(key, draw(st.integers(1, 3)), 80, 0)
    return routes


def led_to(table: Table, address: int) -> int | None:
    """As the kernel does it: the longest prefix, then the lowest metric."""
    found = [
        route
        for key, route in table.items()
        if address >> (WIDTH - key.length) == key.destination[0] >> (WIDTH - key.length)
    ]
    if not found:
        return None
    return max(found, key=lambda route: (route.key.length, -route.key.metric)).device


@given(tables(), tables())
def test_each_moment_is_like_before_or_like_after(before: Table, after: Table) -> None:
    table = dict(before)
    moments = [dict(table)]
    for route in order_of_writing(r for k, r in after.items() if before.get(k) != r):
        table[route.key] = route
        moments.append(dict(table))
    for route in order_of_removal(r for k, r in before.items() if k not in after):
        del table[route.key]
        moments.append(dict(table))
    assert table == after
    for address in range(2**WIDTH):
        allowed = {led_to(before, address), led_to(after, address)}
        assert {led_to(moment, address) for moment in moments} <= allowed
        # and nobody is led back
        seen = [led_to(moment, address) for moment in moments]
        assert sum(a != b for a, b in pairwise(seen)) <= 1
