"""How far IPsec with each other node has come: values that mesh, status and metrics share."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from dataplane.families import Family

# "encrypted"  what goes there is encrypted, in every family that both have
# "waiting"    it will be, as soon as the other side or the kernel has caught up
# "closed"     nothing goes there
# "in clear"   IPsecAllowClear, and not encrypted
Stage: TypeAlias = Literal["encrypted", "waiting", "closed", "in clear"]


class PeerProgress(Struct, frozen=True):
    """Of one other node.

    reason    why it is not encrypted, in plain words; "" where it is
    sends     the key ID that this node sends to it with, 0 for none
    sent      the key ID that it says it sends to us with, 0 for none
    common    key IDs that both receive, with the same key, the newest first
    spis      of the states that this node sends to it with, those in use first
    ends      family -> the other end of the tunnel
    families  family -> why that one is not encrypted, where another one is or could be
    """

    node: str
    stage: Stage
    reason: str = ""
    sends: int = 0
    sent: int = 0
    common: tuple[int, ...] = ()
    spis: tuple[int, ...] = ()
    ends: dict[Family, str] = {}
    families: dict[Family, str] = {}
