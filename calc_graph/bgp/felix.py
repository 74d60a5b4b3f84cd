"""What FelixConfiguration says of the two things that BGPConfiguration has to agree with.

    in   FelixConfiguration
    out  program_routes, priorities: as they hold on this node

Only the datastore is looked at: what a machine's own configuration file says is not known here.
Source: sections 2.6 and 9.2 of the BGP reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, get_args

from calc_graph.bgp.resources import ProgramRoutes
from calc_graph.model import FelixConfiguration
from calc_graph.selector import SelectorError, parse

_PROGRAM_ROUTES: Final = "programclusterroutes"
_PRIORITY: Final = "ipv{}normalroutepriority"
_DEFAULT_PRIORITY: Final = 1024
_CHOICES: Final[dict[str, ProgramRoutes]] = {text.lower(): text for text in get_args(ProgramRoutes)}


class FelixSettings:
    def __init__(self, hostname: str) -> None:
        self._own = f"node.{hostname}"
        self._configurations: dict[str, FelixConfiguration] = {}

    def put(self, name: str, found: FelixConfiguration | None) -> None:
        if found is None:
            self._configurations.pop(name, None)
        else:
            self._configurations[name] = found

    def program_routes(self, labels: Mapping[str, str]) -> ProgramRoutes:
        """`labels` are this node's.  What is none of the choices counts as not given."""
        for text in self._texts(_PROGRAM_ROUTES, labels):
            if text.lower() in _CHOICES:
                return _CHOICES[text.lower()]
        return "EnabledIPIPOnly"

    def priority(self, family: int, labels: Mapping[str, str]) -> int:
        for text in self._texts(_PRIORITY.format(family), labels):
            if text.isdecimal():
                return int(text)
        return _DEFAULT_PRIORITY

    def _texts(self, parameter: str, labels: Mapping[str, str]) -> list[str]:
        """Of the node's own configuration, of the one that selects it, of the cluster's."""
        found = []
        for name in (self._own, self._selected(labels), "default"):
            configuration = self._configurations.get(name)
            for said, text in configuration.values.items() if configuration else ():
                if said.lower() == parameter and text:
                    found.append(text)
        return found

    def _selected(self, labels: Mapping[str, str]) -> str:
        """Of those whose selector matches the oldest, or the first by name; "" for none."""
        matching = [
            (configuration.created, name)
            for name, configuration in self._configurations.items()
            if configuration.node_selector
            and name != "default"
            and not name.startswith("node.")
            and _matches(configuration.node_selector, labels)
        ]
        return min(matching, default=("", ""))[1]


def _matches(text: str, labels: Mapping[str, str]) -> bool:
    try:
        return parse(text).matches(labels)
    except SelectorError:
        return False
