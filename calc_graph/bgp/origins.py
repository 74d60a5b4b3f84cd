"""Which nets each node may announce: what the import filters towards it are made of.

    in   put_affinity, put_block, put_workload, put_node, put_pools; None: gone
    out  flush(): the nodes whose origins may differ from those told before

    a block           of the node's confirmed affinity; one that it gives back is `retiring`
    an address        of one of its workloads, of its tunnels, or lent to it out of another's block,
                      where no confirmed block of its own covers it

All of it only inside a pool, for what is outside of every pool is nobody's to announce; and inside
none that is not exported: a node's blocks there are `withheld`.  A change marks its node, and a
flush computes the marked ones whole: a node has some dozens of all this.  A pool is every node's.
Source: section 6.1 of the BGP reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias, TypeVar

from calc_graph.bgp.cluster import address_of
from calc_graph.bgp.resources import AffinityState, BlockAffinity
from calc_graph.bgp.updates import BgpOrigins
from calc_graph.model import Block, IpPool, Node, WorkloadEndpointKey
from calc_graph.multimap import Multimap
from calc_graph.net_table import BITS, Net, NetTable, Version, parse_net, single_net

EXCLUDED_LABEL: Final = "node.kubernetes.io/exclude-from-external-load-balancers"

_Nets: TypeAlias = tuple[str, ...]


class OriginTable:
    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._affinities: dict[str, dict[str, AffinityState]] = {}  # by node, then CIDR
        self._workloads: dict[str, dict[WorkloadEndpointKey, _Nets]] = {}  # by node
        self._others: dict[str, tuple[tuple[str, str], ...]] = {}  # of a block, where it has any
        self._lent: Multimap[str, tuple[str, str]] = Multimap()  # to a node: address, block
        self._pools: dict[Version, NetTable[bool]] = {4: NetTable(4), 6: NetTable(6)}  # exported?
        self._dirty: set[str] = set()

    # ------------------------------------------------------------ in

    def put_affinity(self, node: str, cidr: str, affinity: BlockAffinity | None) -> None:
        """A pending one is as good as none: another node may get the block yet."""
        if affinity is None or affinity.state == "pending":
            _discard(self._affinities, node, cidr)
        else:
            self._affinities.setdefault(node, {})[cidr] = affinity.state
        self._dirty.add(node)

    def put_block(self, cidr: str, block: Block | None) -> None:
        old = self._others.pop(cidr, ())
        new = block.others if block else ()
        if new:
            self._others[cidr] = new
        for address, node in set(old) - set(new):
            self._lent.discard(node, (address, cidr))
            self._dirty.add(node)
        for address, node in set(new) - set(old):
            self._lent.add(node, (address, cidr))
            self._dirty.add(node)

    def put_workload(self, key: WorkloadEndpointKey, nets: _Nets | None) -> None:
        old = self._workloads.get(key.host, {}).get(key)
        if old == nets:
            return
        if nets is None:
            _discard(self._workloads, key.host, key)
        else:
            self._workloads.setdefault(key.host, {})[key] = nets
        self._dirty.add(key.host)

    def put_node(self, name: str, node: Node | None) -> None:
        if node is None:
            self._nodes.pop(name, None)
        else:
            self._nodes[name] = node
        self._dirty.add(name)

    def put_pools(self, pools: Iterable[IpPool]) -> None:
        """All that stand."""
        self._pools = {4: NetTable(4), 6: NetTable(6)}
        for pool in pools:
            net = parse_net(pool.cidr)
            self._pools[net.version].put(net, pool.bgp_export)
        self._dirty |= self._nodes.keys() | self._affinities.keys() | self._workloads.keys()
        self._dirty.update(self._lent)

    # ------------------------------------------------------------ out

    def flush(self) -> list[tuple[str, BgpOrigins | None]]:
        """By node; None for one that has neither an address nor anything to announce."""
        found = [(name, self._origins(name)) for name in self._dirty]
        self._dirty.clear()
        return found

    def _origins(self, name: str) -> BgpOrigins | None:
        node = self._nodes.get(name)
        blocks: dict[AffinityState, dict[Net, str]] = {"confirmed": {}, "pendingDeletion": {}}
        for cidr, state in self._affinities.get(name, {}).items():
            blocks[state][parse_net(cidr)] = cidr
        confirmed = blocks["confirmed"]
        lengths = sorted({(net.version, net.length) for net in confirmed})
        singles = {
            net: cidr
            for cidr in self._singles(name, node)
            if not _covered(net := parse_net(cidr), confirmed, lengths)
        }
        found = BgpOrigins(
            node=name,
            address_v4=address_of(node, 4),
            address_v6=address_of(node, 6),
            nets=self._announced(confirmed | singles),
            retiring=self._announced(blocks["pendingDeletion"]),
            withheld=self._withheld(confirmed | blocks["pendingDeletion"]),
            services=node is not None and node.labels.get(EXCLUDED_LABEL) != "true",
        )
        known = (found.address_v4, found.address_v6, found.nets, found.retiring, found.withheld)
        return found if any(known) else None

    def _singles(self, name: str, node: Node | None) -> Iterator[str]:
        for nets in self._workloads.get(name, {}).values():
            yield from nets
        for address, _ in self._lent.get(name):
            yield address
        if node is not None:
            yield from _tunnels(node)

    def _announced(self, nets: dict[Net, str]) -> _Nets:
        return tuple(nets[net] for net in sorted(nets) if self._exported(net))

    def _withheld(self, nets: dict[Net, str]) -> _Nets:
        return tuple(nets[net] for net in sorted(nets) if self._exported(net) is False)

    def _exported(self, net: Net) -> bool | None:
        """None: it lies in no pool."""
        around = self._pools[net.version].path(net)
        return all(around) if around else None


def _covered(net: Net, blocks: dict[Net, str], lengths: list[tuple[Version, int]]) -> bool:
    """`lengths`: which there are among the blocks."""
    for version, length in lengths:
        if version == net.version and length <= net.length:
            shift = BITS[version] - length
            if Net(version, net.first >> shift << shift, length) in blocks:
                return True
    return False


def _tunnels(node: Node) -> Iterator[str]:
    for address in (
        node.ipip_address,
        node.vxlan_address,
        node.vxlan_address_v6,
        node.wireguard_address,
        node.wireguard_address_v6,
    ):
        if address:
            yield single_net(address)


K = TypeVar("K")
V = TypeVar("V")


def _discard(of_node: dict[str, dict[K, V]], node: str, key: K) -> None:
    """What is left empty goes as well."""
    values = of_node.get(node, {})
    values.pop(key, None)
    if not values:
        of_node.pop(node, None)
