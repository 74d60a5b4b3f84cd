"""Resources that reach the dataplane almost as they are: nodes, pools, addresses of services.

    in   nodes, pools, BGP configuration
    out  values for the sequencer; nothing is computed beyond the choice of one among several

Two pools of the same CIDR are a conflict: the one with the smallest name, by bytes, stands.
Source: sections 1.4 and 4.9 of the reference.
"""

from __future__ import annotations

from calc_graph.bgp.resources import BgpConfiguration
from calc_graph.model import IpPool, Node
from calc_graph.updates import EncapUpdate, HostUpdate


class Pools:
    """Pools by name in, the standing pool of each CIDR out."""

    def __init__(self) -> None:
        self._pools: dict[str, IpPool] = {}
        self._names: dict[str, list[str]] = {}  # of a CIDR, sorted

    def put(self, name: str, pool: IpPool) -> set[str]:
        """Gives the CIDRs whose standing pool may have changed."""
        changed = self.discard(name)
        self._pools[name] = pool
        self._names[pool.cidr] = sorted([*self._names.get(pool.cidr, ()), name])
        return changed | {pool.cidr}

    def discard(self, name: str) -> set[str]:
        old = self._pools.pop(name, None)
        if old is None:
            return set()
        self._names[old.cidr].remove(name)
        if not self._names[old.cidr]:
            del self._names[old.cidr]
        return {old.cidr}

    def get(self, cidr: str) -> IpPool | None:
        names = self._names.get(cidr)
        return self._pools[names[0]] if names else None

    def encap(self) -> EncapUpdate:
        """What tunnels the standing pools ask for."""
        standing = [self._pools[names[0]] for names in self._names.values()]
        vxlan = [pool.cidr for pool in standing if pool.vxlan_mode != "never"]
        return EncapUpdate(
            ipip=any(pool.ipip_mode != "never" for pool in standing),
            vxlan=any(":" not in cidr for cidr in vxlan),
            vxlan_v6=any(":" in cidr for cidr in vxlan),
        )


def host_update(name: str, node: Node) -> HostUpdate | None:
    """None for a node that has no address of its own."""
    if not node.ipv4 and not node.ipv6:
        return None
    return HostUpdate(name, node.ipv4.partition("/")[0], node.ipv6.partition("/")[0])


def service_cidrs(name: str, found: BgpConfiguration | None) -> tuple[str, ...] | None:
    """Only the configuration named "default" is of the whole cluster; None for the others."""
    if name != "default":
        return None
    return () if found is None else found.service_cidrs
