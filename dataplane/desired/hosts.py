"""Host endpoints: which interface is whose, their chains in filter, mangle and raw, and the
dispatch to them.

    in   HostEndpointUpdate, HostEndpointRemove; the host's interfaces
    out  cali-th-…, cali-fh-…, cali-thfw-…, cali-fhfw-…, group chains, cali-{from,to}-host-endpoint,
         cali-{from,to}-hep-forward
         Unwritten     what of this has yet to come into the kernel
         take_touched  whose state may be another one

Which interface an endpoint governs: calc_graph/interfaces.py.  An interface whose name no rule can
say has no endpoint of its own.
Source: projectcalico/calico felix/dataplane/linux/endpoint_mgr.go; section 6.4 of the rules
reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Set

import structlog

from calc_graph.interfaces import govern, safe_interface
from calc_graph.model import HostEndpoint, HostEndpointKey, PolicyKey
from calc_graph.multimap import Multimap
from calc_graph.updates import HostEndpointRemove, HostEndpointUpdate
from dataplane.chains import Chain
from dataplane.desired.shared import SharedChains
from dataplane.desired.sinks import Sinks
from dataplane.desired.unwritten import Unwritten
from dataplane.interfaces import Interface
from dataplane.render.dispatch import (
    host_filter_dispatch,
    host_mangle_dispatch,
    host_raw_dispatch,
)
from dataplane.render.endpoints import (
    EndpointChains,
    host_filter_chains,
    host_mangle_chains,
    host_raw_chains,
)
from dataplane.render.groups import SelectorOf
from dataplane.render.names import ANY_INTERFACE
from dataplane.settings import Settings

log = structlog.get_logger(__name__)

ChainsByTable = dict[str, dict[str, Chain]]  # table -> name -> chain


class Hosts:
    """There are few host endpoints and few host interfaces on one node: everything is made anew
    when one of them changes.
    """

    def __init__(
        self,
        sinks: Sinks,
        settings: Settings,
        selector_of: SelectorOf,
        shared: SharedChains,
        unwritten: Unwritten,
    ) -> None:
        self._sinks = sinks
        self._settings = settings
        self._selector_of = selector_of
        self._shared = shared
        self._unwritten = unwritten
        self._all: dict[HostEndpointKey, HostEndpointUpdate] = {}
        self._interfaces: dict[str, frozenset[str]] = {}  # host interface -> its addresses
        self._up: set[str] = set()  # of these
        self._offered: ChainsByTable = {}
        self._dirty = True
        self.governed: dict[str, HostEndpointUpdate] = {}  # interface, or ANY_INTERFACE -> endpoint
        self._governs: Multimap[HostEndpointKey, str] = Multimap()  # the other way round
        self._chains_of: dict[str, dict[str, EndpointChains]] = {}  # by interface and table
        self._told = False  # states may be others since the last resolve
        self._gone: set[HostEndpointKey] = set()
        self._touched: set[HostEndpointKey] = set()

    def update(self, event: HostEndpointUpdate | HostEndpointRemove) -> None:
        if isinstance(event, HostEndpointUpdate):
            self._all[event.key] = event
        else:
            del self._all[event.key]
            self._gone.add(event.key)
        self._dirty = self._told = True

    def policy_regrouped(self, key: PolicyKey) -> None:
        if any(key in _policies_of(event) for event in self._all.values()):
            self._dirty = self._told = True

    def interfaces_changed(self, interfaces: Iterable[Interface]) -> None:
        """`interfaces` are all there are."""
        prefixes = self._settings.render.interface_prefixes
        ours = [i for i in interfaces if not i.name.startswith(prefixes) and safe_interface(i.name)]
        now = {i.name: i.addresses for i in ours}
        up = {i.name for i in ours if i.up}
        self._dirty |= now != self._interfaces
        self._told |= self._dirty or up != self._up
        self._interfaces, self._up = now, up

    def unmatched(self) -> list[HostEndpointKey]:
        """The endpoints that govern no interface."""
        at_work = {event.key for event in self.governed.values()}
        return sorted(self._all.keys() - at_work)

    def endpoint(self, key: HostEndpointKey) -> HostEndpoint | None:
        """As last told; None for one that is gone."""
        event = self._all.get(key)
        return None if event is None else event.endpoint

    def governed_by(self, key: HostEndpointKey) -> Set[str]:
        """Interfaces, ANY_INTERFACE among them."""
        return self._governs.get(key)

    def take_touched(self, written: Iterable[str]) -> set[HostEndpointKey]:
        """Those of which something was resolved since the last time, and those that govern an
        interface of which something was `written`; none if more was told since.
        """
        touched = self._touched
        touched |= {self.governed[name].key for name in written if name in self.governed}
        if self._told:
            return set()
        self._touched = set()
        return touched

    def resolve(self) -> None:
        if self._told:
            self._touched |= self._all.keys() | self._gone
            self._gone.clear()
            self._told = False
        if not self._dirty:
            return
        self._dirty = False
        self.governed = self._assign()
        self._governs = Multimap()
        for interface, event in self.governed.items():
            self._governs.add(event.key, interface)
        rendered = self._render()
        wanted = {table: chains for table, (chains, _) in rendered.items()}
        for table, (_, groups) in rendered.items():
            self._shared.place(table, "host endpoints", groups)
        for table, chains in self._offered.items():
            for name in chains.keys() - wanted.get(table, {}).keys():
                for tables in self._sinks.tables.values():
                    tables.drop_chain(table, name)
        for table, chains in wanted.items():
            known = self._offered.get(table, {})
            for name, chain in chains.items():
                if known.get(name) != chain:
                    for tables in self._sinks.tables.values():
                        tables.desire_chain(table, chain)
        self._offered = wanted

    def _assign(self) -> dict[str, HostEndpointUpdate]:
        governed, others = govern(self._all.values(), self._interfaces)
        if others is not None:
            governed[ANY_INTERFACE] = others
        return governed

    def _render(self) -> dict[str, tuple[dict[str, Chain], list[Chain]]]:
        """By table: chains of our own by name, and group chains."""
        rendered: dict[str, tuple[dict[str, Chain], list[Chain]]] = {}
        for table, chains in self._dispatch().items():
            rendered[table] = ({chain.name: chain for chain in chains}, [])
        before, self._chains_of = self._chains_of, {}
        for interface, event in sorted(self.governed.items()):
            chains_of = self._chains_of[interface] = self._chains(interface, event)
            if chains_of != before.get(interface):
                self._unwritten.chains(interface, chains_of)
            for table, endpoint_chains in chains_of.items():
                own, groups = rendered[table]
                own |= {chain.name: chain for chain in endpoint_chains.chains}
                groups += endpoint_chains.groups
        return rendered

    def _chains(self, interface: str, event: HostEndpointUpdate) -> dict[str, EndpointChains]:
        render, selector_of = self._settings.render, self._selector_of
        rendered = {
            "filter": host_filter_chains(
                interface, event.endpoint, event.tiers, event.forward, selector_of, render
            ),
            "mangle": host_mangle_chains(
                interface, event.endpoint, event.tiers, event.pre_dnat, selector_of, render
            ),
        }
        if interface != ANY_INTERFACE:
            rendered["raw"] = host_raw_chains(interface, event.untracked, selector_of, render)
        elif event.untracked:
            log.warning("host_endpoint.untracked_ignored", endpoint=event.key.name, interface="*")
        return rendered

    def _dispatch(self) -> dict[str, tuple[Chain, ...]]:
        names = [name for name in self.governed if name != ANY_INTERFACE]
        wildcard = self.governed.get(ANY_INTERFACE)
        return {
            "filter": host_filter_dispatch(names, wildcard=wildcard is not None),
            "mangle": host_mangle_dispatch(
                [name for name in names if self.governed[name].pre_dnat],
                names,
                self._settings.render,
                pre_dnat_wildcard=bool(wildcard and wildcard.pre_dnat),
                egress_wildcard=wildcard is not None,
            ),
            "raw": host_raw_dispatch(name for name in names if self.governed[name].untracked),
        }


def _policies_of(event: HostEndpointUpdate) -> set[PolicyKey]:
    lists = (event.tiers, event.forward, event.pre_dnat, event.untracked)
    return {key for tiers in lists for t in tiers for key in (*t.ingress, *t.egress)}
