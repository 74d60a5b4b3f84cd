"""One IP set: what it should be, what it is, and the writes between them.  Pure.

in   want, unwant, change     bytes of members, see `ipset_messages`
     observe, observe_members what the kernel says of it
out  Growth                   the writes that make and grow it, and what is there once they are done
"""

from __future__ import annotations

from typing import NamedTuple

from calc_graph.updates import IpsetType
from dataplane.delta_tracker import SetDelta
from dataplane.drivers import ipset_messages as messages
from dataplane.drivers.ipset_messages import Codec, Header, Member
from dataplane.netlink import Request


class Growth(NamedTuple):
    """`requests`; `then` only if none of them failed: a set half filled never takes a place."""

    requests: list[Request]
    added: frozenset[Member]
    removed: frozenset[Member] = frozenset()
    then: tuple[Request, ...] = ()
    temporary: str = ""
    header: Header | None = None  # of a set made anew


class SetState:
    def __init__(self, name: str) -> None:
        self.name = name
        self.wanted: Header | None = None
        self.type = IpsetType.NET  # wanted, or last wanted
        self.codec: Codec | None = None
        self.header: Header | None = None  # what the kernel says; None: no such set
        self.members: SetDelta[Member] = SetDelta()
        self.flawed = False  # holds members that cannot be edited
        self.unread = False  # a write failed, or its members were not followed

    def want(self, type: IpsetType, header: Header, codec: Codec, members: list[Member]) -> None:  # noqa: A002
        if self.wanted is None and self.header is not None:
            self.unread = True
        if self.codec is not codec:
            self.members.observe_all(())  # what was read was of another type
        self.wanted, self.type, self.codec = header, type, codec
        self.members.desire_all(members)

    def observe(self, header: Header | None) -> None:
        """What is known of a set before its members are."""
        self.header, self.unread, self.flawed = header, False, False
        if header is None:
            self.members.observe_all(())

    def observe_members(self, members: list[Member | None]) -> None:
        self.flawed = None in members
        self.members.observe_all(member for member in members if member is not None)

    @property
    def editable(self) -> bool:
        """Whether the set that is there can be edited into the one that is wanted."""
        return self.wanted is not None and self.header == self.wanted and not self.flawed

    @property
    def settled(self) -> bool:
        if self.unread:
            return False
        return self.editable and self.members.in_sync if self.wanted else self.header is None

    def growth(self, revision: int, temporary: str, *, make_room: bool) -> Growth:
        """`temporary` is a name that is free; `make_room` removes members before it adds others."""
        assert self.wanted is not None
        assert self.codec is not None
        name, codec = self.name, self.codec
        if self.editable:
            added = frozenset(self.members.additions)
            removed = frozenset(self.members.removals) if make_room else frozenset()
            requests = messages.delete(name, codec, removed) + messages.add(name, codec, added)
            return Growth(requests, added, removed)
        everything = frozenset(self.members.desired)
        if self.header is None or not self._swappable:
            # The kernel swaps only sets of one type (projectcalico/felix issue 1694), so one of
            # another type has to go first; as long as a rule refers to it, it cannot.
            away = [messages.destroy(name)] if self.header else []
            make = self._make(name, codec, revision, everything)
            return Growth(away, everything, then=tuple(make), header=self.wanted)
        swap = (messages.swap(name, temporary), messages.destroy(temporary))
        requests = self._make(temporary, codec, revision, everything)
        return Growth(requests, everything, frozenset(), swap, temporary, self.wanted)

    @property
    def _swappable(self) -> bool:
        one, other = self.wanted, self.header
        return (
            one is not None
            and other is not None
            and (one.type, one.family) == (other.type, other.family)
        )

    def _make(
        self, name: str, codec: Codec, revision: int, members: frozenset[Member]
    ) -> list[Request]:
        assert self.wanted is not None
        wanted = self.wanted
        create = messages.create(
            name, self.type, wanted.family, revision, wanted.maxelem, counters=wanted.counters
        )
        return [create, *messages.add(name, codec, members)]

    def grown(self, growth: Growth) -> None:
        """Those writes are done."""
        if growth.header is not None:
            self.observe(growth.header)
            self.members.observe_all(growth.added)
        else:
            self.members.observe(growth.added, growth.removed)
