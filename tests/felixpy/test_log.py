"""How events are written, and where to."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from felixpy import log as logs


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def test_a_line_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up(screen="INFO")
    structlog.get_logger("x").info("ipset.written", ipset="a", added=3)
    structlog.get_logger("x").debug("not.shown")
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \[info     \] ipset.written +ipset=a added=3\n",
        capsys.readouterr().err,
    )


def test_a_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up(style="json", screen="WARNING")
    structlog.get_logger("x").warning("route.refused", path=Path("/x"))
    event = json.loads(capsys.readouterr().err)
    assert re.fullmatch(r"[-0-9]{10}T[0-9:]{8}\.\d{3}Z", event.pop("timestamp"))
    assert event == {"event": "route.refused", "level": "warning", "path": "/x"}


@pytest.mark.parametrize("style", ["console", "json"])
def test_a_traceback_is_part_of_the_event(
    capsys: pytest.CaptureFixture[str], style: logs.Style
) -> None:
    logs.set_up(style=style, screen="INFO")
    try:
        dict[str, int]()["surprise"]
    except KeyError:
        structlog.get_logger("x").critical("agent.crashed", exc_info=True)
    said = capsys.readouterr().err
    assert said.count("KeyError: 'surprise'") == 1
    assert "Traceback" in said
    assert (said.count("\n") == 1) is (style == "json")


def test_a_file_has_a_severity_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "deep" / "felixpy.log"
    logs.set_up(screen="", file=str(path), file_severity="DEBUG")
    structlog.get_logger("x").debug("a.thing")
    assert "a.thing" in path.read_text()
    assert capsys.readouterr().err == ""


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="director"):
        logs.set_up(screen="INFO", file=str(tmp_path), file_severity="INFO")


@pytest.mark.parametrize(
    ("environment", "colours"),
    [
        ({}, True),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": ""}, True),
        ({"TERM": "dumb"}, False),
    ],
)
def test_colours_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], colours: bool
) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    near, far = os.openpty()
    with open(far, "w") as stream, open(near, "rb"):  # noqa: PTH123  they are descriptors
        assert logs.colourful(stream) is colours


def test_what_has_no_terminal_has_no_colours(tmp_path: Path) -> None:
    with (tmp_path / "x").open("w") as stream:
        assert not logs.colourful(stream)
