"""The order of writes, and what a failure blocks.

  1  interfaces known                      nothing is written before the monitor has listed them
  2  tables of all families, once          until then nothing below is done: see `_guard`
  3  settings of interfaces and the host   an interface without chains is closed by the dispatch
     and then, for each family by itself:
  4  IP sets made and grown                rules may ask them from now on
  5  tables                                chains and the hooks to them, one transaction a table
  6  tunnel devices and their ends         what guards a tunnel is there before it is
  7  WireGuard's peers, routes, rule       what is to be encrypted finds no other way first
  8  routes, neighbours, addresses         what leads to workloads comes after what judges them
     for workloads that speak BGP
  9  routes and peers of WireGuard, ends   nothing leads over them any more
     and devices removed
 10  IP sets shrunk and destroyed          nothing asks them any more

The tables of IPv6 wait for those of IPv4: the kernel lets a second transaction wait for about 12 ms
while it frees what the first one has deleted, and it must not be chance which family that is.

A step that fails stays pending, is said to be a problem, and is tried again with growing delays.
Without its sets a family's tables stay as they were, and before every table has our hooks nothing
after them is done: what is closed stays closed.  A setting that cannot be written keeps no route
back, because the rules in raw look at sources too.  Without its tables a family gets no new tunnel,
and without its routes it keeps the old ones.  Where a part could not close what must not go in
clear, what would lead to other nodes stays as it is.  A tunnel that this kernel does not have, or
for which something is not known yet, is a problem to be told, and no failure.

WireGuard is a part (parts.py): what stands for it at 7 and 9 are the steps of every part, in the
order in which drivers.drivers has them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from itertools import pairwise
from typing import Any

import structlog

from dataplane.desired.unwritten import NEIGHBOURS, Unwritten, routes_step, tables_step
from dataplane.drivers.drivers import PEER_ADDRESSES, Drivers
from dataplane.drivers.iptables.driver import IptablesDriver
from dataplane.errors import ChainsRefusedError, DataplaneError
from dataplane.families import Family
from dataplane.looks import Looks
from dataplane.mtu_file import MtuFile

log = structlog.get_logger(__name__)


class WriteOrder:
    """`served` is as of desired.desired; `looks` takes what nobody waits for."""

    def __init__(
        self,
        drivers: Drivers,
        mtu_file: MtuFile,
        unwritten: Unwritten,
        served: Mapping[str, Callable[[str], bool]],
        looks: Looks,
    ) -> None:
        self._drivers = drivers
        self._tables = drivers.tables
        self._mtu_file = mtu_file
        self._unwritten = unwritten
        self._served = served
        self._looks = looks
        self._guarded = False  # the tables have been written at least once
        self._guards = {s for f in self._tables for s in (tables_step(f), _sets_step(f))}
        self._failures: dict[str, str] = {}  # step -> what is wrong with it
        self._partly: set[str] = set()  # of these, those that have written what they could
        self.in_force = False  # an apply has had no problem with tables and sets, at least once

    async def write(self) -> dict[str, str]:
        """All that is pending; what has failed, by step."""
        self._failures = {}
        self._partly.clear()
        await self._write()
        # Routes and the like are asked of each endpoint: one that is refused is no other's matter.
        self.in_force |= self._guards.isdisjoint(self._failures)
        return self._failures

    async def _write(self) -> None:
        """In the order of the module's drawing."""
        done: dict[Family, bool] = {}
        if not self._guarded:
            done = await self._guard()
            if not self._guarded:
                return
        await self._step("settings", self._drivers.sysctls.apply())
        await self._step("MTU file", self._mtu_file.apply())
        turns = [asyncio.Event() for _ in range(len(self._tables) + 1)]
        turns[0].set()
        await asyncio.gather(
            *(
                self._write_family(family, *pair, done.get(family))
                for family, pair in zip(self._tables, pairwise(turns), strict=True)
            )
        )

    async def _guard(self) -> dict[Family, bool]:
        """The first rules of all families, side by side; which of them are as they should be."""
        written = await asyncio.gather(*(self._write_rules(family) for family in self._tables))
        if all(tables.guards() for tables in self._tables.values()):
            self._guarded = True
            for family, tables in self._tables.items():
                self._looks.start(f"IPv{family} leftovers", _swept(tables))
        return dict(zip(self._tables, written, strict=True))

    async def _write_family(
        self, family: Family, turn: asyncio.Event, next_turn: asyncio.Event, written: bool | None
    ) -> None:
        """`written`: what has become of its rules already; None where they are still to come."""
        if written is None:
            written = await self._write_rules(family, turn)
        next_turn.set()
        guarded = written or tables_step(family) in self._partly
        await self._step(_tunnels_step(family), self._drivers.links.apply(family, make=guarded))
        await self._step(_ends_step(family), self._drivers.vteps[family].apply_additions())
        opens = [await part.before(family, self._step) for part in self._drivers.parts.values()]
        routes = self._drivers.routes[family].apply(hold=not all(opens))
        routed = await self._step(routes_step(family), routes) and all(opens)
        if family == 4:
            await self._step(NEIGHBOURS, self._drivers.neighbours.apply())
            await self._step(PEER_ADDRESSES, self._drivers.peer_addresses.apply())
        if routed:
            await self._remove_ways(family)
        if written:
            await self._step(_sets_step(family), self._drivers.ipsets[family].apply_removals())

    async def _remove_ways(self, family: Family) -> None:
        for part in self._drivers.parts.values():
            await part.after(family, self._step)
        await self._step(_ends_step(family), self._drivers.vteps[family].apply_removals())
        leads_over = self._drivers.routes[family].leads_over
        await self._step(_tunnels_step(family), self._drivers.links.remove(family, leads_over))

    async def _write_rules(self, family: Family, turn: asyncio.Event | None = None) -> bool:
        """IP sets, then tables when it is their turn; whether the tables are as they should be."""
        name, sets = _sets_step(family), self._drivers.ipsets[family]
        grown = await self._step(name, sets.apply_additions())
        if turn is not None:
            await turn.wait()
        if grown and await self._step(tables_step(family), self._tables[family].apply()):
            return True
        await self._step(name, sets.shrink())  # no permission outlives its reason
        return False

    async def _step(self, name: str, work: Coroutine[Any, Any, None]) -> bool:
        begun = self._unwritten.begin(name)
        try:
            await work
        except DataplaneError as error:
            if isinstance(error, ChainsRefusedError):
                self._unwritten.end_refused(name, begun, error.refused)
                self._partly.add(name)
            else:
                served = self._served.get(name)
                missing = {i for i in begun if served is None or not served(i)}
                self._unwritten.end(name, begun, missing)
            self._failures[name] = str(error)
            log.error("dataplane.step_failed", step=name, reason=str(error))
            return False
        self._unwritten.end(name, begun)
        return True


def _sets_step(family: Family) -> str:
    return f"IPv{family} sets"


def _tunnels_step(family: Family) -> str:
    return f"IPv{family} tunnels"


def _ends_step(family: Family) -> str:
    return f"IPv{family} tunnel ends"


async def _swept(tables: IptablesDriver) -> bool:
    """What an agent on the other backend has left goes once ours is in force.

    True if that may have set IP sets free.
    """
    return await tables.sweep_other_backend() > 0
