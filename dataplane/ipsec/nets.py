"""What is behind which node, one address family: RouteUpdates in, nets of others and of ours out.

    others' blocks, addresses borrowed from others, tunnel ends    their node's
    our own blocks                                                 ours
    our own single addresses outside our own blocks                borrowed by us
    nodes' own addresses                                           nobody's: the tunnels run there

Pure.  Source: section 6.1 of the IPsec reference.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Final

from calc_graph.model import IpPool
from calc_graph.multimap import Multimap
from calc_graph.updates import PoolRemove, PoolUpdate, RouteRemove, RouteType, RouteUpdate
from dataplane import rtnetlink
from dataplane.families import Family, family_of
from dataplane.wireguard.nets import Cover

# As numbers: of flags each operation is a call, and makes another object.
_REMOTE_HOST: Final = int(RouteType.REMOTE_HOST)
_OF_WORKLOADS: Final = int(
    RouteType.REMOTE_WORKLOAD
    | RouteType.REMOTE_TUNNEL
    | RouteType.LOCAL_WORKLOAD
    | RouteType.LOCAL_TUNNEL
)
_USES_OF_WORKLOADS = ("Workload", "Tunnel")


class Nets:
    def __init__(self, family: Family, hostname: str) -> None:
        self._family: Family = family
        self._hostname = hostname
        self._single = f"/{rtnetlink.BITS[family]}"
        self._node_of: dict[str, str] = {}
        self._on: Multimap[str, str] = Multimap()
        self._own_blocks = Cover(family)
        self._own: set[str] = set()
        self._pools: set[str] = set()
        self._dirty: dict[str, None] = {}
        self._own_dirty = False

    def update(self, event: RouteUpdate | RouteRemove) -> None:
        cidr = event.cidr
        if family_of(cidr) != self._family:
            return
        before = self._node_of.pop(cidr, "")
        after = self._owner(event) if isinstance(event, RouteUpdate) else ""
        if after:
            self._node_of[cidr] = after
        if before == after:
            return
        self._on.discard(before, cidr)
        if after:
            self._on.add(after, cidr)
        self._dirty[cidr] = None
        if self._hostname in (before, after):
            self._change_own(cidr, there=after == self._hostname)

    def update_pool(self, event: PoolUpdate | PoolRemove) -> None:
        cidr = event.pool.cidr if isinstance(event, PoolUpdate) else event.cidr
        if family_of(cidr) != self._family:
            return
        there = isinstance(event, PoolUpdate) and _is_for_workloads(event.pool)
        if there:
            self._pools.add(cidr)
        else:
            self._pools.discard(cidr)
        self._dirty[cidr] = None

    def node_of(self, cidr: str) -> str:
        """The other node that a net is behind, "" for none."""
        node = self._node_of.get(cidr, "")
        return "" if node == self._hostname else node

    def on(self, node: str) -> Set[str]:
        """A live view."""
        return self._on.get(node)

    def nodes(self) -> set[str]:
        """Other nodes that anything is behind."""
        return {node for node in self._on if node != self._hostname}

    @property
    def own(self) -> Set[str]:
        """Our blocks, and what is ours outside of them.  A live view."""
        return self._own

    def is_own(self, cidr: str) -> bool:
        return cidr in self._own

    def is_borrowed(self, cidr: str) -> bool:
        """A single address of ours that no block of ours contains."""
        return cidr in self._own and cidr.endswith(self._single)

    def is_pool(self, cidr: str) -> bool:
        """Whether workloads or tunnels may be given addresses of it."""
        return cidr in self._pools

    def take_dirty(self) -> dict[str, None]:
        """Nets of which any of this may be different."""
        dirty, self._dirty = self._dirty, {}
        return dirty

    def take_own_dirty(self) -> bool:
        """Whether `own` may be different."""
        dirty, self._own_dirty = self._own_dirty, False
        return dirty

    def _owner(self, update: RouteUpdate) -> str:
        if update.local_workload:
            return self._hostname
        types = int(update.types)
        if types & _REMOTE_HOST:
            return ""
        return update.node if types & _OF_WORKLOADS else ""

    def _change_own(self, cidr: str, *, there: bool) -> None:
        if not cidr.endswith(self._single):
            if there:
                self._own_blocks.add(cidr)
            else:
                self._own_blocks.discard(cidr)
            around = Cover(self._family, (cidr,))
            for own in self._on.get(self._hostname):
                if own.endswith(self._single) and around.contains(own):
                    self._set_own(own, there=not self._own_blocks.contains(own))
            self._set_own(cidr, there=there)
        else:
            self._set_own(cidr, there=there and not self._own_blocks.contains(cidr))

    def _set_own(self, cidr: str, *, there: bool) -> None:
        if there == (cidr in self._own):
            return
        if there:
            self._own.add(cidr)
        else:
            self._own.discard(cidr)
        self._dirty[cidr] = None
        self._own_dirty = True


def _is_for_workloads(pool: IpPool) -> bool:
    """A disabled one commonly stands for a net outside of the cluster, so that nothing that goes
    there is masqueraded; nobody gets another block of it.
    """
    uses = pool.allowed_uses
    return not pool.disabled and (not uses or any(use in uses for use in _USES_OF_WORKLOADS))
