"""Completion for bash: commands -> a script."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from felixpy.completions.words import Command, Takes

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


def render_bash(program: str, commands: list[Command]) -> str:
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
