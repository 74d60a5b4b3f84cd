"""Random packets, from the places and to the places that a cluster has something to say about.

Most of them would be decided by the same few rules.  So many more are made than are asked, and
those are taken that are decided in different ways.
"""

from __future__ import annotations

import ipaddress
import itertools
import random
from collections.abc import Callable, Hashable

from tests.kernel.packets_lab import HOST_ADDRESSES, PLUGS, Address
from tests.kernel.packets_rules import ASKED_PORTS, ICMP_TYPES
from tests.oracle import HOST, OUTSIDE, Packet
from tests.oracle.packet import ICMP, SCTP, TCP, UDP

ELSEWHERE: dict[int, tuple[Address, ...]] = {
    family: tuple(map(ipaddress.ip_address, texts))
    for family, texts in {
        4: (
            "192.0.2.1",
            "192.0.2.130",
            "198.51.100.7",
            "198.51.100.200",
            "203.0.113.5",
            "203.0.113.6",
            "10.66.0.1",
            "10.66.0.2",
            "10.66.0.3",
            "9.9.9.9",
        ),
        6: ("fd99::1", "fd99:0:0:1::1", "fd98::7", "fd98::8", "fd66::1", "fd66::2", "2001:db8::1"),
    }.items()
}
_NEIGHBOURS = (130, 133, 135)


MADE = 5  # for each packet that is asked


def random_packets(
    rng: random.Random, count: int, decided_by: Callable[[Packet], str]
) -> list[Packet]:
    """At most `count`, no two of one flow, in whatever direction."""
    made: dict[str, list[Packet]] = {}
    for _ in range(count * MADE):
        packet = random_packet(rng)
        made.setdefault(decided_by(packet), []).append(packet)
    taken: dict[Hashable, Packet] = {}
    for turn in itertools.zip_longest(*made.values()):
        for packet in turn:
            if packet is not None and len(taken) < count:
                taken.setdefault(_flow(packet), packet)
    return list(taken.values())


def _flow(packet: Packet) -> Hashable:
    """What connection tracking tells flows apart by; each ICMP request has its own identifier."""
    if packet.is_icmp:
        return packet
    if packet.protocol in (TCP, UDP):
        ends = (
            (packet.source, packet.source_port),
            (packet.destination, packet.destination_port),
        )
        return packet.protocol, frozenset(ends)
    return packet.protocol, frozenset((packet.source, packet.destination))


def random_packet(rng: random.Random) -> Packet:
    family = rng.choice((4, 4, 4, 6, 6))
    plug = rng.choice(list(PLUGS.values()))
    enters = rng.choices((plug.interface, OUTSIDE, HOST), (62, 35, 3))[0]
    source = {OUTSIDE: rng.choice(ELSEWHERE[family]), HOST: HOST_ADDRESSES[family]}.get(
        enters, plug.addresses[family]
    )
    if enters == plug.interface and rng.random() < 0.03:  # forged
        source = rng.choice(ELSEWHERE[family])
    targets = [other for other in PLUGS.values() if other is not plug or enters != plug.interface]
    where = rng.choices(("workload", "outside", "host"), (70, 25, 5))[0]
    if where == "workload" or enters == HOST or (enters == OUTSIDE and where == "outside"):
        destination = rng.choice(targets).addresses[family]
    else:
        destination = HOST_ADDRESSES[family] if where == "host" else rng.choice(ELSEWHERE[family])
    return _with_protocol(rng, Packet(enters, source, destination, 0))


def _with_protocol(rng: random.Random, packet: Packet) -> Packet:
    kind = rng.choices((TCP, UDP, SCTP, "icmp", "other"), (38, 30, 6, 14, 12))[0]
    if kind == "other":
        return packet._replace(protocol=rng.choice((253, 254, 89, 103, 4)))
    if kind == "icmp":
        types: tuple[int, ...] = ICMP_TYPES[packet.family]
        if packet.family == 6 and rng.random() < 0.2:
            types = _NEIGHBOURS
        return packet._replace(
            protocol=ICMP[packet.family], icmp_type=rng.choice(types), icmp_code=rng.randint(0, 1)
        )
    return packet._replace(
        protocol=int(kind),
        source_port=rng.choice((*ASKED_PORTS, rng.randint(1, 65535))),
        destination_port=rng.choice((*ASKED_PORTS, rng.randint(1, 65535))),
    )
