"""The codec of rules, as bytes: what `ip rule` writes and what the kernel tells."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane import rtrules
from dataplane.families import Family
from dataplane.netlink import Request, attribute
from dataplane.rtrules import KernelRule, Rule

families = st.sampled_from([4, 6])
numbers = st.integers(1, 2**32 - 1)


@given(families, numbers, numbers, numbers)
def test_a_rule_is_read_back(family: Family, priority: int, table: int, mark: int) -> None:
    request = rtrules.add_rule(family, Rule(priority, table, mark))
    assert rtrules.parse_rule(request.body) == (
        family,
        KernelRule(priority, table, mark, mark, True, 80, True, request.body),
    )


@given(families, numbers, numbers, numbers)
def test_one_that_is_not_for_the_host_is_read_back(
    family: Family, priority: int, table: int, mark: int
) -> None:
    request = rtrules.add_rule(family, Rule(priority, table, mark, forwarded=True))
    assert rtrules.parse_rule(request.body) == (
        family,
        KernelRule(priority, table, 0, 0, True, 80, False, request.body, forwarded=True),
    )


@pytest.mark.parametrize(
    "more",
    [
        attribute(10, struct.pack("=I", 1)) + attribute(16, struct.pack("=I", 1)),
        attribute(2, bytes([10, 0, 0, 1])),
    ],
    ids=["a mark", "a source"],
)
def test_what_asks_for_more_is_another(more: bytes) -> None:
    body = rtrules.add_rule(4, Rule(99, 1, 0x200000, forwarded=True)).body + more
    found = rtrules.parse_rule(body)
    assert found is not None
    assert not found[1].forwarded


@given(families, st.binary(max_size=40))
def test_whatever_the_kernel_tells_is_taken_apart(family: Family, rest: bytes) -> None:
    head = struct.pack("=BBBBBxxBI", {4: 2, 6: 10}[family], 0, 0, 0, 254, 1, 0)
    padded = head + attribute(17, rest)
    found = rtrules.parse_rule(padded)
    assert found is not None
    assert found[0] == family
    assert (found[1].table, found[1].plain) == (254, False)


@pytest.mark.parametrize(
    ("kind", "value", "plain"),
    [
        pytest.param(14, b"\xff\xff\xff\xff", True, id="nothing suppressed"),
        pytest.param(14, bytes(4), False, id="suppressed"),
        pytest.param(3, b"eth0\0", False, id="of an interface"),
        pytest.param(2, b"\x0a\0\0\1", False, id="of a source"),
    ],
)
def test_what_else_a_rule_asks_for_is_noticed(kind: int, value: bytes, plain: bool) -> None:
    body = rtrules.add_rule(4, Rule(99, 1, 0x200000)).body + attribute(kind, value)
    found = rtrules.parse_rule(body)
    assert found is not None
    assert found[1].plain is plain


def test_rules_that_lead_to_no_table_are_told_apart() -> None:
    unreachable = struct.pack("=BBBBBxxBI", 2, 0, 0, 0, 1, 7, 2)
    found = rtrules.parse_rule(unreachable)
    assert found is not None
    assert found[1].table == 0


def test_other_families_do_not_concern_us() -> None:
    assert rtrules.parse_rule(struct.pack("=BBBBBxxBI", 129, 0, 0, 0, 254, 1, 0)) is None


def test_a_rule_is_deleted_as_it_was_told() -> None:
    body = rtrules.add_rule(6, Rule(99, 1, 0x200000)).body
    found = rtrules.parse_rule(body)
    assert found is not None
    assert rtrules.delete_rule(found[1]) == Request(rtrules.DELRULE, 0, body)
