"""Interfaces of a host: names that a rule can say, and whose host endpoint each is.

The dataplane renders by this and the judge foretells by it, so there is one answer for both.
Source: projectcalico/calico felix/dataplane/linux/endpoint_mgr.go; section 6.4 of the rules
reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Set
from typing import NamedTuple

from calc_graph.updates import HostEndpointUpdate

_INTERFACE = re.compile(r"[a-zA-Z0-9_.-]{1,15}")


def safe_interface(name: str) -> bool:
    """Whether the kernel could know an interface by this name and a rule may say it without
    quotes.
    """
    return _INTERFACE.fullmatch(name) is not None and name not in (".", "..")


class Governed(NamedTuple):
    """`others` governs every interface that is not in `by_interface`."""

    by_interface: dict[str, HostEndpointUpdate]
    others: HostEndpointUpdate | None


def govern(endpoints: Iterable[HostEndpointUpdate], interfaces: Mapping[str, Set[str]]) -> Governed:
    """`interfaces`: the host's own, by name, with their addresses.

    An endpoint governs the interface that it names, or, naming none, each that has one of its
    addresses; of several, the one with the lowest name.  "*" is for all others.
    """
    by_name = sorted(endpoints, key=lambda event: event.key.name)
    found: dict[str, HostEndpointUpdate] = {}
    for interface, addresses in interfaces.items():
        for event in by_name:
            wanted, expected = event.endpoint.interface, event.endpoint.expected_ips
            if wanted == interface or (not wanted and not addresses.isdisjoint(expected)):
                found[interface] = event
                break
    others = next((event for event in by_name if event.endpoint.interface == "*"), None)
    return Governed(found, others)
