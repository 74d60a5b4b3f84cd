"""Label selectors: `selector(text)` is a function from labels to bool.

    or    = and { "||" and }                and = operation { "&&" operation }
    operation = { "!" } ( has(label) | all() | global() | "(" or ")" | test )
    test  = label ( == | != | contains | starts with | ends with ) 'value'
          | label ( in | not in ) { 'value', ... }

A label that is absent fails every positive test and passes `!=` and `not in`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

Labels = Mapping[str, str]
Selector = Callable[[Labels], bool]

# The order counts: has( is one token, and a name is whatever is left.
_TOKEN = re.compile(
    r"""[ \t]*(?: (?P<call>(?:has|all|global)\() | (?P<sign>&&|\|\||==|!=|[!(){},])
        | '(?P<single>[^']*)' | "(?P<double>[^"]*)" | (?P<name>[A-Za-z0-9_./-]+) )""",
    re.VERBOSE,
)


class SelectorError(ValueError):
    pass


def everything(_: Labels) -> bool:
    return True


def has(label: str) -> Selector:
    return lambda labels: label in labels


def both(first: Selector, second: Selector) -> Selector:
    return lambda labels: first(labels) and second(labels)


def no(inner: Selector) -> Selector:
    return lambda labels: not inner(labels)


def selector(
    text: str,
    *,
    prefix: str = "",
    all_means: Selector = everything,
    global_means: Selector = everything,
) -> Selector:
    """`prefix` goes before each label's name; what all() and global() mean depends on the place.

    No text at all is all().  Raises SelectorError.
    """
    if not text.strip(" \t"):
        return all_means
    parser = _Parser(_tokens(text), prefix, all_means, global_means)
    result = parser.either()
    if parser.tokens:
        raise SelectorError(f"{text}: goes on after its end")
    return result


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens = []
    text = text.rstrip(" \t")
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise SelectorError(f"{text}: what is this at {at}?")
        kind = found.lastgroup or ""
        tokens.append(("value" if kind in ("single", "double") else kind, found[kind]))
        at = found.end()
    return tokens


class _Parser:
    def __init__(
        self,
        tokens: list[tuple[str, str]],
        prefix: str,
        all_means: Selector,
        global_means: Selector,
    ) -> None:
        self.tokens = tokens
        self._prefix = prefix
        self._constants = {"all(": all_means, "global(": global_means}

    def either(self) -> Selector:
        left = self._each()
        while self._skip("||"):
            left = (lambda a, b: lambda labels: a(labels) or b(labels))(left, self._each())
        return left

    def _each(self) -> Selector:
        left = self._operation()
        while self._skip("&&"):
            left = both(left, self._operation())
        return left

    def _operation(self) -> Selector:
        if self._skip("!"):
            return no(self._operation())
        if self._skip("("):
            inner = self.either()
            self._expect(")")
            return inner
        kind, text = self._next()
        if kind == "call":
            result = has(self._label()) if text == "has(" else self._constants[text]
            self._expect(")")
            return result
        if kind != "name":
            raise SelectorError(f"not a test: {text}")
        return self._test(self._prefix + text)

    def _test(self, label: str) -> Selector:
        operator = self._next()[1]
        if operator in ("not", "starts", "ends"):
            operator += self._next()[1]
        if operator in ("in", "notin"):
            values = self._set()
            member = lambda labels: label in labels and labels[label] in values  # noqa: E731
            return member if operator == "in" else no(member)
        value = self._value()
        positive: dict[str, Callable[[str], bool]] = {
            "==": lambda actual: actual == value,
            "contains": lambda actual: value in actual,
            "startswith": lambda actual: actual.startswith(value),
            "endswith": lambda actual: actual.endswith(value),
        }
        if operator == "!=":
            return lambda labels: labels.get(label) != value
        if operator not in positive:
            raise SelectorError(f"not an operator: {operator}")
        return lambda labels: label in labels and positive[operator](labels[label])

    def _set(self) -> set[str]:
        values = set()
        self._expect("{")
        while not self._skip("}"):
            values.add(self._value())
            if not self._skip(","):
                self._expect("}")
                break
        return values

    def _label(self) -> str:
        kind, text = self._next()
        if kind != "name":
            raise SelectorError(f"not a label: {text}")
        return self._prefix + text

    def _value(self) -> str:
        kind, text = self._next()
        if kind != "value":
            raise SelectorError(f"not a quoted value: {text}")
        return text

    def _next(self) -> tuple[str, str]:
        if not self.tokens:
            raise SelectorError("ends too early")
        return self.tokens.pop(0)

    def _skip(self, sign: str) -> bool:
        if self.tokens and self.tokens[0] == ("sign", sign):
            self.tokens.pop(0)
            return True
        return False

    def _expect(self, sign: str) -> None:
        if not self._skip(sign):
            raise SelectorError(f"{sign} is missing")
