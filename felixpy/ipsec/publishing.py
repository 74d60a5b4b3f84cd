"""What this node publishes of its end of IPsec: a record of its own, which the others read.

    in   offer(record)       what the dataplane wants known, after each turn of it; None: nothing,
                             so that what is there is taken away
         note(key, value)    what the datastore says of this node's record
    out  IPsecNode <name>, whole

The first change goes out at once, and what comes within PAUSE of it together.  Nothing is written
where the same is there already, so a restart costs nothing; what somebody else has written there is
written over.  Where the datastore is a directory of manifests, a file takes the record, for whoever
spreads it to the nodes' directories.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from calc_graph.model import IpsecNode, IpsecNodeKey, Key, Value
from felixpy.datastore.convert.ipsec import KIND, render_ipsec_node
from felixpy.datastore.etcd_keys import resource_key
from felixpy.statusrep.store import StatusStore, StatusUnwritableError, answered
from felixpy.statusrep.troubles import Troubles
from felixpy.statusrep.waiting import Waker
from felixpy.tasks import Background

log = structlog.get_logger(__name__)

PAUSE: Final = 0.5  # seconds between two writes
RETRY: Final = 3.0
WRITE_SECONDS: Final = 5.0
_NAME: Final = "ipsec record"
_ATTEMPTS: Final = 3


class RecordPublisher:
    def __init__(self, store: StatusStore, hostname: str) -> None:
        self._store = store
        self._hostname = hostname
        self._about = resource_key(KIND, hostname)
        self._record: IpsecNode | None = None
        self._wished: bytes | None = None
        self._there: bytes | None = None  # as far as we know
        self._sure = True  # of that: no write has broken off since
        self._looked = store.echoes  # at what is there: else the datastore tells
        self._own: list[bytes | None] = []  # what we have written, and the datastore not told yet
        self._troubles = Troubles("ipsec_record")
        self._waker = Waker()
        self._task = Background(_NAME)

    @property
    def problems(self) -> dict[str, str]:
        return {"record": self._troubles.text} if self._troubles.text else {}

    @property
    def published(self) -> bool:
        """What is wished for is there."""
        return self._looked and self._sure and self._wished == self._there

    def note(self, key: Key, value: Value | None) -> None:
        """None: gone, or never valid; anything but this node's own record is somebody else's."""
        if key != IpsecNodeKey(self._hostname) or not self._store.echoes:
            return
        told = self._rendered(value) if isinstance(value, IpsecNode) else None
        if told in self._own:
            # of what was written in between, only the last may be told
            last = self._own[-1]
            self._own = [] if told == last else self._own[self._own.index(told) + 1 :]
        else:
            self._own.clear()
            self._there, self._sure = told, True
            self._waker.wake()

    def offer(self, record: IpsecNode | None) -> None:
        """Not before the datastore has said all that it knows."""
        if record != self._record:
            self._record = record
            self._wished = None if record is None else self._rendered(record)
            self._waker.wake()
        if not self.published:
            self._task.begin(self.run)

    def withdraw_unseen(self) -> None:
        """Take away what may be there from an earlier boot of the machine, though nobody reads it.

        That it may not be done is no problem then: IPsec was never on.
        """
        self._task.begin(self._withdraw_unseen, ends=True)

    def check(self) -> None:
        """Raises what the task has ended with: it should not."""
        self._task.check()

    async def close(self) -> None:
        """What is published stays: the states do, too."""
        await self._task.close()

    async def run(self) -> None:
        """Endless; by `offer`."""
        while True:
            if self.published:
                self._troubles.clear(self._about)
                await self._waker.sleep()
                continue
            done = await self._publish()
            await asyncio.sleep(PAUSE)
            if not done:
                await self._waker.sleep(RETRY - PAUSE)

    # ---------------------------------------------------------------- steps

    def _rendered(self, record: IpsecNode) -> bytes:
        return render_ipsec_node(self._hostname, record)

    async def _publish(self) -> bool:
        try:
            if not self._looked:
                self._there = await answered(self._look(), WRITE_SECONDS)
                self._looked = self._sure = True
            wished = self._wished
            if wished != self._there or not self._sure:
                await self._write(wished)
        except StatusUnwritableError as error:
            self._troubles.add(self._about, str(error))
            return False
        self._troubles.clear(self._about)
        return True

    async def _withdraw_unseen(self) -> None:
        for _ in range(_ATTEMPTS):
            try:
                await answered(self._store.delete(self._about), WRITE_SECONDS)
            except StatusUnwritableError as error:
                log.debug("ipsec.record_not_withdrawn", reason=str(error))
                await asyncio.sleep(RETRY)
            else:
                return

    async def _look(self) -> bytes | None:
        found = await self._store.read(self._about.removesuffix(self._hostname))
        return found.get(self._about)

    async def _write(self, wished: bytes | None) -> None:
        # the datastore may tell it before the answer is here
        self._own.append(wished)
        try:
            if wished is None:
                await answered(self._store.delete(self._about), WRITE_SECONDS)
            else:
                await answered(self._store.put(self._about, wished), WRITE_SECONDS)
        except StatusUnwritableError:
            # whether it has been written nobody knows: the datastore tells, or a look does; it
            # does not tell where it is then as it was told last, before our writes
            self._sure = False
            self._own.clear()
            self._looked = self._store.echoes
            raise
        self._there, self._sure = wished, True
        if not self._store.echoes:
            self._own.clear()
        log.info("ipsec.record_published", bytes=len(wished or b""))
