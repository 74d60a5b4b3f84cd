"""What is wrong with a configuration, in words for the person who wrote it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct


class Problem(Struct, frozen=True):
    """`where` is a line of a file, a variable or a resource; `name` the parameter, or "".

    An error stops the start; while the agent runs it is reported, and the last good value kept.
    A `standing` warning is reported too: what was said is not what is done.
    """

    severity: Literal["error", "warning"]
    where: str
    name: str
    reason: str
    standing: bool = False

    def __str__(self) -> str:
        if not self.name:
            return f"{self.where}: {self.reason}"
        return f"{self.where}: {self.name} {self.reason}"


def error(where: str, name: str, reason: str) -> Problem:
    return Problem("error", where, name, reason)


def warning(where: str, name: str, reason: str) -> Problem:
    return Problem("warning", where, name, reason)


class ConfigError(Exception):
    """The agent must not start with this configuration; `problems` has warnings among them too."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(each) for each in problems if each.severity == "error"))
