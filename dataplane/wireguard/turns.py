"""Which routes are written before those of the main table, and which after.  Pure.

    in   adopt    what the table says before anything is asked for
         asked    a rule leads to the table: without one it closes nothing
         change   a destination, and what its route is to be
         settled  the main table is as it should be, and knows this node's own nets
    out  change   whether that is for now; what is not is for later
         later    what is to be written once the main table is as it should be

A route that keeps packets from the main table goes first.  One that leaves them to it waits until
that knows better: of a net that comes to this node it has the way to the node before, in clear; of
an address that comes to it out of a block of another node's, the way of the block; and of a net
that goes to the next node, the way to this one.  So a destination opens late if its route closed
before, and also if it had none, because a wider one may have closed.

What leaves this node goes at once: the main table still has it here.  So does what was here before
and needs a route of its own now, since the block around it goes to another node.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dataplane.wireguard.state import RouteKind


class Turns:
    def __init__(self) -> None:
        self._asked = False
        self._kinds: dict[str, RouteKind] = {}  # as the table has been told
        self._later: dict[str, RouteKind | None] = {}  # None: gone
        self._here: frozenset[str] = frozenset()

    def adopt(self, found: Mapping[str, RouteKind], *, asked: bool) -> None:
        self._kinds |= found
        self._asked = asked

    def asked(self) -> None:
        self._asked = True

    def change(self, net: str, kind: RouteKind | None, *, ours: bool) -> bool:
        """`ours`: the net is behind this node."""
        self._later.pop(net, None)
        if self._waits(net, kind, ours=ours):
            self._later[net] = kind
            return False
        self._tell(net, kind)
        return True

    def later(self) -> Mapping[str, RouteKind | None]:
        """They are taken: from now on the table has been told of them."""
        later, self._later = self._later, {}
        for net, kind in later.items():
            self._tell(net, kind)
        return later

    def settled(self, here: Iterable[str]) -> None:
        """`here`: all nets of this node that the main table has been told of."""
        self._here = frozenset(here)

    @property
    def opens(self) -> bool:
        """Whether anything is for later."""
        return bool(self._later)

    def clear(self) -> tuple[str, ...]:
        """The table is to be empty; what it has been told of till now."""
        nets = (*self._kinds, *(net for net in self._later if net not in self._kinds))
        self._kinds.clear()
        self._later.clear()
        self._asked = False
        return nets

    def _waits(self, net: str, kind: RouteKind | None, *, ours: bool) -> bool:
        before = self._kinds.get(net)
        if not self._asked or kind == before or kind in ("device", "unreachable"):
            return False
        if before in ("device", "unreachable"):
            return True
        return ours if kind is None else net not in self._here

    def _tell(self, net: str, kind: RouteKind | None) -> None:
        if kind is None:
            self._kinds.pop(net, None)
        else:
            self._kinds[net] = kind
