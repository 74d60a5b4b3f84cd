"""A BIRD that listens at a control socket and knows what the driver asks of it.

It keeps BIRD's rules: `configure` reads the file, a trial is undone by `configure undo` and ended
by any other `configure`, there is nothing to confirm without one.  `effect` says what reading a
text does to its sessions; `check` answers `configure check`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from pathlib import Path

REPLIES = Path(__file__).parent / "replies"
_STATUS = """1000-BIRD 2.0.12
1011-Router ID is 10.0.0.1
 Hostname is n1
 Current server time is {now:%Y-%m-%d %H:%M:%S}
 Last reboot on {booted:%Y-%m-%d %H:%M:%S}
 Last reconfiguration on {reconfigured:%Y-%m-%d %H:%M:%S}
0013 {state}
"""


def recorded(name: str) -> str:
    """A reply of BIRD 2.0.12's, with the greeting."""
    return (REPLIES / f"{name}.txt").read_text()


class FakeBird:
    def __init__(self, socket: Path, file: Path) -> None:
        self.socket, self.file = socket, file
        self.booted = self.reconfigured = datetime.now() - timedelta(hours=1)  # noqa: DTZ005
        self.running = file.read_text() if file.exists() else ""
        self.before_trial: str | None = None
        self.up: dict[str, str] = {}  # session -> since
        self.down: set[str] = set()
        self.commands: list[str] = []
        self.check = "0020 Configuration OK"
        self.state = "Daemon is up and running"
        self.effect: Callable[[str], None] = lambda _: None
        self.hook: Callable[[str], None] = lambda _: None
        self.refuses = ""
        self.dies_on = ""
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[object]] = set()

    @property
    def orders(self) -> list[str]:
        """What would change something."""
        return [each for each in self.commands if not each.startswith("show ")]

    async def __aenter__(self) -> FakeBird:
        self._server = await asyncio.start_unix_server(self._serve, str(self.socket))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None
            self.socket.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"0001 BIRD 2.0.12 ready.\n")
        with contextlib.suppress(ConnectionError):
            command = (await reader.readline()).decode().strip()
            self.commands.append(command)
            if not (self.dies_on and command.startswith(self.dies_on)):
                writer.write(self._answer(command).encode())
                await writer.drain()
        writer.close()

    def _answer(self, command: str) -> str:
        self.hook(command)
        if command == self.refuses:
            self.before_trial = None
            return f"0002-Reading configuration\n8002 {self.file}: Permission denied\n"
        match command.split():
            case ["show", "status"]:
                now = datetime.now()  # noqa: DTZ005 - BIRD tells local time
                return _STATUS.format(**vars(self), now=now)
            case ["show", "protocols", "all"]:
                return self._protocols()
            case ["configure", "check"]:
                return f"0002-Reading configuration from {self.file}\n{self.check}\n"
            case ["configure", "timeout", seconds]:
                self.before_trial = self.running
                self._read(self.file.read_text())
                return (
                    f"0002-Reading configuration\n0022-Undo scheduled in {seconds} s\n0003 Done\n"
                )
            case ["configure", "undo"]:
                return self.undo()
            case ["configure"]:
                self.before_trial = None
                self._read(self.file.read_text())
                return "0002-Reading configuration\n0003 Reconfigured\n"
            case ["configure", "confirm"]:
                known, self.before_trial = self.before_trial is not None, None
                return "0018 Reconfiguration confirmed\n" if known else "0019 Nothing to do\n"
        return "9001 syntax error\n"

    def undo(self) -> str:
        if self.before_trial is None:
            return "0019 Nothing to do\n"
        self._read(self.before_trial)
        self.before_trial = None
        return "0021-Undo requested\n0003 Reconfigured\n"

    def _read(self, text: str) -> None:
        self.running = text
        self.reconfigured = datetime.now()  # noqa: DTZ005
        self.effect(text)

    def restart_session(self, name: str, *, back: bool = True) -> None:
        self.up.pop(name, None)
        self.down.discard(name)
        if back:
            self.up[name] = "2026-11-21 20:00:00"
        else:
            self.down.add(name)

    def _protocols(self) -> str:
        lines = ["2002-Name       Proto      Table      State  Since         Info"]
        for name, since in self.up.items():
            lines.append(f"1002-{name} BGP        ---        up     {since}  Established   ")
            lines.append("1006-  BGP state:          Established")
        for name in sorted(self.down):
            lines.append(f"1002-{name} BGP        ---        start  2026-11-21 20:00:00  Connect  ")
            lines.append("1006-  BGP state:          Connect")
        return "\n".join([*lines, "0000 "]) + "\n"


def _note(serving: set[asyncio.Task[object]]) -> None:
    task = asyncio.current_task()
    assert task is not None
    serving.add(task)


async def _ended(serving: set[asyncio.Task[object]]) -> None:
    """The connections are closed before the test's loop is."""
    await asyncio.gather(*serving)
    await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def speaking(socket: Path, *parts: bytes, pause: float = 0.0) -> AsyncIterator[None]:
    """A socket that says these parts whatever it is asked, and then falls silent; b"" closes it."""
    serving: set[asyncio.Task[object]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _note(serving)
        with contextlib.suppress(ConnectionError):
            for part in parts:
                if part == b"":
                    break
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause)
            else:
                while await reader.read(1 << 16):
                    pass
        writer.close()

    server = await asyncio.start_unix_server(serve, str(socket))
    try:
        yield
    finally:
        server.close()
        await _ended(serving)
