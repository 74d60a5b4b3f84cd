"""Which flows a change may concern, so that the judge need not be asked about all of them.

    in   the updates that the dataplane is told
    out  Scope, once after each change

A rule that changes concerns those whose endpoint asks it; a set that changes concerns those of
whom it speaks.  Endpoints of the host stand in everybody's way: what changes there concerns all.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple, TypeAlias

from calc_graph.model import EndpointKey, HostEndpointKey, PolicyKey, ProfileKey
from calc_graph.multimap import Multimap
from calc_graph.updates import (
    HostEndpointRemove,
    HostEndpointUpdate,
    IpsetDelta,
    PolicyRemove,
    PolicyUpdate,
    ProfileRemove,
    ProfileUpdate,
    Update,
    WorkloadEndpointRemove,
    WorkloadEndpointUpdate,
)
from dataplane.ctnetlink import Ends
from dataplane.rtnetlink import BITS, parse_net

_Book: TypeAlias = PolicyKey | ProfileKey
_Endpoint: TypeAlias = WorkloadEndpointUpdate | HostEndpointUpdate


class Scope(NamedTuple):
    """Flows with one of these addresses, as bytes; or all."""

    everything: bool
    addresses: frozenset[bytes] = frozenset()

    def concerns(self, ends: Ends) -> bool:
        return self.everything or not self.addresses.isdisjoint(ends)


EVERYTHING: Final = Scope(everything=True)


class Scopes:
    def __init__(self) -> None:
        self._endpoints: dict[EndpointKey, _Endpoint] = {}
        self._users: Multimap[_Book, EndpointKey] = Multimap()
        self._hosts = 0
        self._everything = False
        self._addresses: set[bytes] = set()

    @property
    def of_hosts(self) -> bool:
        """Whether the host has endpoints, so that it matters by which interface a packet goes."""
        return self._hosts > 0

    @property
    def changed(self) -> bool:
        """Whether there is anything to take."""
        return self._everything or bool(self._addresses)

    def take(self) -> Scope:
        scope = Scope(self._everything, frozenset(self._addresses))
        self._everything, self._addresses = False, set()
        return scope

    def put_back(self, scope: Scope) -> None:
        self._everything |= scope.everything
        self._addresses |= scope.addresses

    def update(self, update: Update) -> None:
        match update:
            case IpsetDelta(_, added, removed):
                self._of_members(added)
                self._of_members(removed)
            case PolicyUpdate(key) | PolicyRemove(key):
                self._of_users(key)
            case ProfileUpdate(name) | ProfileRemove(name):
                self._of_users(ProfileKey(name))
            case WorkloadEndpointUpdate() | HostEndpointUpdate():
                self._put(update.key, update)
            case WorkloadEndpointRemove() | HostEndpointRemove():
                self._put(update.key, None)
            case _:
                pass  # a set that is new comes with the rules that ask it; the rest is no policy

    def _put(self, key: EndpointKey, new: _Endpoint | None) -> None:
        old = self._endpoints.pop(key, None)
        for book in _books(old) if old else ():
            self._users.discard(book, key)
        if new is not None:
            self._endpoints[key] = new
            for book in _books(new):
                self._users.add(book, key)
        if isinstance(key, HostEndpointKey):
            self._hosts += (new is not None) - (old is not None)
            self._everything = True
        elif new is not None:  # the flows of one that goes end with its routes
            self._of_endpoint(key)

    def _of_users(self, book: _Book) -> None:
        for key in self._users.get(book):
            self._of_endpoint(key)

    def _of_endpoint(self, key: EndpointKey) -> None:
        update = self._endpoints[key]
        if isinstance(update, HostEndpointUpdate):
            self._everything = True
        else:
            self._of_members(update.endpoint.nets)

    def _of_members(self, members: Iterable[str]) -> None:
        """Of nets and of "address,protocol:port"."""
        for member in members:
            text = member.partition(",")[0]
            family, address, length = parse_net(text if "/" in text else text + _WHOLE[":" in text])
            if length == BITS[family]:
                self._addresses.add(address)
            else:
                self._everything = True


_WHOLE = {False: "/32", True: "/128"}


def _books(update: _Endpoint) -> set[_Book]:
    tiers = list(update.tiers)
    if isinstance(update, HostEndpointUpdate):
        tiers += [*update.forward, *update.pre_dnat, *update.untracked]
    found: set[_Book] = set(map(ProfileKey, update.endpoint.profiles))
    for tier in tiers:
        found.update(tier.ingress, tier.egress)
    return found
