"""The mesh of one address family: who is a peer, what is behind it, where each destination goes.

    in   adopt              the routes that an agent before this one has left
         update             WireguardEndpoint, HostUpdate, RouteUpdate, PoolUpdate, removals
         observe            the device, as read or surely written
         routes_written     the routes asked for last are in the kernel
    out  resolve            routes that differ from those asked for before; `peers` are all of them
         stages, problems   of other nodes

    nets      what is behind which node
    peers     which nodes could be peers
    stages    how far each of them has come

A destination is routed to the device once its node is ready and the device has it among that
peer's AllowedIPs; until then, and after, it is

    unreachable   with strictness, in a pool that must be encrypted, or where it was encrypted
                  before: another key, a key that two have or a device that is gone open nothing
    thrown back   otherwise, so that it goes as it would without WireGuard

A node without a key says itself that it does not encrypt: what is behind it is thrown back,
strictness aside, even what was encrypted while another node, or this one with a key, had it.

A net that is routed to the device is named for another peer only if that one is ready: the kernel
takes it from the old peer in the same moment.  To one that is not, it moves when the route is gone.
A net is never wished for two peers.

Pure, and a function of what is there: a change and its reversal come to nothing.  A change costs
what it touches, a peer's wish all its nets.
Source: projectcalico/calico felix/wireguard/wireguard.go; sections 3.5 to 3.7 of the routes
reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from calc_graph.multimap import Multimap
from calc_graph.updates import (
    HostRemove,
    HostUpdate,
    PoolRemove,
    PoolUpdate,
    RouteRemove,
    RouteUpdate,
    WireguardEndpoint,
    WireguardEndpointRemove,
)
from dataplane.families import Family
from dataplane.settings import WireguardSettings
from dataplane.wireguard.nets import Nets
from dataplane.wireguard.peers import NO_KEY, Claim, Claims
from dataplane.wireguard.stages import Stage, keepalive_of, stage_of
from dataplane.wireguard.state import DeviceState, PeerState, PeerWish, RouteKind

Event = (
    WireguardEndpoint
    | WireguardEndpointRemove
    | HostUpdate
    | HostRemove
    | RouteUpdate
    | RouteRemove
    | PoolUpdate
    | PoolRemove
)
_NOBODY: Mapping[bytes, PeerState] = {}


class _Node(NamedTuple):
    """`key` is b"" unless it is a peer; `closed`: nothing goes there in clear."""

    claim: Claim = NO_KEY
    stage: Stage = "no key"
    closed: bool = False

    @property
    def key(self) -> bytes:
        return self.claim.key if self.claim.kind == "peer" else b""


class Mesh:
    """Events of this family only, where they are of one."""

    def __init__(self, family: Family, hostname: str, settings: WireguardSettings) -> None:
        self._hostname = hostname
        self._port = settings.ports[0 if family == 4 else 1]
        self._keepalive = settings.keepalive
        self._strict = settings.strict
        self._guards = settings.strict or settings.host_encryption
        self._default = _Node(closed=settings.strict)
        self._nets = Nets(family, hostname, settings)
        self._claims = Claims(family, hostname)
        self._nodes: dict[str, _Node] = {}  # those that publish something
        self._node_of: dict[bytes, str] = {}  # of peers
        self._found: Mapping[bytes, PeerState] = _NOBODY
        self._peers: dict[bytes, PeerWish] = {}
        self._peers_taken = False
        self._named: dict[str, bytes] = {}  # net -> peer that is to have it
        self._nets_of: Multimap[bytes, str] = Multimap()  # the same by peer
        self._routes: dict[str, RouteKind] = {}
        self._closed_routes = 0
        self._led: set[str] = set()  # nets that a route of the kernel may lead to the device
        self._lingering: dict[str, None] = {}  # of these, those that none is to lead there any more
        self._encrypted: set[str] = set()  # nodes that have been ready
        self._covered: set[str] = set()  # nets that have been encrypted
        self._dirty_nodes: dict[str, None] = {}
        self._dirty_nets: dict[str, None] = {}
        self._dirty_peers: dict[bytes, None] = {}

    # ---------------------------------------------------------------- told

    def update(self, event: Event) -> None:
        match event:
            case RouteUpdate() | RouteRemove():
                self._nets.update(event)
            case PoolUpdate() | PoolRemove():
                self._nets.update_pool(event)
            case _:
                self._claims.update(event)

    def adopt(self, routes: Mapping[str, RouteKind]) -> None:
        """What is there before anything is asked for.

        What is not thrown back has been encrypted, or was not to go in clear.
        """
        for net, kind in routes.items():
            if kind == "device":
                self._led.add(net)
                self._lingering[net] = None
            if kind != "throw":
                self._covered.add(net)

    def observe(self, state: DeviceState | None) -> None:
        """None: there is no device that packets could leave by."""
        self._claims.own_key(None if state is None else state.public_key)
        before, self._found = self._found, _NOBODY if state is None else state.peers
        if before is not self._found:
            for key in before.keys() | self._found.keys():
                self._compare(key, before.get(key), self._found.get(key))

    def _compare(self, key: bytes, before: PeerState | None, after: PeerState | None) -> None:
        if before is after:
            return
        old, new = before or PeerState(), after or PeerState()
        if old.nets != new.nets:
            self._dirty_nets.update(dict.fromkeys(old.nets ^ new.nets))
        node = self._node_of.get(key)
        if node is not None and bool(old.handshake) != bool(new.handshake):
            self._dirty_nodes[node] = None

    def routes_written(self) -> None:
        """All that have been asked for: whatever is not to lead to the device does not any more."""
        for net in self._lingering:
            if self._routes.get(net) != "device":
                self._led.discard(net)
                self._dirty_nets[net] = None
        self._lingering.clear()

    # ---------------------------------------------------------------- asked

    @property
    def peers(self) -> Mapping[bytes, PeerWish]:
        """As of the last resolve; it changes with the next."""
        return self._peers

    def take_peers(self) -> Mapping[bytes, PeerWish] | None:
        """None: they are those that were taken last."""
        taken, self._peers_taken = self._peers_taken, True
        return None if taken else self._peers

    @property
    def routes(self) -> Mapping[str, RouteKind]:
        """As of the last resolve; it changes with the next."""
        return self._routes

    @property
    def closes(self) -> bool:
        """Whether any destination is to be unreachable."""
        return self._closed_routes > 0

    @property
    def keeps_from_clear(self) -> bool:
        """Whether anything, wherever it is, is not to go in clear."""
        return self._guards or self.closes or self._nets.has_closed_pools

    @property
    def waiting(self) -> frozenset[bytes]:
        """Peers whose handshake is waited for."""
        return frozenset(k for k, n in self._node_of.items() if self._nodes[n].stage == "waiting")

    def stages(self) -> dict[str, Stage]:
        """Of all nodes that publish something or have anything behind them, but this one."""
        behind = {node: None for node in self._nets.nodes() if node != self._hostname}
        return {n: self._nodes.get(n, self._default).stage for n in behind | dict(self._nodes)}

    def claim(self, node: str) -> Claim:
        return self._claims.claim(node)

    def nets(self, node: str) -> tuple[str, ...]:
        """What is behind a node."""
        return tuple(self._nets.on(node))

    def is_ours(self, net: str) -> bool:
        """Whether it is behind this node."""
        return self._nets.node_of(net) == self._hostname

    def problems(self) -> dict[str, str]:
        """Nodes that publish what makes them no peer, by name."""
        found: dict[str, str] = {}
        for name, node in self._nodes.items():
            if node.stage == "duplicate key":
                others = [n for n in self._claims.sharing(node.claim.key) if n != name]
                found[name] = f"its key is that of {', '.join(others)} as well"
            elif node.stage == "malformed key":
                found[name] = "what it publishes is no key"
            elif node.stage == "no address":
                found[name] = "it has a key, but no address"
        return found

    # ---------------------------------------------------------------- worked out

    def resolve(self) -> dict[str, RouteKind | None]:
        """Routes that are others than those asked for; None: gone."""
        nodes, self._dirty_nodes = self._dirty_nodes | self._claims.take_dirty(), {}
        for node in nodes:
            self._resolve_node(node)
        nets, self._dirty_nets = self._dirty_nets | self._nets.take_dirty(), {}
        changed: dict[str, RouteKind | None] = {}
        for net in nets:
            self._resolve_net(net, changed)
        keys, self._dirty_peers = self._dirty_peers, {}
        for key in keys:
            self._resolve_peer(key)
        return changed

    def _resolve_node(self, name: str) -> None:
        before = self._nodes.pop(name, self._default)
        claim = self._claims.claim(name)
        stage = stage_of(claim, self._found.get(claim.key))
        if stage == "ready":
            self._encrypted.add(name)
        elif stage == "no key":
            self._encrypted.discard(name)
            self._covered.difference_update(self._nets.on(name))
        after = _Node(claim, stage, self._strict or self._was_encrypted(name, claim))
        if after != self._default:
            self._nodes[name] = after
        if before.key != after.key and self._node_of.get(before.key) == name:
            del self._node_of[before.key]
        if after.key:
            self._node_of[after.key] = name
        if before != after:
            self._dirty_nets.update(dict.fromkeys(self._nets.on(name)))
            self._dirty_peers |= dict.fromkeys((before.key, after.key))

    def _was_encrypted(self, name: str, claim: Claim) -> bool:
        if claim.kind != "duplicate key":
            return name in self._encrypted
        return not self._encrypted.isdisjoint(self._claims.sharing(claim.key))

    def _resolve_net(self, net: str, changed: dict[str, RouteKind | None]) -> None:
        name = self._nets.node_of(net)
        elsewhere = name not in ("", self._hostname)
        node = self._nodes.get(name, self._default) if elsewhere else self._default
        if not elsewhere or node.stage == "no key":
            self._covered.discard(net)
        self._name(net, node if elsewhere else self._default)
        kind = self._kind(net, name, node)
        before = self._routes.pop(net, None)
        if kind is not None:
            self._routes[net] = kind
        if kind == "device":
            self._led.add(net)
            self._covered.add(net)
        elif net in self._led:
            self._lingering[net] = None
        if kind != before:
            changed[net] = kind
            self._closed_routes += (kind == "unreachable") - (before == "unreachable")

    def _name(self, net: str, node: _Node) -> None:
        """Say which peer is to have a net, if any."""
        before = self._named.pop(net, b"")
        movable = node.stage == "ready" or net not in self._led
        after = node.key if movable or before == node.key else b""
        if after:
            self._named[net] = after
        if before != after:
            self._nets_of.discard(before, net)
            if after:
                self._nets_of.add(after, net)
            self._dirty_peers |= dict.fromkeys((before, after))

    def _kind(self, net: str, name: str, node: _Node) -> RouteKind | None:
        if not name:
            if self._nets.is_open_host(net):
                return "throw"
            return "unreachable" if self._nets.is_closed_pool(net) else None
        if name == self._hostname:
            return "throw" if self._nets.is_thrown(net) else None
        if node.stage == "ready" and net in self._nets_at(node.key):
            return "device"
        closed = node.closed or net in self._covered or self._nets.is_closed(net)
        return "unreachable" if closed else "throw"

    def _nets_at(self, key: bytes) -> frozenset[str]:
        peer = self._found.get(key)
        return frozenset() if peer is None else peer.nets

    def _resolve_peer(self, key: bytes) -> None:
        before, wish = self._peers.pop(key, None), self._wish(key)
        if wish is not None:
            self._peers[key] = wish
        self._peers_taken &= wish == before

    def _wish(self, key: bytes) -> PeerWish | None:
        name = self._node_of.get(key)
        if name is None:
            return None
        node = self._nodes[name]
        return PeerWish(
            node=name,
            endpoint=(node.claim.address, self._port),
            nets=frozenset(self._nets_of.get(key)),
            keepalive=keepalive_of(node.stage, self._keepalive),
        )
