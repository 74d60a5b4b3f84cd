"""Nets around a net and inside it, against a plain comparison of every pair."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calc_graph.net_table import Net, NetTable, Version, parse_net, single_net

NETS = [
    ("10.65.0.0/16", Net(4, 0x0A41_0000, 16), False),
    ("10.65.0.7/16", Net(4, 0x0A41_0000, 16), False),
    ("10.65.0.7/32", Net(4, 0x0A41_0007, 32), True),
    ("0.0.0.0/0", Net(4, 0, 0), False),
    ("fd00::40/122", Net(6, 0xFD00 << 112 | 0x40, 122), False),
    ("::1/128", Net(6, 1, 128), True),
]


@pytest.mark.parametrize(("text", "net", "single"), NETS)
def test_texts(text: str, net: Net, single: bool) -> None:
    assert parse_net(text) == net
    assert net.single is single


def test_one_address() -> None:
    assert single_net("10.0.0.1") == "10.0.0.1/32"
    assert single_net("fd00::1") == "fd00::1/128"


def _in_one_corner(text: str, version: Version) -> st.SearchStrategy[str]:
    """Nets that hold each other often: few bits, near the end of the address."""
    base = int(ip_network(text).network_address)
    bits = 32 if version == 4 else 128
    kind = IPv4Network if version == 4 else IPv6Network
    lengths = st.sampled_from([0, bits - 8, bits - 4, bits - 2, bits])
    return st.builds(
        lambda low, length: str(kind((base + low, length), strict=False)),
        st.integers(0, 20),
        lengths,
    )


@pytest.mark.parametrize(("version", "corner"), [(4, "10.0.0.0/24"), (6, "fd00::/120")])
@given(data=st.data())
def test_what_is_around_and_inside(version: Version, corner: str, data: st.DataObject) -> None:
    nets = _in_one_corner(corner, version)
    steps = data.draw(st.lists(st.tuples(nets, st.booleans(), nets), max_size=30))
    table: NetTable[str] = NetTable(version)
    held: set[str] = set()
    for text, keep, asked in steps:
        if keep:
            table.put(parse_net(text), text)
            held.add(text)
        else:
            table.discard(parse_net(text))
            held.discard(text)
        net = parse_net(asked)
        around = {each for each in held if _holds(each, asked)}
        inside = {each for each in held if _holds(asked, each)}
        assert set(table.path(net)) == around
        assert table.path(net) == sorted(around, key=lambda each: parse_net(each).length)
        assert sorted(table.inside(net)) == sorted(inside)
        assert table.get(net) == (asked if asked in held else None)


def _holds(outer: str, inner: str) -> bool:
    one, other = ip_network(outer), ip_network(inner)
    return one.supernet_of(other)  # type: ignore[arg-type]
