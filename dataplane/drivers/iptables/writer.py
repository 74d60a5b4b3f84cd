"""Blocks into the kernel, and certainty about them.

    in   blocks, one transaction each, in order
    out  nothing when all are in; RefusedError says which was not, and whose line it was

nf_tables: one `iptables-nft-restore` stays and is fed over its standard input.  After each block
comes a comment line, which it echoes (`--verbose`) only once it has committed what stood before:
a proof for this very block, which the kernel's announcement of a new generation is not, since
that may be anybody's.  Measured with iptables 1.8.9.  An error ends the process.

legacy: a process for each batch, since xtables replaces whole tables under a lock anyway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from dataplane.drivers.iptables.blocks import Block, RefusedError
from dataplane.drivers.iptables.detect import Backend
from dataplane.drivers.iptables.monitor import NftMonitor
from dataplane.errors import CommandError, CommandTimeoutError
from dataplane.runner import Attached, Runner

_MARK = "# felixpy "
# Large blocks go in portions, so that the event loop is not held up by one copy.
_CHUNK = 1 << 18
# After so many lines at once another process takes over: 30,000 rules left the old one at 51 MB,
# a fresh one holds 2.4 MB (iptables 1.8.9).
_BULK = 5000


class Writer(Protocol):
    async def write(self, blocks: Sequence[Block]) -> None:
        """Raises RefusedError, or a DataplaneError when it is not known what is in."""

    async def close(self) -> None: ...


class NftWriter:
    """The process that stays.  `monitor` is told which commits are ours."""

    def __init__(
        self,
        backend: Backend,
        runner: Runner,
        monitor: NftMonitor | None,
        *,
        timeout_seconds: float = 30.0,
    ) -> None:
        self._argv = (backend.restore, "--noflush", "--verbose")
        self._runner = runner
        self._monitor = monitor
        self._timeout = timeout_seconds
        self._process: Attached | None = None
        self._marks = 0
        self._lines = 0

    async def write(self, blocks: Sequence[Block]) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                process = await self._ready()
                await self._feed(process, blocks)
                if sum(block.line_count() for block in blocks) > _BULK:
                    await self.close()
                    await self._ready()
        except TimeoutError:
            await self._discard()
            raise CommandTimeoutError(self._argv, self._timeout) from None
        except asyncio.CancelledError:
            await self._discard()
            raise

    async def close(self) -> None:
        if self._process is not None:
            process, self._process = self._process, None
            await process.end()
            self._disown(process)

    async def _ready(self) -> Attached:
        if self._process is not None and self._process.alive:
            return self._process
        await self.close()
        self._process = process = await self._runner.attach(*self._argv)
        self._lines = 0
        await self._say(process, "", 0)
        if not await self._echoed(process):
            code, stderr = await self._ended(process)
            raise CommandError(self._argv, code, stderr)
        if self._monitor is not None:
            # Only now is its netlink socket surely open.
            self._monitor.own(process.pid)
        return process

    async def _feed(self, process: Attached, blocks: Sequence[Block]) -> None:
        """Block by block: the next one is worth its way only if this one is in."""
        for index, block in enumerate(blocks):
            before = self._lines
            await self._say(process, block.render(), block.line_count())
            if not await self._echoed(process):
                code, stderr = await self._ended(process)
                if not stderr:
                    raise CommandError(self._argv, code, "ended without a word")
                raise RefusedError(index, block.blame(before, stderr), stderr.strip())

    async def _say(self, process: Attached, text: str, lines: int) -> None:
        self._marks += 1
        self._lines += lines + 1
        data = f"{text}{_MARK}{self._marks}\n".encode(errors="surrogateescape")
        for start in range(0, len(data), _CHUNK):
            await process.write(data[start : start + _CHUNK])

    async def _echoed(self, process: Attached) -> bool:
        """True when everything said so far is done, False when the process is gone."""
        expected = f"{_MARK}{self._marks}"
        while line := await process.read_line():
            if line == expected:
                return True
        return False

    async def _ended(self, process: Attached) -> tuple[int, str]:
        self._process = None
        code, stderr = await process.end()
        self._disown(process)
        return code, stderr

    async def _discard(self) -> None:
        if self._process is not None:
            self._process.kill()
            await self.close()

    def _disown(self, process: Attached) -> None:
        if self._monitor is not None:
            self._monitor.disown(process.pid)


class BatchWriter:
    """A process for each block; for the legacy backend, and for sweeping either."""

    def __init__(self, backend: Backend, runner: Runner, *, lock_probe_micros: int) -> None:
        self._argv: tuple[str, ...] = (backend.restore, "--noflush")
        if backend.kind == "legacy" and backend.restore_wait:
            self._argv += ("--wait", "10")
            if backend.wait_interval:
                self._argv += ("--wait-interval", str(lock_probe_micros))
        self._runner = runner

    async def write(self, blocks: Sequence[Block]) -> None:
        for index, block in enumerate(blocks):
            try:
                await self._runner.run(*self._argv, stdin=block.render())
            except CommandError as error:
                if error.code < 0 or _LOCK_HELD in error.stderr:
                    raise
                reason = error.stderr.strip() or str(error)
                raise RefusedError(index, block.blame(0, error.stderr), reason) from error

    async def close(self) -> None:
        """Nothing stays."""


_LOCK_HELD = "xtables lock"  # somebody else has it, for longer than we wait
