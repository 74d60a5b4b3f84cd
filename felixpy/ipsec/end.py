"""What IPsec's part of the shell asks of a dataplane, and tells it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from calc_graph.model import IpsecNode
from dataplane.ipsec.keys import KeyRing
from dataplane.ipsec.life import Life
from dataplane.ipsec.status import FamilyStatus


class IpsecEnd(Protocol):
    """Nothing is made before both a life and a ring were offered; either may be offered again, and
    counts from the next apply on.

    ipsec_record     what is to be published; None: nothing, and what is published goes.  It holds
                     what the kernel has acknowledged
    ipsec_settled    what `ipsec_record` says is all that there is to say: before the first apply
                     has succeeded it is not, and then nothing is published, and nothing withdrawn
    ipsec_renewal    why the next life has to begin before anything more is sent, "" while this one
                     goes on
    ipsec_known      key ID -> check value, of keys that may be in states of ours
    ipsec_drop       forget these key IDs now, whoever sends with them; those that are in the ring
                     are not forgotten.  Returns those that were known
    ipsec_status     as the kernel has it now; raises DataplaneError
    """

    def offer_ipsec_life(self, life: Life) -> None: ...

    def offer_ipsec_keys(self, ring: KeyRing) -> None: ...

    @property
    def ipsec_settled(self) -> bool: ...

    def ipsec_record(self) -> IpsecNode | None: ...

    def ipsec_renewal(self) -> str: ...

    def ipsec_known(self) -> Mapping[int, str]: ...

    def ipsec_drop(self, ids: frozenset[int]) -> frozenset[int]: ...

    async def ipsec_status(self) -> tuple[FamilyStatus, ...]: ...
