"""Is the datastore reached through a workload?  Then nodes must not encrypt what they say to each
other: without the datastore nobody knows another's keys, and without keys nobody gets there.

    in   hosts of etcd, names or addresses; pools
    out  the first address of the datastore that is in a pool
Source: section 7.3 of the IPsec reference.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple


class Inside(NamedTuple):
    address: str
    pool: str


def addresses_of(hosts: Iterable[str]) -> tuple[str, ...]:
    """Of all of them, of both families; of a name that cannot be looked up none.  Blocks."""
    found: dict[str, None] = {}
    for host in hosts:
        # UnicodeError: from labels that are empty or too long
        with contextlib.suppress(OSError, UnicodeError):
            for *_, address in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM):
                found[str(address[0]).partition("%")[0]] = None
    return tuple(found)


def inside(addresses: Iterable[str], pools: Iterable[str]) -> Inside | None:
    nets = [(pool, ip_network(pool)) for pool in sorted(pools)]
    for text in addresses:
        address: IPv4Address | IPv6Address = ip_address(text)
        for pool, net in nets:
            if address in net:
                return Inside(text, pool)
    return None
