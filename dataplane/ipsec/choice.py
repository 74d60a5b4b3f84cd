"""Which key a peer is sent to with, and if with none, why.  Pure.

A key is common when the peer publishes that it receives it, with our check value.  The first of the
ring that is common is it; where none of the ring is, one that has left it and is still there.
Source: sections 5.2 and 5.3 of the IPsec reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from calc_graph.model import IpsecNode
from dataplane.ipsec.ends import End


class Choice(Struct, frozen=True, gc=False):
    """`key` 0: none; then `reason` says why, and `waits` whether that is but for a while.

    usable    keys that may be sent with while the state for `key` is missing, the best first
    eligible  it can be a peer at all
    """

    key: int = 0
    reason: str = ""
    waits: bool = False
    usable: tuple[int, ...] = ()
    eligible: bool = True


def choose(
    node: str,
    end: End,
    *,
    layout: str,
    tag: int,
    order: Sequence[int],
    alive: Mapping[int, str],
    usable: Sequence[int],
) -> Choice:
    """`order`: keys to send with, the best first; `usable`: those that may be gone on with, in the
    same way; `tag`: this node's own.
    """
    reason = excluded(node, end, layout)
    if reason:
        return Choice(reason=reason, eligible=False)
    record = end.record
    common = common_keys(record, order, alive)
    if not common:
        return Choice(reason=_nothing_common(node, record, order, alive), waits=not record.receive)
    if layout == "pair" and end.peering.tag != tag:
        return Choice(reason=f"waits for {node} to say that it has taken us in", waits=True)
    if usable != order:
        return Choice(common[0], usable=tuple(common_keys(record, usable, alive)))
    return Choice(common[0], usable=tuple(common))


def excluded(node: str, end: End, layout: str) -> str:
    """Why a node can be no peer at all, "" if it can."""
    record = end.record
    if not end.published:
        return "has no record"
    if not record.enabled:
        return "is switched off there"
    if record.layout != layout:
        return f"publishes another layout: {record.layout}, here {layout}"
    if layout == "pair" and not (record.tag and record.boot):
        return "publishes no tag"
    if end.place.rival:
        return f"its tag is that of {end.place.rival} as well"
    if not end.place.addresses:
        return "has no address of its own"
    return ""


def common_keys(record: IpsecNode, order: Iterable[int], alive: Mapping[int, str]) -> list[int]:
    receive = record.receive
    return [key for key in order if key in receive and receive[key] == alive.get(key)]


def _nothing_common(
    node: str, record: IpsecNode, order: Sequence[int], alive: Mapping[int, str]
) -> str:
    other = [key for key in order if record.receive.get(key, alive[key]) != alive[key]]
    if other:
        return f"key {listed(other)} here is another one than at {node}"
    if not record.receive:
        return f"waits for {node} to receive a key"
    if not order:
        return "there is no key here"
    return f"no key in common: {node} has {listed(record.receive)}, this node {listed(order)}"


def listed(keys: Iterable[int]) -> str:
    return ", ".join(str(key) for key in sorted(keys))
