"""What this node publishes of its end: what is received, whom it has taken in, what it sends with.

A key is published once all receiving states for it have been there, and stays so until it is
withdrawn or everything is made anew: for whom its state is missing is not taken in.
Pure.  Source: section 5.3 of the IPsec reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from calc_graph.model import IpsecNode, IpsecPeering
from dataplane.families import Family
from dataplane.ipsec.choice import common_keys
from dataplane.ipsec.ids import newer
from dataplane.ipsec.life import Life
from dataplane.ipsec.retire import Picture
from dataplane.settings import IpsecSettings

_NO_PEERING: Final = IpsecPeering()


class Record:
    def __init__(self, settings: IpsecSettings) -> None:
        self._settings = settings
        self._listed: dict[int, str] = {}
        self._makeable: list[int] = []  # of these
        self._peers: dict[str, IpsecPeering] = {}
        self._made: IpsecNode | None = None  # until anything in it is another
        self._made_for: tuple[Life, Mapping[Family, str]] | None = None

    @property
    def listed(self) -> Mapping[int, str]:
        """Key ID -> check value, of those that are published as received."""
        return self._listed

    def restart(self) -> None:
        """Nothing is received: states are made anew."""
        self._listed.clear()
        self._made = None

    def list_keys(self, received: Mapping[int, bool], keys: Picture) -> bool:
        """`received`: those that may be published, and whether no state is missing.

        Out: whether others are published than before.
        """
        checks, before = keys.checks, dict(self._listed)
        for key in list(self._listed):
            if key not in received or checks[key] != self._listed[key]:
                del self._listed[key]
        for key, complete in received.items():
            if complete:
                self._listed[key] = checks[key]
        self._makeable = [key for key in self._listed if key in keys.makeable]
        if before == self._listed:
            return False
        self._made = None
        return True

    def set_peer(self, node: str, peering: IpsecPeering = _NO_PEERING) -> None:
        if self.peering(node) == peering:
            return
        if peering != _NO_PEERING:
            self._peers[node] = peering
        else:
            del self._peers[node]
        self._made = None

    def needed_keys(self, record: IpsecNode) -> list[int]:
        """For which of the keys that we publish a peer's receiving states must be there, before it
        is told that we have taken it in.

        No state can be made with a key that we have no more: it counts for whom there is no other.
        """
        if common_keys(record, self._makeable, self._listed):
            return self._makeable
        others = common_keys(record, self._listed, self._listed)
        return self._makeable + [key for key in others if key not in self._makeable]

    def peering(self, node: str) -> IpsecPeering:
        """What is said of a peer."""
        return self._peers.get(node, _NO_PEERING)

    def value(self, life: Life, addresses: Mapping[Family, str]) -> IpsecNode:
        if self._made is None or self._made_for != (life, addresses):
            self._made, self._made_for = self._make(life, addresses), (life, addresses)
        return self._made

    def _make(self, life: Life, addresses: Mapping[Family, str]) -> IpsecNode:
        families = self._settings.families
        return IpsecNode(
            enabled=True,
            layout=self._settings.layout,
            tag=life.tag,
            boot=life.boot,
            receive=dict(self._listed),
            peers=dict(self._peers),
            ipv4=addresses.get(4, "") if 4 in families else "",
            ipv6=addresses.get(6, "") if 6 in families else "",
            allow_clear=self._settings.allow_clear,
            node_encryption=self._settings.node_encryption,
        )


def told(used: Iterable[int]) -> int:
    """What to say that a peer is sent to with: while several are used, the oldest of them.

    Whoever hears of a newer one takes it that the older ones are not used any more.
    """
    oldest = 0
    for key in used:
        if oldest == 0 or newer(oldest, key):
            oldest = key
    return oldest
