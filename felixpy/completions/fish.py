"""Completion for fish: commands -> a script."""

from __future__ import annotations

from felixpy.completions.words import Argument, Command

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


def render_fish(program: str, commands: list[Command]) -> str:
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


def _fish_values(argument: Argument, otherwise: str) -> str:
    if argument.takes == "nothing":
        return ""
    if argument.choices:
        return f" -x -a {_fish_quote(' '.join(argument.choices))}"
    if argument.takes == "directory":
        return " -x -a '(__fish_complete_directories)'"
    return " -r -F" if argument.takes == "file" else otherwise
