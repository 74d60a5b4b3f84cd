"""What the kernel tells of states and policies: a look that waits until there is something to see.

    in   Changed     somebody else's hand was in it: everything is read again
         Expired     a state has sent so many packets that a new key is due
    out  `changed` and `expired` are called

It is one of the looks beside the writing, and always at it; one that fails begins again a while
later, and everything is read then, for nobody knows what was not told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from dataplane.ipsec.kernel import Changed, Expired, Xfrm, XfrmListener
from dataplane.netlink import NetlinkError

_PAUSE: Final = 5.0  # seconds


class Notices:
    def __init__(
        self,
        kernel: Callable[[], Xfrm],
        changed: Callable[[], None],
        expired: Callable[[Expired], None],
    ) -> None:
        self._kernel = kernel
        self._changed = changed
        self._expired = expired
        self._listener: XfrmListener | None = None
        self._begins_at: float | None = None  # None: not wanted

    def begin(self) -> None:
        """From now on."""
        if self._begins_at is None:
            self._begins_at = 0.0

    def next_check(self) -> float:
        """When `check` is due, in the event loop's time; infinity for never."""
        return float("inf") if self._begins_at is None else self._begins_at

    async def check(self) -> bool:
        """Wait for news.  Whether there is anything to do.  Raises NetlinkError."""
        try:
            if self._listener is None:
                self._listener = await self._kernel().listen()
            news = await self._listener.receive()
        except NetlinkError:
            self.close()
            self._begins_at = asyncio.get_running_loop().time() + _PAUSE
            self._changed()
            raise
        for each in news:
            if isinstance(each, Expired):
                self._expired(each)
        if any(isinstance(each, Changed) or each.hard for each in news):
            self._changed()
        return True

    def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
