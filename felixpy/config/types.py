"""What a parameter's value may look like: text in, a typed value out, and back again.

A parser raises ValueError with a reason that reads on after "NAME = TEXT: ", and nothing else,
whatever the text.  `allowed` says in words what it takes.  The text "none" is not the parsers'
business: it stands for `zero` wherever a parameter has one.
Source of the grammars: projectcalico/calico felix/config/param_types.go.
"""

from __future__ import annotations

import math
import re
import stat
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")
Word = TypeVar("Word", bound=str)
Pairs = tuple[tuple[str, str], ...]
DurationPairs = tuple[tuple[str, float], ...]

_TRUE = frozenset(("true", "1", "yes", "y", "t"))
_FALSE = frozenset(("false", "0", "no", "n", "f"))
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_INTEGER = re.compile(r"[+-]?(0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+|\d+)", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_UNIT_SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1,
    "m": 60,
    "h": 3600,
}
_LONGEST_SECONDS = 9.2e9  # what Felix's 64-bit count of nanoseconds holds
_LONGEST_INTEGER = 80  # characters; more than 64 bits take in any base
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Type(Generic[T]):
    """`unit` is that of the number as it is written; "" where it has none.

    `quote` makes of a text, good or bad, what may be repeated to people.
    """

    allowed: str
    zero: T
    parse: Callable[[str], T]
    render: Callable[[T], str]
    unit: str = ""
    quote: Callable[[str], str] = str


# ---------------------------------------------------------------- words and text


def _parse_bool(text: str) -> bool:
    word = text.lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError("neither true nor false")


def _render_bool(value: bool | None) -> str:
    return "" if value is None else str(value).lower()


def one_of(*words: Word, none: Word) -> Type[Word]:
    """One of the words in any case, kept as listed; `none` is the one that "none" means."""
    listed = {word.lower(): word for word in words if word}

    def parse(text: str) -> Word:
        try:
            return listed[text.lower()]
        except KeyError:
            raise ValueError("not one of the words it can be") from None

    return Type(" or ".join(listed.values()), none, parse, str)


def matching(pattern: str, allowed: str) -> Type[str]:
    expression = re.compile(pattern, re.ASCII)

    def parse(text: str) -> str:
        if not expression.fullmatch(text):
            raise ValueError("not of the form it must have")
        return text

    return Type(allowed, "", parse, str)


def list_of(
    item: Callable[[str], T], render: Callable[[T], str], allowed: str
) -> Type[tuple[T, ...]]:
    """Items with commas between them; spaces around an item and empty items do not count."""

    def parse(text: str) -> tuple[T, ...]:
        return tuple(item(part.strip()) for part in text.split(",") if part.strip())

    return Type(allowed, (), parse, lambda value: ",".join(render(each) for each in value))


def _parse_text(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("contains a control character")
    return text


def check_regexp(text: str) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # what Python may read differently one day is no fault of the user's
            re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return text


def _parse_existing_path(text: str) -> str:
    """Opened, not only looked for: what is there may still not be ours to read."""
    path = Path(_parse_text(text))
    try:
        if path.is_dir():
            next(path.iterdir(), None)
        elif stat.S_ISREG(path.stat().st_mode):
            path.open("rb").close()
        else:
            raise ValueError("neither a file nor a directory")
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    return text


def _parse_existing_file(text: str) -> str:
    if Path(_parse_existing_path(text)).is_dir():
        raise ValueError("is a directory")
    return text


# ---------------------------------------------------------------- numbers


def parse_integer(text: str) -> int:
    """Decimal, 0x, 0o, 0b; a leading 0 alone means octal, as in Go."""
    if len(text) > _LONGEST_INTEGER or not _INTEGER.fullmatch(text):
        raise ValueError("not a whole number")
    digits = text.lstrip("+-")
    if len(digits) > 1 and digits.isdigit() and digits[0] == "0":
        return int(text, 8)
    return int(text, 0)


def integer(low: int, high: int) -> Type[int]:
    def parse(text: str) -> int:
        value = parse_integer(text)
        if not low <= value <= high:
            raise ValueError("out of range")
        return value

    return Type(f"a whole number from {low} to {high}", 0, parse, str)


def _parse_amount(text: str) -> float:
    """A finite number; below 0 reads as 0, which is "off" to Felix as well."""
    if not _NUMBER.fullmatch(text):
        raise ValueError("not a number (no unit is written)")
    value = float(text)
    if not math.isfinite(value) or value > _LONGEST_SECONDS:
        raise ValueError("too large")
    return max(value, 0.0)


def _render_amount(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)


def parse_duration(text: str) -> float:
    """Seconds of a Go duration such as "1m30s" or "300ms"; "0" needs no unit."""
    if text == "0":
        return 0.0
    total, end = 0.0, 0
    for part in _DURATION_PART.finditer(text):
        if part.start() != end:
            break
        total, end = total + float(part[1]) * _UNIT_SECONDS[part[2]], part.end()
    if not text or end != len(text):
        raise ValueError("not a duration such as 90s or 1m30s")
    if total > _LONGEST_SECONDS:
        raise ValueError("too large")
    return total


def _parse_pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not re.fullmatch(r"\w+", key, re.ASCII):
        raise ValueError(f"{text!r} is not of the form name=value")
    return key, _parse_text(value.strip())


def _parse_duration_pair(text: str) -> tuple[str, float]:
    key, value = _parse_pair(text)
    return key, parse_duration(value)


# ---------------------------------------------------------------- the types

BOOL: Type[bool] = Type("true or false", False, _parse_bool, _render_bool)
OPTIONAL_BOOL: Type[bool | None] = Type("true or false, or unset", None, _parse_bool, _render_bool)
TEXT: Type[str] = Type("text on one line", "", _parse_text, str)
FILE: Type[str] = Type("a path", "", _parse_text, str)
EXISTING_FILE: Type[str] = Type("the path of a file that exists", "", _parse_existing_file, str)
EXISTING_FILE_OR_DIRECTORY: Type[str] = Type(
    "the path of a file or a directory that exists", "", _parse_existing_path, str
)
REGEXP: Type[str] = Type("a regular expression", "", check_regexp, str)
SECONDS: Type[float] = Type("a number of seconds", 0.0, _parse_amount, _render_amount, "s")
MILLIS: Type[float] = Type("a number of milliseconds", 0.0, _parse_amount, _render_amount, "ms")
PAIRS: Type[Pairs] = list_of(_parse_pair, "=".join, "name=value, with commas between them")
DURATION_PAIRS: Type[DurationPairs] = list_of(
    _parse_duration_pair,
    lambda pair: f"{pair[0]}={_render_amount(pair[1])}s",
    "name=duration with commas between them, such as dataplane=1m30s",
)
