"""What there is to complete: the commands of a parser, those of its groups, and what they take."""

from __future__ import annotations

import argparse
import re
from typing import Literal, NamedTuple

Takes = Literal["nothing", "word", "file", "directory"]


class Argument(NamedTuple):
    flags: tuple[str, ...]  # empty: it is told by its place
    summary: str
    takes: Takes
    metavar: str
    choices: tuple[str, ...]


class Command(NamedTuple):
    words: tuple[str, ...]  # empty: the program itself, before any command; two: one of a group
    summary: str
    options: tuple[Argument, ...]
    places: tuple[Argument, ...]
    commands: tuple[str, ...]  # those of a group

    @property
    def name(self) -> str:
        return " ".join(self.words)


def commands_of(
    parser: argparse.ArgumentParser, words: tuple[str, ...] = (), summary: str = ""
) -> list[Command]:
    """The program itself, then its commands, in the order of the help; a group before its own."""
    below: dict[str, list[Command]] = {}
    for action in _actions(parser):
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001  # as in _actions
            summaries = {each.dest: each.help or "" for each in action._get_subactions()}  # noqa: SLF001
            for name, command in action.choices.items():
                below[name] = commands_of(command, (*words, name), summaries.get(name, ""))
    own = _command(words, summary, parser, tuple(below))
    return [own, *(command for commands in below.values() for command in commands)]


def _command(
    words: tuple[str, ...],
    summary: str,
    parser: argparse.ArgumentParser,
    commands: tuple[str, ...],
) -> Command:
    arguments = [
        _argument(action)
        for action in _actions(parser)
        if not isinstance(action, argparse._SubParsersAction)  # noqa: SLF001  # as in _actions
        and action.help != argparse.SUPPRESS
    ]
    return Command(
        words,
        summary,
        tuple(argument for argument in arguments if argument.flags),
        tuple(argument for argument in arguments if not argument.flags),
        commands,
    )


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    # argparse has no public way to ask a parser what it accepts; this has been its name since 2.7
    return parser._actions  # noqa: SLF001


def _argument(action: argparse.Action) -> Argument:
    metavar = action.metavar if isinstance(action.metavar, str) else action.dest
    takes: Takes = "word"
    if action.nargs == 0:
        takes = "nothing"
    elif metavar.startswith("DIR"):
        takes = "directory"
    elif metavar.startswith("FILE"):
        takes = "file"
    choices = tuple(str(choice) for choice in action.choices or ())
    summary = re.sub(r"%\(\w+\)s", "", action.help or "").replace("%%", "%")
    return Argument(tuple(action.option_strings), summary, takes, metavar, choices)
