"""Juniper Junos, as far as it is rendered: braces first, then what they mean."""

from __future__ import annotations

import re
from ipaddress import ip_network

from tests.felixpy.bgp.upstream.parsers.lines import NAME, NET
from tests.felixpy.bgp.upstream.parsers.router import (
    WIDTH,
    Condition,
    Entry,
    RefusedError,
    Router,
)

_TOKEN = re.compile(r'\s*(?:#[^\n]*\n|("[^"\n]*"|[^\s{};"#]+|[{};]))')
_FAMILY = {"inet": 4, "inet6": 6}


class _Junos(Router):
    def in_list(self, name, net, family):
        """The longest net of a term that covers the route decides alone whether it matches."""
        parsed = ip_network(net)
        for term in self.lists[name, family]:
            covering = [e for e in term if parsed.subnet_of(ip_network(e.net))]
            if covering and max(covering, key=lambda e: ip_network(e.net).prefixlen).matches(
                parsed
            ):
                return True
        return False


def parse(text: str) -> Router:
    router = _Junos()
    for words, body in _statements(iter(_tokens(text))):
        match words, body:
            case ["policy-options"], list():
                for inner, inside in body:
                    _option(router, inner, inside)
            case ["protocols"], [(["bgp"], list(groups))]:
                for inner, inside in groups:
                    _group(router, inner, inside)
            case _:
                raise RefusedError(f"{words}")
    router.check()
    return router


def _tokens(text: str) -> list[str]:
    at, found = 0, []
    while at < len(text.rstrip()):
        token = _TOKEN.match(text, at)
        if token is None:
            raise RefusedError(text[at : at + 40])
        at = token.end()
        if token[1]:
            found.append(token[1])
    return found


def _statements(tokens, depth: int = 0) -> list:
    """[(words, None or [statement, ...]), ...]"""
    found: list = []
    words: list[str] = []
    for token in tokens:
        if token == ";":
            found.append((words, None))
            words = []
        elif token == "{":
            found.append((words, _statements(tokens, depth + 1)))
            words = []
        elif token == "}":
            if words or not depth:
                raise RefusedError("a brace too many, or no semicolon before it")
            return found
        elif token != "replace:" or words:
            words.append(token)
    if depth or words:
        raise RefusedError("the end comes early")
    return found


def _option(router: _Junos, words: list[str], body) -> None:
    match words, body:
        case ["as-path", name, expression], None:
            router.define(router.paths, name, _path(expression))
        case ["policy-statement", name], list():
            if not re.fullmatch(NAME, name):
                raise RefusedError(name)
            if name.endswith(("-IN", "-OUT")):
                router.define(router.policies, name, [_term(router, *each) for each in body])
            else:
                _set(router, name, body)
        case _:
            raise RefusedError(f"{words}")


def _path(expression: str) -> str:
    """A Junos expression is of the whole path, and its units are numbers."""
    if expression == '"()"':
        return r"^$"
    number = re.fullmatch(r'"(\d+)\+"', expression)
    if number is None:
        raise RefusedError(expression)
    return rf"^{number[1]}( {number[1]})*$"


def _set(router: _Junos, name: str, body) -> None:
    *terms, last = body
    if last != (["term", "rest"], [(["then", "reject"], None)]):
        raise RefusedError(f"{name} falls through")
    family, found = int(name[-1]), []
    seen: set[str] = set()
    for words, inside in terms:
        match words, inside:
            case ["term", label], [(["from"], list(matches)), (["then", "accept"], None)]:
                _once(seen, label)
                found.append(_filters(matches, family))
            case _:
                raise RefusedError(f"{name}: {words}")
    router.define(router.lists, (name, family), found or [[_nothing(family)]])


def _nothing(family: int) -> Entry:
    """Stands for a set that only rejects: a definite answer, unlike an empty list."""
    return Entry(False, "0.0.0.0/0" if family == 4 else "::/0", WIDTH[family] + 1, WIDTH[family])


def _filters(matches, family: int) -> list[Entry]:
    first, *filters = matches
    if _FAMILY.get(first[0][1] if first[0][:1] == ["family"] else "") != family or not filters:
        raise RefusedError(f"{first}")
    found = []
    seen: set[str] = set()
    for words, body in filters:
        if body is not None or words[0] != "route-filter" or not re.fullmatch(NET, words[1]):
            raise RefusedError(f"{words}")
        _once(seen, words[1])  # the same net twice in a term: which range holds is not said
        net = ip_network(words[1])
        match words[2:]:
            case ["exact"]:
                low = high = net.prefixlen
            case ["orlonger"]:
                low, high = net.prefixlen, WIDTH[family]
            case ["prefix-length-range", lengths]:
                low, high = map(int, re.fullmatch(r"/(\d+)-/(\d+)", lengths).groups())
            case _:
                raise RefusedError(f"{words}")
        found.append(Entry(True, words[1], low, high))
    return found


def _once(seen: set[str], word: str) -> None:
    if word in seen:
        raise RefusedError(f"{word} is there twice")
    seen.add(word)


def _term(router: _Junos, words: list[str], body) -> tuple[bool, Condition]:
    *conditions, verdict = body
    permit = {("then", "accept"): True, ("then", "reject"): False}[tuple(verdict[0])]
    asked: dict = {}
    for inner, inside in conditions:
        if inner != ["from"]:
            raise RefusedError(f"{inner}")
        for match, _ in inside:
            match match:
                case ["policy", name]:
                    asked["prefixes"] = name
                case ["as-path", name]:
                    asked["path"] = name
                case ["protocol", "bgp"]:
                    asked["protocol_bgp"] = True
                case ["family", "inet" | "inet6"]:
                    pass
                case _:
                    raise RefusedError(f"{words}: {match}")
    return permit, Condition(**asked)


def _group(router: _Junos, words: list[str], body) -> None:
    match words:
        case ["group", "CALICO-NODES"]:
            for inner, inside in body:
                if inner[0] != "neighbor":
                    raise RefusedError(f"{inner}")
                _neighbor(router, inner[1], inside)
        case ["group", name]:
            _neighbor(router, name, body)
        case _:
            raise RefusedError(f"{words}")


def _neighbor(router: _Junos, whom: str, body) -> None:
    policies, family = {}, 0
    for words, inside in body:
        match words, inside:
            case ["import", name], None:
                policies["in"] = name
            case ["export", name], None:
                policies["out"] = name
            case ["family", "inet" | "inet6" as word], [(["unicast"], _)]:
                family = _FAMILY[word]
            case ["peer-as", _], None:
                pass
            case ["authentication-key", '"REPLACE-ME"'], None:
                pass
            case ["multihop"], None | [(["ttl", "255"], None)]:
                pass
            case _:
                raise RefusedError(f"{whom}: {words}")
    for direction, name in policies.items():
        router.attach(whom, family, direction, name)
