"""The control socket: what is asked and answered, by whom, and what is no request."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from felixpy import control as module
from felixpy.control import LIMIT, NAME, Control, ControlError
from felixpy.control_client import ControlClientError, NoAgentError, ask
from felixpy.holds import Hold, Holds
from felixpy.holds_control import register


async def echo(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"said": arguments}


async def refuse(_: Mapping[str, Any]) -> Mapping[str, Any]:
    raise ControlError("not today")


@pytest.fixture
async def control(tmp_path: Path) -> AsyncIterator[Control]:
    control = Control()
    control.register("echo", echo)
    control.register("refuse", refuse)
    await control.open(tmp_path)
    yield control
    await control.close()


async def asked(directory: Path, command: str, **arguments: object) -> dict[str, Any]:
    return await asyncio.to_thread(ask, directory, command, arguments, 5.0)


async def answer_to(directory: Path, request: bytes) -> dict[str, Any]:
    reader, writer = await asyncio.open_unix_connection(directory / NAME)
    writer.write(request)
    writer.write_eof()
    answer = json.loads(await reader.readline())
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.usefixtures("control")
async def test_question_and_answer(tmp_path: Path) -> None:
    assert await asked(tmp_path, "echo", a=[1, "two"]) == {"said": {"a": [1, "two"]}}
    answers = await asyncio.gather(*(asked(tmp_path, "echo", n=n) for n in range(20)))
    assert [answer["said"]["n"] for answer in answers] == list(range(20))


@pytest.mark.parametrize(
    ("command", "said"), [("refuse", "not today"), ("other", "there is no command other")]
)
@pytest.mark.usefixtures("control")
async def test_what_is_refused(tmp_path: Path, command: str, said: str) -> None:
    with pytest.raises(ControlClientError, match=said):
        await asked(tmp_path, command)


@pytest.mark.parametrize(
    "request_", [b"", b"\n", b"hello\n", b"{}\n", b'{"command": 7}\n', b"x" * (LIMIT + 1)]
)
@pytest.mark.usefixtures("control")
async def test_what_is_no_request(tmp_path: Path, request_: bytes) -> None:
    assert "not a request" in (await answer_to(tmp_path, request_))["error"]
    assert await asked(tmp_path, "echo") == {"said": {}}


@pytest.mark.usefixtures("control")
async def test_one_that_says_nothing_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    reader, writer = await asyncio.open_unix_connection(tmp_path / NAME)
    assert "nothing was asked" in json.loads(await reader.read())["error"]
    writer.close()
    await writer.wait_closed()


@pytest.mark.usefixtures("control")
async def test_only_root_and_the_agent_s_own_user_are_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600
    monkeypatch.setattr(module, "_user_of", lambda _: 12345)
    with pytest.raises(ControlClientError, match="only root may ask this"):
        await asked(tmp_path, "echo")
    monkeypatch.setattr(module, "_user_of", lambda _: os.getuid())
    assert await asked(tmp_path, "echo") == {"said": {}}


async def test_a_socket_that_a_dead_agent_has_left(tmp_path: Path, control: Control) -> None:
    with pytest.raises(NoAgentError, match="no agent is running"):
        ask(tmp_path / "elsewhere", "echo", {})
    await control.close()
    with pytest.raises(NoAgentError):
        ask(tmp_path, "echo", {})
    for name in (NAME, f".{NAME}"):
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(tmp_path / name))
    with pytest.raises(NoAgentError):
        ask(tmp_path, "echo", {})
    await control.open(tmp_path)
    assert await asked(tmp_path, "echo") == {"said": {}}


async def test_the_name_of_the_directory_may_be_long(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 120)
    directory.mkdir()
    control = Control()
    control.register("echo", echo)
    await control.open(directory)
    assert await asked(directory, "echo") == {"said": {}}
    await control.close()
    assert list(directory.iterdir()) == []


async def test_the_agent_ends_before_it_has_answered(tmp_path: Path, control: Control) -> None:
    begun = asyncio.Event()

    async def never(_: Mapping[str, Any]) -> Mapping[str, Any]:
        begun.set()
        await asyncio.Event().wait()
        return {}

    control.register("never", never)
    asking = asyncio.create_task(asked(tmp_path, "never"))
    await begun.wait()
    await control.close()
    with pytest.raises(ControlClientError, match="ended before it had answered"):
        await asking


async def test_an_agent_that_is_stuck(tmp_path: Path, control: Control) -> None:
    async def never(_: Mapping[str, Any]) -> Mapping[str, Any]:
        await asyncio.Event().wait()
        return {}

    control.register("never", never)
    with pytest.raises(ControlClientError, match=r"not answered within 0\.05 s"):
        await asyncio.to_thread(ask, tmp_path, "never", {}, 0.05)


async def test_what_a_handler_did_not_foresee_reaches_the_loop(
    tmp_path: Path, control: Control
) -> None:
    async def bug(_: Mapping[str, Any]) -> Mapping[str, Any]:
        raise ZeroDivisionError("nobody foresaw this")

    control.register("bug", bug)
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    with pytest.raises(ControlClientError, match="ended before"):
        await asked(tmp_path, "bug")
    assert isinstance(failures[0]["exception"], ZeroDivisionError)


async def test_what_is_held_back(tmp_path: Path, control: Control) -> None:
    holds = Holds(lambda: None)
    confirmed: list[str] = []
    for name in ("a", "b"):
        holds.place(Hold(name, "kind", "it waits", 1), partial(confirmed.append, name))
    register(control, holds)
    answer = await asked(tmp_path, "holds")
    assert [hold["id"] for hold in answer["holds"]] == ["a", "b"]
    answer = await asked(tmp_path, "confirm", ids=["b", "nobody"])
    assert [hold["id"] for hold in answer["holds"]] == confirmed == ["b"]
    for arguments in ({}, {"ids": "a"}):
        with pytest.raises(ControlClientError, match="ids: Expected `array`"):
            await asked(tmp_path, "confirm", **arguments)
