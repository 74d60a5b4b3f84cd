"""Everything of ours out of the kernel, and only that: what `felixpy cleanup` does.

Ours are chains by their prefixes and rules by their ids in both backends, IP sets by their names,
and on interfaces of workloads the routes that an agent makes.  Settings of interfaces go with the
interfaces; forwarding stays on, because others may rely on it by now.
"""

from __future__ import annotations

import asyncio
from typing import Literal

from msgspec import Struct

from dataplane.desired.fixed import TABLES
from dataplane.desired.sinks import Family
from dataplane.drivers.ipsets import IpsetDriver
from dataplane.drivers.iptables.sweep import sweep
from dataplane.drivers.routes import RouteDriver
from dataplane.errors import DataplaneError
from dataplane.interfaces import InterfaceMonitor
from dataplane.runner import Runner
from dataplane.settings import Settings

FAMILIES: tuple[Family, ...] = (4, 6)
BACKENDS: tuple[Literal["nft", "legacy"], ...] = ("nft", "legacy")


class Cleaned(Struct, frozen=True):
    """What was there, in figures, and what went wrong; with a dry run nothing was removed."""

    chains: int
    ipsets: int
    routes: int
    errors: tuple[str, ...] = ()


async def clean(settings: Settings, *, dry_run: bool) -> Cleaned:
    """Routes first, so that nothing is led to workloads that no rule guards any more."""
    cleaning = _Cleaning(settings, dry_run=dry_run)
    await cleaning.routes()
    await cleaning.tables()
    await cleaning.ipsets()
    return cleaning.result()


class _Cleaning:
    def __init__(self, settings: Settings, *, dry_run: bool) -> None:
        self._settings = settings
        self._dry_run = dry_run
        self._chains = self._ipsets = self._routes = 0
        self._errors: list[str] = []

    def result(self) -> Cleaned:
        return Cleaned(self._chains, self._ipsets, self._routes, tuple(self._errors))

    async def routes(self) -> None:
        monitor = InterfaceMonitor(self._settings)
        try:
            interfaces = await monitor.start()
            for family in FAMILIES:
                driver = RouteDriver(family, self._settings)
                for name, interface in interfaces.items():
                    driver.interface_changed(name, interface)
                try:
                    self._routes += await driver.remove_everything(dry_run=self._dry_run)
                finally:
                    driver.close()
        except DataplaneError as error:
            self._errors.append(str(error))
        finally:
            monitor.close()

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
