"""The dataplane's IPsec as its part in the shell sees it: it notes what it is told."""

from __future__ import annotations

from collections.abc import Mapping

from calc_graph.model import IpsecNode
from dataplane.ipsec.keys import KeyRing
from dataplane.ipsec.life import Life
from dataplane.ipsec.status import IpsecStatus


class FakeEnd:
    def __init__(self) -> None:
        self.lives: list[Life] = []
        self.rings: list[KeyRing] = []
        self.dropped: list[int] = []
        self.settled = False
        self.published: IpsecNode | None = None
        self.why = ""
        self.in_use: Mapping[int, str] = {}
        self.said = IpsecStatus()

    def offer_life(self, life: Life) -> None:
        self.lives.append(life)
        self.why = ""

    def offer_keys(self, ring: KeyRing) -> None:
        self.rings.append(ring)

    def record(self) -> IpsecNode | None:
        return self.published

    def renewal(self) -> str:
        return self.why

    def alive(self) -> Mapping[int, str]:
        return self.in_use

    def drop(self, key: int) -> None:
        self.dropped.append(key)

    def known(self) -> IpsecStatus:
        return self.said

    async def status(self) -> IpsecStatus:
        return self.said
