"""The codec of routes, links and neighbours, as bytes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from dataplane import rtnetlink
from dataplane.families import Family
from dataplane.netlink import attribute
from dataplane.rtnetlink import KernelRoute, LinkState, Neighbour, RouteKey, RouteMessage


@st.composite
def routes(draw: st.DrawFn) -> RouteMessage:
    family: Family = draw(st.sampled_from(rtnetlink.FAMILIES))
    width = rtnetlink.BITS[family] // 8
    address = st.binary(min_size=width, max_size=width)
    key = RouteKey(draw(address), draw(st.integers(0, width * 8)), draw(st.integers(0, 2**32 - 1)))
    scope = draw(st.sampled_from([0, 253])) if family == 4 else 0
    device = draw(st.integers(1, 2**31))
    protocol = draw(st.integers(0, 255))
    source = draw(st.one_of(st.just(b""), address))
    kind = draw(st.sampled_from([rtnetlink.UNICAST, rtnetlink.BLACKHOLE]))
    gateway = draw(st.one_of(st.just(b""), address))
    route = KernelRoute(
        key,
        device if kind == rtnetlink.UNICAST else 0,
        protocol,
        scope,
        source,
        kind,
        gateway,
        draw(st.booleans()),
        draw(st.integers(0, 65535)),
    )
    return RouteMessage(family, 254, route)


@given(routes())
def test_a_route_is_read_back(message: RouteMessage) -> None:
    request = rtnetlink.replace_route(message.family, message.table, message.route)
    assert rtnetlink.parse_route(request.body) == message
    assert rtnetlink.is_of(request.body, message.family, 254)
    assert not rtnetlink.is_of(request.body, 10 - message.family, 254)  # type: ignore[arg-type]
    assert not rtnetlink.is_of(request.body, message.family, 255)


@pytest.mark.parametrize("kind", [9, 18, 30], ids=["multipath", "via", "next hop"])
def test_routes_over_others_are_told_apart(kind: int) -> None:
    route = KernelRoute(RouteKey(b"\x0a\0\0\0", 8, 0), 3, 4, 0)
    body = rtnetlink.replace_route(4, 254, route).body + attribute(kind, b"\x0a\0\0\1")
    found = rtnetlink.parse_route(body)
    assert found is not None
    assert found.route == structs.replace(route, simple=False)


@pytest.mark.parametrize(("metric", "simple"), [(2, True), (8, False)], ids=["MTU", "advised MSS"])
def test_of_metrics_only_the_mtu_is_ours(metric: int, simple: bool) -> None:
    route = KernelRoute(RouteKey(b"\x0a\0\0\0", 8, 0), 3, 4, 0)
    metrics = attribute(8, attribute(metric, struct.pack("=I", 1400)))
    found = rtnetlink.parse_route(rtnetlink.replace_route(4, 254, route).body + metrics)
    assert found is not None
    assert (found.route.mtu, found.route.simple) == (1400 if simple else 0, simple)


def test_what_leads_nowhere_has_no_device() -> None:
    """IPv6 tells it on lo."""
    key = RouteKey(bytes(16), 64, 1024)
    route = KernelRoute(key, 1, 80, 0, b"", rtnetlink.BLACKHOLE)
    found = rtnetlink.parse_route(rtnetlink.replace_route(6, 254, route).body)
    assert found is not None
    assert found.route.device == 0


def test_tables_above_255_are_in_an_attribute() -> None:
    route = KernelRoute(RouteKey(b"\x0a\0\0\0", 8, 0), 3, 4, 0)
    body = rtnetlink.replace_route(4, 0, route).body + attribute(15, struct.pack("=I", 1000))
    found = rtnetlink.parse_route(body)
    assert found is not None
    assert found.table == 1000


@pytest.mark.parametrize("family", [7, 5, 128])
def test_other_families_are_left_out(family: int) -> None:
    assert rtnetlink.parse_route(bytes([family]) + bytes(11)) is None


def link(family: int, flags: int, name: bytes = b"caliw1\0") -> bytes:
    return struct.pack("=BxHiII", family, 1, 5, flags, 0) + attribute(3, name)


@pytest.mark.parametrize(
    ("flags", "admin_up", "carrier"),
    [(0x0, False, False), (0x41, True, False), (0x10001, True, True), (0x10000, False, True)],
)
def test_links(flags: int, admin_up: bool, carrier: bool) -> None:
    assert rtnetlink.parse_link(link(0, flags)) == LinkState(5, "caliw1", admin_up, carrier)


@pytest.mark.parametrize("family", [7, 10])
def test_what_bridges_and_ipv6_say_of_a_link_is_left_out(family: int) -> None:
    assert rtnetlink.parse_link(link(family, 0x41)) is None


@pytest.mark.parametrize("address", [b"\x0a\x41\0\2", bytes(15) + b"\1"])
def test_a_neighbour_is_read_back_if_it_is_permanent(address: bytes) -> None:
    entry = Neighbour(4, address, bytes.fromhex("026500000002"))
    body = rtnetlink.replace_neighbour(entry).body
    assert rtnetlink.parse_neighbour(body) == entry
    assert rtnetlink.parse_neighbour(body[:8] + b"\2\0" + body[10:]) is None  # reachable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.65.0.2/32", (4, b"\x0a\x41\0\2", 32)),
        ("0.0.0.0/0", (4, bytes(4), 0)),
        ("fd65::/64", (6, b"\xfd\x65" + bytes(14), 64)),
    ],
)
def test_nets(text: str, expected: tuple[int, bytes, int]) -> None:
    assert rtnetlink.parse_net(text) == expected


@pytest.mark.parametrize("text", ["10.65.0.2", "10.65.0.2/33", "10.65.0/24", "fd65::/129", "/", ""])
def test_what_is_no_net_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a"):
        rtnetlink.parse_net(text)


@given(st.ip_addresses())
def test_addresses_are_written_canonically(address: object) -> None:
    assert rtnetlink.render_address(rtnetlink.parse_address(str(address))[1]) == str(address)


@given(routes(), st.integers(1, 2**32 - 1))
def test_tables_of_any_number_are_named(message: RouteMessage, table: int) -> None:
    made = rtnetlink.replace_route(message.family, table, message.route)
    found = rtnetlink.parse_route(made.body)
    assert found is not None
    assert found.table == table
    gone = rtnetlink.delete_route(message.family, table, message.route.key, 0, kind=9)
    found = rtnetlink.parse_route(gone.body)
    assert found is not None
    assert (found.table, found.route.key, found.route.type) == (table, message.route.key, 9)
