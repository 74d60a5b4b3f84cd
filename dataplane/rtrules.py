"""Policy rules as rtnetlink messages, those that `ip rule` shows: pure bytes, no socket.

    in   Rule                 -> Requests that list rules, add one, delete one
         body of a message    -> KernelRule
Source: linux include/uapi/linux/fib_rules.h, net/core/fib_rules.c.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from dataplane.families import Family
from dataplane.netlink import CREATE, DUMP, Request, attribute, attributes
from dataplane.rtnetlink import BY_CALICO, FAMILY, SOCKET_FAMILY

NEWRULE, DELRULE, GETRULE = 32, 33, 34
GROUP_RULE_V4, GROUP_RULE_V6 = 8, 19

_RULE: Final = struct.Struct(
    "=BBBBBxxBI"
)  # family, lengths of dst and src, tos, table, action, flags
_U32: Final = struct.Struct("=I")
_TO_TABLE: Final = 1
_INVERT: Final = 0x2
_INCOMING, _PRIORITY, _MARK, _TABLE, _MASK, _PROTOCOL = 3, 6, 10, 15, 16, 21
_SUPPRESS_PREFIX = 14
_COMPAT = 252  # in a head that has no room for the number of a table

_THIS_HOST: Final = b"lo\0"
_NO_SUPPRESSION: Final = b"\xff\xff\xff\xff"


class Rule(NamedTuple):
    """`not from all fwmark MARK/MARK lookup TABLE`: what does not carry the mark asks the table.

    `forwarded`: `not from all iif lo lookup TABLE`, all that does not come from this host.
    """

    priority: int
    table: int
    mark: int
    forwarded: bool = False


class KernelRule(NamedTuple):
    """`table` is 0 for a rule that leads to none.  `plain`: it asks for nothing but the mark;
    `forwarded`: for nothing but that a packet does not come from this host.

    `body` is the message that told of it.
    """

    priority: int
    table: int
    mark: int
    mask: int
    inverted: bool
    protocol: int
    plain: bool
    body: bytes = b""
    forwarded: bool = False


def list_rules(family: Family) -> Request:
    return Request(GETRULE, DUMP, _RULE.pack(SOCKET_FAMILY[family], 0, 0, 0, 0, 0, 0))


def parse_rule(body: bytes) -> tuple[Family, KernelRule] | None:
    """None for families that do not concern us."""
    number, dst, src, tos, table, action, flags = _RULE.unpack_from(body)
    family = FAMILY.get(number)
    if family is None:
        return None
    numbers = {_PRIORITY: 0, _MARK: 0, _MASK: 0, _TABLE: table}
    protocol, incoming, plain = 0, b"", not (dst or src or tos)
    for name, value in attributes(body, _RULE.size):
        if name in numbers:
            numbers[name] = _U32.unpack(value)[0]
        elif name == _PROTOCOL:
            protocol = value[0]
        elif name == _INCOMING:
            incoming = value
        elif name != _SUPPRESS_PREFIX or value != _NO_SUPPRESSION:
            plain = False
    inverted, marked = bool(flags & _INVERT), bool(numbers[_MARK] or numbers[_MASK])
    return family, KernelRule(
        numbers[_PRIORITY],
        numbers[_TABLE] if action == _TO_TABLE else 0,
        numbers[_MARK],
        numbers[_MASK],
        inverted,
        protocol,
        plain and not incoming,
        body,
        forwarded=plain and inverted and not marked and incoming == _THIS_HOST,
    )


def add_rule(family: Family, rule: Rule) -> Request:
    """After those of the same priority.

    One more if there is one already: asked not to, the kernel would refuse a rule because of one
    that has the same mark and is not inverted.
    """
    table = rule.table if rule.table < 256 else _COMPAT
    head = _RULE.pack(SOCKET_FAMILY[family], 0, 0, 0, table, _TO_TABLE, _INVERT)
    mark = _U32.pack(rule.mark)
    by_mark = attribute(_MARK, mark) + attribute(_MASK, mark)
    body = (
        attribute(_PRIORITY, _U32.pack(rule.priority))
        + (attribute(_INCOMING, _THIS_HOST) if rule.forwarded else by_mark)
        + attribute(_TABLE, _U32.pack(rule.table))
        + attribute(_PROTOCOL, bytes([BY_CALICO]))
    )
    return Request(NEWRULE, CREATE, head + body)


def delete_rule(rule: KernelRule) -> Request:
    """The first that looks like it.  To the kernel a rule that is not inverted looks like one that
    is, and a rule of any maker like one of none.
    """
    return Request(DELRULE, 0, rule.body)
