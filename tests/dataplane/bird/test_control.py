import asyncio
import sys
from pathlib import Path

import pytest

from dataplane.bird.control import (
    MAX_LINE,
    BirdAway,
    BirdRefused,
    Line,
    ask,
    pybird_check,
    pybird_status,
    symbol,
)
from tests.dataplane.bird.fake_bird import recorded, speaking

GREETING = b"0001 BIRD 2.0.12 ready.\n"

REPLIES = [
    # case                 what is said, in parts                        the reply
    ("one line", [GREETING, b"0018 Done\n"], [(18, "Done")]),
    ("with the greeting", [GREETING + b"0018 Done\n"], [(18, "Done")]),
    ("continued", [GREETING, b"1007-a\n b\n c\n0000 \n"], [(1007, "a")]),
    ("in pieces", [GREETING[:9], GREETING[9:], b"00", b"18 Do", b"ne\n"], [(18, "Done")]),
    ("digits in a text", [GREETING, b"1007-x\n 0000 y\n0000 \n"], [(1007, "x")]),
    ("not UTF-8", [GREETING, b"0018 \xff\n"], [(18, "\ufffd")]),
]


@pytest.mark.parametrize(
    ("parts", "first"), [each[1:] for each in REPLIES], ids=[each[0] for each in REPLIES]
)
async def test_reply(tmp_path: Path, parts, first) -> None:
    async with speaking(tmp_path / "ctl", *parts, pause=0.01):
        reply = await ask(tmp_path / "ctl", "show status")
    assert reply[0] == first[0]
    assert reply[-1].code in (0, 18)


async def test_a_line_without_code_has_that_of_the_one_before(tmp_path: Path) -> None:
    async with speaking(tmp_path / "ctl", recorded("configure-restarting").encode()):
        assert (await ask(tmp_path / "ctl", "configure timeout 20"))[1:] == (
            Line(22, "Undo scheduled in 20 s"),
            Line(4, "Reconfiguration in progress"),
        )
    async with speaking(tmp_path / "ctl2", recorded("routes").encode()):
        reply = await ask(tmp_path / "ctl2", "show route all")
        assert reply[1].code == reply[0].code == 1007


REFUSED = [("configure-refused", 8002), ("unknown-protocol", 9001), ("unexportable", 9001)]


@pytest.mark.parametrize(("name", "code"), REFUSED)
async def test_refused(tmp_path: Path, name: str, code: int) -> None:
    async with speaking(tmp_path / "ctl", recorded(name).encode()):
        with pytest.raises(BirdRefused) as refusal:
            await ask(tmp_path / "ctl", "show route noexport 'x' all")
    assert refusal.value.code == code


AWAY = [
    # case                        what is said
    ("closed at once", [b""]),
    ("closed after the greeting", [GREETING, b""]),
    ("closed within the reply", [GREETING, b"1007-a\n", b""]),
    ("silent", []),
    ("silent after the greeting", [GREETING]),
    ("no end in sight", [GREETING, b"1007-a\n" * 20]),
    ("a line too long", [GREETING, b"1007-" + b"a" * (2 * MAX_LINE)]),
]


@pytest.mark.parametrize("parts", [each[1] for each in AWAY], ids=[each[0] for each in AWAY])
async def test_away(tmp_path: Path, parts) -> None:
    socket = tmp_path / "ctl"
    async with speaking(socket, *parts):
        for call in (ask(socket, "x", 0.2), pybird_status(socket, 0.2), pybird_check(socket, 0.2)):
            with pytest.raises(BirdAway) as away:
                await call
            assert not away.value.absent


async def test_a_reply_too_long(tmp_path: Path) -> None:
    async with speaking(tmp_path / "ctl", GREETING, b"1007-a\n" * 100, b"0000 \n"):
        with pytest.raises(BirdAway, match="more than 64 bytes"):
            await ask(tmp_path / "ctl", "show route all", max_bytes=64)


async def test_nobody_listens(tmp_path: Path) -> None:
    socket = tmp_path / "ctl"
    for _ in range(2):
        for call in (ask(socket, "show status"), pybird_status(socket), pybird_check(socket)):
            with pytest.raises(BirdAway) as away:
                await call
            assert away.value.absent
        if not socket.exists():  # then what a killed daemon leaves
            server = await asyncio.start_unix_server(lambda *_: None, str(socket))
            server.close()
            await server.wait_closed()


async def test_pybird_does_not_hold_up_the_loop(tmp_path: Path) -> None:
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.01)
            turns += 1

    async with speaking(tmp_path / "ctl", GREETING):
        other = asyncio.create_task(turn())
        with pytest.raises(BirdAway):
            await pybird_status(tmp_path / "ctl", 0.3)
        other.cancel()
    assert turns > 3


async def test_pybird_status(tmp_path: Path) -> None:
    async with speaking(tmp_path / "ctl", recorded("status-recovering").encode()):
        facts, reply = await pybird_status(tmp_path / "ctl")
    assert facts["version"] == "2.0.12"
    assert facts["router_id"] == "10.0.0.1"
    assert any(line.code == 24 for line in reply)


async def test_pybird_check(tmp_path: Path) -> None:
    good = GREETING + b"0002-Reading configuration from f\n0020 Configuration OK\n"
    async with speaking(tmp_path / "ctl", good):
        await pybird_check(tmp_path / "ctl")
    async with speaking(tmp_path / "ctl2", recorded("configure-refused").encode()):
        with pytest.raises(BirdRefused, match="syntax error") as refusal:
            await pybird_check(tmp_path / "ctl2")
        assert refusal.value.code == 8002


@pytest.mark.parametrize("command", ["two\nlines", "naïve", "tab\t", "nul\0"])
async def test_only_one_line_of_ascii_is_sent(tmp_path: Path, command: str) -> None:
    with pytest.raises(ValueError, match="one line"):
        await ask(tmp_path / "ctl", command)


def test_symbol() -> None:
    assert symbol("Mesh_10_0_0_2") == "'Mesh_10_0_0_2'"
    for name in ("", "a'b", "a b", "a;b", "x" * 65, "a\n"):
        with pytest.raises(ValueError, match="name of a protocol"):
            symbol(name)


async def test_importing_it_does_not_import_pybird() -> None:
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-c",
            "import sys, dataplane.bird.driver; sys.exit('pybird' in sys.modules)",
        )
    )
    assert await process.wait() == 0
