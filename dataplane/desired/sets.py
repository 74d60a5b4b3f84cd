"""The IP sets that rules ask, taken apart by address family.

in   IpsetUpdate, IpsetDelta, IpsetRemove
out  one set for each family, "cali40…" and "cali60…", with the members of that family
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import assert_never

from calc_graph.updates import IpsetDelta, IpsetRemove, IpsetUpdate
from dataplane.desired.sinks import Sinks
from dataplane.families import Family, family_of
from dataplane.render.names import ipset_name


def of_family(members: Iterable[str], family: Family) -> frozenset[str]:
    return frozenset(member for member in members if family_of(member) == family)


def net_members(nets: Iterable[str]) -> Iterator[str]:
    """As a set of nets can hold them: not everything as one member."""
    for net in nets:
        if net.endswith("/0"):
            yield from ("::/1", "8000::/1") if ":" in net else ("0.0.0.0/1", "128.0.0.0/1")
        else:
            yield net


class RuleSets:
    def __init__(self, sinks: Sinks) -> None:
        self._sinks = sinks

    def update(self, event: IpsetUpdate | IpsetDelta | IpsetRemove) -> None:
        for family, driver in self._sinks.ipsets.items():
            name = ipset_name(event.id, family)
            match event:
                case IpsetUpdate():
                    driver.desire(name, event.type, of_family(event.members, family))
                case IpsetDelta():
                    driver.change(
                        name, of_family(event.added, family), of_family(event.removed, family)
                    )
                case IpsetRemove():
                    driver.drop(name)
                case _:
                    assert_never(event)
