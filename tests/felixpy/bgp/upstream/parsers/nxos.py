"""Cisco NX-OS, as far as it is rendered."""

from __future__ import annotations

from tests.felixpy.bgp.upstream.parsers.lines import ADDRESS, NAME, NET, RouteMapParser
from tests.felixpy.bgp.upstream.parsers.router import Router


class _Parser(RouteMapParser):
    rules = {  # noqa: RUF012
        "top": [
            (rf"no (ip|ipv6) prefix-list ({NAME})", "forget_list", None),
            (
                rf"(ip|ipv6) prefix-list ({NAME}) seq (\d+) (permit|deny) ({NET})"
                r"(?: ge (\d+))?(?: le (\d+))?",
                "list_entry",
                None,
            ),
            (rf"no ip as-path access-list {NAME}", "nothing", None),
            (rf'ip as-path access-list ({NAME}) permit "(\S+)"', "path", None),
            (rf"no route-map ({NAME})", "forget_map", None),
            (rf"route-map ({NAME}) (permit|deny) (\d+)", "term", "map"),
            (r"router bgp \d+", "nothing", "bgp"),
        ],
        "map": [
            (rf"  match (ip|ipv6) address prefix-list ({NAME})", "match_prefixes", None),
            (rf"  match as-path ({NAME})", "match_path", None),
        ],
        "bgp": [
            (rf"  neighbor ({ADDRESS})", "whom", "neighbor"),
            (rf"  template peer ({NAME})", "whom", "neighbor"),
        ],
        "neighbor": [
            (r"    remote-as \d+", "nothing", None),
            (r"    password 0 REPLACE-ME", "nothing", None),
            (r"    ttl-security hops \d+", "nothing", None),
            (r"    ebgp-multihop 255", "nothing", None),
            (r"    address-family ipv([46]) unicast", "family", "family"),
        ],
        "family": [
            (rf"      route-map ({NAME}) (in|out)", "policy", None),
            (r"      soft-reconfiguration inbound", "nothing", None),
            (r"      maximum-prefix \d+ 90", "nothing", None),
        ],
    }

    def whom(self, whom: str) -> None:
        self._whom = whom

    def family(self, family: str) -> None:
        self._family = int(family)

    def policy(self, name: str, direction: str) -> None:
        self.router.attach(self._whom, self._family, direction, name)


def parse(text: str) -> Router:
    return _Parser().parse(text)
