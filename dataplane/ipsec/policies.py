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


class Way(Struct, frozen=True, gc=False):
    """To a peer, one family.  `here` and `there`: ends of the tunnel, "" where there are none.

    spi       of the state to send with, 0: not encrypted
    asked     what comes from there must have come through the tunnel, if `here` and `there` are
              known; else nothing comes from there
    closed    not encrypted means nowhere
    optional  what comes from there may be in clear
    shared    layout: all senders share a receiving state
    """

    here: str = ""
    there: str = ""
    spi: int = 0
    asked: bool = True
    closed: bool = True
    optional: bool = False
    shared: bool = False

    @property
    def out(self) -> Template:
        return Template(self.here, self.there, self.spi)

    def incoming(self, *, optional: bool) -> Template:
        family = family_of(self.here)
        return Template(ANYBODY[family] if self.shared else self.there, self.here, 0, optional)


class NetNames(NamedTuple):
    """A net, and what the policies for it are called.

    out   anything to it
    into  it to anything, for this node and for others
    free  bits that the prefix leaves free
    """

    net: str
    out: PolicyId
    into: tuple[PolicyId, ...]
    free: int


def names_of(net: str) -> NetNames:
    family = family_of(net)
    everywhere = EVERYWHERE[family]
    back = Selector(net, everywhere)
    return NetNames(
        net,
        PolicyId("out", Selector(everywhere, net)),
        tuple(PolicyId(direction, back) for direction in _INCOMING),
        BITS[family] - int(net.partition("/")[2]),
    )


def _single(address: str) -> str:
    return f"{address}/{BITS[family_of(address)]}"


def _outward(names: Iterable[PolicyId], priority: int, way: Way) -> list[PolicyWish]:
    """One object each: what closes the way is exchanged for what encrypts."""
    if way.spi:
        template = way.out
        return [PolicyWish(name, priority, "allow", template) for name in names]
    return [PolicyWish(name, priority, "block") for name in names] if way.closed else []


def net_policies(names: NetNames, way: Way) -> list[PolicyWish]:
    """Of a net behind a peer.  What the host itself sends there is caught as well."""
    priority = TUNNEL + names.free
    wishes = _outward((names.out,), priority, way)
    if way.asked and way.here and way.there:
        template = way.incoming(optional=way.optional)
        wishes += [PolicyWish(name, priority, "allow", template) for name in names.into]
    elif way.closed:
        wishes += [PolicyWish(name, priority, "block") for name in names.into]
    return wishes


def guide_policies(names: NetNames, own: Iterable[str], way: Way) -> Iterator[PolicyWish]:
    """The guide's own, in the layout "shared", of a net behind a peer and each of ours."""
    if not (way.asked and way.here and way.there):
        return
    priority, incoming = GUIDE + names.free, way.incoming(optional=False)
    for mine in own:
        selector = Selector(names.net, mine)
        for direction in _INCOMING:
            yield PolicyWish(PolicyId(direction, selector, DECRYPTED), priority, template=incoming)
        if way.spi:
            name = PolicyId("out", Selector(mine, names.net), ENCRYPT)
            yield PolicyWish(name, priority, template=way.out)


def host_policies(own: Iterable[str], way: Way) -> list[PolicyWish]:
    """What our workloads say to the peer itself: as encrypted as what it says to them."""
    there = _single(way.there)
    return _outward([PolicyId("out", Selector(mine, there)) for mine in own], TUNNEL, way)


def node_policies(way: Way, *, settled: bool) -> Iterator[PolicyWish]:
    """Between the nodes.  Until `settled`, when the peer says that its own words to this node go
    encrypted, clear may come, and goes where nothing encrypts.
    """
    into, out = node_names(way)
    optional = way.optional or not settled
    yield PolicyWish(into, NODE, template=way.incoming(optional=optional))
    if way.spi:
        yield PolicyWish(out, NODE, template=way.out)
    elif way.closed and settled:
        yield PolicyWish(out, NODE, "block")


def node_names(way: Way) -> tuple[PolicyId, PolicyId]:
    """What comes from the peer itself, and what goes there."""
    here, there = _single(way.here), _single(way.there)
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
