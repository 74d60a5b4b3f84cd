"""Completion scripts for bash, zsh and fish.

    in   the parser of the command line
    out  a script that completes its commands, options, choices and file names

The scripts hold all they need: nothing of felixpy is started while somebody types.
"""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

Takes = Literal["nothing", "word", "file", "directory"]


class _Argument(NamedTuple):
    flags: tuple[str, ...]  # empty: it is told by its place
    summary: str
    takes: Takes
    metavar: str
    choices: tuple[str, ...]


class _Command(NamedTuple):
    name: str  # empty: the program itself, before any command
    summary: str
    options: tuple[_Argument, ...]
    places: tuple[_Argument, ...]


def render_completion(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script for "bash", "zsh" or "fish" (anything else is a KeyError)."""
    return _RENDERERS[shell](parser.prog, _commands(parser))


def _commands(parser: argparse.ArgumentParser) -> list[_Command]:
    """The program itself, then its commands, in the order of the help."""
    found = [_command("", "", parser)]
    for action in _actions(parser):
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001  # as in _actions
            summaries = {each.dest: each.help or "" for each in action._get_subactions()}  # noqa: SLF001
            for name, command in action.choices.items():
                found.append(_command(name, summaries.get(name, ""), command))
    return found


def _command(name: str, summary: str, parser: argparse.ArgumentParser) -> _Command:
    arguments = [
        _argument(action)
        for action in _actions(parser)
        if not isinstance(action, argparse._SubParsersAction)  # noqa: SLF001  # as in _actions
        and action.help != argparse.SUPPRESS
    ]
    return _Command(
        name,
        summary,
        tuple(argument for argument in arguments if argument.flags),
        tuple(argument for argument in arguments if not argument.flags),
    )


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    # argparse has no public way to ask a parser what it accepts; this has been its name since 2.7
    return parser._actions  # noqa: SLF001


def _argument(action: argparse.Action) -> _Argument:
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
    return _Argument(tuple(action.option_strings), summary, takes, metavar, choices)


# ---------------------------------------------------------------- bash


_BASH = """\
# bash completion for {program}
{function}_words() {{
    mapfile -t -O "${{#COMPREPLY[@]}}" COMPREPLY < <(compgen -W "$1" -- "$cur")
}}
{function}_files() {{ # -f for files, -d for directories
    compopt -o filenames 2>/dev/null
    mapfile -t -O "${{#COMPREPLY[@]}}" COMPREPLY < <(compgen "$1" -- "$cur")
}}
{function}() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD - 1]}}
    local command="" word
    COMPREPLY=()
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case $word in -*) ;; *) command=$word && break ;; esac
    done
    case $command:$prev in
{values}
    esac
    case $command in
{words}
    esac
}}
complete -F {function} {program}
"""


def _bash(program: str, commands: list[_Command]) -> str:
    function = "_" + program.replace("-", "_")
    values, words = [], []
    for command in commands:
        for option in command.options:
            if option.takes != "nothing":
                pattern = "|".join(f"{command.name}:{flag}" for flag in option.flags)
                calls = [*_bash_reply(function, option.choices, option.takes), "return"]
                values.append(f"    {pattern}) {'; '.join(calls)} ;;")
        candidates = [flag for option in command.options for flag in option.flags]
        candidates += [] if command.name else [each.name for each in commands[1:]]
        calls = _bash_reply(function, candidates, "word")
        for place in command.places:
            calls += _bash_reply(function, place.choices, place.takes)
        name = command.name or "''"
        words.append(f"    {name}) {'; '.join(calls)} ;;")
    return _BASH.format(
        program=program, function=function, values="\n".join(values), words="\n".join(words)
    )


def _bash_reply(function: str, words: Sequence[str], takes: Takes) -> list[str]:
    if words:
        return [f"{function}_words {shlex.quote(' '.join(words))}"]
    flag = {"file": "-f", "directory": "-d"}.get(takes)
    return [f"{function}_files {flag}"] if flag else []


# ---------------------------------------------------------------- zsh


# Its end serves both ways of loading it: as a file in fpath, and by `source`.
_ZSH = """\
#compdef {program}
{function}() {{
    local context state state_descr line
    local -a commands
    typeset -A opt_args
    _arguments -C {options} \\
        '1:command:->command' '*::argument:->argument'
    case $state in
    command)
        commands=(
{commands}
        )
        _describe command commands
        ;;
    argument)
        case $line[1] in
{cases}
        esac
        ;;
    esac
}}
if [ "$funcstack[1]" = "{function}" ]; then
    {function} "$@"
else
    compdef {function} {program}
fi
"""


def _zsh(program: str, commands: list[_Command]) -> str:
    top, rest = commands[0], commands[1:]
    described = [f"            {_zsh_quote(f'{each.name}:{each.summary}')}" for each in rest]
    cases = []
    for command in rest:
        specs = [_zsh_option(option) for option in command.options]
        specs += _zsh_places(command.places)
        cases.append(f"            {command.name}) _arguments {' '.join(specs)} ;;")
    return _ZSH.format(
        program=program,
        function="_" + program.replace("-", "_"),
        options=" ".join(_zsh_option(option) for option in top.options),
        commands="\n".join(described),
        cases="\n".join(cases),
    )


def _zsh_quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _zsh_option(option: _Argument) -> str:
    summary = re.sub(r"([\[\]:\\])", r"\\\1", option.summary)
    value = "" if option.takes == "nothing" else f":{option.metavar}:{_zsh_values(option)}"
    tail = _zsh_quote(f"[{summary}]{value}")
    if len(option.flags) == 1:
        return option.flags[0] + tail
    return f"'({' '.join(option.flags)})'{{{','.join(option.flags)}}}{tail}"


def _zsh_places(places: Sequence[_Argument]) -> list[str]:
    """One specification, which may stand only once, for all of them."""
    if not places:
        return []
    names = " or ".join(place.metavar for place in places)
    if len(places) == 1:
        return [_zsh_quote(f"*:{names}:{_zsh_values(places[0])}")]
    calls = [f"compadd {' '.join(place.choices)}" for place in places if place.choices]
    calls += [_zsh_values(place) for place in places if not place.choices]
    return [_zsh_quote(f"*:{names}:{{ {'; '.join(calls)} }}")]


def _zsh_values(argument: _Argument) -> str:
    if argument.choices:
        return f"({' '.join(argument.choices)})"
    return {"file": "_files", "directory": "_files -/"}.get(argument.takes, " ")


# ---------------------------------------------------------------- fish


def _fish(program: str, commands: list[_Command]) -> str:
    lines = [f"# fish completion for {program}", f"complete -c {program} -f"]
    for command in commands:
        when = f"__fish_seen_subcommand_from {command.name}"
        if not command.name:
            when = "__fish_use_subcommand"
        else:
            summary = _fish_quote(command.summary)
            lines.append(
                f"complete -c {program} -n __fish_use_subcommand -a {command.name} -d {summary}"
            )
        for option in command.options:
            flags = " ".join(_fish_flag(flag) for flag in option.flags)
            summary = _fish_quote(option.summary)
            words = f"{flags} -d {summary}{_fish_values(option, ' -x')}"
            lines.append(f"complete -c {program} -n {_fish_quote(when)} {words}")
        for place in command.places:
            values = _fish_values(place, "")
            if values:
                lines.append(f"complete -c {program} -n {_fish_quote(when)}{values}")
    return "\n".join([*lines, ""])


def _fish_quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _fish_flag(flag: str) -> str:
    return f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}"


def _fish_values(argument: _Argument, otherwise: str) -> str:
    if argument.takes == "nothing":
        return ""
    if argument.choices:
        return f" -x -a {_fish_quote(' '.join(argument.choices))}"
    if argument.takes == "directory":
        return " -x -a '(__fish_complete_directories)'"
    return " -r -F" if argument.takes == "file" else otherwise


_RENDERERS: dict[str, Callable[[str, list[_Command]], str]] = {
    "bash": _bash,
    "zsh": _zsh,
    "fish": _fish,
}
SHELLS = tuple(_RENDERERS)
