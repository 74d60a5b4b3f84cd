"""Members as text and as elements of a message."""

from __future__ import annotations

import pytest

from calc_graph.updates import IpsetType
from dataplane.drivers.ipset_messages import (
    Codec,
    Counted,
    add,
    create,
    parse_counted,
    parse_header,
    parse_members,
)
from dataplane.families import Family
from dataplane.netlink import attribute, nested

NET, IP, IP_PORT = IpsetType.NET, IpsetType.IP, IpsetType.IP_PORT

MEMBERS: list[tuple[IpsetType, Family, str, str]] = [
    (NET, 4, "10.65.0.2/32", "0a41000220"),
    (NET, 4, "10.65.0.0/16", "0a41000010"),
    (NET, 6, "fd65::/64", "fd65" + "00" * 14 + "40"),
    (IP, 4, "127.0.0.0", "7f000000"),
    (IP, 6, "::1", "00" * 15 + "01"),
    (IP_PORT, 4, "10.65.0.2,tcp:8080", "0a4100021f9006"),
    (IP_PORT, 4, "10.65.0.2,udp:53", "0a410002003511"),
    (IP_PORT, 4, "10.65.0.2,132:9", "0a410002000984"),
    (IP_PORT, 6, "fd65::2,sctp:9", "fd65" + "00" * 13 + "02" + "000984"),
]


@pytest.mark.parametrize(("type_", "family", "text", "expected"), MEMBERS)
def test_members_are_packed_and_read_back(
    type_: IpsetType, family: Family, text: str, expected: str
) -> None:
    codec = Codec(type_, family)
    member = codec.parse(text)
    assert member.hex() == expected
    assert codec.unpack(codec.pack(member)) == member


def test_one_address_is_one_member_however_it_is_spelt() -> None:
    codec = Codec(IP, 6)
    assert codec.parse("fd65:0:0::2") == codec.parse("FD65::0002")
    assert codec.parse("::ffff:10.0.0.1") == codec.parse("::ffff:a00:1")


@pytest.mark.parametrize(
    ("type_", "family", "text"),
    [
        (NET, 4, "10.65.0.2"),
        (NET, 4, "10.65.0.0/33"),
        (NET, 4, "0.0.0.0/0"),
        (NET, 4, "fd65::/64"),
        (NET, 6, "10.65.0.0/16"),
        (NET, 4, "10.65.0.999/32"),
        (IP, 4, "10.65.0.2/32"),
        (IP, 4, ""),
        (IP_PORT, 4, "10.65.0.2"),
        (IP_PORT, 4, "10.65.0.2,tcp:65536"),
        (IP_PORT, 4, "10.65.0.2,nothing:80"),
        (IP_PORT, 4, "10.65.0.2,tcp:80\n"),
    ],
)
def test_what_is_no_member_is_refused(type_: IpsetType, family: Family, text: str) -> None:
    with pytest.raises(ValueError, match="is not a"):
        Codec(type_, family).parse(text)


def test_elements_with_options_are_told_apart() -> None:
    codec = Codec(NET, 4)
    plain = codec.pack(codec.parse("10.0.0.0/8"))
    excluded = nested(7, plain[4:], attribute(8 | 0x4000, b"\0\0\0\4"))  # "nomatch"
    body = b"\2\0\0\0" + nested(8, plain, excluded)
    assert parse_members(body, codec) == [codec.parse("10.0.0.0/8"), None]


def counting(text: str, type_: IpsetType, family: Family, *counts: tuple[int, int]) -> bytes:
    """An element with extensions: numbers of attributes, and 64-bit values."""
    codec = Codec(type_, family)
    extensions = (attribute(n | 0x4000, value.to_bytes(8, "big")) for n, value in counts)
    return nested(7, codec.pack(codec.parse(text))[4:], *extensions)


BYTES, PACKETS, SKB_MARK = 24, 25, 27


@pytest.mark.parametrize(("type_", "family", "text", "expected"), MEMBERS)
def test_counters_are_no_part_of_a_member(
    type_: IpsetType, family: Family, text: str, expected: str
) -> None:
    codec = Codec(type_, family, counters=True)
    element = counting(text, type_, family, (BYTES, 1 << 40), (PACKETS, 3))
    assert codec.parse(text).hex() == expected
    assert codec.unpack(element) == codec.parse(text)
    shown = {"10.65.0.2,132:9": "10.65.0.2,sctp:9"}.get(text, text)
    assert codec.unpack_counted(element) == Counted(shown, 3, 1 << 40)
    assert Codec(type_, family).unpack(element) is None  # of a set that should not count
    # before it has counted anything, the kernel's listing says so, too; an own message does not
    assert codec.unpack_counted(codec.pack(codec.parse(text))) is None
    other = counting(text, type_, family, (BYTES, 1), (PACKETS, 1), (SKB_MARK, 1))
    assert codec.unpack(other) is None
    assert codec.unpack_counted(other) is None


def test_counts_of_a_listing() -> None:
    codec = Codec(NET, 4, counters=True)
    elements = [
        counting("10.0.0.0/8", NET, 4, (BYTES, 84), (PACKETS, 1)),
        counting("10.1.0.0/16", NET, 4, (BYTES, 0), (PACKETS, 0)),
        codec.pack(codec.parse("10.2.0.0/16")),
    ]
    body = b"\2\0\0\0" + nested(8, *elements)
    assert parse_counted(body, codec) == [
        Counted("10.0.0.0/8", 1, 84),
        Counted("10.1.0.0/16", 0, 0),
    ]
    assert parse_members(body, codec) == [
        codec.parse(f"10.{n}.0.0/{8 * (1 + bool(n))}") for n in (0, 1, 2)
    ]


@pytest.mark.parametrize("counters", [False, True])
def test_a_set_is_made_with_counters_or_without(counters: bool) -> None:
    request = create("cali40x", NET, 4, 6, 1000, counters=counters)
    header = parse_header(request.body)
    assert (header.counters, header.plain, header.maxelem) == (counters, True, 1000)


def test_many_members_travel_in_few_requests() -> None:
    codec = Codec(IP, 4)
    members = [bytes([10, 0, i >> 8, i & 255]) for i in range(2500)]
    requests = add("cali40x", codec, members)
    assert len(requests) == 3
    assert max(len(request.body) for request in requests) < 65_536
    assert add("cali40x", codec, []) == []
