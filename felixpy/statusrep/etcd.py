"""Status in etcd, over the connection that the datastore is read by."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Container, Iterator, Mapping

from felixpy.etcd.client import EtcdClient
from felixpy.etcd.errors import EtcdError
from felixpy.etcd.member import Interval, Member
from felixpy.etcd.revising import revise
from felixpy.statusrep.conditions import Condition, rfc3339_now
from felixpy.statusrep.revising import revised, with_status
from felixpy.statusrep.store import StatusUnwritableError


class EtcdStatusStore:
    """It never connects by itself: while the datastore is away, nothing can be written."""

    echoes = True

    def __init__(self, client: EtcdClient) -> None:
        self._client = client
        self._leases: dict[str, int] = {}  # key -> the lease it was put with last

    async def put(self, key: str, value: bytes, ttl: float | None = None) -> None:
        with self._member() as member:
            if ttl is None:
                await member.put(key.encode(), value)
                return
            # A new lease each time, as Felix takes it: one that has run out unnoticed, while the
            # machine slept, cannot be in the way.  The key goes with its last lease only.
            lease = await member.grant(max(1, math.ceil(ttl)))
            await member.put(key.encode(), value, lease)
            old, self._leases[key] = self._leases.get(key), lease
            if old is not None:
                await member.revoke(old)

    async def delete(self, key: str) -> None:
        with self._member() as member:
            await member.delete(key.encode())

    async def read(self, prefix: str) -> dict[str, bytes]:
        """`prefix` ends in "/"."""
        start = prefix.encode()
        found: dict[str, bytes] = {}
        with self._member() as member:
            async for page in member.pages(Interval(start, start[:-1] + b"0")):
                found |= {pair.key.decode(errors="replace"): pair.value for pair in page.pairs}
        return found

    async def answer(self, key: str, resource: bytes, status: bytes) -> bool:
        """A resource that has been deleted meanwhile is not made anew."""
        with self._member() as member:
            return await revise(member, key.encode(), lambda old: with_status(old, status))

    async def revise_status(
        self,
        key: str,
        resource: bytes,
        texts: Mapping[str, str],
        conditions: Mapping[str, Condition | None],
    ) -> bool:
        def edit(old: bytes) -> bytes:
            return revised(old, texts, conditions, rfc3339_now())

        with self._member() as member:
            return await revise(member, key.encode(), edit)

    async def keep_answers(self, prefix: str, keys: Container[str]) -> None:
        """The status goes with its resource, which is somebody else's."""

    async def close(self) -> None:
        """The leases run out by themselves, so that a restart is not taken for an end."""

    @contextlib.contextmanager
    def _member(self) -> Iterator[Member]:
        member = self._client.current
        if member is None:
            raise StatusUnwritableError("there is no connection to etcd")
        try:
            yield member
        except EtcdError as error:
            raise StatusUnwritableError(str(error)) from None
