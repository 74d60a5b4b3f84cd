"""Another node as one address family needs it: what was decided of it in, one value out; and what
the family makes of it.  Pure.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from dataplane.families import Family
from dataplane.ipsec.choice import Choice
from dataplane.ipsec.ends import End
from dataplane.ipsec.life import Life
from dataplane.ipsec.policies import Way
from dataplane.ipsec.states import PairStates, Tunnel
from dataplane.ipsec.values import StateId, StateWish


class Peer(Struct, frozen=True, gc=False):
    """Another node as this family needs it.

    there    its address, "" for none
    tunnel   None: it cannot be a peer
    key      to send with, 0 for none
    usable   keys that may be sent with while the state for `key` is missing, the best first
    enabled  it says that it is on
    nodes    what nodes say to each other is encrypted too
    hosts    it says that what it says to this node itself goes encrypted
    """

    there: str = ""
    tunnel: Tunnel | None = None
    key: int = 0
    usable: tuple[int, ...] = ()
    enabled: bool = False
    nodes: bool = False
    hosts: bool = False


NOBODY: Final = Peer()


def peer_of(
    name: str,
    end: End,
    choice: Choice,
    family: Family,
    *,
    here: str,
    life: Life,
    shared: bool,
    hosts: bool,
) -> Peer:
    """`here`: this node's address, "" where there is none; `hosts`: as in Peer."""
    record, there = end.record, end.addresses.get(family, "")
    tunnel = None
    if choice.eligible and here and there:
        if shared:
            tunnel = Tunnel(name, here, there, shared=True)
        else:
            tunnel = Tunnel(name, here, there, False, life.tag, life.boot, record.tag, record.boot)
    return Peer(
        there or end.hosts.get(family, ""),
        tunnel,
        choice.key,
        choice.usable,
        record.enabled,
        record.node_encryption,
        hosts,
    )


class Line:
    """To a peer: what was decided of it, and what is wished for because of that.

    made_for  the time of the family that `peer` was worked out in
    changed   something was observed of its states
    states    None where it cannot be a peer
    """

    __slots__ = ("changed", "made_for", "peer", "received", "sent", "states", "way")

    def __init__(self) -> None:
        self.peer = NOBODY
        self.made_for = -1
        self.changed = False
        self.states: PairStates | None = None
        self.received: dict[StateId, StateWish] = {}
        self.sent: dict[StateId, StateWish] = {}
        self.way: Way | None = None
