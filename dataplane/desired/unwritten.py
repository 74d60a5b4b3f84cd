"""What of the endpoints is desired and may not be in the kernel yet, by the step that writes it.

    in   chains, route, neighbour    something of an interface's endpoint is to be written
         begin, end                  a step writes; what of it has failed
    out  has                         whether something of an interface is still to be written
         take_written                interfaces of which something has been written

A step that fails keeps what it was to write and has not written, and nothing else: endpoints that
are in force stay so, and a route that the kernel refuses holds back the one endpoint that needs it.
Of refused chains only those endpoints have to wait whose chains lead to one; the table driver
writes the others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TypeAlias

from dataplane.families import Family
from dataplane.render import names
from dataplane.render.endpoints import EndpointChains

ChainsOf: TypeAlias = Mapping[str, EndpointChains]  # by table

NEIGHBOURS = "neighbours"
_DISPATCH = (
    names.FROM_WORKLOAD_DISPATCH,
    names.TO_WORKLOAD_DISPATCH,
    names.FROM_HOST_DISPATCH,
    names.TO_HOST_DISPATCH,
    names.FROM_HOST_FORWARD_DISPATCH,
    names.TO_HOST_FORWARD_DISPATCH,
)
_NO_CHAINS: ChainsOf = {}


def tables_step(family: Family) -> str:
    return f"IPv{family} tables"


def routes_step(family: Family) -> str:
    return f"IPv{family} routes"


class Unwritten:
    def __init__(self, families: Iterable[Family]) -> None:
        self._tables = tuple(tables_step(family) for family in families)
        self._waiting: dict[str, dict[str, ChainsOf]] = {}  # step -> interface -> its chains
        self._written: set[str] = set()

    def chains(self, interface: str, chains: ChainsOf) -> None:
        """These are its chains now, in both families, and the dispatch is to lead to them."""
        for step in self._tables:
            self._waiting.setdefault(step, {})[interface] = chains

    def route(self, family: Family, interface: str) -> None:
        self._waiting.setdefault(routes_step(family), {})[interface] = _NO_CHAINS

    def neighbour(self, interface: str) -> None:
        self._waiting.setdefault(NEIGHBOURS, {})[interface] = _NO_CHAINS

    def has(self, interface: str) -> bool:
        return any(interface in waiting for waiting in self._waiting.values())

    def begin(self, step: str) -> dict[str, ChainsOf]:
        """What the step is about to write, for `end`; what comes meanwhile is for the next time."""
        return self._waiting.pop(step, {})

    def end(
        self, step: str, begun: dict[str, ChainsOf], missing: Collection[str] = frozenset()
    ) -> None:
        """All of it has been written but what concerns the interfaces that are `missing`."""
        self._keep(step, {i: chains for i, chains in begun.items() if i in missing})
        self._written |= begun.keys() - set(missing)

    def end_refused(
        self, step: str, begun: dict[str, ChainsOf], refused: Collection[tuple[str, str]]
    ) -> None:
        """All of it has been written but what leads to these (table, chain)."""
        closed = any(chain.startswith(_DISPATCH) for _, chain in refused)
        kept = {i: chains for i, chains in begun.items() if closed or _leads_to(chains, refused)}
        self._keep(step, kept)
        self._written |= begun.keys() - kept.keys()

    def take_written(self) -> set[str]:
        written, self._written = self._written, set()
        return written

    def _keep(self, step: str, begun: dict[str, ChainsOf]) -> None:
        if begun:
            begun.update(self._waiting.get(step, {}))
            self._waiting[step] = begun


def _leads_to(chains: ChainsOf, refused: Collection[tuple[str, str]]) -> bool:
    """A policy is two jumps away at most: endpoint, group, policy."""
    return any(
        (table, name) in refused
        for table, rendered in chains.items()
        for chain in (*rendered.chains, *rendered.groups)
        for name in (chain.name, *chain.targets())
    )
