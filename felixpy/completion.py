"""Completion scripts for bash, zsh and fish.

    in   the parser of the command line
    out  a script that completes its commands and those of groups, options, choices and file names

The scripts hold all they need: nothing of felixpy is started while somebody types.
"""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

Takes = Literal["nothing", "word", "file", "directory"]


class _Argument(NamedTuple):
    flags: tuple[str, ...]  # empty: it is told by its place
    summary: str
    takes: Takes
    metavar: str
    choices: tuple[str, ...]


class _Command(NamedTuple):
    words: tuple[str, ...]  # empty: the program itself, before any command; two: one of a group
    summary: str
    options: tuple[_Argument, ...]
    places: tuple[_Argument, ...]
    commands: tuple[str, ...]  # those of a group

    @property
    def name(self) -> str:
        return " ".join(self.words)


def render_completion(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script for "bash", "zsh" or "fish" (anything else is a KeyError)."""
    return _RENDERERS[shell](parser.prog, _commands(parser))


def _commands(
    parser: argparse.ArgumentParser, words: tuple[str, ...] = (), summary: str = ""
) -> list[_Command]:
    """The program itself, then its commands, in the order of the help; a group before its own."""
    below: dict[str, list[_Command]] = {}
    for action in _actions(parser):
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001  # as in _actions
            summaries = {each.dest: each.help or "" for each in action._get_subactions()}  # noqa: SLF001
            for name, command in action.choices.items():
                below[name] = _commands(command, (*words, name), summaries.get(name, ""))
    own = _command(words, summary, parser, tuple(below))
    return [own, *(command for commands in below.values() for command in commands)]


def _command(
    words: tuple[str, ...],
    summary: str,
    parser: argparse.ArgumentParser,
    commands: tuple[str, ...],
) -> _Command:
    arguments = [
        _argument(action)
        for action in _actions(parser)
        if not isinstance(action, argparse._SubParsersAction)  # noqa: SLF001  # as in _actions
        and action.help != argparse.SUPPRESS
    ]
    return _Command(
        words,
        summary,
        tuple(argument for argument in arguments if argument.flags),
        tuple(argument for argument in arguments if not argument.flags),
        commands,
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
        case $command:$word in
        *:-*) ;;
        :*) command=$word ;;
{groups}
        *) break ;;
        esac
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
                pattern = "|".join(f"{shlex.quote(command.name)}:{flag}" for flag in option.flags)
                calls = [*_bash_reply(function, option.choices, option.takes), "return"]
                values.append(f"    {pattern}) {'; '.join(calls)} ;;")
        candidates = [flag for option in command.options for flag in option.flags]
        candidates += command.commands
        calls = _bash_reply(function, candidates, "word")
        for place in command.places:
            calls += _bash_reply(function, place.choices, place.takes)
        words.append(f"    {shlex.quote(command.name)}) {'; '.join(calls)} ;;")
    groups = [each.name for each in commands if each.words and each.commands]
    return _BASH.format(
        program=program,
        function=function,
        groups="\n".join(f'        {name}:*) command="{name} $word" ;;' for name in groups),
        values="\n".join(values),
        words="\n".join(words),
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


_ZSH_GROUP = """\
            {name})
                if (( CURRENT == 2 )); then
                    commands=(
{commands}
                    )
                    _describe command commands
                    return
                fi
                shift words; (( CURRENT-- ))
                case $words[1] in
{cases}
                esac ;;"""


def _zsh(program: str, commands: list[_Command]) -> str:
    by_words = {command.words: command for command in commands}
    top = by_words[()]
    return _ZSH.format(
        program=program,
        function="_" + program.replace("-", "_"),
        options=" ".join(_zsh_option(option) for option in top.options),
        commands=_zsh_described(top, by_words, " " * 12),
        cases=_zsh_cases(top, by_words, " " * 12),
    )


def _zsh_described(
    group: _Command, by_words: Mapping[tuple[str, ...], _Command], indent: str
) -> str:
    summaries = {name: by_words[*group.words, name].summary for name in group.commands}
    return "\n".join(f"{indent}{_zsh_quote(f'{n}:{summary}')}" for n, summary in summaries.items())


def _zsh_cases(group: _Command, by_words: Mapping[tuple[str, ...], _Command], indent: str) -> str:
    cases = []
    for name in group.commands:
        command = by_words[*group.words, name]
        if command.commands:
            described = _zsh_described(command, by_words, " " * 20)
            inner = _zsh_cases(command, by_words, " " * 16)
            cases.append(_ZSH_GROUP.format(name=name, commands=described, cases=inner))
            continue
        specs = [_zsh_option(option) for option in command.options]
        specs += _zsh_places(command.places)
        cases.append(f"{indent}{name}) _arguments {' '.join(specs)} ;;")
    return "\n".join(cases)


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


_FISH = """\
# fish completion for {program}
function {function}_at # exactly these words, options left out, stand before what is typed
    set -l words (commandline -opc | string match -rv '^-')
    test "$words[2..-1]" = "$argv"
end
function {function}_after # these words come first
    set -l words (commandline -opc | string match -rv '^-')
    test "$words[2..$(math 1 + (count $argv))]" = "$argv"
end
complete -c {program} -f
"""


def _fish(program: str, commands: list[_Command]) -> str:
    function = "__" + program.replace("-", "_")
    lines = []
    for command in commands:
        when = _fish_quote(f"{function}_{'at' if command.commands else 'after'} {command.name}")
        if command.words:
            *before, name = command.words
            condition = _fish_quote(" ".join((f"{function}_at", *before)))
            summary = _fish_quote(command.summary)
            lines.append(f"complete -c {program} -n {condition} -a {name} -d {summary}")
        for option in command.options:
            flags = " ".join(_fish_flag(flag) for flag in option.flags)
            summary = _fish_quote(option.summary)
            words = f"{flags} -d {summary}{_fish_values(option, ' -x')}"
            lines.append(f"complete -c {program} -n {when} {words}")
        for place in command.places:
            values = _fish_values(place, "")
            if values:
                lines.append(f"complete -c {program} -n {when}{values}")
    return _FISH.format(program=program, function=function) + "\n".join([*lines, ""])


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
