"""Policies for a net, a peer, or this node: what decides in, values out.  Pure.

    priority   policies
    10         IPv6 neighbours, for nodes' own addresses
    400        what we have borrowed: it lies in a net of somebody else, and is here
    500...     layout "shared": the guide's, by mark, own net and theirs
    1000...    a net of somebody else: the way out, and what comes from there
    1000       what our workloads say to a peer itself
    1900       what nodes say to each other in clear whatever happens
    2000       node and node
    62000      our own nets, so that what follows does not catch them
    63000      whatever our receiving states have decrypted and nobody else judges
    65000      nets of pools that nobody is known to have

The kernel takes the smallest priority, whatever the prefixes: "..." adds what the prefix leaves
free, so that a single address comes before the block around it.  Exceptions between nodes come
after the nets of workloads, which they must not open.
Source: sections 4.3, 6.1, 6.3 and 7 of the IPsec reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Literal, NamedTuple, TypeAlias

from msgspec import Struct

from dataplane.families import Family, family_of
from dataplane.ipsec.values import (
    ANYBODY,
    DECRYPTED,
    ENCRYPT,
    EVERYWHERE,
    Direction,
    PolicyId,
    PolicyWish,
    Selector,
    Template,
)
from dataplane.rtnetlink import BITS

NEIGHBOURS: Final = 10
BORROWED: Final = 400
GUIDE: Final = 500
TUNNEL: Final = 1000
NODE_CLEAR: Final = 1900
NODE: Final = 2000
OWN: Final = 62000
REST: Final = 63000
POOL: Final = 65000

_TCP, _UDP, _ICMPV6 = 6, 17, 58
_NEIGHBOUR_TYPES = range(133, 138)  # in a selector, the type stands for the source port
_BGP: Final = ("tcp", 179)
_IKE: Final = (("udp", 500), ("udp", 4500))
_INCOMING: tuple[Direction, ...] = ("in", "fwd")

Port: TypeAlias = tuple[Literal["tcp", "udp"], int]


class Between(Struct, frozen=True, gc=False):
    """This node and a peer, one family; what of it does not follow from any key.

    here, there  ends of the tunnel, "" where there are none
    asked     what comes from there must have come through the tunnel, if both ends are known; else
              nothing comes from there
    closed    not encrypted means nowhere
    optional  what comes from there may be in clear
    shared    layout: all senders share a receiving state
    """

    here: str = ""
    there: str = ""
    asked: bool = True
    closed: bool = True
    optional: bool = False
    shared: bool = False

    def incoming(self, *, optional: bool) -> Template:
        family = family_of(self.here)
        return Template(ANYBODY[family] if self.shared else self.there, self.here, 0, optional)


class Way(Struct, frozen=True, gc=False):
    """To a peer: `spi` is that of the state to send with, 0: not encrypted."""

    between: Between
    spi: int = 0


class NetNames(NamedTuple):
    """A net, and what the policies for it are called.

    out   anything to it, alone
    into  it to anything, for this node and for others
    free  bits that the prefix leaves free
    """

    net: str
    out: tuple[PolicyId, ...]
    into: tuple[PolicyId, ...]
    free: int


def names_of(net: str) -> NetNames:
    family = family_of(net)
    everywhere = EVERYWHERE[family]
    back = Selector(net, everywhere)
    return NetNames(
        net,
        (PolicyId("out", Selector(everywhere, net)),),
        tuple(PolicyId(direction, back) for direction in _INCOMING),
        BITS[family] - int(net.partition("/")[2]),
    )


def _single(address: str) -> str:
    return f"{address}/{BITS[family_of(address)]}"


def outward(names: Iterable[PolicyId], way: Way, free: int = 0) -> dict[PolicyId, PolicyWish]:
    """What leads out to a peer: to nets that leave so many bits `free`, or to itself.

    One object each: what closes the way is exchanged for what encrypts.  What the host itself sends
    to a net is caught as well.
    """
    between, priority = way.between, TUNNEL + free
    if way.spi:
        template = Template(between.here, between.there, way.spi)
        return {name: PolicyWish(name, priority, "allow", template) for name in names}
    return {name: PolicyWish(name, priority, "block") for name in names} if between.closed else {}


def inward(names: NetNames, between: Between) -> dict[PolicyId, PolicyWish]:
    """What comes from a net behind a peer."""
    priority = TUNNEL + names.free
    if between.asked and between.here and between.there:
        template = between.incoming(optional=between.optional)
        return {name: PolicyWish(name, priority, "allow", template) for name in names.into}
    return (
        {name: PolicyWish(name, priority, "block") for name in names.into} if between.closed else {}
    )


def guide_policies(names: NetNames, own: Iterable[str], way: Way) -> Iterator[PolicyWish]:
    """The guide's own, in the layout "shared", of a net behind a peer and each of ours."""
    between = way.between
    if not (between.asked and between.here and between.there):
        return
    priority, incoming = GUIDE + names.free, between.incoming(optional=False)
    out = Template(between.here, between.there, way.spi)
    for mine in own:
        selector = Selector(names.net, mine)
        for direction in _INCOMING:
            yield PolicyWish(PolicyId(direction, selector, DECRYPTED), priority, template=incoming)
        if way.spi:
            name = PolicyId("out", Selector(mine, names.net), ENCRYPT)
            yield PolicyWish(name, priority, template=out)


def host_names(own: Iterable[str], there: str) -> tuple[PolicyId, ...]:
    """What our workloads say to a peer itself: as encrypted as what it says to them."""
    single = _single(there)
    return tuple([PolicyId("out", Selector(mine, single)) for mine in own])


def node_policies(way: Way, *, settled: bool) -> Iterator[PolicyWish]:
    """Between the nodes.  Until `settled`, when the peer says that its own words to this node go
    encrypted, clear may come, and goes where nothing encrypts.
    """
    between = way.between
    into, out = node_names(between)
    optional = between.optional or not settled
    yield PolicyWish(into, NODE, template=between.incoming(optional=optional))
    if way.spi:
        yield PolicyWish(out, NODE, template=Template(between.here, between.there, way.spi))
    elif between.closed and settled:
        yield PolicyWish(out, NODE, "block")


def node_names(between: Between) -> tuple[PolicyId, PolicyId]:
    """What comes from the peer itself, and what goes there."""
    here, there = _single(between.here), _single(between.there)
    return PolicyId("in", Selector(there, here)), PolicyId("out", Selector(here, there))


def own_policies(net: str, *, borrowed: bool, guarded: bool) -> Iterator[PolicyWish]:
    """Of a net of ours.  `guarded`: there are policies for whole pools."""
    everywhere = EVERYWHERE[family_of(net)]
    if borrowed:
        yield PolicyWish(PolicyId("out", Selector(everywhere, net)), BORROWED)
        for direction in _INCOMING:
            yield PolicyWish(PolicyId(direction, Selector(net, everywhere)), BORROWED)
    if guarded:
        yield PolicyWish(PolicyId("out", Selector(everywhere, net), ENCRYPT), OWN)


def pool_policies(net: str) -> Iterator[PolicyWish]:
    name = PolicyId("out", Selector(EVERYWHERE[family_of(net)], net), ENCRYPT)
    yield PolicyWish(name, POOL, "block")


def rest_policies(family: Family, here: str) -> Iterator[PolicyWish]:
    """Without these the kernel drops what was decrypted and is of no known net."""
    everywhere = EVERYWHERE[family]
    template = Template(ANYBODY[family], here)
    for direction in _INCOMING:
        name = PolicyId(direction, Selector(everywhere, everywhere), DECRYPTED)
        yield PolicyWish(name, REST, template=template)


def exceptions(family: Family, here: str, ports: Iterable[Port]) -> Iterator[PolicyWish]:
    """What this node says to others in clear: what it takes to meet at all, and `ports`."""
    own, everywhere = _single(here), EVERYWHERE[family]
    if family == 6:
        for kind in _NEIGHBOUR_TYPES:
            out = Selector(own, everywhere, _ICMPV6, kind)
            yield PolicyWish(PolicyId("out", out), NEIGHBOURS)
            into = Selector(everywhere, own, _ICMPV6, kind)
            yield PolicyWish(PolicyId("in", into), NEIGHBOURS)
    for name, port in dict.fromkeys((_BGP, *_IKE, *ports)):
        protocol = _TCP if name == "tcp" else _UDP
        for source_port, destination_port in ((port, 0), (0, port)):
            out = Selector(own, everywhere, protocol, source_port, destination_port)
            yield PolicyWish(PolicyId("out", out), NODE_CLEAR)
            into = Selector(everywhere, own, protocol, source_port, destination_port)
            yield PolicyWish(PolicyId("in", into), NODE_CLEAR)
