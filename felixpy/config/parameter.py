"""One parameter: its name, type and default, what it means, and what becomes of a mistake in it.

A group of parameters is a frozen dataclass whose fields are declared by `param`: the field's type
is checked against the parameter's, and the facts about it travel in the field's metadata.
"""

from __future__ import annotations

from dataclasses import Field, dataclass, field
from typing import Any, Generic, Literal, TypeVar

from felixpy.config.types import Type

T = TypeVar("T")
Effect = Literal["honoured", "later", "nothing"]
_METADATA = "parameter"


@dataclass(frozen=True)
class Parameter(Generic[T]):
    """What `param` was told; the flags in capitals are those of Felix's own table.

    attribute  the field of Config that holds the value
    group      heading under which it is shown
    local      L: only the file and the environment are asked
    fatal      D: a bad value stops the start
    required   Z: "none" is not a value, and stops the start
    live       may change while the agent runs, without its pipeline being rebuilt
    secret     the value is never shown
    effect     "honoured"; "later": not built yet, said where set; "nothing": taken silently
    quiet      values of what is not built yet that ask for nothing, besides default and zero
    """

    name: str
    attribute: str
    group: str
    type: Type[T]
    default: T
    meaning: str
    local: bool
    fatal: bool
    required: bool
    live: bool
    secret: bool
    effect: Effect
    unit: str
    quiet: tuple[T, ...]

    def render(self, value: T) -> str:
        """The value as it would be written in the file; "" where it is unset."""
        return self.type.render(value)

    def show(self, value: T) -> str:
        """The value for people's eyes: with its unit, without its secret."""
        text = self.type.render(value)
        if self.secret:
            return "set" if text else "unset"
        if not text:
            return "none"
        return f"{text} {self.unit}" if self.unit else text

    def quote(self, text: str) -> str:
        """A text that was given for it, as it may be repeated to people."""
        return "…" if self.secret else self.type.quote(text)


def param(
    name: str,
    type: Type[T],  # noqa: A002  the word of the field
    default: T,
    meaning: str,
    *,
    flags: str = "",
    live: bool = False,
    secret: bool = False,
    effect: Effect = "honoured",
    unit: str = "",
    quiet: tuple[T, ...] = (),
) -> T:
    """A field of a group; `flags` are the letters of Felix's table, out of "LDZ"."""
    facts = {
        "name": name,
        "type": type,
        "default": default,
        "meaning": meaning,
        "local": "L" in flags,
        "fatal": "D" in flags,
        "required": "Z" in flags,
        "live": live,
        "secret": secret,
        "effect": effect,
        "unit": unit or type.unit,
        "quiet": quiet,
    }
    return field(default=default, repr=not secret, metadata={_METADATA: facts})


def parameter_of(group: str, declared: Field[Any]) -> Parameter[Any]:
    """The parameter behind a field that `param` made."""
    return Parameter(attribute=declared.name, group=group, **declared.metadata[_METADATA])
