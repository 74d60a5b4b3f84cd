"""A store in memory that notes what is asked of it, and refuses or hangs when told to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Container, Mapping
from typing import NamedTuple

from felixpy.statusrep.conditions import Condition
from felixpy.statusrep.store import StatusUnwritableError
from tests.felixpy.statusrep.virtual_time import now


class Call(NamedTuple):
    at: float
    what: str
    key: str
    value: bytes = b""
    ttl: float | None = None


class FakeStore:
    """`refuse` is asked about every call: "" lets it through, "hang" never answers, "cut" does what
    was asked and breaks off, anything else is the reason of the refusal.
    """

    echoes = True

    def __init__(self, held: dict[str, bytes] | None = None) -> None:
        self.held = dict(held or {})
        self.calls: list[Call] = []
        self.refuse: Callable[[Call], str] = lambda call: ""
        self.gone: set[str] = set()  # resources that are not there when they are answered

    def writes(self) -> list[Call]:
        return [call for call in self.calls if call.what != "read"]

    async def put(self, key: str, value: bytes, ttl: float | None = None) -> None:
        await self._ask(
            Call(now(), "put", key, value, ttl), lambda: self.held.__setitem__(key, value)
        )

    async def delete(self, key: str) -> None:
        await self._ask(Call(now(), "delete", key), lambda: self.held.pop(key, None))

    async def read(self, prefix: str) -> dict[str, bytes]:
        await self._ask(Call(now(), "read", prefix), lambda: None)
        return {key: value for key, value in self.held.items() if key.startswith(prefix)}

    async def answer(self, key: str, resource: bytes, status: bytes) -> bool:
        there = key not in self.gone
        await self._ask(
            Call(now(), "answer", key, status), lambda: self.held.update({key: resource})
        )
        return there

    async def revise_status(
        self,
        key: str,
        resource: bytes,
        texts: Mapping[str, str],
        conditions: Mapping[str, Condition | None],
    ) -> bool:
        """What is noted is not the resource but the texts, and the reasons of conditions."""
        there = key not in self.gone
        reasons = {kind: each and each.reason for kind, each in conditions.items()}
        text = json.dumps({**texts, **reasons}).encode()
        await self._ask(Call(now(), "revise", key, text), lambda: self.held.update({key: resource}))
        return there

    async def keep_answers(self, prefix: str, keys: Container[str]) -> None:
        def keep() -> None:
            self.held = {key: value for key, value in self.held.items() if key in keys}

        await self._ask(Call(now(), "keep", prefix), keep)

    async def close(self) -> None:
        pass

    async def _ask(self, call: Call, act: Callable[[], object]) -> None:
        self.calls.append(call)
        answer = self.refuse(call)
        if answer == "hang":
            await asyncio.Event().wait()
        if answer in ("", "cut"):
            await asyncio.sleep(0)
            act()
        if answer:
            raise StatusUnwritableError(answer)
