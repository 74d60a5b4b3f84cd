"""Line by line: patterns that are allowed where one is, by indentation."""

from __future__ import annotations

import re
from dataclasses import replace

from tests.felixpy.bgp.upstream.parsers.router import (
    Condition,
    RefusedError,
    Router,
    entry,
    path_pattern,
)

NAME = r"[A-Za-z0-9-]{1,31}"
ADDRESS = r"[0-9a-f.:]+"
NET = r"[0-9a-f.:]+/\d+"
_ANY = Condition()


class LineParser:
    """`rules`: place -> [(pattern, method, place of what follows, or "up", or None: the same)].

    A line that fits nowhere where one is leaves that place, and is looked at from outside of it;
    not so in a place of `closed`, which has an end of its own.
    """

    closed: frozenset[str] = frozenset()

    rules: dict[str, list[tuple[str, str, str | None]]] = {}  # noqa: RUF012

    def __init__(self) -> None:
        self.router = Router()
        self.place = ["top"]

    def parse(self, text: str) -> Router:
        for number, line in enumerate(text.splitlines(), 1):
            if not re.fullmatch(r"\s*![ -~]*", line):
                try:
                    self._line(line)
                except RefusedError as error:
                    raise RefusedError(f"line {number}: {line!r}: {error}") from None
        while self.place:
            self._leave()
        self.router.check()
        return self.router

    def _line(self, line: str) -> None:
        while self.place:
            for pattern, method, below in self.rules[self.place[-1]]:
                if found := re.fullmatch(pattern, line):
                    getattr(self, method)(*found.groups())
                    if below == "up":
                        self.place.pop()
                    elif below:
                        self.place.append(below)
                    return
            self._leave()
        raise RefusedError("unknown")

    def _leave(self) -> None:
        if self.place.pop() in self.closed:
            raise RefusedError("unknown, or what is before it has no end")

    def nothing(self, *_: str) -> None:
        pass


class RouteMapParser(LineParser):
    """What NX-OS and EOS have in common."""

    def __init__(self) -> None:
        super().__init__()
        self._order: dict[tuple, int] = {}

    def _sequence(self, *key) -> None:
        *owner, number = key
        if int(number) <= self._order.get(tuple(owner), 0):
            raise RefusedError("a sequence number that is not above the last one")
        self._order[tuple(owner)] = int(number)

    def forget_list(self, word: str, name: str) -> None:
        if (name, _family(word)) in self.router.lists:
            raise RefusedError("taken away after it was made")

    def list_entry(self, word, name, number, verb, net, low, high) -> None:
        self._sequence(word, name, number)
        made = entry(verb == "permit", net, low, high)
        if (":" in net) != (word == "ipv6"):
            raise RefusedError("a net of the other family")
        self.router.lists.setdefault((name, _family(word)), []).append(made)

    def path(self, name: str, expression: str) -> None:
        self.router.define(self.router.paths, name, path_pattern(expression))

    def forget_map(self, name: str) -> None:
        if name in self.router.policies:
            raise RefusedError("taken away after it was made")

    def term(self, name: str, verb: str, number: str) -> None:
        self._sequence("route-map", name, number)
        self._terms = self.router.policies.setdefault(name, [])
        self._terms.append((verb == "permit", _ANY))

    def match_prefixes(self, word: str, name: str) -> None:
        permit, asked = self._terms[-1]
        if asked.prefixes is not None:
            raise RefusedError("two lists are one or the other")
        if (name, _family(word)) not in self.router.lists:
            raise RefusedError("no such list")
        self._terms[-1] = permit, replace(asked, prefixes=name)

    def match_path(self, name: str) -> None:
        permit, asked = self._terms[-1]
        self._terms[-1] = permit, replace(asked, path=name)


def _family(word: str) -> int:
    return 6 if word == "ipv6" else 4
