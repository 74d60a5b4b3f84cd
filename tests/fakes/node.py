"""A dataplane over drivers that only remember: told of updates and interfaces, asked what it wants.

node = FakeNode()
node.has(eth0)                        interfaces that are there, or come and change
node.desire(PolicyUpdate(…), …)
node.resolve()                        nothing that is referred to may be missing
node.tables[4].chains["filter"]
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import cast
from unittest import mock

from calc_graph.updates import Update
from dataplane.chains import Chain
from dataplane.dataplane import Dataplane
from dataplane.drivers.iptables.driver import IptablesDriver
from dataplane.families import Family
from dataplane.interfaces import Interface, InterfaceMonitor
from dataplane.settings import Settings
from tests.fakes.drivers import (
    FakeIpsets,
    FakeLinks,
    FakeMonitor,
    FakeNeighbours,
    FakePeerAddresses,
    FakeRoutes,
    FakeSysctls,
    FakeTables,
    FakeVteps,
    Journal,
    State,
)
from tests.fakes.wireguard import FakePeers, NoFormer, SilentTable

_indexes = itertools.count(2)


def interface(
    name: str, *addresses: str, index: int = 0, up: bool = True, generation: int = 0
) -> Interface:
    """With an index of its own, higher than all before, unless one is given."""
    number = index or next(_indexes)
    return Interface(name, number, up, frozenset(addresses), generation or number)


class FakeNode:
    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings("here")
        families: tuple[Family, ...] = (4, 6) if self.settings.ipv6 else (4,)
        self.journal = journal = Journal()
        self.monitor = FakeMonitor()
        self.tables = {family: FakeTables(journal, family) for family in families}
        self.wakes = 0
        wireguard = mock.patch.multiple(
            "dataplane.wireguard.wireguard",
            WireguardDriver=partial(FakePeers, journal),
            WireguardTable=partial(SilentTable, journal),
            Former=NoFormer,
        )
        with (
            wireguard,
            mock.patch.multiple(
                "dataplane.drivers.drivers",
                IpsetDriver=partial(FakeIpsets, journal),
                RouteDriver=partial(FakeRoutes, journal),
                NeighbourDriver=partial(FakeNeighbours, journal),
                SysctlDriver=partial(FakeSysctls, journal),
                VtepDriver=partial(FakeVteps, journal),
                LinkDriver=partial(FakeLinks, journal),
                PeerAddressDriver=partial(FakePeerAddresses, journal),
            ),
        ):
            self.dataplane = Dataplane(
                self.settings,
                cast(dict[Family, IptablesDriver], self.tables),
                cast(InterfaceMonitor, self.monitor),
                self._wake,
            )
        self.desired = self.dataplane._desired
        drivers = self.dataplane._drivers
        self.ipsets = cast(dict[Family, FakeIpsets], drivers.ipsets)
        self.routes = cast(dict[Family, FakeRoutes], drivers.routes)
        self.neighbours = cast(FakeNeighbours, drivers.neighbours)
        self.sysctls = cast(FakeSysctls, drivers.sysctls)
        self.vteps = cast(dict[Family, FakeVteps], drivers.vteps)
        self.links = cast(FakeLinks, drivers.links)
        self.peer_addresses = cast(FakePeerAddresses, drivers.peer_addresses)
        self.peers = cast(dict[Family, FakePeers], drivers.wireguard._drivers)
        self.wireguard_tables = cast(dict[Family, SilentTable], drivers.wireguard._tables)

    def _wake(self) -> None:
        self.wakes += 1

    # ------------------------------------------------------------ telling

    def desire(self, *updates: Update) -> None:
        self.dataplane.desire(updates)

    def has(self, *changes: Interface | str) -> None:
        """An interface as it now is, or the name of one that has gone."""
        self.dataplane._note_interfaces(self.monitor.take(*changes))

    def resolve(self) -> None:
        self.dataplane._resolve()
        self.check_nothing_is_missing()

    def told(self, *updates: Update) -> None:
        self.desire(*updates)
        self.resolve()

    # ------------------------------------------------------------ asking

    @property
    def problems(self) -> dict[str, str]:
        return self.dataplane._refused()

    def chain(self, name: str, table: str = "filter", family: Family = 4) -> tuple[str, ...]:
        return self.tables[family].chains[table][name].rules

    def names(self, start: str, table: str = "filter", family: Family = 4) -> set[str]:
        """The chains whose names begin like this."""
        return {name for name in self.tables[family].chains[table] if name.startswith(start)}

    def members(self, name: str) -> frozenset[str]:
        """Of a set of any family, by the name that the kernel has."""
        family: Family = 6 if name.startswith("cali6") else 4
        return self.ipsets[family].sets[name][1]

    def check_nothing_is_missing(self) -> None:
        """Every chain that a rule in force leads to is there, and every set that it asks."""
        for family, tables in self.tables.items():
            missing = tables.ipsets() - self.ipsets[family].sets.keys()
            assert not missing, f"IPv{family}: rules ask sets that are not there: {missing}"

    def state(self) -> State:
        def chains(family: Family) -> dict[str, dict[str, Chain]]:
            return {table: dict(c) for table, c in self.tables[family].chains.items()}

        return State(
            {family: chains(family) for family in self.tables},
            {family: set(tables.forced) for family, tables in self.tables.items()},
            {family: dict(driver.sets) for family, driver in self.ipsets.items()},
            {family: dict(driver.routes) for family, driver in self.routes.items()},
            {name: dict(e) for name, e in self.neighbours.entries.items() if e},
            {name: dict(v) for name, v in self.sysctls.of.items()},
            {family: dict(driver.cluster) for family, driver in self.routes.items()},
            {family: dict(driver.vteps) for family, driver in self.vteps.items()},
            dict(self.links.tunnels),
            set(self.links.unwanted),
            dict(self.peer_addresses.addresses),
            set(self.routes[4].shared_with_bird),
        )
