"""Workload endpoints: their chains, the dispatch to them, their routes, neighbours and interface
settings.

    in   WorkloadEndpointUpdate, WorkloadEndpointRemove; interfaces as they come, go and change
    out  filter  cali-tw-…, cali-fw-…, group chains, cali-to-wl-dispatch, cali-from-wl-dispatch
                 cali-wl-limit, cali-lw-… where there is a limit to what workloads may always send
         raw     cali-rpf-skip
         nat     cali-fip-dnat, cali-fip-snat
         sets    local-workloads where forged sources are looked for
         routes, static neighbours, interface settings
         addresses for workloads that speak BGP with this node
         Unwritten     what of this has yet to come into the kernel
         take_touched  whose state may be another one

Two endpoints on one interface: the lower key wins, the other waits for it to go.  Two interfaces
with one address: the one with the higher index, which is the newer one, has the route.
Source: projectcalico/calico felix/dataplane/linux/endpoint_mgr.go; section 6.3 of the rules
reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import structlog

from calc_graph.interfaces import safe_interface
from calc_graph.model import NatMapping, PolicyKey, WorkloadEndpoint, WorkloadEndpointKey
from calc_graph.multimap import Multimap
from calc_graph.updates import IpsetType, WorkloadEndpointRemove, WorkloadEndpointUpdate
from dataplane.chains import Chain
from dataplane.desired.policies import DIRECTIONS
from dataplane.desired.sets import of_family
from dataplane.desired.shared import SharedChains
from dataplane.desired.sinks import Sinks
from dataplane.desired.unwritten import Unwritten
from dataplane.drivers.routes import Route
from dataplane.families import Family, family_of
from dataplane.ipsec.switches import policies_count
from dataplane.render.dispatch import limit_dispatch, workload_dispatch
from dataplane.render.endpoints import workload_chains
from dataplane.render.errors import RenderError
from dataplane.render.groups import SelectorOf
from dataplane.render.names import (
    LOCAL_WORKLOADS_SET,
    from_workload,
    ipset_name,
    to_workload,
    workload_limit,
)
from dataplane.render.nat import floating_ip_chains, rpf_skip_chain
from dataplane.render.qos import packet_rate_limit
from dataplane.render.workload_limit import workload_limit_chain
from dataplane.settings import Settings

log = structlog.get_logger(__name__)


class Workloads:
    """`index_of` tells the number of an interface that is there, or None."""

    def __init__(
        self,
        sinks: Sinks,
        settings: Settings,
        selector_of: SelectorOf,
        shared: SharedChains,
        index_of: Callable[[str], int | None],
        unwritten: Unwritten,
    ) -> None:
        self._sinks = sinks
        self._settings = settings
        self._selector_of = selector_of
        self._shared = shared
        self._index_of = index_of
        self._unwritten = unwritten
        self._all: dict[WorkloadEndpointKey, WorkloadEndpointUpdate] = {}
        self._claimants: Multimap[str, WorkloadEndpointKey] = Multimap()  # by interface
        self._on: dict[str, WorkloadEndpointUpdate] = {}  # interface -> whose it is
        self._interfaces_of: Multimap[PolicyKey, str] = Multimap()
        self._dispatch_chains: set[str] = set()
        self._routes: dict[str, frozenset[str]] = {}  # interface -> destinations
        self._claims: Multimap[str, str] = Multimap()  # destination -> interfaces
        self._neighbours: dict[str, frozenset[tuple[str, str]]] = {}  # interface -> (address, MAC)
        self._dirty: set[str] = set()
        self._regrouped: set[str] = set()  # of the dirty ones, those with another group of policies
        self._told: set[WorkloadEndpointKey] = set()  # touched since the last resolve
        self._touched: set[WorkloadEndpointKey] = set()
        self._dispatch_dirty = True
        self._spoof_dirty = True
        self._nat_dirty = True
        self._limited = settings.render.workload_to_host_rate > 0
        self._guarded = settings.render.fabric_spoof_protection != "Off"
        self._local_dirty = self._guarded
        self._refused: dict[WorkloadEndpointKey, WorkloadEndpoint] = {}
        self.problems: dict[WorkloadEndpointKey, str] = {}  # why each of the refused ones is

    def update(self, event: WorkloadEndpointUpdate | WorkloadEndpointRemove) -> None:
        old = self._all.pop(event.key, None)
        if old is not None:
            self._claimants.discard(old.endpoint.interface, event.key)
            self._dirty.add(old.endpoint.interface)
        self.problems.pop(event.key, None)
        self._refused.pop(event.key, None)
        self._told.add(event.key)
        if isinstance(event, WorkloadEndpointRemove):
            return
        interface = event.endpoint.interface
        reason = self._refusal(event)
        if reason:
            self._refused[event.key] = event.endpoint
            self.problems[event.key] = f"{reason}; its interface is closed"
            log.error("workload.refused", workload=event.key.workload, reason=reason)
            return
        self._all[event.key] = event
        self._claimants.add(interface, event.key)
        self._dirty.add(interface)

    def _refusal(self, event: WorkloadEndpointUpdate) -> str:
        """Why an endpoint must not be served, or ""."""
        if not safe_interface(event.endpoint.interface):
            return f"{event.endpoint.interface!r} is no name of an interface"
        if not event.endpoint.interface.startswith(self._settings.render.interface_prefixes):
            prefixes = ", ".join(self._settings.render.interface_prefixes)
            return (
                f"{event.endpoint.interface} does not begin with {prefixes}, so no rule guards it"
            )
        if event.endpoint.spoofable_sources and not self._settings.source_spoofing:
            return "allowSpoofedSourcePrefixes is set, and WorkloadSourceSpoofing is Disabled"
        endpoint, marks = event.endpoint, self._settings.render.marks
        try:
            for direction in DIRECTIONS:
                packet_rate_limit(endpoint.interface, endpoint.qos, direction, marks)
        except RenderError as error:
            return f"{error.reason}: more than the kernel can limit"
        return ""

    def policy_regrouped(self, key: PolicyKey) -> None:
        interfaces = self._interfaces_of.get(key)
        self._dirty |= interfaces
        self._regrouped |= interfaces

    def interface_changed(self, name: str) -> None:
        """It came, went, or is another one by the same name: who has an address may be decided
        anew.
        """
        for dst in self._routes.get(name, ()):
            self._settle(dst)
        if name in self._neighbours:
            self._unwritten.neighbour(name)
        self._told |= self._claimants.get(name)

    def endpoints(self) -> Mapping[str, WorkloadEndpointUpdate]:
        """The endpoints in force, by interface."""
        return self._on

    def endpoint(self, key: WorkloadEndpointKey) -> WorkloadEndpoint | None:
        """As last told, in force or not; None for one that is gone."""
        event = self._all.get(key)
        return self._refused.get(key) if event is None else event.endpoint

    def bgp_peer(self, key: WorkloadEndpointKey) -> str:
        """The name of the BGPPeer by which it speaks BGP with this node, or ""."""
        event = self._all.get(key)
        return event.peering.peer if event is not None and event.peering is not None else ""

    def is_in_force(self, key: WorkloadEndpointKey) -> bool:
        """Whether its interface is its own, or has been until what was told since."""
        event = self._all.get(key)
        owner = self._on.get(event.endpoint.interface) if event else None
        return owner is not None and owner.key == key

    def is_routed(self, interface: str, family: Family) -> bool:
        """Whether the kernel has all routes of a family to the endpoint on an interface."""
        driver = self._sinks.routes[family]
        mine = (dst for dst in self._routes.get(interface, ()) if family_of(dst) == family)
        return all(driver.is_written(dst) for dst in mine)

    def has_neighbours(self, interface: str) -> bool:
        """Whether the kernel has all static neighbours behind an interface."""
        entries = self._neighbours.get(interface, ())
        return all(self._sinks.neighbours.is_written(interface, a) for a, _ in entries)

    def take_touched(self, written: Iterable[str]) -> set[WorkloadEndpointKey]:
        """Those of which something was resolved since the last time, and those in force on
        interfaces of which something was `written`; but not those of which more was told since.
        """
        touched, self._touched = self._touched, set()
        touched |= {self._on[interface].key for interface in written if interface in self._on}
        return touched - self._told

    def resolve(self) -> None:
        """Hand what has changed to the drivers."""
        for interface in sorted(self._dirty):
            self._place(interface)
        self._dirty.clear()
        self._regrouped.clear()
        self._touched |= self._told
        self._told.clear()
        if self._dispatch_dirty:
            self._place_dispatch()
            self._dispatch_dirty = False
        if self._spoof_dirty:
            self._place_rpf_skip()
            self._spoof_dirty = False
        if self._nat_dirty:
            self._place_floating_ips()
            self._nat_dirty = False
        if self._local_dirty:
            self._place_local_addresses()
            self._local_dirty = False

    # ---------------------------------------------------------------- one interface

    def _place(self, interface: str) -> None:
        claimants = self._claimants.get(interface)
        self._touched |= claimants
        old = self._on.get(interface)
        new = self._all[min(claimants)] if claimants else None
        if len(claimants) > 1:
            log.warning(
                "workload.shadowed",
                interface=interface,
                winner=min(claimants).workload,
                others=sorted(key.workload for key in claimants)[1:],
            )
        if new is None:
            if old is not None:
                self._remove(interface, old)
            return
        self._on[interface] = new
        self._dispatch_dirty |= old is None
        self._spoof_dirty |= bool(new.endpoint.spoofable_sources) or bool(
            old and old.endpoint.spoofable_sources
        )
        self._nat_dirty |= bool(new.endpoint.nats) or bool(old and old.endpoint.nats)
        self._local_dirty |= self._guarded and (
            old is None or old.endpoint.nets != new.endpoint.nets
        )
        self._note_policies(interface, old, new)
        self._place_chains(interface, old, new)
        if self._limited:
            name = new.key.workload
            self._offer("filter", workload_limit_chain(interface, name, self._settings.render))
        self._place_routes(interface, new)
        self._place_neighbours(interface, new)
        self._place_peering(interface, old, new)
        self._sinks.sysctls.desire_interface(interface, self._interface_settings(new))

    def _remove(self, interface: str, old: WorkloadEndpointUpdate) -> None:
        del self._on[interface]
        self._dispatch_dirty = True
        self._spoof_dirty |= bool(old.endpoint.spoofable_sources)
        self._nat_dirty |= bool(old.endpoint.nats)
        self._local_dirty |= self._guarded
        self._note_policies(interface, old, None)
        self._shared.place("filter", f"workload on {interface}", ())
        for tables in self._sinks.tables.values():
            tables.drop_chain("filter", to_workload(interface))
            tables.drop_chain("filter", from_workload(interface))
            if self._limited:
                tables.drop_chain("filter", workload_limit(interface))
        self._place_routes(interface, None)
        self._place_neighbours(interface, None)
        self._place_peering(interface, old, None)
        self._sinks.sysctls.desire_interface(interface, None)

    def _note_policies(
        self,
        interface: str,
        old: WorkloadEndpointUpdate | None,
        new: WorkloadEndpointUpdate | None,
    ) -> None:
        before, after = _policies_of(old), _policies_of(new)
        for key in before - after:
            self._interfaces_of.discard(key, interface)
        for key in after - before:
            self._interfaces_of.add(key, interface)

    # ---------------------------------------------------------------- chains

    def _place_chains(
        self, interface: str, old: WorkloadEndpointUpdate | None, new: WorkloadEndpointUpdate
    ) -> None:
        rendered = workload_chains(
            interface, new.endpoint, new.tiers, self._selector_of, self._settings.render
        )
        if old is None or interface in self._regrouped or _rules_of(old) != _rules_of(new):
            self._unwritten.chains(interface, {"filter": rendered})
        self._shared.place("filter", f"workload on {interface}", rendered.groups)
        for chain in rendered.chains:
            self._offer("filter", chain)

    def _offer(self, table: str, chain: Chain) -> None:
        for tables in self._sinks.tables.values():
            tables.desire_chain(table, chain)

    def _place_dispatch(self) -> None:
        chains = workload_dispatch(self._on, self._settings.render)
        if self._limited:
            chains += limit_dispatch(self._on)
        for tables in self._sinks.tables.values():
            for name in self._dispatch_chains - {chain.name for chain in chains}:
                tables.drop_chain("filter", name)
        for chain in chains:
            self._offer("filter", chain)
        self._dispatch_chains = {chain.name for chain in chains}

    def _place_rpf_skip(self) -> None:
        sources = [
            (interface, net)
            for interface, event in self._on.items()
            for net in event.endpoint.spoofable_sources
        ]
        for family, tables in self._sinks.tables.items():
            tables.desire_chain("raw", rpf_skip_chain(sources, family))

    # ---------------------------------------------------------------- addresses

    def _nats(self, event: WorkloadEndpointUpdate) -> tuple[NatMapping, ...]:
        """OpenStack's floating IPs are always in force, others if the parameter says so."""
        if self._settings.floating_ips or event.key.orchestrator == "openstack":
            return event.endpoint.nats
        return ()

    def _place_floating_ips(self) -> None:
        mappings = [nat for event in self._on.values() for nat in self._nats(event)]
        for family, tables in self._sinks.tables.items():
            for chain in floating_ip_chains(mappings, family, self._settings.render):
                tables.desire_chain("nat", chain)

    def _place_local_addresses(self) -> None:
        """What nobody else may send from, an endpoint that is switched off or not."""
        addresses = [net.partition("/")[0] for e in self._on.values() for net in e.endpoint.nets]
        for family, sets in self._sinks.ipsets.items():
            name = ipset_name(LOCAL_WORKLOADS_SET, family)
            sets.desire(name, IpsetType.IP, of_family(addresses, family))

    def _destinations(self, event: WorkloadEndpointUpdate) -> frozenset[str]:
        """Every address of an endpoint as a net of its own."""
        if not event.endpoint.admin_up:
            return frozenset()
        addresses = [net.partition("/")[0] for net in event.endpoint.nets]
        addresses += [nat.external for nat in self._nats(event)]
        return frozenset(f"{a}/{128 if family_of(a) == 6 else 32}" for a in addresses)

    def _place_routes(self, interface: str, event: WorkloadEndpointUpdate | None) -> None:
        before = self._routes.pop(interface, frozenset())
        after = self._destinations(event) if event else frozenset()
        if after:
            self._routes[interface] = after
        for dst in after - before:
            self._claims.add(dst, interface)
            self._settle(dst)
        for dst in before - after:
            self._claims.discard(dst, interface)
            self._settle(dst)

    def _settle(self, dst: str) -> None:
        """Give an address to the newest interface that claims it."""
        driver = self._sinks.routes.get(family_of(dst))
        if driver is None:
            return
        claims = self._claims.get(dst)
        if not claims:
            driver.desire(dst, None)
            return
        winner = max(claims, key=lambda name: (self._index_of(name) or 0, name))
        if len(claims) > 1:
            log.warning("route.contested", destination=dst, interfaces=sorted(claims), by=winner)
        driver.desire(dst, self._route(dst, winner))
        self._unwritten.route(family_of(dst), winner)

    def _route(self, dst: str, interface: str) -> Route:
        settings = self._settings
        if family_of(dst) == 6:
            source, metric = settings.device_route_source_v6, settings.route_priority_v6
        else:
            source, metric = settings.device_route_source_v4, settings.route_priority_v4
        return Route(
            dst=dst,
            interface=interface,
            source=source,
            metric=metric,
            protocol=settings.device_route_protocol,
        )

    def _place_neighbours(self, interface: str, event: WorkloadEndpointUpdate | None) -> None:
        """Only IPv4: an IPv6 workload finds and is found by neighbour discovery, which policy lets
        through.
        """
        before = self._neighbours.pop(interface, frozenset())
        after: frozenset[tuple[str, str]] = frozenset()
        if event is not None and _is_ethernet(event.endpoint.mac) and event.endpoint.admin_up:
            addresses = (net.partition("/")[0] for net in event.endpoint.nets)
            after = frozenset((a, event.endpoint.mac) for a in addresses if family_of(a) == 4)
        if after:
            self._neighbours[interface] = after
        for address, _ in before - after:
            self._sinks.neighbours.desire(interface, address, None)
        for address, mac in after - before:
            self._sinks.neighbours.desire(interface, address, mac)
            self._unwritten.neighbour(interface)

    def _place_peering(
        self,
        interface: str,
        old: WorkloadEndpointUpdate | None,
        new: WorkloadEndpointUpdate | None,
    ) -> None:
        """The address under which a workload finds this node's BIRD, and room for the routes that
        BIRD learns from it.
        """
        before, after = (event.peering if event is not None else None for event in (old, new))
        if before == after:
            return
        addresses = (after.address_v4, after.address_v6) if after is not None else ()
        wanted = [a for a in addresses if a and family_of(a) in self._sinks.families]
        self._sinks.peer_addresses.desire(interface, wanted)
        for routes in self._sinks.routes.values():
            routes.share_with_bird(interface, shared=after is not None)

    def _interface_settings(self, event: WorkloadEndpointUpdate) -> dict[str, str]:
        """Section 6.2 of the rules reference, with the reverse-path filter first, and strict
        whatever the host's default.
        """
        name = event.endpoint.interface
        spoofs = bool(event.endpoint.spoofable_sources)
        values = {
            f"net/ipv4/conf/{name}/rp_filter": "0" if spoofs else "1",
            f"net/ipv6/conf/{name}/accept_ra": "0",
            f"net/ipv4/conf/{name}/route_localnet": "1",
            f"net/ipv4/neigh/{name}/proxy_delay": "0",
            f"net/ipv4/conf/{name}/proxy_arp": "1",
            f"net/ipv4/conf/{name}/forwarding": "1",
        }
        if 6 in self._sinks.families:
            values[f"net/ipv6/conf/{name}/proxy_ndp"] = "1"
            values[f"net/ipv6/conf/{name}/forwarding"] = "1"
        for family in sorted(self._settings.ipsec.families & set(self._sinks.families)):
            values |= policies_count(family, name)
        return values


def _is_ethernet(mac: str) -> bool:
    """A resource may have a MAC of 8 or 20 bytes, of other kinds of links than a workload's."""
    return mac.count(":") == 5


def _rules_of(event: WorkloadEndpointUpdate) -> tuple[object, ...]:
    """What its chains are made of, besides its interface: labels and names of ports are not."""
    endpoint = event.endpoint
    return event.tiers, endpoint.profiles, endpoint.qos, endpoint.admin_up


def _policies_of(event: WorkloadEndpointUpdate | None) -> set[PolicyKey]:
    if event is None:
        return set()
    return {key for tier in event.tiers for key in (*tier.ingress, *tier.egress)}
