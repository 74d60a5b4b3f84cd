"""Between two lives of a node no state is the same, and so no key is used twice from the start.

A life begins with 16 random bytes, its boot, and ends with the kernel, or when the states that have
counted packets are gone: who would count anew under the same key must have another life first.
From it and the node's name come its tag, which the SPIs of its states begin with.
Source: sections 4.2 and 8.2 of the IPsec reference.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

BOOT_BYTES: Final = 16
HIGHEST_TAG: Final = 0xFFFFFF


class Life(Struct, frozen=True):
    """`boot`: 32 hex digits; `tag`: 24 bits, never 0.

    `known`: key ID -> check value, of keys that may be in states of ours, whether we have them or
    not.  An ID stays with its key as long as it is here.
    """

    boot: str
    tag: int
    known: Mapping[int, str] = {}


def new_life(node: str, octets: bytes, known: Mapping[int, str] | None = None) -> Life:
    """`octets`: BOOT_BYTES of them, random."""
    boot = octets.hex()
    return Life(boot, tag_of(node, boot), dict(known or {}))


def tag_of(node: str, boot: str) -> int:
    digest = hashlib.sha256(f"{node}\0{boot}".encode()).digest()
    # a digest that begins with 24 zeros is one in 16 million: it must not be "no tag"
    return int.from_bytes(digest[:3], "big") or 1
