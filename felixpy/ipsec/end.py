"""What IPsec's part of the shell asks of that of the dataplane, and tells it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from calc_graph.model import IpsecNode
from dataplane.ipsec.keys import KeyRing
from dataplane.ipsec.life import Life
from dataplane.ipsec.status import IpsecStatus


class IpsecEnd(Protocol):
    """Life and ring are offered as soon as there is a dataplane, and whenever they are others; they
    count from the next apply on.  What is to be closed is closed without them, too.

    record   what is to be published: what the kernel has acknowledged.  None: nothing, and what is
             published goes
    settled  `record` can be believed: before the first apply has come to its end it cannot, and
             then nothing is published, and nothing withdrawn
    renewal  why another life has to begin before anything more is sent, "" while this one goes on
    alive    key ID -> check value, of keys that are in states of ours, or are to be
    drop     the operator waits no longer for those who use this key; nothing happens to one that is
             in the ring
    known    as of the last apply, without counters
    status   as the kernel has it now; raises DataplaneError
    """

    def offer_life(self, life: Life) -> None: ...

    def offer_keys(self, ring: KeyRing) -> None: ...

    @property
    def settled(self) -> bool: ...

    def record(self) -> IpsecNode | None: ...

    def renewal(self) -> str: ...

    def alive(self) -> Mapping[int, str]: ...

    def drop(self, key: int) -> None: ...

    def known(self) -> IpsecStatus: ...

    async def status(self) -> IpsecStatus: ...
