"""Arista EOS, as far as it is rendered."""

from __future__ import annotations

from tests.felixpy.bgp.upstream.parsers.lines import ADDRESS, NAME, NET, RouteMapParser
from tests.felixpy.bgp.upstream.parsers.router import RefusedError, Router

_WHOM = rf"({ADDRESS}|{NAME})"


class _Parser(RouteMapParser):
    rules = {  # noqa: RUF012
        "top": [
            (rf"no (ip|ipv6) prefix-list ({NAME})", "forget_list", None),
            (rf"(ip|ipv6) prefix-list ({NAME})", "list", "list"),
            (rf"no ip as-path access-list {NAME}", "nothing", None),
            (rf"ip as-path access-list ({NAME}) permit (\S+) any", "path", None),
            (rf"no route-map ({NAME})", "forget_map", None),
            (rf"route-map ({NAME}) (permit|deny) (\d+)", "term", "map"),
            (r"router bgp \d+", "nothing", "bgp"),
            (r"exit", "nothing", None),
        ],
        "list": [
            (
                rf"   seq (\d+) (permit|deny) ({NET})(?: ge (\d+))?(?: le (\d+))?",
                "entry_of_list",
                None,
            ),
        ],
        "map": [
            (rf"   match (ip|ipv6) address prefix-list ({NAME})", "match_prefixes", None),
            (rf"   match as-path ({NAME})", "match_path", None),
        ],
        "bgp": [
            (r"   bgp missing-policy direction (?:in|out) action deny", "nothing", None),
            (rf"   neighbor ({ADDRESS}) remote-as \d+", "known", None),
            (rf"   neighbor ({NAME}) peer group", "known", None),
            (rf"   neighbor ({ADDRESS}) password 0 REPLACE-ME", "must_know", None),
            (rf"   neighbor ({ADDRESS}) ttl maximum-hops \d+", "must_know", None),
            (rf"   neighbor ({ADDRESS}) ebgp-multihop", "must_know", None),
            (rf"   neighbor ({ADDRESS}) maximum-routes \d+", "must_know", None),
            (r"   address-family ipv([46])", "family", "family"),
        ],
        "family": [
            (rf"      neighbor {_WHOM} activate", "must_know", None),
            (rf"      no neighbor {_WHOM} activate", "must_know", None),
            (rf"      neighbor {_WHOM} route-map ({NAME}) (in|out)", "policy", None),
            (r"   exit", "nothing", None),
        ],
    }

    def __init__(self) -> None:
        super().__init__()
        self._known: set[str] = set()

    def list(self, word: str, name: str) -> None:
        self._list = word, name

    def entry_of_list(self, *rest) -> None:
        self.list_entry(*self._list, *rest)

    def known(self, whom: str) -> None:
        self._known.add(whom)

    def must_know(self, whom: str) -> None:
        if whom not in self._known:
            raise RefusedError("a neighbour without an AS, or no such group")

    def family(self, family: str) -> None:
        self._family = int(family)

    def policy(self, whom: str, name: str, direction: str) -> None:
        self.must_know(whom)
        self.router.attach(whom, self._family, direction, name)


def parse(text: str) -> Router:
    return _Parser().parse(text)
