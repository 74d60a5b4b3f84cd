"""All that there is to say of IPsec on this node, for `felixpy status ipsec`."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from dataplane.ipsec.status import IpsecStatus
from felixpy.ipsec.life import History
from felixpy.ipsec.source import KeyFacts
from felixpy.ipsec.xfrm_stat import meaning_of


class ErrorCount(Struct, frozen=True):
    """`since_rotation`: of `packets`, those that were dropped after the last rotation."""

    name: str
    packets: int
    since_rotation: int
    meaning: str
    hint: str = ""


class Details(Struct, frozen=True):
    """`keys` is None while IPsec is off; `published`: the others can read what is to be read;
    `oldest_allowed`: age in seconds from which on a key is to be replaced, 0 for never.
    """

    enabled: bool
    status: IpsecStatus = IpsecStatus()
    keys: KeyFacts | None = None
    history: History = History()
    errors: tuple[ErrorCount, ...] = ()
    published: bool = False
    oldest_allowed: float = 0.0
    problems: tuple[str, ...] = ()


def error_counts(errors: Mapping[str, int], before: Mapping[str, int]) -> tuple[ErrorCount, ...]:
    """Of those that have counted anything; `before`: as they were at the last rotation.

    A counter that is lower than then has begun anew.
    """
    found = []
    for name, packets in errors.items():
        if packets:
            then = before.get(name, 0)
            text, hint = meaning_of(name)
            since = packets - then if packets >= then else packets
            found.append(ErrorCount(name, packets, since, text, hint))
    return tuple(found)
