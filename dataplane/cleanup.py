"""Everything of ours out of the kernel, and only that: what `felixpy cleanup` does.

Ours are chains by their prefixes and rules by their ids in both backends, IP sets and VXLAN devices
by their names, routes by our protocol wherever they lead, and on interfaces of workloads and VXLAN
devices those that an agent makes, with the static neighbours that they lead to, and the addresses
that workloads speak BGP with.  tunl0 is set down if routes of ours led over it.  Of WireGuard the
rule goes, then the table that it leads to, then the device with its key.  Settings of interfaces go
with the interfaces; forwarding stays on, because others may rely on it by now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from dataplane.desired.fixed import TABLES
from dataplane.drivers.ipsets import IpsetDriver
from dataplane.drivers.iptables.sweep import sweep
from dataplane.drivers.links import LinkDriver
from dataplane.drivers.neighbours import NeighbourDriver
from dataplane.drivers.peer_addresses import PeerAddressDriver
from dataplane.drivers.routes import RouteDriver
from dataplane.errors import DataplaneError
from dataplane.families import Family
from dataplane.interfaces import Interface, InterfaceMonitor
from dataplane.runner import Runner
from dataplane.settings import IPIP_DEVICE, VXLAN_DEVICES, Settings
from dataplane.wireguard.sweep import sweep as sweep_wireguard

FAMILIES: tuple[Family, ...] = (4, 6)
BACKENDS: tuple[Literal["nft", "legacy"], ...] = ("nft", "legacy")


class Cleaned(Struct, frozen=True):
    """What was there, in figures, and what went wrong; with a dry run nothing was removed."""

    chains: int
    ipsets: int
    routes: int
    neighbours: int
    tunnels: int = 0
    addresses: int = 0
    rules: int = 0
    errors: tuple[str, ...] = ()


async def clean(settings: Settings, *, dry_run: bool) -> Cleaned:
    """Routes and tunnels first, so that nothing is led to workloads or comes from tunnels that no
    rule guards any more.
    """
    cleaning = _Cleaning(settings, dry_run=dry_run)
    await cleaning.routes()
    await cleaning.tables()
    await cleaning.ipsets()
    return cleaning.result()


class _Cleaning:
    def __init__(self, settings: Settings, *, dry_run: bool) -> None:
        self._settings = settings
        self._dry_run = dry_run
        self._chains = self._ipsets = self._routes = self._neighbours = self._tunnels = 0
        self._addresses = self._rules = 0
        self._errors: list[str] = []

    def result(self) -> Cleaned:
        return Cleaned(
            self._chains,
            self._ipsets,
            self._routes,
            self._neighbours,
            self._tunnels,
            self._addresses,
            self._rules,
            tuple(self._errors),
        )

    async def routes(self) -> None:
        """Routes, the static neighbours of the addresses that they lead to, and tunnels."""
        monitor = InterfaceMonitor(self._settings)
        try:
            interfaces = await monitor.start()
            await self._addresses_on(interfaces)
            led_over: set[int] = set()
            for family in FAMILIES:
                led_over |= await self._routes_of(family, interfaces)
            # Only now: what its table does not say, the main one would.
            wireguard = {f: await self._wireguard_of(f, interfaces) for f in FAMILIES}
            await self._tunnels_of(interfaces, led_over, wireguard)
        except DataplaneError as error:
            self._errors.append(str(error))
        finally:
            monitor.close()

    async def _addresses_on(self, interfaces: Mapping[str, Interface]) -> None:
        addresses = PeerAddressDriver(self._settings)
        try:
            for name, interface in interfaces.items():
                addresses.interface_changed(name, interface)
            self._addresses += await addresses.remove_everything(dry_run=self._dry_run)
        finally:
            addresses.close()

    async def _routes_of(self, family: Family, interfaces: Mapping[str, Interface]) -> set[int]:
        """The devices that they have led over."""
        routes, neighbours = RouteDriver(family, self._settings), NeighbourDriver()
        try:
            for name, interface in interfaces.items():
                routes.interface_changed(name, interface)
            removed = await routes.remove_everything(dry_run=self._dry_run)
            self._routes += len(removed)
            behind = {(route.device, route.key.destination) for route in removed}
            self._neighbours += await neighbours.remove(behind, dry_run=self._dry_run)
        finally:
            routes.close()
            neighbours.close()
        return {route.device for route in removed}

    async def _wireguard_of(self, family: Family, interfaces: Mapping[str, Interface]) -> str:
        """Rule and table of WireGuard; the name of its device, "" if there is none of ours."""
        swept = await sweep_wireguard(family, self._settings, interfaces, dry_run=self._dry_run)
        self._rules += swept.rules
        self._routes += swept.routes
        return swept.device

    async def _tunnels_of(
        self,
        interfaces: Mapping[str, Interface],
        led_over: set[int],
        wireguard: Mapping[Family, str],
    ) -> None:
        found = {name: family for family, name in VXLAN_DEVICES.items() if name in interfaces}
        found |= {name: family for family, name in wireguard.items() if name}
        ipip = interfaces.get(IPIP_DEVICE)
        if ipip is not None and ipip.index in led_over:
            found[IPIP_DEVICE] = 4
        self._tunnels += len(found)
        if self._dry_run:
            return
        links = LinkDriver(linger_seconds=0.0)
        try:
            for name, family in found.items():
                links.interface_changed(name, interfaces[name])
                links.discard(name, family)
            for family in FAMILIES:
                await links.remove(family, lambda _: False)
        finally:
            links.close()

    async def tables(self) -> None:
        runner = Runner()
        for family in FAMILIES:
            for backend in BACKENDS:
                try:
                    self._chains += await sweep(
                        backend,
                        family,
                        TABLES,
                        runner,
                        lock_probe_micros=self._settings.lock_probe_micros,
                        dry_run=self._dry_run,
                    )
                except DataplaneError as error:
                    self._errors.append(str(error))

    async def ipsets(self) -> None:
        for family in FAMILIES:
            driver = IpsetDriver(family, self._settings.max_ipset_size)
            try:
                if self._dry_run:
                    self._ipsets += len(await driver.found())
                    continue
                before = len(await driver.found())
                held = await _removed(driver)
                self._ipsets += before - len(held)
                self._errors += [
                    f"IP set {name} is in use by somebody else's rule" for name in held
                ]
            except DataplaneError as error:
                self._errors.append(str(error))
            finally:
                driver.close()


async def _removed(driver: IpsetDriver) -> tuple[str, ...]:
    """The sets that stay: the kernel lets go of a deleted rule's sets only after a moment."""
    for _ in range(20):
        held = await driver.remove_everything()
        if not held:
            break
        await asyncio.sleep(0.05)
    return held
