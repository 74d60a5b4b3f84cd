"""A line to a peer, one address family: what was decided of it, and which states follow from that,
from the keys, and from what the kernel has.  Pure.

Source: sections 4.6, 4.7 and 5.5 of the IPsec reference.
"""

from __future__ import annotations

from collections.abc import Iterable

from dataplane.ipsec.peer import NOBODY
from dataplane.ipsec.policies import Between, Way
from dataplane.ipsec.retire import Picture
from dataplane.ipsec.seen import Seen
from dataplane.ipsec.states import TunnelStates
from dataplane.ipsec.values import StateId, StateWish


class Line:
    """To a peer: what was decided of it, and what is wished for because of that.

    between   what its way is made of, but for the SPI
    made_for  the time of the family that `peer` was worked out in
    changed   something was observed that its states follow from
    stirred   something was observed that its way follows from
    used      something was observed of policies between the two nodes
    keys      IDs that ways out to it have in the kernel
    states    None where it cannot be a peer
    """

    __slots__ = (
        "between",
        "changed",
        "keys",
        "made_for",
        "peer",
        "received",
        "sent",
        "states",
        "stirred",
        "used",
        "way",
    )

    def __init__(self) -> None:
        self.peer = NOBODY
        self.between = Between()
        self.made_for = -1
        self.changed = False
        self.stirred = False
        self.used = False
        self.keys: frozenset[int] = frozenset()
        self.states: TunnelStates | None = None
        self.received: dict[StateId, StateWish] = {}
        self.sent: dict[StateId, StateWish] = {}
        self.way: Way | None = None


def possible(wishes: Iterable[StateWish], keys: Picture, seen: Seen) -> dict[StateId, StateWish]:
    """Those that can be made, or are there and can stay."""
    makeable = keys.makeable
    return {wish.id: wish for wish in wishes if wish.key in makeable or seen.can_stay(wish)}


def receiving(states: TunnelStates, keys: Picture, seen: Seen) -> dict[StateId, StateWish]:
    """To be wished for, layout "pair"."""
    return possible([states.receiving[key] for key in keys.received], keys, seen)


def sending(states: TunnelStates, best: int, keys: Picture, seen: Seen) -> dict[StateId, StateWish]:
    """To be wished for.  A state that was sent with stays as long as its key is alive: it could not
    be made again, as that would count anew under the same key.
    """
    wishes: dict[StateId, StateWish] = {}
    for key in keys.checks:
        wish = states.sending[key]
        if (key == best and key in keys.makeable) or seen.was_made(wish):
            wishes[wish.id] = wish
    return wishes


def spi_of(line: Line, keys: Picture, seen: Seen) -> int:
    """The SPI to send with, 0 for none.  What the peer may be gone on with was said at a time at
    which other keys may have been alive.
    """
    if line.states is None or not line.peer.key:
        return 0
    present = seen.present
    for key in (line.peer.key, *line.peer.usable):
        if key in keys.checks:
            wish = line.states.sending[key]
            if present.get(wish.id) == wish and (
                key == line.peer.key or _may_go_on(line, wish, seen)
            ):
                return wish.id.spi
    return 0


def _may_go_on(line: Line, wish: StateWish, seen: Seen) -> bool:
    """While the state of the best key is missing, only what is in use stays so."""
    before = 0 if line.way is None else line.way.spi
    return wish.id.spi == before or (before == 0 and seen.is_used(wish.id))
