"""Read, modify, write: a value that others change as well.

in   a key, and a pure function from what is there to what shall be there
out  the change in etcd, made on nothing but what the function was shown
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from felixpy.etcd.errors import ContendedError
from felixpy.etcd.member import Interval, Member

_ATTEMPTS: Final = 5


async def revise(member: Member, key: bytes, edit: Callable[[bytes], bytes]) -> bool:
    """Replace what is under `key` by what `edit` makes of it; False where nothing is there.

    A key that goes meanwhile is not made anew, and what others have written meanwhile is edited
    instead.  Raises ContendedError where that happens again and again, else what `edit` and the
    member raise.
    """
    for _ in range(_ATTEMPTS):
        found = (await member.range(Interval(key))).pairs
        if not found:
            return False
        edited = edit(found[0].value)
        if edited == found[0].value or await member.put_if(key, edited, found[0].revision):
            return True
    raise ContendedError(f"{key.decode(errors='replace')} changes all the time")
