"""Completion for zsh: commands -> a script."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from felixpy.completions.words import Argument, Command

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


def render_zsh(program: str, commands: list[Command]) -> str:
    by_words = {command.words: command for command in commands}
    top = by_words[()]
    return _ZSH.format(
        program=program,
        function="_" + program.replace("-", "_"),
        options=" ".join(_zsh_option(option) for option in top.options),
        commands=_zsh_described(top, by_words, " " * 12),
        cases=_zsh_cases(top, by_words, " " * 12),
    )


def _zsh_described(group: Command, by_words: Mapping[tuple[str, ...], Command], indent: str) -> str:
    summaries = {name: by_words[*group.words, name].summary for name in group.commands}
    return "\n".join(f"{indent}{_zsh_quote(f'{n}:{summary}')}" for n, summary in summaries.items())


def _zsh_cases(group: Command, by_words: Mapping[tuple[str, ...], Command], indent: str) -> str:
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


def _zsh_option(option: Argument) -> str:
    summary = re.sub(r"([\[\]:\\])", r"\\\1", option.summary)
    value = "" if option.takes == "nothing" else f":{option.metavar}:{_zsh_values(option)}"
    tail = _zsh_quote(f"[{summary}]{value}")
    if len(option.flags) == 1:
        return option.flags[0] + tail
    return f"'({' '.join(option.flags)})'{{{','.join(option.flags)}}}{tail}"


def _zsh_places(places: Sequence[Argument]) -> list[str]:
    """One specification, which may stand only once, for all of them."""
    if not places:
        return []
    names = " or ".join(place.metavar for place in places)
    if len(places) == 1:
        return [_zsh_quote(f"*:{names}:{_zsh_values(places[0])}")]
    calls = [f"compadd {' '.join(place.choices)}" for place in places if place.choices]
    calls += [_zsh_values(place) for place in places if not place.choices]
    return [_zsh_quote(f"*:{names}:{{ {'; '.join(calls)} }}")]


def _zsh_values(argument: Argument) -> str:
    if argument.choices:
        return f"({' '.join(argument.choices)})"
    return {"file": "_files", "directory": "_files -/"}.get(argument.takes, " ")
