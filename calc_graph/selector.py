"""Label selectors: text to a thing that matches labels and has a name.

    in   "app == 'web' && !has(quarantined)"
    out  Selector     canonical text, id, matches(labels), restrictions for an index
         SelectorError  where and why the text is no selector

    selector = [ or ]                      nothing at all is all()
    or       = and { "||" and }
    and      = op { "&&" op }
    op       = { "!" } ( "has(" ident ")" | "all()" | "global()" | "(" or ")" | test )
    test     = ident ( "==" | "!=" | "contains" | "starts with" | "ends with" ) string
             | ident ( "in" | "not in" ) "{" [ string { "," string } [ "," ] ] "}"

Grammar and canonical form: projectcalico/calico libcalico-go/lib/selector.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import lru_cache

from calc_graph.selector_tree import (
    And,
    Compare,
    CompareOp,
    Everything,
    Has,
    Member,
    Node,
    Not,
    Or,
    Restrictions,
    compile_tree,
    render,
    restrictions,
)

# Deeper than anything people write, and far from Python's own limit on recursion.
MAX_DEPTH = 100
MAX_LABEL_LENGTH = 512

_SPACE = re.compile(r"[ \t]*")
_IDENT = re.compile(r"[A-Za-z0-9_./-]+")
_STRING = re.compile(r"'([^']*)'|\"([^\"]*)\"")
_FUNCTION = re.compile(r"(has|all|global)\(")
_OPERATOR = re.compile(
    r"==|!=|(?:contains|starts[ \t]*with|ends[ \t]*with|not[ \t]*in|in)(?![A-Za-z0-9_./-])"
)
_OPERATORS: dict[str, CompareOp] = {
    "==": "==",
    "!=": "!=",
    "contains": "contains",
    "startswith": "starts with",
    "endswith": "ends with",
}


class SelectorError(ValueError):
    """`position` counts characters from 0."""

    def __init__(self, text: str, position: int, reason: str) -> None:
        shown = f"{text[:position]}\N{RIGHTWARDS ARROW}{text[position:]}"
        super().__init__(f"selector, column {position + 1}: {reason}: {shown}")
        self.position = position
        self.reason = reason


def hashed_id(prefix: str, text: str) -> str:
    """The name of an IP set: "s:JpRGrx…", 38 characters of unpadded base64url after the prefix."""
    digest = hashlib.sha224(f"{prefix}:{text}".encode(errors="surrogatepass")).digest()
    return f"{prefix}:{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


class Selector:
    """Immutable; equal when the canonical texts are equal."""

    __slots__ = ("_tree", "canonical", "id", "matches", "restrictions")

    def __init__(self, tree: Node) -> None:
        self._tree = tree
        self.canonical = render(tree)
        self.id = hashed_id("s", self.canonical)
        self.matches = compile_tree(tree)  # an attribute, so that a match is one call less
        self.restrictions: Restrictions = restrictions(tree)

    def prefixed(self, prefix: str) -> str:
        """Canonical text with `prefix` before every label name: "pcns." and "pcsa." in Calico."""
        return render(self._tree, prefix)

    def can_match(self) -> bool:
        """False only if no labels whatever could satisfy the restrictions."""
        return not any(restriction.impossible for restriction in self.restrictions.values())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Selector) and self.canonical == other.canonical

    def __hash__(self) -> int:
        return hash(self.canonical)

    def __repr__(self) -> str:
        return f"Selector({self.canonical})"


@lru_cache(maxsize=8192)
def parse(text: str) -> Selector:
    """Raises SelectorError; remembers the selectors that were asked for last."""
    return Selector(_Parser(text).parse())


class _Parser:
    """Recursive descent; each method leaves the position behind what it took and blanks."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._depth = 0

    def parse(self) -> Node:
        self._skip_space()
        if self._position == len(self._text):
            return Everything("all")
        node = self._or()
        if self._position < len(self._text):
            raise self._error("expected && or || or the end")
        return node

    def _or(self) -> Node:
        operands = [self._and()]
        while self._take("||"):
            operands.append(self._and())
        return operands[0] if len(operands) == 1 else Or(tuple(operands))

    def _and(self) -> Node:
        operands = [self._operation()]
        while self._take("&&"):
            operands.append(self._operation())
        return operands[0] if len(operands) == 1 else And(tuple(operands))

    def _operation(self) -> Node:
        negated = False
        while self._take("!"):
            negated = not negated
        node = self._operand()
        return Not(node) if negated else node

    def _operand(self) -> Node:
        if self._take("("):
            return self._parenthesised()
        function = self._match(_FUNCTION)
        if function is None:
            return self._test()
        match function[1]:
            case "has":
                label = self._label()
                self._expect(")")
                return Has(label)
            case "all":
                self._expect(")")
                return Everything("all")
            case _:
                self._expect(")")
                return Everything("global")

    def _parenthesised(self) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(f"more than {MAX_DEPTH} nested parentheses")
        node = self._or()
        self._expect(")")
        self._depth -= 1
        return node

    def _test(self) -> Node:
        label = self._label()
        operator = self._match(_OPERATOR)
        if operator is None:
            raise self._error(f"expected an operator such as == or in after label {label}")
        word = re.sub(r"[ \t]", "", operator[0])
        if word in ("in", "notin"):
            return Member(label, self._values(), word == "notin")
        return Compare(label, _OPERATORS[word], self._string())

    def _values(self) -> tuple[str, ...]:
        self._expect("{")
        values: set[str] = set()
        while not self._take("}"):
            values.add(self._string())
            if not self._take(","):
                self._expect("}")
                break
        return tuple(sorted(values))

    def _label(self) -> str:
        start = self._position
        found = self._match(_IDENT)
        if found is None:
            raise self._error("expected a label name, has(), all() or a parenthesis")
        if len(found[0]) > MAX_LABEL_LENGTH:
            self._position = start
            raise self._error(f"label name longer than {MAX_LABEL_LENGTH} characters")
        return found[0]

    def _string(self) -> str:
        found = self._match(_STRING)
        if found is None:
            raise self._error("expected a string in quotes")
        return found[0][1:-1]

    # ------------------------------------------------------------ characters

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self._text, self._position)
        if found is not None:
            self._position = found.end()
            self._skip_space()
        return found

    def _take(self, token: str) -> bool:
        if not self._text.startswith(token, self._position):
            return False
        self._position += len(token)
        self._skip_space()
        return True

    def _expect(self, token: str) -> None:
        if not self._take(token):
            raise self._error(f"expected {token}")

    def _skip_space(self) -> None:
        found = _SPACE.match(self._text, self._position)
        if found is not None:
            self._position = found.end()

    def _error(self, reason: str) -> SelectorError:
        return SelectorError(self._text, self._position, reason)
