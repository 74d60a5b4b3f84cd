"""FRR, NX-OS and EOS: prefix lists, AS path lists and route-maps that differ in a few words.

A set that a term matches the outside of becomes a list of its own, which denies what is inside and
permits the rest: so every term permits or denies what a list permits, and a list that is missing
for a moment while a new one is pasted never lets pass what is to be refused from above.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from msgspec import Struct

from felixpy.bgp.upstream import names
from felixpy.bgp.upstream.model import (
    Family,
    PathSet,
    Policy,
    PrefixSet,
    Span,
    Term,
    Upstream,
)
from felixpy.bgp.upstream.render.common import comment

MARK: Final = "!"
WORD: Final[dict[Family, str]] = {4: "ip", 6: "ipv6"}
_ANY: Final[dict[Family, str]] = {4: "0.0.0.0/0 le 32", 6: "::/0 le 128"}
_STEP: Final = 5  # of entries in a list
_TERM_STEP: Final = 10
_REST: Final = 1000  # the number of the term that matches everything


class Dialect(Struct, frozen=True):
    """`prefixes`: list name, family and entries without their sequence -> lines.

    `forgets_maps`: a route-map is taken away before it is written anew.
    """

    prefixes: Callable[[str, Family, list[str]], list[str]]
    paths: Callable[[PathSet], list[str]]
    indent: str
    end: tuple[str, ...] = ()  # closes a term of a route-map
    forgets_maps: bool = True


def policy_lines(upstream: Upstream, dialect: Dialect) -> Iterator[str]:
    """Everything but sessions."""
    outside = {term.prefixes for policy in upstream.policies for term in policy.terms[:-1]
               if not term.inside}  # fmt: skip
    inside = {term.prefixes for policy in upstream.policies for term in policy.terms[:-1]
              if term.inside}  # fmt: skip
    for prefixes in upstream.sets:
        if prefixes.name in inside:
            yield from dialect.prefixes(prefixes.name, prefixes.family, _permits(prefixes))
        if prefixes.name in outside:
            name = names.negated(prefixes.name)
            yield from dialect.prefixes(name, prefixes.family, _denies(prefixes))
    for path in upstream.paths:
        yield from dialect.paths(path)
    for policy in upstream.policies:
        yield comment(MARK, policy.about)
        if dialect.forgets_maps:
            yield f"no route-map {policy.name}"
        yield from _route_map(policy, dialect)


def numbered(entries: Iterable[str]) -> Iterator[str]:
    for number, entry in enumerate(entries, 1):
        yield f"seq {number * _STEP} {entry}"


def regular_expression(path: PathSet) -> str:
    """One AS, once or repeated: who prepends its own AS is still no transit."""
    return f"^{path.origin}(_{path.origin})*$" if path.origin else "^$"


def _permits(prefixes: PrefixSet) -> list[str]:
    if not prefixes.spans:
        return [f"deny {_ANY[prefixes.family]}"]
    return [f"permit {_span(span, prefixes.family)}" for span in prefixes.spans]


def _denies(prefixes: PrefixSet) -> list[str]:
    denied = [f"deny {_span(span, prefixes.family)}" for span in prefixes.spans]
    return [*denied, f"permit {_ANY[prefixes.family]}"]


def _span(span: Span, family: Family) -> str:
    length = int(span.net.partition("/")[2])
    if span.low == span.high == length:
        return span.net
    lower = f" ge {span.low}" if span.low > length else ""
    return f"{span.net}{lower} le {span.high}"


def _route_map(policy: Policy, dialect: Dialect) -> Iterator[str]:
    for number, term in enumerate(policy.terms[:-1], 1):
        yield f"route-map {policy.name} {_verb(term)} {number * _TERM_STEP}"
        name = term.prefixes if term.inside else names.negated(term.prefixes)
        yield f"{dialect.indent}match {WORD[policy.family]} address prefix-list {name}"
        if term.path:
            yield f"{dialect.indent}match as-path {term.path}"
        yield from dialect.end
    yield f"route-map {policy.name} {_verb(policy.terms[-1])} {_REST}"
    yield from dialect.end


def _verb(term: Term) -> str:
    return "permit" if term.permit else "deny"
