"""The configuration for people's eyes: the effective values, one parameter, the sample file.

Nothing here shows a secret: such a value is "set" or "unset".
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

import msgspec
from msgspec import Struct

from felixpy.config.parameter import Parameter
from felixpy.config.parameters import FIELD_ALIASES, PARAMETERS, RETIRED, canonical, closest
from felixpy.config.resolve import Resolved
from felixpy.config.sources import Setting

_SAMPLE_WIDTH = 96
_BOLD, _DIM, _RESET = "\x1b[1m", "\x1b[2m", "\x1b[0m"
_NOT_BUILT = "not built yet"
_NARROWEST = 60
_FIRST_WORD = re.compile(r"IPv|NFTables|VXLAN(?=[A-Z])|[A-Z]+(?=[A-Z][a-z])|[A-Z]")


class Row(Struct, frozen=True):
    """One parameter.  `value` and `default` are texts with their unit; `changed`: they differ."""

    name: str
    value: str
    source: str
    meaning: str
    default: str
    allowed: str
    unit: str
    live: bool
    built: bool
    changed: bool
    group: str


class UnknownParameterError(Exception):
    """The name that was asked for is nobody's; `closest` has those that may have been meant."""

    def __init__(self, name: str) -> None:
        self.closest = closest(name)
        hint = f"; is {' or '.join(self.closest)} meant?" if self.closest else ""
        super().__init__(f"there is no parameter {name}{hint}")


def rows(resolved: Resolved, *, only_changed: bool = False, everything: bool = False) -> list[Row]:
    """In the order of the table: what is honoured, and what was set though it is not built yet.

    Args:
        resolved: the configuration
        only_changed: leave out what is the default and what nobody has set
        everything: have those not built yet too that nobody set
    """
    found = [_row(parameter, resolved) for parameter in PARAMETERS.values()]
    if only_changed:
        return [row for row in found if row.changed or row.name in resolved.given]
    return [row for row in found if everything or row.built or row.name in resolved.given]


def _row(parameter: Parameter[Any], resolved: Resolved) -> Row:
    return Row(
        name=parameter.name,
        value=parameter.show(getattr(resolved.config, parameter.attribute)),
        source=resolved.origins.get(parameter.name, "default"),
        meaning=parameter.meaning,
        default=parameter.show(parameter.default),
        allowed=parameter.type.allowed,
        unit=parameter.unit,
        live=parameter.live,
        built=parameter.effect == "honoured",
        changed=getattr(resolved.config, parameter.attribute) != parameter.default,
        group=parameter.group,
    )


# ---------------------------------------------------------------- all of them


def render_json(shown: Iterable[Row]) -> str:
    """A list of objects, with the fields of Row."""
    return json.dumps([msgspec.to_builtins(row) for row in shown], indent=2)


def render_table(shown: Sequence[Row], width: int, color: bool) -> str:
    """A line of name, value and source for each, below it the meaning; `width` in characters."""
    paint = _paint(color)
    width = max(width, _NARROWEST)
    name_width = max((len(row.name) for row in shown), default=0) + 2
    source_width = max((len(row.source) for row in shown), default=0)
    longest = max((len(row.value) for row in shown), default=0)
    room = max(16, width - name_width - min(source_width, width // 3) - 4)
    value_width = min(longest, room)
    blocks = []
    for group, members in groupby(shown, key=lambda row: row.group):
        lines = [paint(_BOLD, group)]
        for row in members:
            lines += _table_lines(row, (name_width, value_width, width), paint)
        blocks.append("".join(f"{line}\n" for line in lines))
    return "\n".join(blocks)


def _table_lines(
    row: Row, widths: tuple[int, int, int], paint: Callable[[str, str], str]
) -> list[str]:
    name_width, value_width, width = widths
    first, *rest = _wrap_value(row.value, value_width)
    name = paint(_BOLD, row.name) if row.changed else row.name
    lead = "  " + name + " " * (name_width - len(row.name))
    indent = " " * (name_width + 2)
    if len(indent) + max(len(first), value_width) + 2 + len(row.source) <= width:
        lines = [f"{lead}{first:<{value_width}}  {row.source}"]
        lines += [indent + each for each in rest]
    else:
        lines = [lead + first, *(indent + each for each in (*rest, row.source))]
    remarks = [] if row.built else [_NOT_BUILT]
    if row.changed and row.default not in ("none", "unset"):
        remarks.append(f"default {row.default}")
    meaning = f"{row.meaning} ({'; '.join(remarks)})" if remarks else row.meaning
    lines += [paint(_DIM, f"      {each}") for each in textwrap.wrap(meaning, width - 6)]
    return lines


def _paint(color: bool) -> Callable[[str, str], str]:
    return lambda code, text: f"{code}{text}{_RESET}" if color else text


def _wrap_value(text: str, width: int) -> list[str]:
    """Lines of at most `width`, which end at commas where that can be."""
    lines = [""]
    for piece in re.split(r"(?<=,)", text):
        if len(lines[-1]) + len(piece) > width and lines[-1]:
            lines.append("")
        while len(piece) > width:
            lines[-1], piece = piece[:width], piece[width:]
            lines.append("")
        lines[-1] += piece
    return lines


# ---------------------------------------------------------------- one of them


def explain(resolved: Resolved, name: str) -> str:
    """All there is to say of one parameter.

    Raises:
        UnknownParameterError: there is none of that name, in any case.
    """
    known = canonical(name)
    if known is None:
        raise UnknownParameterError(name)
    if known in RETIRED:
        return f"{known}: {RETIRED[known]}.\n"
    if known not in PARAMETERS:
        given = "".join(f"  set at {setting.where}\n" for setting in resolved.given.get(known, ()))
        return f"{known}\n  A parameter of Felix that has no effect in felixpy.\n{given}"
    return _explain(PARAMETERS[known], resolved)


def _explain(parameter: Parameter[Any], resolved: Resolved) -> str:
    row = _row(parameter, resolved)
    facts = [
        ("value", row.value),
        ("from", row.source),
        *(("also set", _also(parameter, each)) for each in resolved.given.get(row.name, ())[1:]),
        ("default", row.default),
        ("allowed", row.allowed + ("; none" if not parameter.required else "")),
        ("a change", "takes effect at once" if row.live else "rebuilds the agent's pipeline"),
        ("environment", f"FELIX_{row.name.upper()}"),
    ]
    if parameter.local:
        facts.append(("datastore", "no: only the file and the environment may set it"))
    else:
        facts.append(("datastore", f"FelixConfiguration, field {resource_field(row.name)}"))
    if parameter.effect != "honoured":
        facts.append(("effect", _NOT_BUILT if parameter.effect == "later" else "none in felixpy"))
    lines = [
        f"{row.name}\n",
        *(f"  {line}\n" for line in textwrap.wrap(row.meaning, _SAMPLE_WIDTH)),
        "\n",
    ]
    return "".join(lines) + "".join(f"  {label + ':':<13}{text}\n" for label, text in facts)


def _also(parameter: Parameter[Any], setting: Setting) -> str:
    return f"{parameter.quote(setting.text)} at {setting.where}, which is overruled"


def resource_field(name: str) -> str:
    """How FelixConfiguration spells a parameter: with its first word in small letters."""
    for alias, parameter in FIELD_ALIASES.items():
        if parameter == name:
            return alias
    return _FIRST_WORD.sub(lambda word: word[0].lower(), name, count=1)


# ---------------------------------------------------------------- the sample file


def render_sample() -> str:
    """The text of etc/felixpy.cfg: every honoured parameter with its default, commented out."""
    honoured = [each for each in PARAMETERS.values() if each.effect == "honoured"]
    parts = [_SAMPLE_HEAD]
    for group, members in groupby(honoured, key=lambda parameter: parameter.group):
        parts.append(f"\n# ---- {group} ".ljust(_SAMPLE_WIDTH, "-") + "\n")
        parts += [_sample_entry(parameter) for parameter in members]
    return "".join(parts)


def _sample_entry(parameter: Parameter[Any]) -> str:
    text = parameter.render(parameter.default)
    if not text:
        text = "" if parameter.required else "none"
    unit = f" ({parameter.unit})" if parameter.unit != parameter.type.unit else ""
    about = textwrap.wrap(parameter.meaning, _SAMPLE_WIDTH - 2)
    allowed = textwrap.wrap(f"Allowed: {parameter.type.allowed}{unit}", _SAMPLE_WIDTH - 2)
    comments = "".join(f"# {line}\n" for line in (*about, *allowed))
    return f"\n{comments}#{parameter.name} = {text}".rstrip() + "\n"


_SAMPLE_HEAD = """\
# Configuration of felixpy, the agent that makes this machine a node of a Calico network.
#
# Each parameter stands here with its default, commented out: to change one, take away its "#".
# As they are, the defaults lock nobody out: no policy touches the machine itself until there is a
# HostEndpoint for it, and then the failsafe ports stay open.
#
# A felix.cfg of Calico's Felix works as it is.  Names may be in any case; "#" and ";" begin a
# comment, inside a line too; "none" switches off what can be off; an empty value is no value.
# What counts most comes first: the environment (FELIX_NAME), this file, FelixConfiguration
# node.NAME, the FelixConfiguration whose nodeSelector matches, FelixConfiguration default.
# `felixpy config` prints what is in force, and where it comes from.

[global]
"""
