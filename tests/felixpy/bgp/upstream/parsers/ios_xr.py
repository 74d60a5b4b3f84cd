"""Cisco IOS-XR, as far as it is rendered."""

from __future__ import annotations

import re

from tests.felixpy.bgp.upstream.parsers.lines import ADDRESS, NAME, NET, LineParser
from tests.felixpy.bgp.upstream.parsers.router import (
    Condition,
    Entry,
    RefusedError,
    Router,
    entry,
    path_pattern,
)

_SPAN = rf"({NET})(?: eq (\d+))?(?: ge (\d+))?(?: le (\d+))?"


class _Parser(LineParser):
    closed = frozenset({"set", "paths", "policy"})
    rules = {  # noqa: RUF012
        "top": [
            (rf"prefix-set ({NAME})", "set", "set"),
            (rf"as-path-set ({NAME})", "paths", "paths"),
            (rf"route-policy ({NAME})", "start", "policy"),
            (r"router bgp \d+", "nothing", "bgp"),
        ],
        "set": [(rf"  {_SPAN}(,?)", "span", None), (r"end-set", "end_set", "up")],
        "paths": [(r"  ios-regex '(\S+)'", "path", None), (r"end-set", "nothing", "up")],
        "policy": [
            (
                rf"  (if|elseif) (not )?destination in ({NAME})(?: and as-path in ({NAME}))? then",
                "condition",
                None,
            ),
            (r"  else", "otherwise", None),
            (r"    (pass|drop)", "verb", None),
            (r"  endif", "endif", None),
            (r"end-policy", "end_policy", "up"),
        ],
        "bgp": [
            (rf" neighbor-group ({NAME})", "whom", "neighbor"),
            (rf" neighbor ({ADDRESS})", "whom", "neighbor"),
        ],
        "neighbor": [
            (r"  remote-as \d+", "nothing", None),
            (r"  password clear REPLACE-ME", "nothing", None),
            (r"  ttl-security", "nothing", None),
            (r"  ebgp-multihop \d+", "nothing", None),
            (r"  address-family ipv([46]) unicast", "family", "family"),
            (r" exit", "nothing", None),
        ],
        "family": [
            (rf"   route-policy ({NAME}) (in|out)", "policy", None),
            (r"   soft-reconfiguration inbound", "nothing", None),
            (r"   maximum-prefix \d+ 90", "nothing", None),
            (r"  exit", "nothing", None),
        ],
    }

    def set(self, name: str) -> None:
        self._set, self._comma = name, True
        self._entries: list[Entry] = []

    def span(self, net, same, low, high, comma) -> None:
        if not self._comma:
            raise RefusedError("no comma before it")
        if same is not None:
            low = high = same
        self._entries.append(entry(True, net, low, high))
        self._comma = bool(comma)

    def end_set(self) -> None:
        families = {6 if ":" in each.net else 4 for each in self._entries}
        if self._comma or len(families) != 1:
            raise RefusedError("empty, of both families, or a comma after the last one")
        self.router.define(self.router.lists, (self._set, *families), self._entries)

    def paths(self, name: str) -> None:
        self._set = name

    def path(self, expression: str) -> None:
        self.router.define(self.router.paths, self._set, path_pattern(expression))

    def start(self, name: str) -> None:
        self._terms = self.router.define(self.router.policies, name, [])
        self._asked: Condition | None = None
        self._state = "start"

    def _step(self, allowed: str, state: str) -> None:
        if not re.fullmatch(allowed, self._state):
            raise RefusedError(f"not after {self._state}")
        self._state = state

    def condition(self, word, negation, name, path) -> None:
        self._step("start" if word == "if" else "verb", "asked")
        self._asked = Condition(name, negation is None, path)

    def otherwise(self) -> None:
        self._step("verb", "else")
        self._asked = Condition()

    def verb(self, verb: str) -> None:
        self._step("asked|else", "verb" if self._asked != Condition() else "last")
        self._terms.append((verb == "pass", self._asked))

    def endif(self) -> None:
        self._step("last", "endif")

    def end_policy(self) -> None:
        self._step("endif", "start")

    def whom(self, whom: str) -> None:
        self._whom = whom

    def family(self, family: str) -> None:
        self._family = int(family)

    def policy(self, name: str, direction: str) -> None:
        self.router.attach(self._whom, self._family, direction, name)


def parse(text: str) -> Router:
    return _Parser().parse(text)
