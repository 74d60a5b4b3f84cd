"""Chains that several endpoints use: offered with the first user, dropped with the last.

A group of policies is one chain for every endpoint, workload or host, to which the same policies
apply.
"""

from __future__ import annotations

from collections.abc import Iterable

from calc_graph.multimap import Multimap
from dataplane.chains import Chain
from dataplane.desired.sinks import Sinks


class SharedChains:
    def __init__(self, sinks: Sinks) -> None:
        self._sinks = sinks
        self._names: dict[tuple[str, str], frozenset[str]] = {}  # table, owner -> chains
        self._users: Multimap[tuple[str, str], str] = Multimap()  # table, chain -> owners

    def place(self, table: str, owner: str, chains: Iterable[Chain]) -> None:
        """Make `chains` all that the owner uses in this table."""
        before = self._names.pop((table, owner), frozenset())
        after = set()
        for chain in chains:
            after.add(chain.name)
            self._users.add((table, chain.name), owner)
            for tables in self._sinks.tables.values():
                tables.desire_chain(table, chain)
        if after:
            self._names[table, owner] = frozenset(after)
        for name in before - after:
            self._users.discard((table, name), owner)
            if (table, name) not in self._users:
                for tables in self._sinks.tables.values():
                    tables.drop_chain(table, name)
