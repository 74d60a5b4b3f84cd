"""Which member of the cluster is in use.

    in use ── lost ──► the others, all at once but one a little after the other; the first that
                       answers is in use

A fleet spreads over the members: each agent has a home, by its own name.  Away from home it looks
from time to time whether the home answers again, and goes back: see `home_again`.
"""

from __future__ import annotations

import asyncio
import random
import zlib
from typing import Final

from felixpy.etcd.credentials import ssl_context, warnings
from felixpy.etcd.errors import EtcdError, MemberLostError, RefusedError
from felixpy.etcd.member import Interval, Member
from felixpy.etcd.settings import Endpoint, EtcdSettings

_STAGGER_SECONDS: Final = 0.3  # until the next member is tried as well
_AWAY_SECONDS: Final = 30.0  # between looks at the home, and up to twice that


class EtcdClient:
    def __init__(self, settings: EtcdSettings, name: str) -> None:
        """`name` is this node's."""
        home = zlib.crc32(name.encode()) % len(settings.endpoints)
        self._endpoints = (*settings.endpoints[home:], *settings.endpoints[:home])
        self._settings = settings
        self._member: Member | None = None
        self._lost: Endpoint | None = None  # the one that failed last
        self._connecting = asyncio.Lock()

    def check(self) -> None:
        """Raises CredentialsError where keys or certificates cannot be used."""
        if self._settings.tls:
            ssl_context(self._settings)

    def warnings(self) -> list[str]:
        """What can be used, but should not be as it is."""
        return warnings(self._settings)

    @property
    def location(self) -> str:
        """Where the answers come from, or are hoped to come from."""
        if self._member is not None:
            return str(self._member)
        return ",".join(str(endpoint) for endpoint in self._settings.endpoints)

    @property
    def current(self) -> Member | None:
        """The member in use, if there is one just now."""
        return self._member

    async def member(self) -> Member:
        """The member in use, connected.

        Raises RefusedError where all that can be reached refuse us, else MemberLostError; the text
        names every member and what is wrong with it.
        """
        async with self._connecting:
            if self._member is None:
                self._member = await self._first_to_answer()
            return self._member

    def drop(self, member: Member) -> None:
        """It is of no use any more; the others come first now."""
        member.close()
        self._lost = member.endpoint
        if self._member is member:
            self._member = None

    def close(self) -> None:
        if self._member is not None:
            self.drop(self._member)

    async def home_again(self, probe: Interval) -> Member:
        """Waits until the home answers a read of `probe` again, and returns it, connected.

        At home already, it waits for ever.
        """
        while True:
            await asyncio.sleep(_AWAY_SECONDS * (1 + random.random()))  # noqa: S311 - for spreading
            if self._member is None or self._member.endpoint == self._endpoints[0]:
                continue
            home = Member(self._endpoints[0], self._settings)
            try:
                await home.open()
                await home.range(probe, keys_only=True)  # it knows the cluster's leader
            except EtcdError:
                home.close()
            else:
                return home

    def move(self, member: Member) -> None:
        """From now on this one is in use."""
        self.close()
        self._member = member

    async def _first_to_answer(self) -> Member:
        failures: list[EtcdError] = []
        opening: dict[asyncio.Task[None], Member] = {}
        endpoints = sorted(self._endpoints, key=lambda endpoint: endpoint == self._lost)
        waiting = [Member(endpoint, self._settings) for endpoint in endpoints]
        pending: set[asyncio.Task[None]] = set()
        chosen: Member | None = None
        try:
            while chosen is None and (waiting or pending):
                if waiting:
                    member = waiting.pop(0)
                    task = asyncio.create_task(member.open(), name=f"etcd {member}")
                    opening[task] = member
                    pending.add(task)
                done, pending = await asyncio.wait(
                    pending,
                    timeout=_STAGGER_SECONDS if waiting else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for task in done:
                    error = task.exception()
                    if error is None:
                        chosen = opening[task]
                    elif isinstance(error, EtcdError):
                        failures.append(error)
                    else:
                        raise error
        finally:
            await _close_all(opening, but=chosen)
        if chosen is not None:
            return chosen
        text = "; ".join(sorted(map(str, failures)))
        refused = any(isinstance(error, RefusedError) for error in failures)
        raise RefusedError(text) if refused else MemberLostError(text)


async def _close_all(opening: dict[asyncio.Task[None], Member], but: Member | None) -> None:
    for task, member in opening.items():
        if member is not but:
            task.cancel()
    await asyncio.gather(*opening, return_exceptions=True)
    for member in opening.values():
        if member is not but:
            member.close()
