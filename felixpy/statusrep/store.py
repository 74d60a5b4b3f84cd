"""The promise of a place where status goes; its keys are those of etcd, whatever the place is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Container, Mapping
from typing import Protocol, TypeVar

from felixpy.statusrep.conditions import Condition

T = TypeVar("T")


class StatusUnwritableError(Exception):
    """Status could not be written, removed or read; the text says why, for people."""


class StatusStore(Protocol):
    """Keys begin with "/calico/".  Everything raises StatusUnwritableError.

    `echoes`: what is written to a resource here is what the datastore says next.
    """

    echoes: bool

    async def put(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """With `ttl` (seconds) the key goes when that time has passed without another put."""

    async def delete(self, key: str) -> None:
        """A key that is not there is no error."""

    async def read(self, prefix: str) -> dict[str, bytes]:
        """Every key that begins with `prefix`, and what it holds."""
        ...

    async def answer(self, key: str, resource: bytes, status: bytes) -> bool:
        """Give the resource under `key` this status; whatever else it holds stays as it is.

        Both are JSON.  `resource` is the resource without a status, as far as we know it: for a
        store that holds nothing but status.  False: there is no such resource any more.
        """
        ...

    async def revise_status(
        self,
        key: str,
        resource: bytes,
        texts: Mapping[str, str],
        conditions: Mapping[str, Condition | None],
    ) -> bool:
        """Give the status of the resource under `key` these texts by field, conditions by type.

        Everything else stays as it is; "" empties a field that is there, and makes none; None takes
        a condition away.  Nothing is written where nothing changes.  `resource` is what a store
        that holds nothing but status begins with.  False: there is no such resource.
        """
        ...

    async def keep_answers(self, prefix: str, keys: Container[str]) -> None:
        """Remove the answers below `prefix` to all other keys; where the resources themselves lie
        here, that is not ours to do.
        """

    async def close(self) -> None:
        """Remove what is to live only as long as its writer does."""


async def answered(call: Awaitable[T], seconds: float) -> T:
    """What a call to a store returns, for which it has this much time.

    Raises StatusUnwritableError, also for errors of the operating system.
    """
    try:
        async with asyncio.timeout(seconds):
            return await call
    except TimeoutError as error:  # an OSError, too, but without words
        raise StatusUnwritableError(str(error) or f"no answer in {seconds:g} s") from error
    except OSError as error:
        raise StatusUnwritableError(reason(error)) from error


def reason(error: OSError) -> str:
    """For people: without the number, and with the file in front."""
    text = error.strerror or str(error)
    return f"{error.filename}: {text}" if error.filename else text
