"""The machine's interfaces: which there are, whether they are up, and which addresses are theirs.

    in   the kernel's notifications of links, routes and rules, and a listing at times
    out  Interface   what is known of one, by name
         Changes     what has changed since the last ones

Addresses are the destinations of type "local" in the local table, as Felix takes them: what the
kernel answers for, whichever way it came about (127.0.0.0 of 127.0.0.0/8 among them).
Interfaces of workloads and excluded ones are followed, but have no addresses here.

What comes is told at once, what goes or goes down a tenth of a second later, so that a bounce is
one change; but our own tunnels at once, as we are the ones to bring them back.  A bounce always is
a change: `generation` is another whenever an interface of that name was made anew or came up again,
for then its routes, neighbours and settings are gone.
Up is IFF_UP with IFF_LOWER_UP, where Felix takes IFF_RUNNING: that follows up to a second later for
a cable whose ends have the same index in two namespaces (net/core/link_watch.c), and says no more.
Source: projectcalico/calico felix/ifacemonitor; section 6.1 of the rules reference.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import re
from collections.abc import Callable, Iterable, Mapping
from typing import NoReturn, Protocol

import structlog
from msgspec import Struct

from dataplane import rtnetlink, rtrules
from dataplane.netlink import ROUTE, Listener, Message, NetlinkError, OverrunError, Socket
from dataplane.rtnetlink import LinkState
from dataplane.settings import IPIP_DEVICE, VXLAN_DEVICES, Settings

log = structlog.get_logger(__name__)

_HOLD_SECONDS = 0.1
_GROUPS = (
    rtnetlink.GROUP_LINK,
    rtnetlink.GROUP_ROUTE_V4,
    rtnetlink.GROUP_ROUTE_V6,
    rtrules.GROUP_RULE_V4,
    rtrules.GROUP_RULE_V6,
)


class Interface(Struct, frozen=True):
    """`up` means that packets pass: switched on, and with a carrier."""

    name: str
    index: int
    up: bool
    addresses: frozenset[str] = frozenset()
    generation: int = 0
    mtu: int = 0
    mac: str = ""  # "" for links without one of six bytes


class Changes(Struct, frozen=True):
    """`routes`: a watcher of routes or rules has found work to do."""

    changed: Mapping[str, Interface] = {}
    gone: frozenset[str] = frozenset()
    routes: bool = False


class Watcher(Protocol):
    """Who wants to know of routes outside the local table, or of rules."""

    def notice(self, message: Message) -> bool:
        """One was made or deleted; true if that gives work."""

    def lost(self) -> None:
        """Notifications were lost: everything may be different."""


class InterfaceMonitor:
    """`refresh_seconds` is the time between listings, 0 for never; it may change at any time."""

    def __init__(self, settings: Settings) -> None:
        self.refresh_seconds = settings.intervals.interfaces
        self._ours = frozenset((IPIP_DEVICE, *VXLAN_DEVICES.values(), *settings.wireguard.devices))
        self._silent = _matcher(settings.interface_exclude, settings.render.interface_prefixes)
        self._route_watchers: list[Watcher] = []
        self._rule_watchers: list[Watcher] = []
        self._socket = Socket(ROUTE)
        self._listener: Listener | None = None
        self._links: dict[int, LinkState] = {}
        self._addresses: dict[int, set[bytes]] = {}
        self._indexes: dict[str, int] = {}
        self._generations: dict[str, int] = {}
        self._counter = itertools.count(1)
        self._told: dict[str, Interface] = {}
        self._dirty: set[str] = set()
        self._held: dict[str, float] = {}  # name -> when its going is told
        self._listed_at = 0.0
        self._routes = False

    @property
    def interfaces(self) -> Mapping[str, Interface]:
        """As last told by `start` or `next_changes`."""
        return self._told

    def watch_routes(self, watcher: Watcher) -> None:
        self._route_watchers.append(watcher)

    def watch_rules(self, watcher: Watcher) -> None:
        self._rule_watchers.append(watcher)

    async def start(self) -> Mapping[str, Interface]:
        """Listen, then list what is there.  Raises DataplaneError."""
        await self._list()
        self._tell(now=float("inf"))
        return self._told

    async def run(self, notify: Callable[[Changes], None]) -> NoReturn:
        """Tell of changes for ever.  Raises DataplaneError if the kernel does not answer."""
        while True:
            notify(await self.next_changes())

    async def next_changes(self) -> Changes:
        """Wait until something is different.  May be cancelled without losing anything."""
        loop = asyncio.get_running_loop()
        while True:
            changes = self._tell(loop.time())
            if changes is not None:
                return changes
            try:
                async with asyncio.timeout_at(self._next_moment()):
                    await self._receive()
            except TimeoutError:
                due = self.refresh_seconds > 0
                if due and loop.time() >= self._listed_at + self.refresh_seconds:
                    await self._list()

    def close(self) -> None:
        self._socket.close()
        if self._listener is not None:
            self._listener.close()

    # ------------------------------------------------------------ what the kernel says

    def _next_moment(self) -> float | None:
        moments = list(self._held.values())
        if self.refresh_seconds > 0:
            moments.append(self._listed_at + self.refresh_seconds)
        return min(moments, default=None)

    async def _receive(self) -> None:
        if self._listener is None:
            await self._list()
            return
        try:
            for message in await self._listener.receive():
                self._take(message)
        except OverrunError:
            log.warning("interfaces.overrun")
            self._listener.close()
            self._listener = None
            await self._list()
            watchers = [*self._route_watchers, *self._rule_watchers]
            for watcher in watchers:
                watcher.lost()
            self._routes = bool(watchers)

    async def _list(self) -> None:
        """Read everything, with a listener already there for what changes meanwhile."""
        if self._listener is None:
            self._listener = Listener(ROUTE, _GROUPS)
        messages = await self._socket.query(rtnetlink.list_links(), "listing interfaces")
        parsed = (rtnetlink.parse_link(message.body) for message in messages)
        links = {link.device: link for link in parsed if link is not None}
        for link in [link for i, link in self._links.items() if i not in links]:
            self._forget(link)
        for link in links.values():
            self._learn(link)
        addresses: dict[int, set[bytes]] = {}
        for family in rtnetlink.FAMILIES:
            request = rtnetlink.list_routes(family, rtnetlink.LOCAL)
            try:
                messages = await self._socket.query(request, "listing local addresses")
            except NetlinkError as error:
                if error.code != errno.ENOENT:
                    raise
                continue  # no address of this family ever was, so there is no local table yet
            for message in messages:
                found = rtnetlink.parse_route(message.body)
                if found is not None and _is_address(found):
                    addresses.setdefault(found.route.device, set()).add(found.route.key.destination)
        for index in addresses.keys() | self._addresses.keys():
            if addresses.get(index) != self._addresses.get(index):
                self._touch(index)
        self._addresses = addresses
        self._listed_at = asyncio.get_running_loop().time()

    def _take(self, message: Message) -> None:
        if message.type in (rtnetlink.NEWROUTE, rtnetlink.DELROUTE):
            self._take_route(message)
            return
        if message.type in (rtrules.NEWRULE, rtrules.DELRULE):
            for watcher in self._rule_watchers:
                self._routes |= watcher.notice(message)
            return
        link = rtnetlink.parse_link(message.body)
        if link is None:
            return
        if message.type == rtnetlink.NEWLINK:
            self._learn(link)
        elif message.type == rtnetlink.DELLINK:
            self._forget(link)

    def _take_route(self, message: Message) -> None:
        if not any(
            rtnetlink.is_of(message.body, family, rtnetlink.LOCAL) for family in rtnetlink.FAMILIES
        ):
            for watcher in self._route_watchers:
                self._routes |= watcher.notice(message)
            return
        found = rtnetlink.parse_route(message.body)
        if found is None or not _is_address(found):
            return
        addresses = self._addresses.setdefault(found.route.device, set())
        if message.type == rtnetlink.NEWROUTE:
            addresses.add(found.route.key.destination)
        else:
            addresses.discard(found.route.key.destination)
        self._touch(found.route.device)

    def _learn(self, link: LinkState) -> None:
        old = self._links.get(link.device)
        self._links[link.device] = link
        if old == link:
            return
        if old is not None and old.name != link.name:
            self._leave(old)
        came_up = not (old is not None and old.name == link.name and _up(old)) and _up(link)
        if came_up or self._indexes.get(link.name) != link.device:
            self._generations[link.name] = next(self._counter)
        self._indexes[link.name] = link.device
        self._dirty.add(link.name)

    def _forget(self, link: LinkState) -> None:
        """By index: the name may have passed on to another."""
        known = self._links.pop(link.device, None)
        self._addresses.pop(link.device, None)
        if known is not None:
            self._leave(known)

    def _leave(self, link: LinkState) -> None:
        if self._indexes.get(link.name) == link.device:
            del self._indexes[link.name], self._generations[link.name]
        self._dirty.add(link.name)

    def _touch(self, index: int) -> None:
        link = self._links.get(index)
        if link is not None and not self._silent(link.name):
            self._dirty.add(link.name)

    # ------------------------------------------------------------ what is told

    def _tell(self, now: float) -> Changes | None:
        """The changes that are due; those held back wait for their time."""
        changed: dict[str, Interface] = {}
        gone: set[str] = set()
        for name in self._dirty | {name for name, due in self._held.items() if due <= now}:
            old, new = self._told.get(name), self._current(name)
            leaves = old is not None and old.up and (new is None or not new.up)
            held = leaves and name not in self._ours
            if held and now < self._held.setdefault(name, now + _HOLD_SECONDS):
                continue
            self._held.pop(name, None)
            if new is None:
                if old is not None:
                    gone.add(name)
                    del self._told[name]
            elif new != old:
                changed[name] = self._told[name] = new
        self._dirty.clear()
        routes, self._routes = self._routes, False
        if not changed and not gone and not routes:
            return None
        return Changes(changed, frozenset(gone), routes)

    def _current(self, name: str) -> Interface | None:
        index = self._indexes.get(name)
        if index is None:
            return None
        raw: Iterable[bytes] = () if self._silent(name) else self._addresses.get(index, ())
        addresses = frozenset(map(rtnetlink.render_address, raw))
        link = self._links[index]
        mac = link.mac.hex(":") if len(link.mac) == 6 else ""
        return Interface(name, index, _up(link), addresses, self._generations[name], link.mtu, mac)


def _up(link: LinkState) -> bool:
    return link.admin_up and link.carrier


def _is_address(message: rtnetlink.RouteMessage) -> bool:
    return (
        message.table == rtnetlink.LOCAL
        and message.route.type == rtnetlink.LOCAL_TYPE
        and message.route.device > 0
    )


def _matcher(excluded: Iterable[str], prefixes: tuple[str, ...]) -> Callable[[str], bool]:
    """Whether an interface keeps its addresses to itself; `excluded` are names or /expressions/."""
    names = frozenset(name for name in excluded if not name.startswith("/"))
    patterns = [re.compile(name[1:-1]) for name in excluded if name.startswith("/")]

    def silent(name: str) -> bool:
        if name.startswith(prefixes) or name in names:
            return True
        return any(pattern.search(name) for pattern in patterns)

    return silent
