"""The drivers of the dataplane without a kernel.

    in   what the desired layer asks for; refused as the real drivers refuse it
    out  public attributes that hold what was asked for; a line in the journal for each write

A step fails if the journal was told so: `journal.failing["IPv4 tables"] = "why"`.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple, NoReturn

from calc_graph.updates import IpsetType
from dataplane.chains import Chain
from dataplane.drivers.ipset_messages import Codec
from dataplane.drivers.iptables.detect import Backend
from dataplane.drivers.route_wishes import Owner, Route
from dataplane.drivers.vteps import Vtep
from dataplane.errors import ChainsRefusedError, DataplaneError
from dataplane.families import Family
from dataplane.interfaces import Changes, Interface, Watcher
from dataplane.netlink import Message
from dataplane.overlay.devices import Tunnel
from dataplane.rtnetlink import parse_address, parse_net
from dataplane.settings import Intervals, Settings

_CHAIN = re.compile(r"cali-[A-Za-z0-9._/-]{1,23}")
_IPSET = re.compile(r"--match-set (\S+)")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", re.IGNORECASE)
_INTERFACE = re.compile(r"[a-zA-Z0-9_.-]{1,15}")
_TARGETS = {
    "raw": {"PREROUTING", "OUTPUT"},
    "mangle": {"PREROUTING", "POSTROUTING"},
    "nat": {"PREROUTING", "OUTPUT", "POSTROUTING"},
    "filter": {"INPUT", "FORWARD", "OUTPUT"},
}


class Journal:
    """What was written, in order, over all drivers."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.failing: dict[str, str] = {}
        self.held: dict[str, asyncio.Event] = {}  # steps that wait until told to go on

    async def step(self, name: str) -> None:
        self.lines.append(name)
        if name in self.held:
            await self.held[name].wait()
        if name in self.failing:
            raise DataplaneError(self.failing[name])

    def take(self) -> list[str]:
        lines, self.lines = self.lines, []
        return lines


class Looking:
    """The part of a driver that looks from time to time."""

    def __init__(self, journal: Journal, name: str) -> None:
        self.journal = journal
        self.name = name
        self.refresh_seconds = 0.0
        self.due_at = float("inf")
        self.drifted = False
        self.closed = 0
        self.written = 0

    def next_check(self) -> float:
        return self.due_at

    async def check(self) -> bool:
        await self.journal.step(f"{self.name} checked")
        self.due_at = float("inf")
        drifted, self.drifted = self.drifted, False
        return drifted

    def close(self) -> None:
        self.closed += 1


class FakeTables:
    """Chains are compared and counted as by the real one: what no hook leads to is not written."""

    def __init__(self, journal: Journal, family: Family) -> None:
        self.journal = journal
        self.family = family
        self.backend = Backend("nft", family, "iptables", "iptables-save", "iptables-restore")
        self.chains: dict[str, dict[str, Chain]] = {table: {} for table in _TARGETS}
        self.forced: set[tuple[str, str]] = set()
        self.hooks: dict[tuple[str, str], tuple[str, ...]] = {}
        self.offers = 0  # how often a chain was offered that was another one before
        self.drifted = False
        self.due_in: float | None = None
        self.intervals: Intervals | None = None
        self.closed = 0
        self.written = 0
        self.left_over = 0
        self.hooked = False
        self.refused: dict[tuple[str, str], str] = {}

    def desire_chain(self, table: str, chain: Chain, *, forced: bool = False) -> None:
        assert _CHAIN.fullmatch(chain.name), f"{chain.name!r} is no name of a chain"
        assert all(rule and rule.isprintable() for rule in chain.rules), chain
        self.offers += self.chains[table].get(chain.name) != chain
        self.chains[table][chain.name] = chain
        (self.forced.add if forced else self.forced.discard)((table, chain.name))

    def drop_chain(self, table: str, name: str) -> None:
        self.chains[table].pop(name, None)
        self.forced.discard((table, name))

    def desire_hook(
        self, table: str, kernel_chain: str, inserts: tuple[str, ...], appends: tuple[str, ...]
    ) -> None:
        assert kernel_chain in _TARGETS[table], f"no {kernel_chain} in {table}"
        self.hooks[table, kernel_chain] = (*inserts, *appends)

    def programmed(self, table: str) -> dict[str, Chain]:
        """The chains that hooks and forced chains lead to.  KeyError: one that nobody offered."""
        hooks = (Chain(k, bodies) for (t, k), bodies in self.hooks.items() if t == table)
        pending = [target for hook in hooks for target in hook.targets()]
        pending += [name for t, name in self.forced if t == table]
        found: dict[str, Chain] = {}
        while pending:
            name = pending.pop()
            if name not in found:
                found[name] = self.chains[table][name]
                pending.extend(found[name].targets())
        return found

    def ipsets(self) -> set[str]:
        """The sets that rules in force ask."""
        chains = (chain for table in self.chains for chain in self.programmed(table).values())
        return {name for chain in chains for rule in chain.rules for name in _IPSET.findall(rule)}

    def dirty(self) -> bool:
        return self.drifted

    def next_check(self) -> float | None:
        return self.due_in

    async def check(self) -> None:
        self.due_in = None
        await self.journal.step(f"IPv{self.family} tables checked")

    async def apply(self) -> None:
        await self.journal.step(f"IPv{self.family} tables")
        self.drifted = False
        self.hooked = True
        if self.refused:
            raise ChainsRefusedError(self.family, self.refused)

    def guards(self) -> bool:
        return self.hooked

    async def sweep_other_backend(self) -> int:
        await self.journal.step(f"IPv{self.family} leftovers")
        return self.left_over

    def set_intervals(self, intervals: Intervals) -> None:
        self.intervals = intervals

    async def close(self) -> None:
        self.closed += 1


class FakeIpsets(Looking):
    def __init__(self, journal: Journal, family: Family, max_size: int = 0) -> None:
        super().__init__(journal, f"IPv{family} sets")
        self.family = family
        self.sets: dict[str, tuple[IpsetType, frozenset[str]]] = {}
        self.counting: set[str] = set()

    def desire(
        self,
        name: str,
        type: IpsetType,  # noqa: A002
        members: Iterable[str],
        *,
        counters: bool = False,
    ) -> None:
        (self.counting.add if counters else self.counting.discard)(name)
        if not name.startswith(f"cali{self.family}0") or len(name) > 31:
            raise ValueError(f"{name!r} is not the name of a set of ours")
        self.sets[name] = type, self._checked(type, members)

    def change(self, name: str, added: Iterable[str], removed: Iterable[str]) -> None:
        kind, members = self.sets[name]
        rest = members - self._checked(kind, removed)
        self.sets[name] = kind, rest | self._checked(kind, added)

    def drop(self, name: str) -> None:
        self.sets.pop(name, None)

    def _checked(self, kind: IpsetType, members: Iterable[str]) -> frozenset[str]:
        members = frozenset(members)
        codec = Codec(kind, self.family)
        for member in members:
            codec.parse(member)
        return members

    async def apply_additions(self) -> None:
        await self.journal.step(f"{self.name} grown")

    async def shrink(self) -> None:
        await self.journal.step(f"{self.name} shrunk")

    async def apply_removals(self) -> None:
        await self.journal.step(f"{self.name} shrunk and destroyed")


class FakeRoutes(Looking):
    def __init__(self, journal: Journal, family: Family, settings: Settings) -> None:
        super().__init__(journal, f"IPv{family} routes")
        self.family = family
        self.routes: dict[str, Route] = {}
        self.cluster: dict[str, Route] = {}  # those that do not lead to workloads of this node
        self.interfaces: dict[str, Interface] = {}
        self.stubborn: set[str] = set()  # destinations whose routes are refused
        self.led_over: set[str] = set()
        self._written: set[str] = set()
        self.shared_with_bird: set[str] = set()

    def desire(self, dst: str, route: Route | None, owner: Owner = Owner.WORKLOAD) -> None:
        family, _, _ = parse_net(dst)
        if family != self.family:
            raise ValueError(f"{dst} is not of IPv{self.family}")
        routes = self.routes if owner is Owner.WORKLOAD else self.cluster
        if routes.get(dst) != route:
            self._written.discard(dst)
        if route is None:
            routes.pop(dst, None)
        else:
            assert route.dst == dst
            routes[dst] = route

    def is_written(self, dst: str) -> bool:
        return dst in self._written

    def leads_over(self, interface: str) -> bool:
        return interface in self.led_over

    def share_with_bird(self, interface: str, *, shared: bool) -> None:
        (self.shared_with_bird.add if shared else self.shared_with_bird.discard)(interface)

    def interface_changed(self, name: str, interface: Interface | None) -> None:
        _note(self.interfaces, name, interface)
        self._written -= {dst for dst, route in self.routes.items() if route.interface == name}

    def notice(self, message: Message) -> bool:
        return False

    def lost(self) -> None:
        """Everything may be different; nothing is kept here."""

    async def apply(self, *, hold: bool = False) -> None:
        await self.journal.step(f"{self.name}, those to other nodes held" if hold else self.name)
        self._written |= self.routes.keys() - self.stubborn
        if self.stubborn & self.routes.keys():
            raise DataplaneError("a route is refused")


class FakeNeighbours(Looking):
    def __init__(self, journal: Journal) -> None:
        super().__init__(journal, "neighbours")
        self._written: set[tuple[str, str]] = set()
        self.entries: dict[str, dict[str, str]] = defaultdict(dict)
        self.interfaces: dict[str, Interface] = {}

    def desire(self, interface: str, address: str, mac: str | None) -> None:
        parse_address(address)
        if self.entries[interface].get(address) != mac:
            self._written.discard((interface, address))
        if mac is None:
            self.entries[interface].pop(address, None)
            return
        if not _MAC.fullmatch(mac):
            raise ValueError(f"{mac!r} is not a MAC address")
        self.entries[interface][address] = mac

    def is_written(self, interface: str, address: str) -> bool:
        return (interface, address) in self._written

    def interface_changed(self, name: str, interface: Interface | None) -> None:
        _note(self.interfaces, name, interface)
        self._written = {key for key in self._written if key[0] != name}

    async def apply(self) -> None:
        await self.journal.step(self.name)
        self._written |= {(name, a) for name, e in self.entries.items() for a in e}


class FakePeerAddresses(Looking):
    def __init__(self, journal: Journal, _settings: Settings) -> None:
        super().__init__(journal, "addresses for BGP")
        self.addresses: dict[str, frozenset[str]] = {}
        self.interfaces: dict[str, Interface] = {}

    def desire(self, interface: str, addresses: Collection[str]) -> None:
        for address in addresses:
            parse_address(address)
        self.addresses.pop(interface, None)
        if addresses:
            self.addresses[interface] = frozenset(addresses)

    def interface_changed(self, name: str, interface: Interface | None) -> None:
        _note(self.interfaces, name, interface)

    async def apply(self) -> None:
        await self.journal.step(self.name)


class FakeVteps(Looking):
    def __init__(self, journal: Journal, family: Family, device: str) -> None:
        super().__init__(journal, f"IPv{family} tunnel ends")
        self.vteps: dict[str, Vtep] = {}

    def desire(self, node: str, vtep: Vtep | None) -> None:
        if vtep is None:
            del self.vteps[node]
            return
        parse_address(vtep.address)
        parse_address(vtep.node)
        assert _MAC.fullmatch(vtep.mac), vtep
        self.vteps[node] = vtep

    def problems(self) -> dict[str, str]:
        return {}

    def interface_changed(self, name: str, interface: Interface | None) -> None:
        """They are not looked at here."""

    async def apply_additions(self) -> None:
        await self.journal.step(f"{self.name} added")

    async def apply_removals(self) -> None:
        await self.journal.step(f"{self.name} removed")


class FakeLinks(Looking):
    def __init__(self, journal: Journal) -> None:
        super().__init__(journal, "tunnels")
        self.tunnels: dict[str, Tunnel] = {}
        self.unwanted: set[str] = set()
        self.unavailable: dict[str, str] = {}

    def desire(self, tunnel: Tunnel) -> None:
        if tunnel.address or tunnel.kind != "wireguard":
            parse_address(tunnel.address)
        self.unwanted.discard(tunnel.name)
        self.tunnels[tunnel.name] = tunnel

    def leave(self, name: str) -> None:
        self.unwanted.discard(name)
        self.tunnels.pop(name, None)

    def discard(self, name: str, family: Family) -> None:
        self.leave(name)
        self.unwanted.add(name)

    def interface_changed(self, name: str, interface: Interface | None) -> None:
        """They are not looked at here."""

    async def apply(self, family: Family, *, make: bool = True) -> None:
        await self.journal.step(f"IPv{family} tunnels made" if make else f"IPv{family} tunnels")

    async def remove(self, family: Family, is_in_use: Callable[[str], bool]) -> None:
        await self.journal.step(f"IPv{family} tunnels removed")


class FakeSysctls(Looking):
    def __init__(self, journal: Journal) -> None:
        super().__init__(journal, "settings")
        self.machine: dict[str, tuple[str, bool]] = {}
        self.of: dict[str, dict[str, str]] = {}
        self.interfaces: dict[str, Interface] = {}
        self.stubborn: set[str] = set()  # interfaces whose settings cannot be written
        self._configured: set[str] = set()

    def desire_global(self, path: str, value: str, *, required: bool = True) -> None:
        self.machine[path] = value, required

    def desire_interface(self, interface: str, values: Mapping[str, str] | None) -> None:
        if values is None:
            self.of.pop(interface, None)
            self._configured.discard(interface)
            return
        if not _INTERFACE.fullmatch(interface) or interface in (".", ".."):
            raise ValueError(f"{interface!r} is no name of an interface")
        for path in values:
            if path.split("/")[-2] != interface:
                raise ValueError(f"{path!r} is no setting of {interface!r}")
        if self.of.get(interface) != values:
            self._configured.discard(interface)
        self.of[interface] = dict(values)

    def interface_changed(self, name: str, interface: Interface | None) -> None:
        old = self.interfaces.get(name)
        if interface is None or old is None or interface.generation != old.generation:
            self._configured.discard(name)
        _note(self.interfaces, name, interface)

    def configured(self, interface: str) -> bool:
        return interface in self._configured

    async def apply(self) -> None:
        await self.journal.step(self.name)
        wanted = self.of.keys() & self.interfaces.keys()
        self._configured |= wanted - self.stubborn
        if wanted & self.stubborn - self._configured:
            raise DataplaneError("a setting cannot be written")


class FakeMonitor:
    """Tells what `change` was told, at once while nobody listens, else to the listener."""

    def __init__(self) -> None:
        self.refresh_seconds = 0.0
        self.interfaces: dict[str, Interface] = {}
        self.watchers: list[Watcher] = []
        self.closed = 0
        self._queue: asyncio.Queue[Changes | DataplaneError] = asyncio.Queue()

    def watch_routes(self, watcher: Watcher) -> None:
        self.watchers.append(watcher)

    def watch_rules(self, watcher: Watcher) -> None:
        self.watchers.append(watcher)

    def take(self, *changes: Interface | str) -> Changes:
        """A name alone: that interface has gone."""
        names = [change for change in changes if isinstance(change, str)]
        for name in names:
            del self.interfaces[name]
        changed = {c.name: c for c in changes if isinstance(c, Interface)}
        self.interfaces.update(changed)
        return Changes(changed, frozenset(names))

    def tell(self, what: Changes | DataplaneError) -> None:
        self._queue.put_nowait(what)

    async def start(self) -> Mapping[str, Interface]:
        return dict(self.interfaces)

    async def run(self, notify: Callable[[Changes], None]) -> NoReturn:
        while True:
            what = await self._queue.get()
            if isinstance(what, DataplaneError):
                raise what
            notify(what)

    def close(self) -> None:
        self.closed += 1


class State(NamedTuple):
    """All that was asked of the drivers."""

    chains: dict[Family, dict[str, dict[str, Chain]]]
    forced: dict[Family, set[tuple[str, str]]]
    ipsets: dict[Family, dict[str, tuple[IpsetType, frozenset[str]]]]
    routes: dict[Family, dict[str, Route]]
    neighbours: dict[str, dict[str, str]]
    sysctls: dict[str, dict[str, str]]
    cluster: dict[Family, dict[str, Route]]
    vteps: dict[Family, dict[str, Vtep]]
    tunnels: dict[str, Tunnel]
    unwanted: set[str]
    peer_addresses: dict[str, frozenset[str]]
    shared_with_bird: set[str]


def _note(known: dict[str, Any], name: str, interface: Interface | None) -> None:
    known.pop(name, None)
    if interface is not None:
        known[name] = interface
