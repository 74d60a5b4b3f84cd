"""Key IDs stand on a circle, 1 to 15 and then 1 again: which of two is the newer one.

Source: section 5.2 of the IPsec reference.  Four bits hold no 16, and 0 means no key.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

LAST_ID: Final = 15
MAX_ALIVE: Final = 7  # with more of them "newer" would go around in a circle


def next_id(key: int) -> int:
    """The ID of the key that comes after this one; `next_id(0)` is that of the first."""
    return key % LAST_ID + 1


def newer(one: int, other: int) -> bool:
    """Is `one` less than half a circle ahead of `other`?  Of two that differ just one is."""
    return 0 < (one - other) % LAST_ID < 8


def newest(ids: Sequence[int]) -> int:
    """The one that is newer than all others, or the last of `ids` where there is none such.

    Raises ValueError when there are none at all.
    """
    if not ids:
        raise ValueError("no key IDs to choose from")
    ahead = [x for x in ids if all(x == other or newer(x, other) for other in ids)]
    return ahead[0] if ahead else ids[-1]


def newest_first(ids: Sequence[int]) -> list[int]:
    left = list(ids)
    order: list[int] = []
    while left:
        order.append(newest(left))
        left.remove(order[-1])
    return order


def goes_around(ids: Collection[int]) -> bool:
    """Is there none that is newer than all others, as with 1, 6 and 11?"""
    return bool(ids) and not any(all(x == o or newer(x, o) for o in ids) for x in ids)
