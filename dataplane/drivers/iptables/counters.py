"""What rules have counted: chains by the start of their names in, comment and packets of each rule
out.

nf_tables answers for single chains over netlink, so a table may be as large as it likes: asked are
the names of its chains, and then the rules of those that are wanted.  Legacy xtables has no smaller
unit than a table.  Both are looked into, for whoever asks need not know which one is in use; where
there is nothing of ours, nothing is found.  Nothing is kept between two questions.
"""

from __future__ import annotations

import errno
import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from dataplane.drivers.iptables.detect import installed, legacy_tables
from dataplane.families import Family
from dataplane.netlink import (
    DUMP,
    NETFILTER,
    Message,
    NetlinkError,
    Request,
    Socket,
    attribute,
    attributes,
)
from dataplane.runner import Runner

_GET_CHAIN, _GET_RULE = 10 << 8 | 4, 10 << 8 | 7  # of the nf_tables subsystem
_CHAIN_TABLE, _CHAIN_NAME = 1, 3
_RULE_TABLE, _RULE_CHAIN, _RULE_EXPRESSIONS = 1, 2, 4
_EXPRESSION_NAME, _EXPRESSION_DATA = 1, 2
_COUNTER_PACKETS = 2
_MATCH_NAME, _MATCH_INFO = 1, 3
_OUR_FAMILY = {4: 2, 6: 10}  # AF_INET, AF_INET6
_SAVED = re.compile(r"\[(\d+):\d+\] -A (\S+) (.*)")
_COMMENT = re.compile(r'--comment (?:"([^"]*)"|(\S+))')


class Counted(NamedTuple):
    """A rule's last comment, which is the one beside its id, and the packets that it matched."""

    comment: str
    packets: int


async def read_counters(family: Family, table: str, prefix: str) -> list[Counted]:
    """Of all rules in chains whose names begin with `prefix`.  Raises DataplaneError."""
    found = await _read_nft(family, table, prefix)
    if table in legacy_tables(family):
        found += await _read_legacy(family, table, prefix)
    return found


async def _read_nft(family: Family, table: str, prefix: str) -> list[Counted]:
    socket, head = Socket(NETFILTER), struct.pack(">BBH", _OUR_FAMILY[family], 0, 0)
    wanted = f"{table}\0".encode()
    try:
        chains = await socket.query(Request(_GET_CHAIN, DUMP, head), "listing chains")
        found: list[Counted] = []
        for name in _names(chains, wanted, prefix.encode()):
            body = head + attribute(_RULE_TABLE, wanted) + attribute(_RULE_CHAIN, name)
            try:
                rules = await socket.query(Request(_GET_RULE, DUMP, body), "reading counters")
            except NetlinkError as error:
                if error.code != errno.ENOENT:
                    raise
                continue  # it has just gone
            found += [_rule(rule) for rule in rules]
        return found
    finally:
        socket.close()


def _names(chains: list[Message], table: bytes, prefix: bytes) -> Iterator[bytes]:
    for chain in chains:
        parts = dict(attributes(chain.body, 4))
        name = parts.get(_CHAIN_NAME, b"")
        if parts.get(_CHAIN_TABLE) == table and name.startswith(prefix):
            yield name


def _rule(message: Message) -> Counted:
    comment, packets = "", 0
    expressions = dict(attributes(message.body, 4)).get(_RULE_EXPRESSIONS, b"")
    for _, expression in attributes(expressions):
        parts = dict(attributes(expression))
        data = dict(attributes(parts.get(_EXPRESSION_DATA, b"")))
        match parts.get(_EXPRESSION_NAME):
            case b"counter\0":
                packets = int.from_bytes(data[_COUNTER_PACKETS], "big")
            case b"match\0" if data[_MATCH_NAME] == b"comment\0":
                comment = data[_MATCH_INFO].partition(b"\0")[0].decode(errors="replace")
    return Counted(comment, packets)


async def _read_legacy(family: Family, table: str, prefix: str) -> list[Counted]:
    base = "iptables" if family == 4 else "ip6tables"
    save = f"{base}-legacy-save" if installed("legacy", family) else f"{base}-save"
    found = []
    for line in (await Runner().run(save, "-c", "-t", table)).splitlines():
        saved = _SAVED.fullmatch(line)
        if saved and saved[2].startswith(prefix):
            comments = [quoted or plain for quoted, plain in _COMMENT.findall(saved[3])]
            found.append(Counted(comments[-1] if comments else "", int(saved[1])))
    return found
