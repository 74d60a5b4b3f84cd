"""What is known of the nodes' ends of tunnels: records and addresses in, one End for each node out.

A record counts as long as its node has an address.  Of two nodes with one tag, or with one address,
the smaller name has it: this is a function of what is there, so all nodes decide alike.  Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from calc_graph.model import IpsecNode, IpsecPeering
from calc_graph.multimap import Multimap
from calc_graph.updates import HostRemove, HostUpdate, IpsecPeer, IpsecPeerRemove
from dataplane.families import Family

NO_RECORD: Final = IpsecNode()
_NO_PEERING: Final = IpsecPeering()


class End(Struct, frozen=True):
    """`record` is NO_RECORD where nothing is published, and `published` false.

    addresses  by family: the tunnel's end by the record if that is enabled, else the node's own;
               left out where there is none, or where it is another node's
    hosts      by family: the node's own
    rival      the node that has its tag by right, "" for none
    """

    record: IpsecNode = NO_RECORD
    published: bool = False
    addresses: Mapping[Family, str] = {}
    hosts: Mapping[Family, str] = {}
    rival: str = ""

    def peering(self, node: str) -> IpsecPeering:
        """What it says that it has for a node."""
        return self.record.peers.get(node, _NO_PEERING)


NO_END: Final = End()


class Ends:
    def __init__(self, hostname: str, layout: str) -> None:
        self._hostname = hostname
        self._layout = layout
        self._records: dict[str, IpsecNode] = {}
        self._hosts: dict[str, tuple[str, str]] = {}
        self._own_tag = 0
        self._by_tag: Multimap[int, str] = Multimap()
        self._by_address: Multimap[str, str] = Multimap()
        self._claims: dict[str, tuple[int, tuple[str, ...]]] = {}  # tag and addresses of a node
        self._dirty: dict[str, None] = {}

    def update(self, event: IpsecPeer | IpsecPeerRemove | HostUpdate | HostRemove) -> None:
        match event:
            case IpsecPeer():
                self._records[event.node] = event.end
                self._claim(event.node)
            case IpsecPeerRemove():
                self._records.pop(event.node, None)
                self._claim(event.node)
            case HostUpdate():
                self._hosts[event.name] = (event.ipv4, event.ipv6)
                self._claim(event.name)
            case HostRemove():
                self._hosts.pop(event.name, None)
                self._claim(event.name)

    def own_tag(self, tag: int) -> None:
        if tag != self._own_tag:
            self._own_tag = tag
            self._claim(self._hostname)

    def end(self, node: str) -> End:
        record = self._record(node)
        tag, _ = self._claims.get(node, (0, ()))
        holder = min(self._by_tag.get(tag), default=node) if tag else node
        addresses = {
            family: address
            for family, address in self._addresses(node).items()
            if self._has(node, address)
        }
        rival = "" if holder == node else holder
        hosts = self._own_addresses(node)
        return End(record or NO_RECORD, record is not None, addresses, hosts, rival)

    def published(self) -> IpsecNode | None:
        """This node's own record, as the datastore has it."""
        return self._records.get(self._hostname)

    def own_addresses(self) -> Mapping[Family, str]:
        return self._own_addresses(self._hostname)

    def _own_addresses(self, node: str) -> dict[Family, str]:
        v4, v6 = self._hosts.get(node, ("", ""))
        return _present(v4, v6)

    def is_host(self, node: str) -> bool:
        return node in self._hosts

    def nodes(self) -> set[str]:
        """Other nodes that publish something."""
        return {n for n in self._records if n != self._hostname and n in self._hosts}

    def hosts(self) -> set[str]:
        """Other nodes."""
        return {n for n in self._hosts if n != self._hostname}

    def records(self) -> dict[str, IpsecNode]:
        """Of other nodes, those that count."""
        return {n: self._records[n] for n in self.nodes()}

    def own_rival(self) -> str:
        """The node of a smaller name that has our tag as well, "" for none."""
        holder = min(self._by_tag.get(self._own_tag), default="") if self._own_tag else ""
        return "" if holder == self._hostname else holder

    def sharing_tag(self, node: str) -> set[str]:
        tag, _ = self._claims.get(node, (0, ()))
        return set(self._by_tag.get(tag)) - {node} if tag else set()

    def take_dirty(self) -> dict[str, None]:
        dirty, self._dirty = self._dirty, {}
        return dirty

    def _record(self, node: str) -> IpsecNode | None:
        return self._records.get(node) if any(self._hosts.get(node, ())) else None

    def _addresses(self, node: str) -> dict[Family, str]:
        record = self._record(node)
        if record is not None and record.enabled and node != self._hostname:
            return _present(record.ipv4, record.ipv6)
        return self._own_addresses(node)

    def _has(self, node: str, address: str) -> bool:
        holders = self._by_address.get(address)
        return self._hostname not in holders and min(holders) == node

    def _claim(self, node: str) -> None:
        self._dirty[node] = None
        before_tag, before_addresses = self._claims.pop(node, (0, ()))
        self._by_tag.discard(before_tag, node)
        for address in before_addresses:
            self._by_address.discard(address, node)
        tag, addresses = self._tag(node), tuple(self._addresses(node).values())
        if tag or addresses:
            self._claims[node] = (tag, addresses)
        if tag:
            self._by_tag.add(tag, node)
        for address in addresses:
            self._by_address.add(address, node)
        others = {*self._by_tag.get(before_tag), *self._by_tag.get(tag)}
        for address in (*before_addresses, *addresses):
            others |= self._by_address.get(address)
        self._dirty.update(dict.fromkeys(others))

    def _tag(self, node: str) -> int:
        if self._layout != "pair":
            return 0
        if node == self._hostname:
            return self._own_tag
        record = self._record(node)
        return record.tag if record is not None and record.enabled else 0


def _present(v4: str, v6: str) -> dict[Family, str]:
    found: dict[Family, str] = {4: v4, 6: v6}
    return {family: address for family, address in found.items() if address}
