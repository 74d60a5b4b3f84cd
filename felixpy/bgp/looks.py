"""Looks at BIRD from time to time: which sessions are up, and whether passwords agree.

    out  seen: what the last look found; None while no daemon answers

A look costs a line for each protocol, so it does not matter beside the rest; where there are very
many of them, looks are further apart.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct

from dataplane.bird.control import BirdError, ask
from dataplane.bird.parse.sessions import parse_sessions
from dataplane.bird.settings import BirdSettings
from felixpy.bgp.netstat import SignatureFaults, read_signature_faults
from felixpy.bgp.pace import Pace

SECONDS: Final = 10.0
_WINDOW: Final = 4  # looks over which signatures are counted; a session tries every 5 s
_REST: Final = 1000  # a look takes a thousandth of the time at most
_WAITING: Final = frozenset(("Connect", "Active", "Passive", "OpenSent"))


class Seen(Struct, frozen=True):
    """`up`: by session; `waiting`: those that try to connect, or wait for the other end to do so;
    `faults`: signatures that were wrong or missing since a few looks ago.
    """

    up: Mapping[str, bool] = {}
    waiting: frozenset[str] = frozenset()
    faults: SignatureFaults = SignatureFaults()


class Looks:
    """`settings` is asked each time; `told` is called when `seen` is another one, `turned` when a
    daemon answers that did not at the look before, or the other way about.
    """

    def __init__(
        self,
        settings: Callable[[], BirdSettings],
        clock: Callable[[], float],
        told: Callable[[], None],
        turned: Callable[[], None],
    ) -> None:
        self.seen: Seen | None = None
        self._settings = settings
        self._told = told
        self._turned = turned
        self._counted = deque((read_signature_faults(),), maxlen=_WINDOW)
        self._pace = Pace(clock, SECONDS, _REST)

    def soon(self) -> None:
        """Something has changed that sessions may follow."""
        self._pace.soon()

    async def run(self) -> None:
        """Endless; to be run once."""
        await self._pace.keep(self._look)

    async def _look(self) -> None:
        before = self.seen
        try:
            reply = await ask(self._settings().control_socket, "show protocols")
        except BirdError:
            self.seen = None
        else:
            counted = read_signature_faults()
            sessions = parse_sessions(reply)
            self.seen = Seen(
                {name: session.up for name, session in sessions.items()},
                frozenset(
                    name
                    for name, session in sessions.items()
                    if session.info.partition(" ")[0] in _WAITING
                ),
                counted.since(self._counted[0]),
            )
            self._counted.append(counted)
        if self.seen != before:
            self._told()
        if (before is None) != (self.seen is None):
            self._turned()
