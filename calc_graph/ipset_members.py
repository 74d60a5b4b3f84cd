"""Who is in each IP set that rules of this node use.

    in   endpoints and network sets of the whole cluster, labels of profiles
         use(), release()   a policy or profile began, ceased to refer to a set
    out  IpsetUpdate        the whole content of a set that has come into use
         IpsetDelta         members added and removed
         IpsetRemove        no longer used

A set that is released and used again before a flush stays, and is not told again.
What is kept of an endpoint is only what can matter to a set: labels, nets, ports, profiles.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import chain
from typing import TypeAlias

from calc_graph.ipset_content import IpsetContent, NetIpsetContent
from calc_graph.label_index import LabelIndex
from calc_graph.model import (
    EndpointKey,
    EndpointPort,
    HostEndpoint,
    Labels,
    NetworkSet,
    NetworkSetKey,
    WorkloadEndpoint,
)
from calc_graph.rule_scanner import ANY_PROTOCOL, IpsetSpec, protocol_name
from calc_graph.updates import IpsetDelta, IpsetRemove, IpsetType, IpsetUpdate

ItemKey: TypeAlias = EndpointKey | NetworkSetKey
IpsetChange: TypeAlias = IpsetUpdate | IpsetDelta | IpsetRemove


class _Item:
    """What an endpoint or network set brings into a set; compared by identity."""

    __slots__ = ("nets", "ports")

    def __init__(self, nets: tuple[str, ...], ports: tuple[EndpointPort, ...]) -> None:
        self.nets = nets
        self.ports = ports


class _Ipset:
    """A set in use; compared by identity."""

    __slots__ = ("content", "spec", "users")

    def __init__(self, spec: IpsetSpec) -> None:
        self.spec = spec
        self.users = 0
        self.content = IpsetContent(())  # until the first flush

    def members(self, item: _Item) -> tuple[str, ...]:
        if self.spec.type is IpsetType.NET:
            return item.nets
        return tuple(self._ports(item)) if item.ports else ()

    def _ports(self, item: _Item) -> Iterator[str]:
        for port in item.ports:
            protocol = protocol_name(port.protocol)
            if port.name == self.spec.port and self.spec.protocol in (ANY_PROTOCOL, protocol):
                for net in item.nets:
                    yield f"{_address(net)},{protocol}:{port.port}"


class IpsetMembers:
    def __init__(self) -> None:
        self._index: LabelIndex[_Ipset, _Item] = LabelIndex(self._joined, self._left)
        self._items: dict[ItemKey, _Item] = {}
        self._ipsets: dict[str, _Ipset] = {}
        self._fresh: dict[str, _Ipset] = {}  # used, not told yet
        self._unused: dict[str, _Ipset] = {}  # perhaps
        self._dirty: dict[_Ipset, None] = {}

    # ------------------------------------------------------------ items

    def put_workload(self, key: EndpointKey, endpoint: WorkloadEndpoint) -> None:
        nets = tuple(map(_host_net, endpoint.nets))
        self._put(key, nets, endpoint.ports, endpoint.labels, endpoint.profiles)

    def put_host(self, key: EndpointKey, endpoint: HostEndpoint) -> None:
        nets = tuple(map(_host_net, endpoint.expected_ips))
        self._put(key, nets, endpoint.ports, endpoint.labels, endpoint.profiles)

    def put_network_set(self, key: NetworkSetKey, found: NetworkSet) -> None:
        nets = tuple(half for net in found.nets for half in _halves(net))
        self._put(key, nets, (), found.labels, found.profiles)

    def discard(self, key: ItemKey) -> None:
        item = self._items.pop(key, None)
        if item is not None:
            self._index.discard(item)

    def put_profile(self, name: str, labels: Labels) -> None:
        """Empty labels for a profile that is gone."""
        self._index.put_profile(name, labels)

    def _put(
        self,
        key: ItemKey,
        nets: tuple[str, ...],
        ports: tuple[EndpointPort, ...],
        labels: Labels,
        profiles: tuple[str, ...],
    ) -> None:
        old = self._items.get(key)
        if old is not None and old.nets == nets and old.ports == ports:
            self._index.put(old, labels, profiles)
            return
        new = _Item(nets, _shared(ports))
        self._items[key] = new
        # The new one first, so that members they have in common never leave.
        self._index.put(new, labels, profiles)
        if old is not None:
            self._index.discard(old)

    def _joined(self, ipset: _Ipset, item: _Item) -> None:
        members = ipset.members(item)
        if members:
            self._dirty[ipset] = None
            for member in members:
                ipset.content.add(member)

    def _left(self, ipset: _Ipset, item: _Item) -> None:
        members = ipset.members(item)
        if members:
            self._dirty[ipset] = None
            for member in members:
                ipset.content.remove(member)

    # ------------------------------------------------------------ sets

    def use(self, spec: IpsetSpec) -> None:
        ipset = self._ipsets.get(spec.id)
        if ipset is None:
            ipset = self._ipsets[spec.id] = self._fresh[spec.id] = _Ipset(spec)
        ipset.users += 1

    def release(self, ipset_id: str) -> None:
        ipset = self._ipsets[ipset_id]
        ipset.users -= 1
        if not ipset.users:
            self._unused[ipset_id] = ipset

    def flush(self) -> list[IpsetChange]:
        """In no particular order."""
        changes: list[IpsetChange] = []
        for ipset in self._unused.values():
            if not ipset.users:
                changes += self._drop(ipset)
        for ipset in self._fresh.values():
            changes.append(self._fill(ipset))
        for ipset in self._dirty:
            added, removed = ipset.content.take_changes()
            if added or removed:
                changes.append(IpsetDelta(ipset.spec.id, added, removed))
        self._unused, self._fresh, self._dirty = {}, {}, {}
        return changes

    def told(self) -> list[IpsetUpdate]:
        """Every set in use, whole; right after a flush."""
        return [
            IpsetUpdate(ipset.spec.id, ipset.spec.type, ipset.content.content())
            for ipset in self._ipsets.values()
        ]

    def _drop(self, ipset: _Ipset) -> list[IpsetChange]:
        del self._ipsets[ipset.spec.id]
        if self._fresh.pop(ipset.spec.id, None) is not None:
            return []
        self._dirty.pop(ipset, None)
        if ipset.spec.selector is not None:
            self._index.remove_selector(ipset)
        return [IpsetRemove(ipset.spec.id)]

    def _fill(self, ipset: _Ipset) -> IpsetUpdate:
        spec = ipset.spec
        members: Iterator[str] = iter(())
        if spec.selector is not None:
            items = self._index.add_selector(ipset, spec.selector)
            members = chain.from_iterable(map(ipset.members, items))
        ipset.content = (NetIpsetContent if spec.type is IpsetType.NET else IpsetContent)(members)
        return IpsetUpdate(spec.id, spec.type, ipset.content.content())


def _host_net(net: str) -> str:
    """The address of a net or the address itself, as the net of one address."""
    suffix = "/128" if ":" in net else "/32"
    return net if net.endswith(suffix) else _address(net) + suffix


def _address(net: str) -> str:
    return net.partition("/")[0]


def _halves(net: str) -> tuple[str, ...]:
    """hash:net cannot hold a net of length 0."""
    if not net.endswith("/0"):
        return (net,)
    return ("::/1", "8000::/1") if ":" in net else ("0.0.0.0/1", "128.0.0.0/1")


@lru_cache(maxsize=1024)
def _shared(ports: tuple[EndpointPort, ...]) -> tuple[EndpointPort, ...]:
    """Replicas have the same ports; one value serves them all."""
    return ports
