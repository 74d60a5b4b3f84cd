"""This machine as it is now: its interfaces, and the flows that keep it manageable.

Only the network namespace of this process is looked at.  Reading takes some milliseconds, most of
them for the names of all processes, in a thread; so an answer is good for AGE seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from calc_graph.judge import Address, HostView
from dataplane.errors import DataplaneError
from dataplane.interfaces import InterfaceMonitor
from dataplane.netlink import ROUTE, NetlinkError, Socket
from dataplane.rtnetlink import FAMILIES
from dataplane.settings import Settings
from felixpy.judging import host_view
from felixpy.lockout import flows, wire
from felixpy.lockout.daemons import PROC, Held, read_held
from felixpy.lockout.flows import BGP_PORT, SSH_PORT, Connection, Essential
from felixpy.lockout.wire import ESTABLISHED, LISTEN, SOCK_DIAG, Gateway, TcpSocket, Way

log = structlog.get_logger(__name__)

AGE: Final = 3.0  # seconds
_ANYWHERE: Final = IPv4Address(
    "192.0.2.1"
)  # for documentation, so only a default route leads there

Asked = Callable[[Connection, str | None], Iterator[Essential]]


class Facts(NamedTuple):
    """The same view object for as long as the interfaces are the same: the judge relies on that."""

    essentials: tuple[Essential, ...] = ()
    view: HostView = HostView()


class Machine:
    """`clock` gives seconds that only grow."""

    def __init__(self, clock: Callable[[], float], proc: Path = PROC) -> None:
        self._clock = clock
        self._proc = proc
        self._datastore: list[TcpSocket] = []  # the last connection: it has to come back, too
        self._facts = Facts()
        self._read_at = float("-inf")
        self._unreadable = ""

    async def read(self, settings: Settings, datastore_ports: Iterable[int]) -> Facts:
        """Not older than AGE.  Where the kernel does not answer, as it was before, and a log line.

        `datastore_ports`: connections of this process to them are those to its datastore.
        """
        if self._clock() - self._read_at < AGE:
            return self._facts
        held = await asyncio.to_thread(read_held, self._proc)
        look = _Look(settings, held)
        try:
            self._datastore = await look.own(datastore_ports) or self._datastore
            facts = await look.facts(self._datastore)
        except DataplaneError as error:
            if str(error) != self._unreadable:
                self._unreadable = str(error)
                log.error("lockout.blind", reason=self._unreadable)
        else:
            self._unreadable = ""
            same = facts.view == self._facts.view
            self._facts = facts._replace(view=self._facts.view) if same else facts
        finally:
            look.close()
        self._read_at = self._clock()
        return self._facts


class _Look:
    """One reading.  Its methods raise DataplaneError."""

    def __init__(self, settings: Settings, held: Held) -> None:
        self._workloads = settings.render.interface_prefixes
        self._held = held
        self._monitor = InterfaceMonitor(settings)
        self._sockets = Socket(SOCK_DIAG)
        self._routes = Socket(ROUTE)
        self._names: dict[int, str] = {}
        self._hops: dict[Gateway, None] = {}  # of IPv6, that essential flows need

    def close(self) -> None:
        self._monitor.close()
        self._sockets.close()
        self._routes.close()

    async def facts(self, datastore: Iterable[TcpSocket]) -> Facts:
        interfaces = await self._monitor.start()
        self._names = {interface.index: name for name, interface in interfaces.items()}
        found: list[Essential] = []
        for asked, sockets in (
            (flows.ssh, _one_of_each_client(await self._ssh())),
            (flows.bgp, _one_of_each_client(await self._list(ESTABLISHED, BGP_PORT))),
            (flows.bgp, await self._list(ESTABLISHED, remote_port=BGP_PORT)),
            (flows.datastore, datastore),
        ):
            for each in sockets:
                found += await self._ask(asked, Connection(*each[:4]), each.device)
        found += await self._neighbours()
        return Facts(tuple(dict.fromkeys(found)), host_view(interfaces.values()))

    # ---------------------------------------------------------------- sockets

    async def _ssh(self) -> list[TcpSocket]:
        """Port 22 counts whoever listens there: in a container the daemons may not be seen."""
        listeners = await self._list(LISTEN)
        ports = {s.local_port for s in listeners if s.inode in self._held.ssh}
        ports |= {s.local_port for s in listeners if s.local_port == SSH_PORT}
        found = [s for port in sorted(ports) for s in await self._list(ESTABLISHED, port)]
        handed_on = {s.local_port for s in listeners if s.inode in self._held.init} - ports
        for port in sorted(handed_on):
            connections = await self._list(ESTABLISHED, port)
            found += [s for s in connections if s.inode in self._held.ssh]
        # without an inode nobody has accepted it yet
        return [s for s in found if s.inode and s.inode not in self._held.strangers]

    async def own(self, datastore_ports: Iterable[int]) -> list[TcpSocket]:
        ports = sorted(set(datastore_ports))
        found = [s for port in ports for s in await self._list(ESTABLISHED, remote_port=port)]
        return [s for s in found if s.inode in self._held.own]

    async def _list(self, state: int, local_port: int = 0, remote_port: int = 0) -> list[TcpSocket]:
        found: list[TcpSocket] = []
        for family in FAMILIES:
            request = wire.list_tcp(family, state, local_port=local_port, remote_port=remote_port)
            messages = await self._sockets.query(request, "listing TCP sockets")
            found += [wire.parse_tcp(message.body) for message in messages]
        return found

    # ---------------------------------------------------------------- where they lead

    async def _ask(self, asked: Asked, connection: Connection, device: int) -> list[Essential]:
        way = await self._way(connection.remote, connection.local, device)
        if way is None:
            return []
        if way.local:
            return list(asked(connection, None))
        interface = self._interface(way.device)
        if not interface:
            return []
        hop = way.gateway or connection.remote
        if isinstance(hop, IPv6Address):
            self._hops[Gateway(way.device, hop)] = None
        return list(asked(connection, interface))

    async def _way(
        self, destination: Address, source: Address | None = None, device: int = 0
    ) -> Way | None:
        """None where no route leads there."""
        request = wire.look_up(destination, source, device)
        try:
            answers = await self._routes.query(request, f"looking up the route to {destination}")
        except NetlinkError:
            return None
        return wire.parse_way(answers[0].body) if answers else None

    def _interface(self, device: int) -> str:
        """ "" for those of workloads, where no host endpoint stands."""
        name = self._names.get(device, "")
        return "" if name.startswith(self._workloads) else name

    async def _neighbours(self) -> list[Essential]:
        """Of the next hops to everybody who talks to us by IPv6.

        Those of the default routes only where there is none of IPv4: policy that was written for
        Felix often forgets neighbour discovery, and where nobody needs IPv6 nobody is locked out.
        """
        if await self._way(_ANYWHERE) is None:
            for gateway in await self._gateways():
                self._hops[gateway] = None
        found: list[Essential] = []
        for hop in self._hops:
            interface = self._interface(hop.device)
            way = await self._way(hop.address, device=hop.device)
            if interface and way is not None and isinstance(way.source, IPv6Address):
                found += flows.neighbour(hop.address, way.source, interface)
        return found

    async def _gateways(self) -> list[Gateway]:
        try:
            messages = await self._routes.query(wire.list_ipv6_routes(), "listing IPv6 routes")
        except NetlinkError:
            return []  # a kernel without IPv6, or without a route of it
        return [gateway for m in messages for gateway in wire.parse_gateways(m.body)]


def _one_of_each_client(sockets: Iterable[TcpSocket]) -> list[TcpSocket]:
    """Several connections of one client to one port are one question, and always the same one."""
    found: dict[tuple[Address, int, Address], TcpSocket] = {}
    for each in sorted(sockets, key=lambda socket: socket.remote_port):
        found.setdefault((each.local, each.local_port, each.remote), each)
    return list(found.values())
