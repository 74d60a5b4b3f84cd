"""Which endpoint stands at which interface.

    in   WorkloadEndpointUpdate, HostEndpointUpdate, and their removals; a HostView
    out  the workload on an interface, the interface of an address; the host endpoint that governs
         an interface

Two workloads on one interface: the lower key is served.  Two interfaces with one address: the newer
one, which has the higher index, has the route.  What the dataplane refuses to serve is not there,
so that its interface is closed: dataplane/desired/workloads.py.

Which interface a host endpoint governs: calc_graph/interfaces.py.
Source: projectcalico/calico felix/dataplane/linux/endpoint_mgr.go; sections 6.3 and 6.4 of the
rules reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from calc_graph.interfaces import govern, safe_interface
from calc_graph.judge.members import number_of
from calc_graph.judge.settings import HostInterface, HostView, JudgeSettings
from calc_graph.model import HostEndpointKey, WorkloadEndpointKey
from calc_graph.multimap import Multimap
from calc_graph.updates import (
    HostEndpointRemove,
    HostEndpointUpdate,
    WorkloadEndpointRemove,
    WorkloadEndpointUpdate,
)

ANY_INTERFACE: Final = "*"

_RATE_MAX = 10_000  # of the kernel's limit match, for rate a second and for burst
_ABSENT = HostInterface()


class Workloads:
    def __init__(self, settings: JudgeSettings) -> None:
        self._settings = settings
        self._all: dict[WorkloadEndpointKey, WorkloadEndpointUpdate] = {}
        self._claimants: Multimap[str, WorkloadEndpointKey] = Multimap()  # by interface
        self._on: dict[str, WorkloadEndpointUpdate] = {}
        self._interfaces: Multimap[tuple[int, int], str] = Multimap()  # by version and address

    def copy(self) -> Workloads:
        other = Workloads(self._settings)
        for update in self._all.values():
            other.update(update)
        return other

    def on(self, interface: str) -> WorkloadEndpointUpdate | None:
        return self._on.get(interface)

    def interface_of(self, family: int, address: int, view: HostView) -> str | None:
        """Where the route to an address leads."""
        claims = self._interfaces.get((family, address))
        if len(claims) > 1:
            present = view.interfaces
            return max(claims, key=lambda name: (present.get(name, _ABSENT).index, name))
        return next(iter(claims), None)

    def update(self, event: WorkloadEndpointUpdate | WorkloadEndpointRemove) -> None:
        old = self._all.pop(event.key, None)
        if old is not None:
            self._claimants.discard(old.endpoint.interface, event.key)
            self._place(old.endpoint.interface)
        if isinstance(event, WorkloadEndpointUpdate) and self._served(event):
            self._all[event.key] = event
            self._claimants.add(event.endpoint.interface, event.key)
            self._place(event.endpoint.interface)

    def _served(self, event: WorkloadEndpointUpdate) -> bool:
        endpoint, qos = event.endpoint, event.endpoint.qos
        if not safe_interface(endpoint.interface):
            return False
        if not endpoint.interface.startswith(self._settings.interface_prefixes):
            return False
        if endpoint.spoofable_sources and not self._settings.source_spoofing:
            return False
        return qos is None or all(
            not rate or (0 < rate <= _RATE_MAX and 0 <= burst <= _RATE_MAX)
            for rate, burst in (
                (qos.ingress_packet_rate, qos.ingress_packet_burst),
                (qos.egress_packet_rate, qos.egress_packet_burst),
            )
        )

    def _place(self, interface: str) -> None:
        old = self._on.pop(interface, None)
        if old is not None:
            for address in self._addresses(old):
                self._interfaces.discard(address, interface)
        claimants = self._claimants.get(interface)
        if claimants:
            new = self._on[interface] = self._all[min(claimants)]
            for address in self._addresses(new):
                self._interfaces.add(address, interface)

    def _addresses(self, event: WorkloadEndpointUpdate) -> Iterator[tuple[int, int]]:
        """Those that are routed to it."""
        if not event.endpoint.admin_up:
            return
        texts = [net.partition("/")[0] for net in event.endpoint.nets]
        if self._settings.floating_ips or event.key.orchestrator == "openstack":
            texts += [nat.external for nat in event.endpoint.nats]
        for text in texts:
            yield 6 if ":" in text else 4, number_of(text)


class Hosts:
    """Who governs what is worked out when it is asked for, once for each view."""

    def __init__(self, settings: JudgeSettings) -> None:
        self._settings = settings
        self._all: dict[HostEndpointKey, HostEndpointUpdate] = {}
        self._view: HostView | None = None  # that `_governed` is about
        self._governed: Mapping[str, HostEndpointUpdate] = {}

    def copy(self) -> Hosts:
        other = Hosts(self._settings)
        other._all = dict(self._all)
        return other

    def update(self, event: HostEndpointUpdate | HostEndpointRemove) -> None:
        if isinstance(event, HostEndpointUpdate):
            self._all[event.key] = event
        else:
            self._all.pop(event.key, None)
        self._view = None

    def governed(self, view: HostView) -> Mapping[str, HostEndpointUpdate]:
        """By interface, or ANY_INTERFACE for the one of all others."""
        if view is not self._view:
            self._governed = self._assign(view)
            self._view = view
        return self._governed

    def _assign(self, view: HostView) -> dict[str, HostEndpointUpdate]:
        ours = {
            name: interface.addresses
            for name, interface in view.interfaces.items()
            if not name.startswith(self._settings.interface_prefixes) and safe_interface(name)
        }
        governed, others = govern(self._all.values(), ours)
        if others is not None:
            governed[ANY_INTERFACE] = others
        return governed
