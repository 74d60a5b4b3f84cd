"""Processes that answer, fail, hang, are missing, or stay."""

from __future__ import annotations

import errno
import os

import pytest

from dataplane.errors import (
    CommandError,
    CommandMissingError,
    CommandTimeoutError,
    DataplaneError,
)
from dataplane.runner import Runner


async def test_text_goes_in_and_comes_out() -> None:
    seen: list[tuple[str, bool]] = []
    runner = Runner(observer=lambda program, _seconds, succeeded: seen.append((program, succeeded)))
    assert await runner.run("cat", stdin="a\udcff\n") == "a\udcff\n"
    assert await runner.run("false", accept=(0, 1)) == ""
    assert seen == [("cat", True), ("false", True)]


async def test_the_environment_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.setenv("SECRET", "x")
    names = [line.split("=")[0] for line in (await Runner().run("env")).splitlines()]
    assert sorted(names) == ["LANG", "LC_ALL", "PATH"]


FAILURES: list[tuple[tuple[str, ...], type[DataplaneError], str]] = [
    (("sh", "-c", "echo no >&2; exit 3"), CommandError, "exit 3: no"),
    (("sleep", "60"), CommandTimeoutError, "no answer in 0.1 s"),
    (("no-such-program",), CommandMissingError, "no-such-program"),
]


@pytest.mark.parametrize(("argv", "kind", "message"), FAILURES)
async def test_a_failure_says_what_failed(
    argv: tuple[str, ...], kind: type[DataplaneError], message: str
) -> None:
    limit = 0.1 if argv[0] == "sleep" else 10.0
    with pytest.raises(kind, match=message):
        await Runner().run(*argv, timeout_seconds=limit)


async def test_a_process_stays_and_answers_line_by_line() -> None:
    process = await Runner().attach("sh", "-c", "while read x; do echo got $x; done; echo e >&2")
    for word in ("one", "two"):
        await process.write(f"{word}\n".encode())
        assert await process.read_line() == f"got {word}"
    assert process.alive
    assert await process.end() == (0, "e\n")
    assert not process.alive
    await process.write(b"nobody listens\n")


async def test_a_process_that_will_not_end_is_killed() -> None:
    process = await Runner().attach("sleep", "60")
    assert await process.end(0.05) == (-9, "")
    assert await process.read_line() == ""


async def test_no_pseudo_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> tuple[int, int]:
        raise OSError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(os, "openpty", refused)
    with pytest.raises(CommandMissingError, match="cat: there is no pseudo-terminal"):
        await Runner().attach("cat")
