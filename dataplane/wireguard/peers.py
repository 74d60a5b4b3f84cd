"""Which nodes could be peers, one address family: what each publishes in, its claim out.  Pure.

    in   WireguardEndpoint, HostUpdate and their removals    calc_graph
         own_key                                             the device's own
    out  claim        of another node: whether it can be a peer, and if not, why not
         take_dirty   nodes whose claim may be another than it was

Of nodes with one key none is a peer, whoever came first: the kernel would send what is for one of
them to the other.  A node without an address has no endpoint, even if it had one before.
Source: sections 3.4 and 3.5 of the routes reference.
"""

from __future__ import annotations

import base64
import binascii
from typing import Literal, NamedTuple

from calc_graph.multimap import Multimap
from calc_graph.updates import HostRemove, HostUpdate, WireguardEndpoint, WireguardEndpointRemove
from dataplane.families import Family
from dataplane.wireguard.state import KEY_BYTES

Event = WireguardEndpoint | WireguardEndpointRemove | HostUpdate | HostRemove


class Claim(NamedTuple):
    """`key` is b"" where there is none; `address` is the node's own, "" unless it can be a peer."""

    kind: Literal["no key", "malformed key", "duplicate key", "no address", "peer"]
    key: bytes = b""
    address: str = ""


NO_KEY = Claim("no key")


class Claims:
    """Of all nodes but `hostname`."""

    def __init__(self, family: Family, hostname: str) -> None:
        self._family: Family = family
        self._hostname = hostname
        self._own_key = b""
        self._keys: dict[str, bytes] = {}
        self._malformed: set[str] = set()
        self._addresses: dict[str, str] = {}
        self._nodes_of: Multimap[bytes, str] = Multimap()
        self._dirty: dict[str, None] = {}

    def update(self, event: Event) -> None:
        match event:
            case WireguardEndpoint():
                text = event.key_v6 if self._family == 6 else event.key
                self._publishes(event.node, text, malformed=self._family in event.malformed)
            case WireguardEndpointRemove(node):
                self._publishes(node, "")
            case HostUpdate():
                self._has(event.name, event.ipv6 if self._family == 6 else event.ipv4)
            case HostRemove(name):
                self._has(name, "")

    def own_key(self, key: bytes | None) -> None:
        """What the device has, not what is published of it: None while it has none."""
        if (key or b"") != self._own_key:
            for each in (self._own_key, key or b""):
                self._dirty.update(dict.fromkeys(self._nodes_of.get(each)))
            self._own_key = key or b""

    def claim(self, node: str) -> Claim:
        key = self._keys.get(node)
        if key is None:
            return Claim("malformed key") if node in self._malformed else NO_KEY
        if key == self._own_key or len(self._nodes_of.get(key)) > 1:
            return Claim("duplicate key", key)
        address = self._addresses.get(node, "")
        return Claim("peer", key, address) if address else Claim("no address", key)

    def sharing(self, key: bytes) -> list[str]:
        """The nodes that publish a key, by name; this one among them if it has it."""
        own = [self._hostname] if key and key == self._own_key else []
        return sorted([*self._nodes_of.get(key), *own])

    def take_dirty(self) -> dict[str, None]:
        dirty, self._dirty = self._dirty, {}
        return dirty

    def _publishes(self, node: str, text: str, *, malformed: bool = False) -> None:
        if node == self._hostname:
            return
        before = self._keys.pop(node, None)
        self._malformed.discard(node)
        self._dirty[node] = None
        key = _decode(text)
        if before is not None and before != key:
            self._nodes_of.discard(before, node)
            self._dirty.update(dict.fromkeys(self._nodes_of.get(before)))
        if key is not None:
            self._keys[node] = key
            self._nodes_of.add(key, node)
            self._dirty.update(dict.fromkeys(self._nodes_of.get(key)))
        elif text or malformed:
            self._malformed.add(node)

    def _has(self, node: str, address: str) -> None:
        if node == self._hostname or self._addresses.get(node, "") == address:
            return
        self._dirty[node] = None
        if address:
            self._addresses[node] = address
        else:
            del self._addresses[node]


def _decode(text: str) -> bytes | None:
    """None for what is no key; the key of zeroes stands for none, and the kernel has no such peer.

    Source: linux drivers/net/wireguard/netlink.c, set_peer.
    """
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
    return key if len(key) == KEY_BYTES and any(key) else None
