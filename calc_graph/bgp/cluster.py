"""What sessions and this node's own settings rest on: all nodes, and what is configured of BGP.

    in   Node, BgpConfiguration
    out  a node's address, AS number, port; which node is at an address

In a node's own configuration, "node.<name>", only prefix advertisements, port and log level count.
Source: sections 1.1 and 2 of the BGP reference; projectcalico/calico confd/pkg/backends/calico.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Final, Literal, TypeAlias

from calc_graph.bgp.resources import BgpConfiguration
from calc_graph.model import Node
from calc_graph.multimap import Multimap

Family: TypeAlias = Literal[4, 6]

FAMILIES: Final[tuple[Family, ...]] = (4, 6)
DEFAULT: Final = "default"
NODE_PREFIX: Final = "node."
BGP_PORT: Final = 179
_AS_NUMBER: Final = 64512
_NOTHING: Final = BgpConfiguration()


def address_of(node: Node | None, family: Family) -> str:
    """What BGP is told of, without the length of its subnet; "" where there is none."""
    if node is None:
        return ""
    return (node.bgp_ipv4 if family == 4 else node.bgp_ipv6).partition("/")[0]


def family_of(address: str) -> Family:
    return 6 if ":" in address else 4


class Cluster:
    """`nodes` and `configurations` by name; to be changed by the methods alone."""

    def __init__(self, hostname: str) -> None:
        self.hostname = hostname
        self.nodes: dict[str, Node] = {}
        self.configurations: dict[str, BgpConfiguration] = {}
        self._names_at: Multimap[str, str] = Multimap()  # by address

    # ------------------------------------------------------------ in

    def put_node(self, name: str, node: Node | None) -> None:
        for address in self.addresses(name):
            self._names_at.discard(address, name)
        if node is None:
            self.nodes.pop(name, None)
        else:
            self.nodes[name] = node
        for address in self.addresses(name):
            self._names_at.add(address, name)

    def put_configuration(self, name: str, found: BgpConfiguration | None) -> None:
        if found is None:
            self.configurations.pop(name, None)
        else:
            self.configurations[name] = found

    # ------------------------------------------------------------ out

    @property
    def own(self) -> Node | None:
        return self.nodes.get(self.hostname)

    @property
    def default(self) -> BgpConfiguration:
        return self.configurations.get(DEFAULT, _NOTHING)

    @property
    def default_as_number(self) -> int:
        return self.default.as_number or _AS_NUMBER

    def of_node(self, name: str) -> BgpConfiguration:
        return self.configurations.get(NODE_PREFIX + name, _NOTHING)

    def address(self, name: str, family: Family) -> str:
        return address_of(self.nodes.get(name), family)

    def addresses(self, name: str) -> Iterator[str]:
        """At most one of each family."""
        node = self.nodes.get(name)
        return filter(None, (address_of(node, family) for family in FAMILIES))

    def names_at(self, address: str) -> Set[str]:
        """The nodes that say they have this address; in a sound cluster at most one."""
        return self._names_at.get(address)

    def as_number(self, name: str) -> int:
        node = self.nodes.get(name)
        return (node.as_number if node else 0) or self.default_as_number

    def cluster_id(self, name: str) -> str:
        node = self.nodes.get(name)
        return node.cluster_id if node else ""

    def port(self, name: str) -> int:
        """Where this node listens; 0 where nobody says."""
        return self.of_node(name).listen_port or self.default.listen_port

    def node_at(self, address: str, port: int = 0) -> str:
        """The node whose BGP daemon has this address and, where one is given, this port.

        Of several the lowest name; "" for none.
        """
        names = self._names_at.get(address)
        if port:
            return min((n for n in names if (self.port(n) or BGP_PORT) == port), default="")
        return min(names, default="")
