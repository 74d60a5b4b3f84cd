"""What a plain YAML scalar means: null, a boolean, a number, or text.

The rules are those of go-yaml 2, which kubectl and calicoctl read manifests with, followed by their
turn through JSON: a manifest means here what it means there.  So `8000:8080` is text (YAML 1.1
would make a sexagesimal number of it), a time is text, `yes` and `on` are booleans, and `089` and
`1e3` are whole numbers.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE", "yes", "Yes", "YES", "y", "Y"), True),
    **dict.fromkeys(("on", "On", "ON"), True),
    **dict.fromkeys(("false", "False", "FALSE", "no", "No", "NO", "n", "N"), False),
    **dict.fromkeys(("off", "Off", "OFF"), False),
}
_NUMERIC_START = frozenset("0123456789+-.")
_INT = re.compile(
    r"(?P<sign>[-+]?)(?:0[xX](?P<hex>[0-9a-fA-F]+)|0[bB](?P<bin>[01]+)|0[oO]?(?P<oct>[0-7]+)|(?P<dec>0|[1-9][0-9]*))"
)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_LONGEST_NUMBER = 64  # characters; a longer one is no number that anyone has written
_WHOLE_BELOW = 1e21  # from here on JSON writes a whole float with an exponent


class NotFiniteError(ValueError):
    """An infinity or a NaN: JSON, and so a manifest, has no such number."""


@lru_cache(maxsize=4096)
def parse_plain(text: str) -> str | int | float | bool | None:
    """The value of a scalar without quotes and without a tag.  Raises NotFiniteError."""
    if text in WORDS:
        return WORDS[text]
    if text[0] not in _NUMERIC_START or len(text) > _LONGEST_NUMBER:
        return text
    if _NOT_FINITE.fullmatch(text):
        raise NotFiniteError(text)
    number = parse_number(text)
    return text if number is None else number


def parse_number(text: str) -> int | float | None:
    """None where `text` is no number."""
    digits = text.replace("_", "")
    if match := _INT.fullmatch(digits):
        sign = -1 if match["sign"] == "-" else 1
        for group, base in (("dec", 10), ("hex", 16), ("oct", 8), ("bin", 2)):
            if match[group]:
                return sign * int(match[group], base)
    if _FLOAT.fullmatch(digits):
        number = float(digits)
        if number in (float("inf"), float("-inf")):
            raise NotFiniteError(text)
        return int(number) if number.is_integer() and abs(number) < _WHOLE_BELOW else number
    return None
