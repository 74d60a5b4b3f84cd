"""Marks on the fields of resources: what a value must look like.

A mark stands in the `Annotated` of a field's type, or of a list's elements.  msgspec does not
know it; the walk in `felixpy.datastore.validation` does.  A value equal to the field's default is
unset, and not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any

from msgspec import Struct

from felixpy.datastore.errors import suggestion


class Check(Struct, frozen=True):
    """`expected` completes "must be …".

    A check with `schema` belongs to the schema that the writing client applies; the others hold
    wherever a resource is read as a whole.
    """

    accepts: Callable[[Any], bool]
    expected: str
    schema: bool = False
    choices: tuple[str, ...] = ()

    def complaint(self, value: object) -> str:
        shown = (
            ""
            if isinstance(value, Collection) and not isinstance(value, str)
            else f", not {value!r}"
        )
        hint = suggestion(value, self.choices) if isinstance(value, str) else ""
        return f"must be {self.expected}{shown}{hint}"


def check(accepts: Callable[[Any], bool], expected: str) -> Check:
    return Check(accepts, expected)


def one_of(*choices: str) -> Check:
    return Check(frozenset(choices).__contains__, _either(choices), True, choices)


def one_of_always(*choices: str) -> Check:
    """As `one_of`, and looked at on every reading."""
    return Check(frozenset(choices).__contains__, _either(choices), False, choices)


def any_case(*choices: str) -> Check:
    folded = frozenset(choice.lower() for choice in choices)
    return Check(
        lambda text: text.lower() in folded, f"{_either(choices)} (in any case)", True, choices
    )


def within(low: int, high: int, *, schema: bool = True) -> Check:
    return Check(lambda number: low <= number <= high, f"a number from {low} to {high}", schema)


def max_length(length: int) -> Check:
    return Check(lambda text: len(text) <= length, f"at most {length} characters long", True)


def max_items(count: int) -> Check:
    return Check(lambda items: len(items) <= count, f"a list of at most {count}", True)


def items_between(low: int, high: int) -> Check:
    return Check(lambda items: low <= len(items) <= high, f"a list of {low} to {high}", True)


def pattern(expression: str, expected: str) -> Check:
    compiled = re.compile(expression)
    return Check(lambda text: compiled.fullmatch(text) is not None, expected, True)


def pattern_always(expression: str, expected: str) -> Check:
    """As `pattern`, and looked at on every reading."""
    return Check(pattern(expression, expected).accepts, expected)


def _either(choices: tuple[str, ...]) -> str:
    return choices[0] if len(choices) == 1 else f"{', '.join(choices[:-1])} or {choices[-1]}"
