"""The state of each local endpoint, for those who report it.

    in   touched          by Workloads and Hosts: what was told of an endpoint or of its interface
         Unwritten        whose chains, routes and neighbours have come into the kernel
         SysctlDriver     whose interface has all its settings
    out  take             what differs from what was taken last

A workload endpoint is up when it is admin up and in force, its interface is there and up, and all
of it is in the kernel: a CNI plugin lets the workload start upon it, so the rules come first.
Else it is down: also one that is refused, or whose interface is another one's.
A host endpoint is up when all interfaces that it governs are up and guarded, down when one is not,
and an error when there is none; "*" governs interfaces that come and go, and does not ask for them.

Only what was touched is judged, after an apply that began when it had been told: what comes during
an apply is judged after the next, so that a bounce of a link is no change.
Source: projectcalico/calico felix/dataplane/linux/endpoint_mgr.go, status_combiner.go; section 6.5
of the rules reference.  The families need no combining: both match alike, and what is missing of
one of them is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from msgspec import Struct

from calc_graph.model import HostEndpoint, HostEndpointKey, WorkloadEndpoint, WorkloadEndpointKey
from dataplane.desired.hosts import Hosts
from dataplane.desired.unwritten import Unwritten
from dataplane.desired.workloads import Workloads
from dataplane.interfaces import Interface
from dataplane.render.names import ANY_INTERFACE

State = Literal["up", "down", "error"]
EndpointKey: TypeAlias = WorkloadEndpointKey | HostEndpointKey


class LocalEndpoint(Struct, frozen=True):
    """`endpoint` is as the graph last told it, for those who report interface, MAC and nets.

    `bgp_peer` names the BGPPeer by which a workload speaks BGP with this node, "" for most.
    """

    state: State
    endpoint: WorkloadEndpoint | HostEndpoint
    bgp_peer: str = ""


class EndpointStates:
    """`interface_of` knows the interfaces that are there, `configured` those that have all their
    settings.
    """

    def __init__(
        self,
        workloads: Workloads,
        hosts: Hosts,
        unwritten: Unwritten,
        interface_of: Callable[[str], Interface | None],
        configured: Callable[[str], bool],
    ) -> None:
        self._workloads = workloads
        self._hosts = hosts
        self._unwritten = unwritten
        self._interface_of = interface_of
        self._configured = configured
        self._unconfigured: set[WorkloadEndpointKey] = set()  # their settings are tried again
        self._taken: dict[EndpointKey, LocalEndpoint] = {}
        self._changes: dict[EndpointKey, LocalEndpoint | None] = {}

    def judge(self) -> None:
        """Look at what an apply may have changed."""
        written = self._unwritten.take_written()
        again, self._unconfigured = self._unconfigured, set()
        for key in self._workloads.take_touched(written) | again:
            self._note(key, self._workload(key))
        for host_key in self._hosts.take_touched(written):
            self._note(host_key, self._host(host_key))

    def take(self) -> dict[EndpointKey, LocalEndpoint | None]:
        """What differs from what was taken last; None for endpoints that are gone."""
        changes, self._changes = self._changes, {}
        for key, value in changes.items():
            if value is None:
                del self._taken[key]
            else:
                self._taken[key] = value
        return changes

    def _note(self, key: EndpointKey, value: LocalEndpoint | None) -> None:
        if self._taken.get(key) == value:
            self._changes.pop(key, None)
        else:
            self._changes[key] = value

    def _workload(self, key: WorkloadEndpointKey) -> LocalEndpoint | None:
        endpoint = self._workloads.endpoint(key)
        if endpoint is None:
            return None
        in_force = self._workloads.is_in_force(key) and endpoint.admin_up
        up = in_force and self._is_served(endpoint.interface)
        if in_force and not up and not self._configured(endpoint.interface):
            self._note_unconfigured(key, endpoint.interface)
        return LocalEndpoint("up" if up else "down", endpoint, self._workloads.bgp_peer(key))

    def _note_unconfigured(self, key: WorkloadEndpointKey, interface: str) -> None:
        """Without the interface nobody tries; its coming will be told."""
        if self._interface_of(interface) is not None:
            self._unconfigured.add(key)

    def _is_served(self, interface: str) -> bool:
        return (
            self._is_up(interface) and self._configured(interface) and self._is_written(interface)
        )

    def _host(self, key: HostEndpointKey) -> LocalEndpoint | None:
        endpoint = self._hosts.endpoint(key)
        if endpoint is None:
            return None
        governed = self._hosts.governed_by(key)
        if not governed:
            return LocalEndpoint("error", endpoint)
        up = all(self._is_up(name) and self._is_written(name) for name in governed)
        return LocalEndpoint("up" if up else "down", endpoint)

    def _is_up(self, name: str) -> bool:
        interface = self._interface_of(name)
        return name == ANY_INTERFACE or (interface is not None and interface.up)

    def _is_written(self, interface: str) -> bool:
        return not self._unwritten.has(interface)
