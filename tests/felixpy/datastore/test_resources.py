"""Single values: which texts mean what, and which mean nothing."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calc_graph.model import PortRange
from felixpy.datastore.convert.endpoint_name import (
    EndpointName,
    parse_endpoint_name,
    render_endpoint_name,
)
from felixpy.datastore.errors import InvalidResourceError, render_path, suggestion
from felixpy.datastore.resources import addresses, names, numbers
from felixpy.datastore.resources.wireguard import is_wireguard_key

NETS = [
    # text                   canonical            masked  exact
    ("10.0.0.0/8", "10.0.0.0/8", True, False),
    ("10.1.2.3/8", "10.0.0.0/8", False, False),
    ("10.1.2.3", "10.1.2.3/32", True, True),
    ("0.0.0.0/0", "0.0.0.0/0", True, False),
    ("FD00:0::/8", "fd00::/8", True, False),
    ("::1", "::1/128", True, True),
    ("::ffff:10.0.0.1", "10.0.0.1/32", True, True),
]


@pytest.mark.parametrize(("text", "network", "masked", "exact"), NETS)
def test_nets(text: str, network: str, masked: bool, exact: bool) -> None:
    net = addresses.parse_net(text)
    assert net is not None
    assert (net.network, net.masked, net.exact) == (network, masked, exact)


@pytest.mark.parametrize(
    "text",
    [
        "", "/", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/08x", "010.0.0.1",
        "10.0.0", "10.0.0.0/8/8", "fe80::1%eth0", "fd00::/129", "::ffff:10.0.0.0/104", "a",
        " 10.0.0.1",
        "10.0.0.1\n", "10.0.0.0/8\n", "\x00", "10.0.0.0/٨",
    ],
)  # fmt: skip
def test_what_is_no_net(text: str) -> None:
    assert addresses.parse_net(text) is None


@given(st.ip_addresses(), st.integers(0, 128))
def test_nets_agree_with_the_standard_library(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, length: int
) -> None:
    length = min(length, address.max_prefixlen)
    parsed = addresses.parse_net(f"{address}/{length}")
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        assert parsed is None
        return
    standard = ipaddress.ip_network((address, length), strict=False)
    assert parsed is not None
    assert ipaddress.ip_network(parsed.network) == standard
    assert parsed.masked == (standard.network_address == address)


@given(st.ip_addresses(v=4), st.integers(0, 32), st.ip_addresses(v=4), st.integers(0, 32))
def test_covering_agrees_with_the_standard_library(
    one: ipaddress.IPv4Address, length: int, other: ipaddress.IPv4Address, other_length: int
) -> None:
    net, inner = (
        addresses.parse_net(f"{a}/{n}") for a, n in ((one, length), (other, other_length))
    )
    assert net
    assert inner
    standard = ipaddress.IPv4Network((one, length), strict=False)
    assert net.covers(inner) == ipaddress.IPv4Network(
        (other, other_length), strict=False
    ).subnet_of(standard)


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("ee:ee:ee:ee:ee:ee", True),
        ("EE-EE-EE-EE-EE-EE", True),
        ("eeee.eeee.eeee", True),
        ("00:00:00:00:fe:80:00:00", True),
        ("ee:ee:ee:ee:ee", False),
        ("ee:ee-ee:ee:ee:ee", False),
        ("eeeeeeeeeeee", False),
        ("ee:ee:ee:ee:ee:ee\n", False),
        ("", False),
    ],
)
def test_macs(text: str, valid: bool) -> None:
    assert addresses.is_mac(text) is valid


@pytest.mark.parametrize(
    ("value", "parsed"),
    [
        ("TCP", "tcp"), ("udplite", "udplite"), (6, 6), ("6", 6), (255, 255), (0, None),
        (256, None), ("0", None), ("ESP", None), ("", None), ("-1", None), ("9" * 5000, None),
        ("²", None),
    ],
)  # fmt: skip
def test_protocols(value: int | str, parsed: int | str | None) -> None:
    assert numbers.parse_protocol(value) == parsed


@pytest.mark.parametrize(
    ("value", "parsed"),
    [
        (80, PortRange(80, 80)), ("80", PortRange(80, 80)), ("1:65535", PortRange(1, 65535)),
        ("http", "http"), ("10-20", "10-20"), (0, None), (65536, None), ("0:1", None),
        ("2:1", None),
        ("", None), ("a b", None), ("1:2:3", None), (-1, None), ("80\n", None),
        ("1:99999999999", None),
    ],
)  # fmt: skip
def test_ports(value: int | str, parsed: PortRange | str | None) -> None:
    assert numbers.parse_port(value) == parsed


@pytest.mark.parametrize(
    ("value", "parsed"),
    [
        (64512, 64512), ("64512", 64512), ("1.2", 65538), (4294967295, 4294967295),
        (4294967296, None), ("65536.1", None), ("1.2.3", None), (-1, None), ("x", None),
    ],
)  # fmt: skip
def test_as_numbers(value: int | str, parsed: int | None) -> None:
    assert numbers.parse_as_number(value) == parsed


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        (0, True), (63, True), (64, False), ("46", True), ("EF", True), ("AF43", True),
        ("CS6", True),
        ("CS7", False), ("AF44", False), ("ef", False), ("", False),
    ],
)  # fmt: skip
def test_dscp(value: int | str, valid: bool) -> None:
    assert numbers.is_dscp(value) is valid


SECOND = 10**9


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("90s", 90 * SECOND), ("1m30s", 90 * SECOND), ("1.5h", 5400 * SECOND),
        ("500ms", SECOND // 2),
        ("1us", 1000), ("1µs", 1000), ("1ns", 1), ("0", 0), (".5s", SECOND // 2), ("-1s", -SECOND),
        ("1", None), ("", None), ("s", None), ("1 s", None), ("1s\n", None), ("1d", None),
        (".s", None),
    ],
)  # fmt: skip
def test_durations(text: str, nanoseconds: int | None) -> None:
    assert numbers.parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("a", True), ("a.b/c", True), ("A_1", True), ("a/b/c", False), ("", False), ("/a", False),
        ("a/", False), ("-a", False), ("a" * 63, True), ("a" * 64, False), ("B/a", False),
        ("a\n", False),
    ],
)  # fmt: skip
def test_label_names(text: str, valid: bool) -> None:
    assert names.is_qualified_name(text) is valid


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("http", True), ("a-1", True), ("80", False), ("a--b", False), ("-a", False), ("a-", False),
        ("a" * 16, False), ("", False), ("A", False),
    ],
)  # fmt: skip
def test_port_names(text: str, valid: bool) -> None:
    assert names.is_port_name(text) is valid


@pytest.mark.parametrize(
    ("text", "valid"),
    [("^eth.*", True), ("(", False), ("a{99999999999}", False), ("[[a]", True), ("", True)],
)
def test_regular_expressions(text: str, valid: bool) -> None:
    assert names.is_regexp(text) is valid


@pytest.mark.parametrize(
    ("text", "valid"),
    [("A" * 43 + "=", True), ("A" * 44, False), ("", False), ("é" * 44, False), ("A" * 42, False)],
)
def test_wireguard_keys(text: str, valid: bool) -> None:
    assert is_wireguard_key(text) is valid


part = st.from_regex(r"[a-z0-9.]([-a-z0-9.]*[a-z0-9.])?", fullmatch=True)


@given(part, part, part, part)
def test_endpoint_names_are_read_as_they_were_written(
    node: str, orchestrator: str, third: str, endpoint: str
) -> None:
    parts = EndpointName(node, orchestrator, third, endpoint)
    assert parse_endpoint_name(render_endpoint_name(parts)) == parts


@pytest.mark.parametrize("name", ["", "a", "a-b-c", "a-b-c-d-e", "-a-b-c", "a-b-c-", "a--b-c-d"])
def test_names_of_no_endpoint(name: str) -> None:
    with pytest.raises(InvalidResourceError):
        parse_endpoint_name(name)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("spec", "ingress", 0, "action"), "spec.ingress[0].action"),
        (("items", 2, "kind"), "items[2].kind"),
        ((3, "kind"), "[3].kind"),
        (("metadata", "labels", "a\nb"), r"metadata.labels['a\nb']"),
    ],
)
def test_paths(path: tuple[str | int, ...], text: str) -> None:
    assert render_path(path) == text


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("ingres", ", did you mean 'ingress'?"),
        ("CIDR", ", did you mean 'cidr'?"),
        ("colour", ""),
        ("", ""),
    ],
)
def test_suggestions(wrong: str, hint: str) -> None:
    assert suggestion(wrong, ["ingress", "cidr", "order"]) == hint
