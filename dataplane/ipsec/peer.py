"""Another node as one address family needs it: what was decided of it in, one value out.
Pure.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from dataplane.families import Family
from dataplane.ipsec.choice import Choice
from dataplane.ipsec.ends import End
from dataplane.ipsec.life import Life
from dataplane.ipsec.states import Tunnel


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
