"""All that should be: each update goes to the parts that it concerns, and what they make of it to
the drivers.

    update                  what the graph tells
    interfaces_changed      which interfaces there are
    resolve                 hand what has changed to the drivers
    problems                what was asked for and cannot be had, whatever the kernel does

The peers and routes of WireGuard are its own matter (dataplane.wireguard), and come of what it is
told here when its turn to write has come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import NamedTuple, assert_never

from calc_graph.model import PolicyKey, ProfileKey
from calc_graph.updates import (
    EncapUpdate,
    HostEndpointRemove,
    HostEndpointUpdate,
    HostRemove,
    HostUpdate,
    IpsetDelta,
    IpsetRemove,
    IpsetUpdate,
    PolicyRemove,
    PolicyUpdate,
    PoolRemove,
    PoolUpdate,
    ProfileRemove,
    ProfileUpdate,
    RouteRemove,
    RouteUpdate,
    ServiceCidrsUpdate,
    TunnelAddresses,
    Update,
    VtepRemove,
    VtepUpdate,
    WireguardEndpoint,
    WireguardEndpointRemove,
    WorkloadEndpointRemove,
    WorkloadEndpointUpdate,
)
from dataplane.desired.addresses import Addresses
from dataplane.desired.encryption import Encryption
from dataplane.desired.fixed import desire_fixed, desire_static_chains, with_wireguard
from dataplane.desired.hosts import Hosts
from dataplane.desired.policies import Policies
from dataplane.desired.sets import RuleSets
from dataplane.desired.shared import SharedChains
from dataplane.desired.sinks import Sinks
from dataplane.desired.unwritten import NEIGHBOURS, Unwritten, routes_step
from dataplane.desired.workloads import Workloads
from dataplane.interfaces import Interface
from dataplane.overlay.overlays import Overlays
from dataplane.render.encryption import NO_GUARDS
from dataplane.render.overlays import NO_OVERLAYS
from dataplane.settings import Settings
from dataplane.wireguard.host import desire_host_settings
from dataplane.wireguard.wireguard import Wireguard


class Summary(NamedTuple):
    """What is in force, in figures."""

    workload_endpoints: int
    host_endpoints: int
    policies: int
    ipsets: int


class Desired:
    """`interfaces` are those of the machine, by name; it changes with them."""

    def __init__(
        self,
        sinks: Sinks,
        settings: Settings,
        wireguard: Wireguard,
        unwritten: Unwritten,
        interfaces: Mapping[str, Interface],
    ) -> None:
        self._sinks = sinks
        self._settings = settings
        self._interfaces = interfaces
        self._wireguard = wireguard
        shared = SharedChains(sinks)
        self._sets = RuleSets(sinks)
        self._policies = Policies(sinks, settings.render)
        selector_of = self._policies.selectors.__getitem__
        self.workloads = Workloads(sinks, settings, selector_of, shared, self._index_of, unwritten)
        self.hosts = Hosts(sinks, settings, selector_of, shared, unwritten)
        self._addresses = Addresses(sinks, settings)
        self.encryption = Encryption(sinks, settings)
        self.overlays = Overlays(sinks, settings, wireguard)
        self._fixed_rules = dict.fromkeys(sinks.families, (NO_OVERLAYS, NO_GUARDS))
        self._used_ipsets: set[str] = set()
        desire_fixed(sinks, settings)
        desire_host_settings(sinks.sysctls, settings.wireguard)

    # ---------------------------------------------------------------- told

    def update(self, updates: Iterable[Update]) -> None:
        for update in updates:
            match update:
                case IpsetUpdate() | IpsetDelta() | IpsetRemove():
                    self._sets.update(update)
                    self._count_ipset(update)
                case PolicyUpdate() | PolicyRemove() | ProfileUpdate() | ProfileRemove():
                    if isinstance(update, PolicyUpdate | PolicyRemove):
                        self.encryption.update(update)
                    if self._policies.update(update) and isinstance(update, PolicyUpdate):
                        self.workloads.policy_regrouped(update.key)
                        self.hosts.policy_regrouped(update.key)
                case WorkloadEndpointUpdate() | WorkloadEndpointRemove():
                    self.workloads.update(update)
                case HostEndpointUpdate() | HostEndpointRemove():
                    self.hosts.update(update)
                case PoolUpdate() | PoolRemove():
                    self._addresses.update(update)
                    self.encryption.update(update)
                    self._wireguard.update(update)
                case ServiceCidrsUpdate():
                    self._addresses.update(update)
                case HostUpdate() | HostRemove():
                    self._addresses.update(update)
                    self.overlays.update(update)
                    self._wireguard.update(update)
                case RouteUpdate() | RouteRemove():
                    self.encryption.update(update)
                    self.overlays.update(update)
                    self._wireguard.update(update)
                case WireguardEndpoint() | WireguardEndpointRemove():
                    self.overlays.update(update)
                    self._wireguard.update(update)
                case VtepUpdate() | VtepRemove() | TunnelAddresses() | EncapUpdate():
                    self.overlays.update(update)
                case _:
                    assert_never(update)

    def _count_ipset(self, update: IpsetUpdate | IpsetDelta | IpsetRemove) -> None:
        if isinstance(update, IpsetRemove):
            self._used_ipsets.discard(update.id)
        else:
            self._used_ipsets.add(update.id)

    def interfaces_changed(self, names: Iterable[str]) -> None:
        """These have come, gone, changed, or are others by the same names."""
        for name in names:
            self.workloads.interface_changed(name)
        everything = list(self._interfaces.values())
        self.hosts.interfaces_changed(everything)
        self._addresses.interfaces_changed(everything)
        self.overlays.interfaces_changed(self._interfaces)

    def _index_of(self, name: str) -> int | None:
        interface = self._interfaces.get(name)
        return None if interface is None else interface.index

    # ---------------------------------------------------------------- worked out

    def resolve(self) -> None:
        """Hand what has changed to the drivers."""
        self.overlays.resolve()
        self._addresses.need_hosts(needed=self.overlays.hosts_matter)
        for part in (self.workloads, self.hosts, self._addresses, self.encryption):
            part.resolve()
        for family, before in self._fixed_rules.items():
            tunnels = self.overlays.tunnels(family)
            rules = (
                with_wireguard(tunnels, self._settings, family, self._interfaces),
                self.encryption.guards(family),
            )
            if rules != before:
                self._fixed_rules[family] = rules
                desire_static_chains(self._sinks, self._settings, family, *rules)

    # ---------------------------------------------------------------- asked

    def summary(self) -> Summary:
        return Summary(
            len(self.workloads.endpoints()),
            len(self.hosts.governed),
            sum(not key.staged for key in self._policies.selectors),
            len(self._used_ipsets),
        )

    def problems(self) -> dict[str, str]:
        found = {_named(key): text for key, text in self._policies.problems.items()}
        for key, text in self.workloads.problems.items():
            found[f"workload endpoint {key.workload}"] = text
        for endpoint in self.hosts.unmatched():
            found[f"host endpoint {endpoint.name}"] = "governs no interface of this host"
        return found | self.overlays.problems

    def served(self) -> dict[str, Callable[[str], bool]]:
        """By step, where a step that fails may have written all that an interface needs: whether it
        has.
        """
        return {
            NEIGHBOURS: self.workloads.has_neighbours,
            **{
                routes_step(family): partial(self.workloads.is_routed, family=family)
                for family in self._sinks.families
            },
        }


def _named(key: PolicyKey | ProfileKey) -> str:
    if isinstance(key, ProfileKey):
        return f"profile {key.name}"
    return f"{key.kind} {key.namespace}/{key.name}" if key.namespace else f"{key.kind} {key.name}"
