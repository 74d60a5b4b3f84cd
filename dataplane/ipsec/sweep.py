"""What is left of IPsec of one family, out of the kernel: for `felixpy cleanup`.

    in   settings, the interfaces there are
    out  Swept: how much there was

It comes once no route leads to workloads any more: nothing is opened that anybody could use.  What
is doubtful stays, and is told.
Source: sections 4.10 and 10.1 of the IPsec reference.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from dataplane.families import Family
from dataplane.interfaces import Interface
from dataplane.ipsec.counts import count_states_and_policies
from dataplane.ipsec.driver import IpsecDriver
from dataplane.ipsec.kernel import open_xfrm
from dataplane.ipsec.plan import (
    REMOVALS_AFTER_ROUTES,
    REMOVALS_BEFORE_MAIN,
    REMOVALS_BEFORE_ROUTES,
)
from dataplane.ipsec.table import IpsecTable
from dataplane.ipsec.uplink import Uplink
from dataplane.settings import Settings


class Swept(Struct, frozen=True):
    """`doubtful`: what may be ours or somebody else's, in words."""

    rules: int
    routes: int
    states: int
    policies: int
    doubtful: tuple[str, ...] = ()


async def sweep(
    family: Family, settings: Settings, interfaces: Mapping[str, Interface], *, dry_run: bool
) -> Swept:
    """Raises DataplaneError."""
    uplink = Uplink(settings.ipsec.interface)
    table = IpsecTable(family, settings, uplink)
    try:
        rules, routes = await table.count()
        if not dry_run:
            await table.remove()
    finally:
        table.close()
        uplink.close()
    if not await count_states_and_policies():
        return Swept(rules, routes, 0, 0)
    return await _sweep_xfrm(family, settings, interfaces, rules, routes, dry_run=dry_run)


async def _sweep_xfrm(
    family: Family,
    settings: Settings,
    interfaces: Mapping[str, Interface],
    rules: int,
    routes: int,
    *,
    dry_run: bool,
) -> Swept:
    kernel = open_xfrm(settings.ipsec.reqid)
    driver = IpsecDriver(family, settings.ipsec.reqid, lambda: kernel)
    try:
        for name, interface in interfaces.items():
            driver.interface_changed(name, interface)
        await driver.adopt()
        states, policies = driver.sizes
        if not dry_run:
            await driver.removals(
                *REMOVALS_BEFORE_MAIN, *REMOVALS_BEFORE_ROUTES, *REMOVALS_AFTER_ROUTES
            )
    finally:
        kernel.close()
    return Swept(rules, routes, states, policies, driver.doubtful)
