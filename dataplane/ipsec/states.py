"""States for a peer, or for all of them.  Pure.

             pair                                     shared
    SPI      the sender's tag and the key's ID        the key's ID
    source   the sender                               receiving: anybody, sending: this node
    key      derived, with the boots of both ends     the file's, as it is

Source: sections 4.2 and 4.4 of the IPsec reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct

from dataplane.families import Family
from dataplane.ipsec.values import ANYBODY, StateId, StateWish

ID_BITS: Final = 4
ID_MASK: Final = (1 << ID_BITS) - 1


class Tunnel(Struct, frozen=True, gc=False):
    """Between this node and a peer, one family; tags and boots count in the layout "pair"."""

    peer: str
    here: str  # address
    there: str
    shared: bool = False
    own_tag: int = 0
    own_boot: str = ""
    tag: int = 0
    boot: str = ""


def pair_spi(tag: int, key: int) -> int:
    return tag << ID_BITS | key


def key_of(spi: int) -> int:
    """The key ID, of either layout."""
    return spi & ID_MASK


def sending(tunnel: Tunnel, key: int) -> StateWish:
    if tunnel.shared:
        return StateWish(StateId(tunnel.there, key), tunnel.here, key, False, tunnel.peer)
    return StateWish(
        StateId(tunnel.there, pair_spi(tunnel.own_tag, key)),
        tunnel.here,
        key,
        receives=False,
        peer=tunnel.peer,
        life=tunnel.own_boot + tunnel.boot,
    )


def receiving(tunnel: Tunnel, key: int) -> StateWish:
    """From one peer, layout "pair"."""
    return StateWish(
        StateId(tunnel.here, pair_spi(tunnel.tag, key)),
        tunnel.there,
        key,
        receives=True,
        peer=tunnel.peer,
        life=tunnel.boot + tunnel.own_boot,
    )


class _ByKey(dict[int, StateWish]):
    """Key ID -> a state of a tunnel, made when it is asked for first.

    Each is asked for several times in a rotation, most of which cost no call this way.
    """

    __slots__ = ("_make", "_tunnel")

    def __init__(self, make: Callable[[Tunnel, int], StateWish], tunnel: Tunnel) -> None:
        self._make = make
        self._tunnel = tunnel

    def __missing__(self, key: int) -> StateWish:
        wish = self[key] = self._make(self._tunnel, key)
        return wish


class TunnelStates:
    """States of one tunnel by key ID, each of which is made once."""

    __slots__ = ("receiving", "sending", "tunnel")

    def __init__(self, tunnel: Tunnel) -> None:
        self.tunnel = tunnel
        self.sending: Mapping[int, StateWish] = _ByKey(sending, tunnel)
        self.receiving: Mapping[int, StateWish] = _ByKey(receiving, tunnel)


def receiving_from_all(family: Family, here: str, key: int) -> StateWish:
    """From whoever has the key, layout "shared"."""
    return StateWish(StateId(here, key), ANYBODY[family], key, receives=True)
