"""What is known of the nodes' ends of tunnels: records and addresses in, one End for each node out.

A record counts as long as its node has an address.  Of two nodes with one tag, or with one address,
the smaller name has it: this is a function of what is there, so all nodes decide alike.

What a node claims, and an End, is worked out when it is asked for first, and anew only when what it
is made from is another: its own record or address, or a claim to one of the same.  Pure.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Final, TypeVar

from msgspec import Struct

from calc_graph.model import IpsecNode, IpsecPeering
from calc_graph.updates import HostRemove, HostUpdate, IpsecPeer, IpsecPeerRemove
from dataplane.families import Family

K = TypeVar("K", bound=Hashable)

NO_RECORD: Final = IpsecNode()
_NO_PEERING: Final = IpsecPeering()
_NO_ADDRESSES: Final = ("", "")


class Place(Struct, frozen=True):
    """What a node has of what it claims.

    addresses  by family: the tunnel's end by the record if that is enabled, else the node's own;
               left out where there is none, or where it is another node's
    hosts      by family: the node's own, left out where it is another node's
    rival      the node that has its tag by right, "" for none
    """

    addresses: Mapping[Family, str] = {}
    hosts: Mapping[Family, str] = {}
    rival: str = ""


class End(Struct, frozen=True):
    """`record` is NO_RECORD where nothing is published, and `published` false; of what it says of
    other peers than this node it may be an older one.

    peering    what it says that it has for this node
    place      where it is, as far as that is its own
    """

    record: IpsecNode
    published: bool
    peering: IpsecPeering
    place: Place


class _Claim(Struct, frozen=True):
    """What a node says that it has.

    tag        0 for none
    addresses  ends of tunnels
    hosts      its own addresses, with tunnels or without
    """

    tag: int = 0
    addresses: Mapping[Family, str] = {}
    hosts: Mapping[Family, str] = {}


_NO_CLAIM: Final = _Claim()


class Ends:
    def __init__(self, hostname: str, layout: str) -> None:
        self._hostname = hostname
        self._layout = layout
        self._records: dict[str, IpsecNode] = {}
        self._hosts: dict[str, tuple[str, str]] = {}
        self._own_tag = 0
        self._by_tag: dict[int, set[str]] = {}
        self._by_address: dict[str, set[str]] = {}
        self._by_host: dict[str, set[str]] = {}
        self._claims: dict[str, _Claim] = {}
        self._told: dict[str, None] = {}  # nodes whose claims may be others
        self._places: dict[str, Place] = {}
        self._made: dict[str, End] = {}
        self._dirty: dict[str, None] = {}

    # ---------------------------------------------------------------- told

    def update(self, event: IpsecPeer | IpsecPeerRemove | HostUpdate | HostRemove) -> None:
        match event:
            case IpsecPeer():
                self._take(event.node, event.end)
            case IpsecPeerRemove():
                if self._records.pop(event.node, None) is not None:
                    self._told[event.node] = None
            case HostUpdate():
                addresses = event.ipv4, event.ipv6
                if self._hosts.get(event.name) != addresses:
                    self._hosts[event.name] = addresses
                    self._told[event.name] = None
            case HostRemove():
                if self._hosts.pop(event.name, None) is not None:
                    self._told[event.name] = None

    def own_tag(self, tag: int) -> None:
        if tag != self._own_tag:
            self._own_tag = tag
            self._told[self._hostname] = None

    def _take(self, node: str, record: IpsecNode) -> None:
        before = self._records.get(node)
        self._records[node] = record
        if before is None or _claims_else(before, record):
            self._told[node] = None
        elif self._says_more(before, record):
            self._touch(node)

    def _says_more(self, before: IpsecNode, after: IpsecNode) -> bool:
        """Whether a record that claims the same says anything new to this node: most of it is about
        others.
        """
        here = self._hostname
        return (
            before.peers.get(here) != after.peers.get(here)
            or before.receive != after.receive
            or before.layout != after.layout
            or before.boot != after.boot
            or before.allow_clear != after.allow_clear
            or before.node_encryption != after.node_encryption
        )

    # ---------------------------------------------------------------- asked

    def end(self, node: str) -> End:
        if self._told:
            self._settle()
        end = self._made.get(node)
        if end is None:
            end = self._made[node] = self._make(node)
        return end

    def published(self) -> IpsecNode | None:
        """This node's own record, as the datastore has it."""
        return self._records.get(self._hostname)

    def own_addresses(self) -> Mapping[Family, str]:
        self._settle()
        return self._claims.get(self._hostname, _NO_CLAIM).hosts

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
        self._settle()
        holder = min(self._by_tag.get(self._own_tag, ()), default="")
        return "" if holder == self._hostname else holder

    def take_dirty(self) -> dict[str, None]:
        """Nodes of which anything may be another than before."""
        self._settle()
        dirty, self._dirty = self._dirty, {}
        return dirty

    # ---------------------------------------------------------------- worked out

    def _make(self, node: str) -> End:
        place = self._places.get(node)
        if place is None:
            place = self._places[node] = self._place(node)
        record = self._records.get(node)
        if record is None or self._hosts.get(node, _NO_ADDRESSES) == _NO_ADDRESSES:
            return End(NO_RECORD, False, _NO_PEERING, place)
        return End(record, True, record.peers.get(self._hostname, _NO_PEERING), place)

    def _place(self, node: str) -> Place:
        claim = self._claims.get(node, _NO_CLAIM)
        holder = min(self._by_tag.get(claim.tag, ()), default=node)
        addresses = {f: a for f, a in claim.addresses.items() if self._has(node, a)}
        hosts = {f: a for f, a in claim.hosts.items() if self._may_have(node, a)}
        rival = "" if holder == node else holder
        return Place(addresses, hosts, rival)

    def _has(self, node: str, address: str) -> bool:
        holders = self._by_address[address]
        return self._hostname not in holders and min(holders) == node

    def _may_have(self, node: str, address: str) -> bool:
        """Whoever has it for a tunnel comes first."""
        holders = self._by_address.get(address) or self._by_host[address]
        return self._hostname not in holders and min(holders) == node

    def _settle(self) -> None:
        """Work out what was told."""
        told, self._told = self._told, {}
        for node in told:
            self._displace(node)
            self._claim(node)

    def _touch(self, node: str) -> None:
        self._dirty[node] = None
        self._made.pop(node, None)

    def _displace(self, node: str) -> None:
        self._touch(node)
        self._places.pop(node, None)

    def _claim(self, node: str) -> None:
        """Whoever claims the same as before or now may have it, or lose it."""
        before, after = self._claims.pop(node, _NO_CLAIM), self._claim_of(node)
        if after != _NO_CLAIM:
            self._claims[node] = after
        if before.tag != after.tag:
            self._move(self._by_tag, node, _tags(before), _tags(after))
        if before.addresses != after.addresses or before.hosts != after.hosts:
            was, now = before.addresses.values(), after.addresses.values()
            self._move(self._by_address, node, was, now)
            self._move(self._by_host, node, before.hosts.values(), after.hosts.values())
            for address in (*was, *now):  # a tunnel's end is nobody's own address
                self._displace_all(self._by_host.get(address, ()))

    def _move(
        self, holders: dict[K, set[str]], node: str, before: Iterable[K], after: Iterable[K]
    ) -> None:
        for key in before:
            others = holders[key]
            others.discard(node)
            self._displace_all(others)
            if not others:
                del holders[key]
        for key in after:
            others = holders.setdefault(key, set())
            self._displace_all(others)
            others.add(node)

    def _displace_all(self, nodes: Iterable[str]) -> None:
        for node in nodes:
            self._displace(node)

    def _claim_of(self, node: str) -> _Claim:
        own = self._hosts.get(node)
        hosts = _NO_CLAIM.hosts if own is None else _present(*own)
        if node == self._hostname:
            return _Claim(self._own_tag if self._layout == "pair" else 0, hosts, hosts)
        record = self._records.get(node) if hosts else None
        if record is None or not record.enabled:
            return _Claim(0, hosts, hosts)
        tag = record.tag if self._layout == "pair" else 0
        return _Claim(tag, _present(record.ipv4, record.ipv6), hosts)


def _claims_else(before: IpsecNode, after: IpsecNode) -> bool:
    """Whether others may have to do with what a node says that it has."""
    return (
        before.tag != after.tag
        or before.ipv4 != after.ipv4
        or before.ipv6 != after.ipv6
        or before.enabled != after.enabled
    )


def _tags(claim: _Claim) -> tuple[int, ...]:
    return (claim.tag,) if claim.tag else ()


def _present(v4: str, v6: str) -> dict[Family, str]:
    found: dict[Family, str] = {}
    if v4:
        found[4] = v4
    if v6:
        found[6] = v6
    return found
