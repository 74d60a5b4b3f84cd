"""Which keys are sent with: to each peer by us, and perhaps to us by each.  Pure."""

from __future__ import annotations

from collections.abc import Collection, Set

from calc_graph.model import IpsecNode
from calc_graph.multimap import Multimap
from dataplane.ipsec.retire import Picture, may_send

_NONE: frozenset[int] = frozenset()


class Usage:
    def __init__(self) -> None:
        self._held: Multimap[int, str] = Multimap()  # retired key -> who may send with it
        self._sent: Multimap[int, str] = Multimap()  # key -> whom we send to with it
        self._sent_to: dict[str, frozenset[int]] = {}

    def set_record(self, name: str, record: IpsecNode, here: str, keys: Picture) -> None:
        """What a peer publishes, to the node `here`."""
        for key in keys.retired:
            if may_send(record, here, key, keys.checks[key]):
                self._held.add(key, name)
            else:
                self._held.discard(key, name)

    def set_sent(self, name: str, used: frozenset[int], chosen: int) -> None:
        """What the ways out to a peer have, and what they will have, 0 for nothing."""
        after = used | {chosen} if chosen else used
        before = self._sent_to.get(name, _NONE)
        if before == after:
            return
        self._sent_to[name] = after
        for key in before - after:
            self._sent.discard(key, name)
        for key in after - before:
            self._sent.add(key, name)

    def forget(self, name: str) -> None:
        for key in list(self._held):
            self._held.discard(key, name)
        self.set_sent(name, _NONE, 0)
        self._sent_to.pop(name, None)

    def held(self, key: int) -> Set[str]:
        """Who may send with a key that has left the ring.  A live view."""
        return self._held.get(key)

    @property
    def sent(self) -> Collection[int]:
        """All keys that anybody is sent to with."""
        return list(self._sent)

    def order(self, name: str, keys: Picture) -> tuple[int, ...]:
        """Keys to send to a peer with, while some are closing.  It takes it that nobody begins with
        one that he himself does not publish any more.
        """
        sent = self._sent_to.get(name, _NONE)
        return tuple(k for k in keys.order if k in keys.published or k in sent)
