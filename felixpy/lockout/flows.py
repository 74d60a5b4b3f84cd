"""The flows that keep a machine manageable, as questions to the judge.

    in   connections with the interface that leads to their peer, next hops
    out  Essential   a flow, and what it is for people

Each connection is asked about as a new one, because it must be able to come back, and in the
other direction as an established one, because untracked policy cuts even those.  Neighbour
discovery is asked about both ways, question and answer: connection tracking does not follow it.
IPv4 asks its neighbours by ARP, which is not filtered.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address
from typing import Final, NamedTuple

from msgspec import Struct

from calc_graph.judge import Address, Flow

TCP: Final = 6
ICMPV6: Final = 58
SSH_PORT, BGP_PORT = 22, 179
SOLICITATION, ADVERTISEMENT = 135, 136
_SOLICITED: Final = int(IPv6Address("ff02::1:ff00:0"))  # and the last 24 bits of the address


class Essential(Struct, frozen=True):
    """`text` is for people: "ssh from 10.0.0.7"."""

    text: str
    flow: Flow


class Connection(NamedTuple):
    local: Address
    local_port: int
    remote: Address
    remote_port: int


def incoming(text: str, connection: Connection, interface: str | None) -> Iterator[Essential]:
    """`interface` leads to the peer; None: this machine is its own peer."""
    return _both_ways(text, connection, interface, outgoing=False)


def outgoing(text: str, connection: Connection, interface: str | None) -> Iterator[Essential]:
    return _both_ways(text, connection, interface, outgoing=True)


def _both_ways(
    text: str, connection: Connection, interface: str | None, *, outgoing: bool
) -> Iterator[Essential]:
    local, local_port, remote, remote_port = connection
    replies = f"{text}, its replies"
    inward = Flow(
        remote, local, TCP, remote_port, local_port, in_interface=interface, established=outgoing
    )
    outward = Flow(
        local,
        remote,
        TCP,
        local_port,
        remote_port,
        out_interface=interface,
        established=not outgoing,
    )
    yield Essential(replies if outgoing else text, inward)
    yield Essential(text if outgoing else replies, outward)


def ssh(connection: Connection, interface: str | None) -> Iterator[Essential]:
    text = f"ssh from {connection.remote}"
    if connection.local_port != SSH_PORT:
        text += f" to port {connection.local_port}"
    return incoming(text, connection, interface)


def bgp(connection: Connection, interface: str | None) -> Iterator[Essential]:
    text = f"BGP with {connection.remote}"
    if connection.local_port == BGP_PORT:
        return incoming(text, connection, interface)
    return outgoing(text, connection, interface)


def datastore(connection: Connection, interface: str | None) -> Iterator[Essential]:
    remote = connection.remote
    where = f"[{remote}]" if remote.version == 6 else str(remote)
    return outgoing(f"the datastore {where}:{connection.remote_port}", connection, interface)


def neighbour(hop: IPv6Address, own: IPv6Address, interface: str) -> Iterator[Essential]:
    """It is solicited at a group address, and solicits us directly once it knows us."""
    text = f"IPv6 neighbour discovery of the next hop {hop}"
    group = IPv6Address(_SOLICITED | int(hop) & 0xFFFFFF)
    for source, destination, kind in (
        (own, group, SOLICITATION),
        (hop, own, ADVERTISEMENT),
        (hop, own, SOLICITATION),
        (own, hop, ADVERTISEMENT),
    ):
        ours = source == own
        yield Essential(
            text,
            Flow(
                source,
                destination,
                ICMPV6,
                icmp_type=kind,
                icmp_code=0,
                in_interface=None if ours else interface,
                out_interface=interface if ours else None,
            ),
        )
