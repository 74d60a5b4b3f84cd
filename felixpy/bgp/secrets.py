"""Passwords out of Secrets, as they are now.

    in   a directory of v1 Secret manifests, watched; systemd's credentials
         want: which keys of which Secrets matter
         judged: what may be a value, a password of BGP unless said otherwise
    out  credentials: what each of them comes to, complete from the first moment on
         changed: called when that, or a problem, has become another one

What is read, and when it counts, is secret_store's.  A file that is being written, or replaced, is
left in peace until it is done; the same rules hold for it as for manifests of the datastore.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from calc_graph.bgp.resources import SecretRef
from dataplane.bird.credentials import Credential
from felixpy.bgp.passwords import judge, suits_frr
from felixpy.bgp.secret_manifests import Judge
from felixpy.bgp.secret_store import Store, look_up, read_store, shown
from felixpy.datastore.inotify import Inotify
from felixpy.datastore.settling import OPEN_SECONDS, Settling
from felixpy.datastore.watch import TreeWatch

log = structlog.get_logger(__name__)

RESCAN_SECONDS: Final = 30.0  # for what the kernel does not tell
BLIND_RESCAN_SECONDS: Final = 1.0  # the kernel grants no watch
_PATIENCE: Final = 10  # looks in a row that may be for nothing because something moved meanwhile


class Secrets:
    """`path` should be absolute: it is how problems name the files.  It need not exist.

    Making one reads the files, which blocks; so there is never a moment in which a session would
    have to go without the password that is there.  `run` then keeps an eye on them.
    """

    def __init__(
        self,
        path: Path,
        namespace: str,
        credentials_directory: Path | None,
        changed: Callable[[], None],
        *,
        judged: Judge = judge,
        for_frr: bool = True,
        rescan_seconds: float = RESCAN_SECONDS,
    ) -> None:
        self._path = path
        self._namespace = namespace
        self._credentials_directory = credentials_directory
        self._changed = changed
        self._judged = judged
        self._for_frr = for_frr
        self._rescan_seconds = rescan_seconds
        self._wanted: frozenset[SecretRef] = frozenset()
        self._credentials: dict[SecretRef, Credential] = {}
        self._problems: dict[str, str] = {}
        self._settling = Settling()
        self._next_look = 0.0
        self._patience = _PATIENCE
        self._blind = ""
        self._store = self._read_now(Store(str(path)), lambda _: None)
        self._settle()

    # ------------------------------------------------------------ what there is

    def want(self, refs: frozenset[SecretRef]) -> None:
        """From now on these; `credentials` has them when this returns.  `changed` is not called."""
        if refs != self._wanted:
            self._wanted = refs
            self._settle()

    def credentials(self) -> dict[SecretRef, Credential]:
        """Of every wanted reference, and of no other."""
        return dict(self._credentials)

    def problems(self) -> dict[str, str]:
        """ "Secret <name>/<key>", or a file -> what is wrong with it."""
        return dict(self._problems)

    def _settle(self) -> bool:
        """Whether anything is different."""
        credentials = {ref: look_up(self._store, self._namespace, ref) for ref in self._wanted}
        problems = self._store.faults()
        if self._blind:
            problems[str(self._path)] = self._blind
        problems |= {
            f"Secret {shown(ref)}": c.problem for ref, c in credentials.items() if c.problem
        }
        if (credentials, problems) == (self._credentials, self._problems):
            return False
        self._tell(credentials, problems)
        self._credentials, self._problems = credentials, problems
        return True

    def _tell(self, credentials: dict[SecretRef, Credential], problems: dict[str, str]) -> None:
        for about in sorted(self._problems.keys() - problems.keys()):
            log.info("secret.recovered", about=about)
        for about, text in sorted(problems.items()):
            if self._problems.get(about) != text:
                log.error("secret.problem", about=about, reason=text)
        for ref, credential in sorted(credentials.items()):
            known = self._credentials.get(ref)
            if credential.password is None or (known and known.password == credential.password):
                continue
            if known is not None:
                log.info("secret.changed", about=f"Secret {shown(ref)}")
            if self._for_frr and not suits_frr(credential.password):
                log.warning(
                    "secret.holds_a_space",
                    about=f"Secret {shown(ref)}",
                    advice="FRR cannot take it",
                )

    # ------------------------------------------------------------ keeping an eye on it

    async def run(self) -> None:
        """Endless; to be run once."""
        inotify = Inotify()
        try:
            watch = TreeWatch(inotify, self._settling)
            if await self._read(watch) != self._store:
                # before there was a watch; who knows whether it is done
                now = asyncio.get_running_loop().time()
                self._settling.found(str(self._path), now, OPEN_SECONDS)
            while True:
                await self._step(watch)
        finally:
            inotify.close()

    async def _step(self, watch: TreeWatch) -> None:
        loop = asyncio.get_running_loop()
        until = min(self._settling.next_due() or self._next_look, self._next_look)
        await self._gather(watch, until - loop.time())
        due = self._settling.take(loop.time())
        # all or nothing: what is still moving may belong to what has settled
        if (due and not self._settling.paths()) or loop.time() >= self._next_look:
            await self._look(watch)

    async def _gather(self, watch: TreeWatch, seconds: float) -> None:
        delay = await watch.gather(seconds)
        if delay is not None:
            self._settling.found(str(self._path), asyncio.get_running_loop().time(), delay)

    async def _look(self, watch: TreeWatch) -> None:
        store = await self._read(watch)
        await self._gather(watch, 0)
        if self._settling.paths() and self._patience:
            # a file was being replaced just then: it may have seemed to be empty, or gone
            self._patience -= 1
            return
        self._patience = _PATIENCE
        self._store = store
        self._blind = watch.blind and f"{watch.blind}; changes are noticed after a while"
        if self._settle():
            self._changed()

    async def _read(self, watch: TreeWatch) -> Store:
        watch.begin()
        store = await asyncio.to_thread(self._read_now, self._store, watch.enter)
        watch.finish(store.hops)
        pause = BLIND_RESCAN_SECONDS if watch.blind else self._rescan_seconds
        self._next_look = asyncio.get_running_loop().time() + pause
        return store

    def _read_now(self, before: Store, enter: Callable[[str], None]) -> Store:
        return read_store(self._path, self._credentials_directory, before, enter, self._judged)
