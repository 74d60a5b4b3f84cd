"""What the mesh wants, handed to the drivers and tables, and what there is, handed to the mesh.

    in   the mesh's changes; what drivers have come to observe; the key ring
    out  wishes for states, policies and routes; the keys that states are made from

A route goes later than what else is no longer wished for: until `let_go` it stays.
"""

from __future__ import annotations

from collections.abc import Mapping

from dataplane.families import Family
from dataplane.ipsec.driver import IpsecDriver
from dataplane.ipsec.keys import Algorithm, Key, KeyRing
from dataplane.ipsec.mesh import Mesh
from dataplane.ipsec.table import IpsecTable


class Handover:
    def __init__(
        self,
        mesh: Mesh,
        drivers: Mapping[Family, IpsecDriver],
        tables: Mapping[Family, IpsecTable],
    ) -> None:
        self.due = float("inf")  # when the mesh is to be asked again
        self.ring: KeyRing | None = None
        self._mesh = mesh
        self._drivers = drivers
        self._tables = tables
        self._keys: dict[int, Key] = {}  # that states are made from
        self._leaving: dict[Family, set[str]] = {family: set() for family in drivers}  # nets

    @property
    def algorithms(self) -> frozenset[Algorithm]:
        """What packets may be encrypted with."""
        keys = (*(self.ring or {}).values(), *self._keys.values())
        return frozenset(key.algorithm for key in keys)

    def settle(self, family: Family, now: float) -> bool:
        """Hand over what the mesh makes of what there is, until it is at rest; whether there was
        anything.  `now`: the event loop's time.
        """
        driver, table = self._drivers[family], self._tables[family]
        leaving = self._leaving[family]
        any_change = False
        while True:
            self.due = self._mesh.resolve(now)
            self._hold_keys()
            changes = self._mesh.take_changes(family)
            driver.desire(changes.states, changes.policies)
            routes = changes.routes
            nets = {net: node for net, node in routes.items() if node is not None}
            leaving |= routes.keys() - nets.keys()
            leaving -= nets.keys()
            table.desire(nets)
            states, policies = driver.take_observed()
            self._mesh.observe(family, states, policies)
            if not (changes.states or changes.policies or routes or states or policies):
                return any_change
            any_change = True

    def let_go(self, family: Family) -> None:
        """Of routes to nets that have gone."""
        self._tables[family].let_go(self._leaving[family])
        self._leaving[family].clear()

    def _hold_keys(self) -> None:
        """A key that has left the ring is kept for as long as states are wished for with it; and of
        an ID that stands for another key by now, that one.
        """
        known = [*self._keys.values(), *(self.ring or {}).values()]
        alive = self._mesh.alive
        held = {key.id: key for key in known if alive.get(key.id) == key.check}
        if held != self._keys:
            self._keys = held
            for driver in self._drivers.values():
                driver.offer_keys(KeyRing(held.values()))
