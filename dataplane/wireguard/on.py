"""One family that WireGuard is on for: what the mesh wants, handed to the drivers in its order.

    add            what the device has is known -> one of another name goes, whose port it takes ->
                   peers and AllowedIPs that come
    lead           routes that come or change, but for those that open -> the rule
    (here the main table is written: a net that comes is never there first, one that goes last)
    take away      routes that go or open -> AllowedIPs that move to who is not ready -> AllowedIPs
                   and peers that go

A route opens that leaves its net to the main table: that has to know better by then (`Turns`).

What the host itself says asks the table only once the device has an address to say it from: without
one the answers would not come back.  Until then it takes the way it would without WireGuard, unless
anything at all is to be kept from going in clear; then it is lost.  Once it has asked it always
does.

Each step asks the mesh again, with what the kernel has taken in the steps before it.

A device that is not up is none: the kernel drops its routes when it goes down.  Where this kernel
has no WireGuard, table and rule are there only if something is to be unreachable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from dataplane.families import Family, family_of
from dataplane.interfaces import Interface
from dataplane.parts import Step
from dataplane.settings import Settings
from dataplane.wireguard.mesh import Event, Mesh
from dataplane.wireguard.sinks import Formers, Peers, Table
from dataplane.wireguard.state import Asking, DeviceState, RouteKind, shown
from dataplane.wireguard.status import HELD, FamilyStatus, family_status
from dataplane.wireguard.turns import Turns


class On:
    """`unavailable` says why this kernel cannot have the device, "" if it can."""

    def __init__(
        self,
        family: Family,
        settings: Settings,
        peers: Peers,
        table: Table,
        former: Formers,
        unavailable: Callable[[], str],
    ) -> None:
        self._family: Family = family
        self._hostname = settings.hostname
        self._name = settings.wireguard.device_of(family)
        self._peers = peers
        self._table = table
        self._former = former
        self._link_unavailable = unavailable
        self._mesh = Mesh(family, settings.hostname, settings.wireguard)
        self._device: Interface | None = None
        self._adopted = False  # the mesh knows what an agent before this one has left
        self._shown = True  # the table holds what the mesh wants
        self._turns = Turns()
        self._host_asks = False
        self._again = False  # the last step has made work for another round

    # ------------------------------------------------------------ told

    def update(self, event: Event) -> None:
        self._mesh.update(event)

    def interface_changed(self, name: str, interface: Interface | None) -> None:
        self._peers.interface_changed(name, interface)
        self._table.interface_changed(name, interface)
        if name == self._name:
            self._device = interface

    def set_refresh(self, seconds: float) -> None:
        self._peers.refresh_seconds = seconds
        self._table.set_refresh(seconds)

    # ------------------------------------------------------------ asked

    @property
    def device_goes(self) -> bool:
        return False

    @property
    def written(self) -> int:
        return self._peers.written + self._table.written

    @property
    def unavailable(self) -> str:
        return self._link_unavailable() or self._peers.unavailable

    @property
    def key(self) -> str | None:
        """What is to be published; None: as yet unknown, so what is published may stay."""
        if self.unavailable:
            return ""
        state = self._peers.state
        return None if state is None or state.public_key is None else shown(state.public_key)

    def problems(self) -> dict[str, str]:
        found = {f"{self._name} to {n}": text for n, text in self._mesh.problems().items()}
        found |= self._peers.problems()
        reason = self.unavailable
        # what holds it back says so itself
        return found | ({self._name: reason} if reason not in ("", HELD) else {})

    def known(self) -> FamilyStatus:
        """As of the last look, without what has left in clear."""
        return self._status(self._peers.state, {})

    async def status(self, clear: Mapping[str, tuple[int, int]]) -> FamilyStatus:
        """`clear`: packets and bytes that have left in clear, by net.  Raises DataplaneError."""
        return self._status(await self._peers.look(), clear)

    def _status(
        self, state: DeviceState | None, clear: Mapping[str, tuple[int, int]]
    ) -> FamilyStatus:
        return family_status(self._family, self._name, self.unavailable, self._mesh, state, clear)

    # ------------------------------------------------------------ looks

    def next_check(self) -> float:
        if self._again:
            return 0.0
        return min(self._peers.next_check(), self._table.next_check())

    async def check(self) -> bool:
        now = asyncio.get_running_loop().time()
        found, self._again = self._again, False
        if self._peers.next_check() <= now:
            found |= await self._peers.check()
        if self._table.next_check() <= now:
            found |= await self._table.check()
        return found or self._has_answered()

    def _has_answered(self) -> bool:
        """Whether a peer is ready by now: whoever asked for the status may have found that out."""
        state = self._usable()
        peers = {} if state is None else state.peers
        return any(key in peers and peers[key].handshake for key in self._mesh.waiting)

    # ------------------------------------------------------------ writing

    async def before(self, step: Step) -> bool:
        """What comes before the main table; whether that may lead to other nodes now.

        It may not while this family's table is not as it should be and anything is to be kept from
        going in clear: where the table does not say so, only the main table does not know the way.
        """
        self._again = False
        peers = f"IPv{self._family} WireGuard peers"
        if not self._adopted and not await step(peers, self._adopt()):
            return not self._mesh.keeps_from_clear
        await step(peers, self._add())
        led = await step(f"IPv{self._family} WireGuard routes", self._lead())
        return led or not self._mesh.keeps_from_clear

    async def after(self, step: Step) -> None:
        """What comes once nothing of the main table is to be written any more."""
        if not self._adopted:
            return
        if await step(f"IPv{self._family} WireGuard routes", self._take_routes_away()):
            await step(f"IPv{self._family} WireGuard peers", self._take_peers_away())

    async def _adopt(self) -> None:
        """Until this has come to its end nothing is written: it would open what is closed."""
        found = await self._table.read()
        asking = await self._table.asking()
        self._mesh.adopt(found)
        self._turns.adopt(found, asked=asking != "nobody")
        self._host_asks = asking == "everything"
        for net, kind in found.items():
            self._table.desire(net, kind)
        await self._peers.look()
        self._resolve()
        for net in found.keys() - self._mesh.routes.keys():
            self._hand(net, None)
        self._adopted = True

    async def _add(self) -> None:
        if self._is_up() and not self.unavailable:
            await self._former.remove()
        self._resolve()
        await self._peers.apply_additions()

    async def _lead(self) -> None:
        self._resolve()
        if not self._is_needed() and not self._turns.opens:
            await self._hide()
            return
        if not self._shown:
            self._shown = True
            for net, kind in self._mesh.routes.items():
                self._hand(net, kind)
        await self._table.write_routes()
        await self._table.ask(self._asking())
        self._turns.asked()

    async def _take_routes_away(self) -> None:
        self._turns.settled(self._mesh.nets(self._hostname))
        for net, kind in self._turns.later().items():
            self._table.desire(net, kind)
        if self._shown:
            await self._table.write_routes()
        self._mesh.routes_written()
        if not self._is_needed():
            await self._hide()

    async def _take_peers_away(self) -> None:
        self._again = self._resolve()
        await self._peers.apply_additions()
        await self._peers.apply_removals()
        self._again |= self._resolve()

    def _resolve(self) -> bool:
        """Hand over what the mesh makes of what the device holds; whether routes are different."""
        self._mesh.observe(self._usable())
        changed = self._mesh.resolve()
        if self._shown:
            for net, kind in changed.items():
                self._hand(net, kind)
        peers = self._mesh.take_peers()
        if peers is not None:
            self._peers.desire(peers)
        self._peers.watch(self._mesh.waiting)
        return bool(changed)

    def _hand(self, net: str, kind: RouteKind | None) -> None:
        if self._turns.change(net, kind, ours=self._mesh.is_ours(net)):
            self._table.desire(net, kind)

    def _asking(self) -> Asking:
        self._host_asks |= self._has_address() or self._mesh.keeps_from_clear
        return "everything" if self._host_asks else "forwarded"

    def _has_address(self) -> bool:
        addresses = () if self._device is None else self._device.addresses
        return any(
            family_of(address) == self._family and not address.startswith("fe80:")
            for address in addresses
        )

    def _usable(self) -> DeviceState | None:
        return self._peers.state if self._is_up() else None

    def _is_up(self) -> bool:
        return self._device is not None and self._device.up

    def _is_needed(self) -> bool:
        return not self.unavailable or self._mesh.closes

    async def _hide(self) -> None:
        await self._table.ask("nobody")
        self._host_asks = False
        if self._shown:
            self._shown = False
            for net in self._turns.clear():
                self._table.desire(net, None)
            await self._table.write_routes()
