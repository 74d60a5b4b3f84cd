"""Members as text and as elements of a message."""

from __future__ import annotations

import pytest

from calc_graph.updates import IpsetType
from dataplane.drivers.ipset_messages import Codec, add, parse_members
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


def test_many_members_travel_in_few_requests() -> None:
    codec = Codec(IP, 4)
    members = [bytes([10, 0, i >> 8, i & 255]) for i in range(2500)]
    requests = add("cali40x", codec, members)
    assert len(requests) == 3
    assert max(len(request.body) for request in requests) < 65_536
    assert add("cali40x", codec, []) == []
