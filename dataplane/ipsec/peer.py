"""Another node as one address family needs it, by what was decided of it.  Pure."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

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
