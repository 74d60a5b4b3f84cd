"""Documents against types: what to leave out so that one fits, and what to say where it does not.

in   a parsed document and the type that it should become
out  a tidied copy; or msgspec's complaint as an InvalidResourceError, with the closest name
"""

from __future__ import annotations

import re
from functools import cache
from math import isfinite
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from msgspec import Struct, ValidationError
from msgspec.structs import fields

from felixpy.datastore.errors import InvalidResourceError, suggestion

_WHERE = re.compile(r" - at `(?:key` in `)?\$?(.*)`$")
_STEP = re.compile(r"\.([^.\[\]]+)|\[([0-9]+)\]")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`")
_EXPECTED = re.compile(r"Expected `(.*?)`, got `(.*?)`")
_PLAIN = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "object": "a map",
    "array": "a list",
    "null": "nothing",
}


def tidy(document: Any, kind: Any, *, stored: bool) -> Any:
    """A copy that fits `kind` where what is in the way means nothing.

    Null means unset: such fields are left out.  In a manifest a number, true or false stands for
    its text where a text belongs, as it does for calicoctl; in what is stored, unknown fields are
    left out.
    """
    inner = _inner(kind)
    if inner is str:
        return document if stored else _as_text(document)
    origin, parts = get_origin(inner), get_args(inner)
    if isinstance(document, list) and origin is list:
        return [tidy(item, parts[0], stored=stored) for item in document]
    if not isinstance(document, dict):
        return document
    if origin is dict and parts[1] is str:
        return {
            name: "" if value is None else tidy(value, str, stored=stored)
            for name, value in document.items()
        }
    known = _known_of(inner)
    if not known:
        return document
    return {
        name: tidy(value, known.get(name), stored=stored)
        for name, value in document.items()
        if value is not None and (name in known or not stored)
    }


def _as_text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, int) or (isinstance(value, float) and isfinite(value)):
        return str(value)
    return value


def explain(error: ValidationError, kind: type[Struct]) -> InvalidResourceError:
    """msgspec's complaint in our words; it names fields and types, never values."""
    text = str(error)
    path = _path(text)
    text = _WHERE.sub("", text)
    if match := _UNKNOWN.fullmatch(text):
        hint = suggestion(match[1], _known_at(kind, path))
        return InvalidResourceError(f"unknown field {match[1]!r}{hint}", (*path, match[1]))
    if match := _MISSING.fullmatch(text):
        return InvalidResourceError("must be given", (*path, match[1]))
    if match := _EXPECTED.match(text):
        wanted = " or ".join(
            _PLAIN.get(part, part) for part in match[1].split(" | ") if part != "null"
        )
        return InvalidResourceError(f"must be {wanted}, not {_PLAIN.get(match[2], match[2])}", path)
    return InvalidResourceError(text, path)


def _path(text: str) -> tuple[str | int, ...]:
    where = _WHERE.search(text)
    steps = _STEP.findall(where[1]) if where else []
    return tuple(name or int(index) for name, index in steps)


def _known_at(kind: Any, path: tuple[str | int, ...]) -> dict[str, Any]:
    for step in path:
        inner = _inner(kind)
        if isinstance(step, int):
            kind = get_args(inner)[0] if get_origin(inner) is list else None
        else:
            kind = _known_of(inner).get(step)
    return _known_of(_inner(kind))


def _known_of(kind: Any) -> dict[str, Any]:
    return _known(kind) if isinstance(kind, type) and issubclass(kind, Struct) else {}


@cache
def _known(kind: type[Struct]) -> dict[str, Any]:
    return {info.encode_name: info.type for info in fields(kind)}


def _inner(kind: Any) -> Any:
    """The type below `Annotated` and beside `None`."""
    origin = get_origin(kind)
    if origin is Annotated:
        return _inner(get_args(kind)[0])
    if origin in (Union, UnionType):
        parts = [part for part in get_args(kind) if part is not type(None)]
        return _inner(parts[0]) if len(parts) == 1 else kind
    return kind
