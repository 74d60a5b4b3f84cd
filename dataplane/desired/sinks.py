"""What the desired state is written to: the faces that drivers show to this package, so that tests
can stand in for them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

from calc_graph.updates import IpsetType
from dataplane.chains import Chain
from dataplane.drivers.route_wishes import Owner, Route
from dataplane.drivers.vteps import Vtep
from dataplane.families import Family
from dataplane.overlay.devices import Tunnel


class Tables(Protocol):
    """The iptables tables of one family."""

    def desire_chain(self, table: str, chain: Chain, *, forced: bool = False) -> None: ...
    def drop_chain(self, table: str, name: str) -> None: ...
    def desire_hook(
        self, table: str, kernel_chain: str, inserts: tuple[str, ...], appends: tuple[str, ...]
    ) -> None: ...


class Ipsets(Protocol):
    """The IP sets of one family."""

    def desire(
        self,
        name: str,
        type: IpsetType,  # noqa: A002
        members: Iterable[str],
        *,
        counters: bool = False,
    ) -> None: ...
    def change(self, name: str, added: Iterable[str], removed: Iterable[str]) -> None: ...
    def drop(self, name: str) -> None: ...


class Routes(Protocol):
    """The routes of one family."""

    def desire(self, dst: str, route: Route | None, owner: Owner = Owner.WORKLOAD) -> None: ...
    def is_written(self, dst: str) -> bool: ...
    def share_with_bird(self, interface: str, *, shared: bool) -> None: ...


class Neighbours(Protocol):
    """Static neighbour entries, both families."""

    def desire(self, interface: str, address: str, mac: str | None) -> None: ...
    def is_written(self, interface: str, address: str) -> bool: ...


class PeerAddresses(Protocol):
    """Addresses of this node on interfaces of workloads, both families."""

    def desire(self, interface: str, addresses: Collection[str]) -> None: ...


class Vteps(Protocol):
    """The ends of VXLAN on other nodes, of one family."""

    def desire(self, node: str, vtep: Vtep | None) -> None: ...


class Links(Protocol):
    """Tunnel devices, both families."""

    def desire(self, tunnel: Tunnel) -> None: ...
    def leave(self, name: str) -> None: ...
    def discard(self, name: str, family: Family) -> None: ...


class Sysctls(Protocol):
    """Settings of the machine and of interfaces, in the order of writing."""

    def desire_global(self, path: str, value: str, *, required: bool = True) -> None: ...
    def desire_interface(self, interface: str, values: Mapping[str, str] | None) -> None: ...


class Sinks(Protocol):
    """Everything of one node, by family where families differ: see drivers.drivers."""

    @property
    def families(self) -> tuple[Family, ...]: ...
    @property
    def tables(self) -> Mapping[Family, Tables]: ...
    @property
    def ipsets(self) -> Mapping[Family, Ipsets]: ...
    @property
    def routes(self) -> Mapping[Family, Routes]: ...
    @property
    def neighbours(self) -> Neighbours: ...
    @property
    def sysctls(self) -> Sysctls: ...
    @property
    def vteps(self) -> Mapping[Family, Vteps]: ...
    @property
    def links(self) -> Links: ...
    @property
    def peer_addresses(self) -> PeerAddresses: ...
