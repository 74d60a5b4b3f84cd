"""The only module that starts a process: no shell, a time limit, a clean environment.

run()    one command: text in, text out, an error with its stderr
attach() a process that stays: lines in, lines out; its stderr is kept for the moment it ends
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import tty
from collections.abc import Callable, Collection

from dataplane.errors import CommandError, CommandMissingError, CommandTimeoutError

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {"LANG": "C", "LC_ALL": "C", "PATH": SEARCH_PATH}

# Called with the program's name, the seconds it took and whether it succeeded.
Observer = Callable[[str, float, bool], None]


class Attached:
    """A process that is spoken to line by line.

    Its standard output is a terminal, because C programs then send each line at once; on a pipe
    they would keep 4 KiB back and an answer would never come.
    """

    def __init__(
        self,
        argv: tuple[str, ...],
        process: asyncio.subprocess.Process,
        lines: asyncio.StreamReader,
        transport: asyncio.ReadTransport,
    ) -> None:
        assert process.stdin is not None
        assert process.stderr is not None
        self.argv = argv
        self.pid = process.pid
        self._process = process
        self._stdin = process.stdin
        self._lines = lines
        self._transport = transport
        self._stderr = asyncio.create_task(process.stderr.read(), name=f"stderr of {argv[0]}")

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def write(self, data: bytes) -> None:
        """Hand over bytes; a dead process swallows them silently."""
        with contextlib.suppress(ConnectionError):
            self._stdin.write(data)
            await self._stdin.drain()

    async def read_line(self) -> str:
        """The next line without its end; "" when the process has closed its output."""
        try:
            line = await self._lines.readline()
        except OSError:  # EIO: nobody holds the other end of the terminal
            return ""
        return line.decode(errors="replace").rstrip("\r\n") or ("\n" if line else "")

    async def end(self, seconds: float = 1.0) -> tuple[int, str]:
        """Close its input, wait, kill it after `seconds`; gives exit status and stderr."""
        self._stdin.close()
        try:
            async with asyncio.timeout(seconds):
                await self._process.wait()
        except TimeoutError:
            self.kill()
        code = await self._process.wait()
        stderr = await self._stderr
        self._transport.close()
        return code, stderr.decode(errors="replace")

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()


class Runner:
    def __init__(self, *, timeout_seconds: float = 30.0, observer: Observer | None = None) -> None:
        self._timeout = timeout_seconds
        self._observer = observer

    async def run(
        self,
        *argv: str,
        stdin: str | bytes = b"",
        timeout_seconds: float | None = None,
        accept: Collection[int] = (0,),
    ) -> str:
        """Standard output; a DataplaneError when the exit status is not in `accept`."""
        started = time.monotonic()
        process = await self._start(argv, asyncio.subprocess.PIPE)
        data = stdin.encode(errors="surrogateescape") if isinstance(stdin, str) else stdin
        limit = self._timeout if timeout_seconds is None else timeout_seconds
        succeeded = False
        try:
            async with asyncio.timeout(limit):
                stdout, stderr = await process.communicate(data)
            succeeded = process.returncode in accept
        except TimeoutError:
            raise CommandTimeoutError(argv, limit) from None
        finally:
            await _reap(process)
            if self._observer is not None:
                self._observer(argv[0], time.monotonic() - started, succeeded)
        assert process.returncode is not None
        if not succeeded:
            raise CommandError(argv, process.returncode, stderr.decode(errors="replace"))
        return stdout.decode(errors="surrogateescape")

    async def attach(self, *argv: str) -> Attached:
        """Start a process that stays; the caller ends it with `end()`.

        Raises CommandMissingError.
        """
        try:
            ours, theirs = os.openpty()
        except OSError as error:
            reason = f"there is no pseudo-terminal for it: {error.strerror}"
            raise CommandMissingError(argv[0], reason) from error
        try:
            tty.setraw(theirs)
            process = await self._start(argv, theirs)
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        loop = asyncio.get_running_loop()
        lines = asyncio.StreamReader(limit=1 << 20, loop=loop)
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(lines, loop=loop), os.fdopen(ours, "rb", 0)
        )
        return Attached(argv, process, lines, transport)

    async def _start(self, argv: tuple[str, ...], stdout: int) -> asyncio.subprocess.Process:
        try:
            return await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=stdout,
                stderr=asyncio.subprocess.PIPE,
                env=ENVIRONMENT,
            )
        except (FileNotFoundError, PermissionError) as error:
            raise CommandMissingError(argv[0], error.strerror or "cannot be started") from error


async def _reap(process: asyncio.subprocess.Process) -> None:
    """Leave no child behind when the wait was cut short."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
