"""What is behind which node, one address family: RouteUpdates in, CIDRs by node out.  Pure.

    workloads and tunnel ends, here and elsewhere    their node's
    other nodes' own addresses                       only with encryption between hosts, and never
                                                     those that are to stay in clear
    everything else                                  nobody's

Our own are thrown back to the other tables: blocks, and those single addresses that no block of
ours contains, such as one borrowed from a block of another node.
Source: projectcalico/calico felix/dataplane/linux/wireguard_mgr.go, felix/wireguard/wireguard.go;
section 3.5 of the routes reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Set

from calc_graph.model import IpPool
from calc_graph.multimap import Multimap
from calc_graph.updates import PoolRemove, PoolUpdate, RouteRemove, RouteType, RouteUpdate
from dataplane import rtnetlink
from dataplane.families import Family, family_of
from dataplane.settings import WireguardSettings

_BEHIND_A_NODE = (
    RouteType.LOCAL_WORKLOAD
    | RouteType.REMOTE_WORKLOAD
    | RouteType.LOCAL_TUNNEL
    | RouteType.REMOTE_TUNNEL
)


class Cover:
    """Nets of one family, asked whether another lies within one of them."""

    def __init__(self, family: Family, nets: Iterable[str] = ()) -> None:
        self._bits = rtnetlink.BITS[family]
        self._by_length: dict[int, set[int]] = {}
        for net in nets:
            self.add(net)

    def add(self, net: str) -> None:
        start, length = self._parse(net)
        self._by_length.setdefault(length, set()).add(start)

    def discard(self, net: str) -> None:
        start, length = self._parse(net)
        starts = self._by_length.get(length, set())
        starts.discard(start)
        if not starts:
            self._by_length.pop(length, None)

    def contains(self, net: str) -> bool:
        """A net is within itself."""
        start, length = self._parse(net)
        return any(
            length >= other and start >> (length - other) in starts
            for other, starts in self._by_length.items()
        )

    def _parse(self, net: str) -> tuple[int, int]:
        """The bits of the prefix as a number, and how many they are."""
        _, address, length = rtnetlink.parse_net(net)
        return int.from_bytes(address, "big") >> (self._bits - length), length


class Nets:
    """A closed pool is one in which nothing goes in clear: one that is to be encrypted, and, with
    strictness, every pool that workloads get addresses from.  What lies in one and belongs to no
    node that is known, perhaps not any more, is reached by nobody, but for the nodes themselves.
    """

    def __init__(self, family: Family, hostname: str, settings: WireguardSettings) -> None:
        self._hostname = hostname
        self._bits = rtnetlink.BITS[family]
        self._single = f"/{self._bits}"
        self._with_hosts = settings.host_encryption
        self._strict = settings.strict
        clear = (net if "/" in net else f"{net}{self._single}" for net in settings.clear_hosts)
        self._clear_hosts = Cover(family, (net for net in clear if family_of(net) == family))
        self._node_of: dict[str, str] = {}
        self._on: Multimap[str, str] = Multimap()
        self._own_blocks = Cover(family)
        self._hosts: set[str] = set()  # addresses of other nodes that stay in clear
        self._closed: set[str] = set()
        self._closed_pools = Cover(family)
        self._dirty: dict[str, None] = {}

    def update(self, event: RouteUpdate | RouteRemove) -> None:
        cidr = event.cidr
        before = self._node_of.pop(cidr, "")
        after = self._owner(event) if isinstance(event, RouteUpdate) else ""
        if after:
            self._node_of[cidr] = after
        if self._note_host(event) and self._closed:
            self._dirty[cidr] = None
        if before == after:
            return
        self._dirty[cidr] = None
        self._on.discard(before, cidr)
        if after:
            self._on.add(after, cidr)
        if self._hostname in (before, after) and not cidr.endswith(self._single):
            self._change_own_block(cidr, there=after == self._hostname)

    def update_pool(self, event: PoolUpdate | PoolRemove) -> None:
        cidr = event.pool.cidr if isinstance(event, PoolUpdate) else event.cidr
        before = cidr in self._closed
        after = isinstance(event, PoolUpdate) and self._closes(event.pool)
        if before == after:
            return
        if after:
            self._closed.add(cidr)
            self._closed_pools.add(cidr)
        else:
            self._closed.discard(cidr)
            self._closed_pools.discard(cidr)
        self._dirty.update(dict.fromkeys((cidr, *self._node_of, *self._hosts)))

    def node_of(self, cidr: str) -> str:
        """ "" for nobody."""
        return self._node_of.get(cidr, "")

    def nodes(self) -> Iterable[str]:
        """Those that anything is behind."""
        return self._on

    def on(self, node: str) -> Set[str]:
        """A live view."""
        return self._on.get(node)

    def is_thrown(self, cidr: str) -> bool:
        """Whether a net of ours needs a route of its own."""
        return not (cidr.endswith(self._single) and self._own_blocks.contains(cidr))

    def is_closed_pool(self, cidr: str) -> bool:
        return cidr in self._closed

    @property
    def has_closed_pools(self) -> bool:
        return bool(self._closed)

    def is_closed(self, cidr: str) -> bool:
        """Whether it lies in a closed pool."""
        return bool(self._closed) and self._closed_pools.contains(cidr)

    def is_open_host(self, cidr: str) -> bool:
        """Whether it is a node's own address, which stays in clear, in a closed pool."""
        return cidr in self._hosts and self.is_closed(cidr)

    def take_dirty(self) -> dict[str, None]:
        """Nets of which any of this may be different."""
        dirty, self._dirty = self._dirty, {}
        return dirty

    def _closes(self, pool: IpPool) -> bool:
        # Who disables a pool may only want to name a net that is outside the cluster.
        for_workloads = not pool.allowed_uses or "Workload" in pool.allowed_uses
        return pool.encrypted or (self._strict and for_workloads and not pool.disabled)

    def _note_host(self, event: RouteUpdate | RouteRemove) -> bool:
        """Whether it makes a difference."""
        before = event.cidr in self._hosts
        self._hosts.discard(event.cidr)
        if isinstance(event, RouteUpdate) and RouteType.REMOTE_HOST in event.types:
            self._hosts.add(event.cidr)
        return before != (event.cidr in self._hosts)

    def _owner(self, update: RouteUpdate) -> str:
        # Asked first: without encryption between hosts a host's address is out, whatever else it
        # is, because the path to the host carries the tunnels.
        if RouteType.REMOTE_HOST in update.types:
            encrypted = self._with_hosts and not self._clear_hosts.contains(update.cidr)
            return update.node if encrypted else ""
        return update.node if update.types & _BEHIND_A_NODE else ""

    def _change_own_block(self, cidr: str, *, there: bool) -> None:
        if there:
            self._own_blocks.add(cidr)
        else:
            self._own_blocks.discard(cidr)
        block = Cover(6 if ":" in cidr else 4, (cidr,))
        for own in self._on.get(self._hostname):
            if own.endswith(self._single) and block.contains(own):
                self._dirty[own] = None
