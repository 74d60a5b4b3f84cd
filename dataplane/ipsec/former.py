"""States of peers that are not wished for any more, and that may be needed for a while: another
life of a peer, or one that is switched off or gone.

    receiving  until the peer has been quiet for as long as packets are on their way
    sending    until the grace time is over, with a key of the pair's own: they could not be made
               again if the peer came back, as that would count anew under the same key

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Set

from dataplane.ipsec.retire import IN_FLIGHT_SECONDS
from dataplane.ipsec.values import StateId, StateWish

_NEVER = float("inf")


class _Former:
    def __init__(self, until: float) -> None:
        self.wishes: dict[StateId, StateWish] = {}
        self.until = until
        self.quiet_since: float | None = None

    def let_go(self, now: float) -> float:
        """Out: when to look again; infinity when nothing is left."""
        quiet = _NEVER if self.quiet_since is None else self.quiet_since + IN_FLIGHT_SECONDS
        deaf_at = min(self.until, quiet)
        if now >= deaf_at:
            self.wishes = {i: wish for i, wish in self.wishes.items() if not wish.receives}
        if now >= self.until:
            self.wishes = {}
        if not self.wishes:
            return _NEVER
        return deaf_at if any(w.receives for w in self.wishes.values()) else self.until


class Formers:
    """Of all peers, by name."""

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._of: dict[str, _Former] = {}
        self._changed: dict[str, None] = {}
        self._due = _NEVER

    @property
    def names(self) -> Set[str]:
        """Peers of which there are any.  A live view."""
        return self._of.keys()

    def wishes(self, name: str) -> Iterable[StateWish]:
        former = self._of.get(name)
        return () if former is None else former.wishes.values()

    def keep(self, name: str, gone: Iterable[StateWish], *, quiet: bool, now: float) -> None:
        """`gone`: what has ceased to be wished for; `quiet`: the peer does not use any of it."""
        # A state that all share has a key that counts from anywhere, so it can be made again.
        gone = [wish for wish in gone if wish.receives or wish.life]
        if name not in self._of and not gone:
            return
        former = self._of.setdefault(name, _Former(now + self._grace))
        former.wishes.update({wish.id: wish for wish in gone})
        if not quiet:
            former.quiet_since = None
        elif former.quiet_since is None:
            former.quiet_since = now
        self._changed[name] = None
        self._due = now

    def look_at(self, name: str) -> None:
        """Something was observed of a peer's states."""
        if name in self._of:
            self._changed[name] = None

    def look_at_all(self) -> None:
        """What they have to agree with is another: this node's address, or keys."""
        self._changed.update(dict.fromkeys(self._of))

    def clear(self) -> None:
        self._changed.update(dict.fromkeys(self._of))
        self._of.clear()

    def let_go(self, now: float) -> float:
        """Out: when to look again, infinity for never."""
        if now < self._due:
            return self._due
        self._due = _NEVER
        for name, former in list(self._of.items()):
            before = len(former.wishes)
            self._due = min(self._due, former.let_go(now))
            if len(former.wishes) != before:
                self._changed[name] = None
            if not former.wishes:
                del self._of[name]
        return self._due

    def take_changed(self) -> dict[str, None]:
        """Peers of which there may be others than before."""
        changed, self._changed = self._changed, {}
        return changed
