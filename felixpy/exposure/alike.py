"""Which addresses no rule can tell apart, so that the judge is asked about one of them.

    in   the graph's updates, the addresses that will be asked about
    out  for each address what rules could see of it: sets, nets, and ports in sets of ports

Two addresses with the same answer get the same verdict, other things being equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_network
from itertools import chain
from typing import TypeAlias

from calc_graph.judge import Address
from calc_graph.updates import (
    ActiveRule,
    IpsetType,
    IpsetUpdate,
    PolicyUpdate,
    ProfileUpdate,
    ServiceCidrsUpdate,
    Update,
)

Likeness: TypeAlias = frozenset[tuple[str, str]]  # set and port, or "" and a net
_SINGLE = ("/32", "/128")


class Likenesses:
    def __init__(self, updates: Iterable[Update], addresses: Iterable[Address]) -> None:
        """`updates`: the whole state, as a graph's first flush or a replay has it."""
        self._texts = {f"{address}/{address.max_prefixlen}": address for address in addresses}
        self._marks: dict[Address, set[tuple[str, str]]] = {a: set() for a in self._texts.values()}
        for update in updates:
            match update:
                case IpsetUpdate(name, IpsetType.IP_PORT, members):
                    self._mark_ports(name, members)
                case IpsetUpdate(name, _, members):
                    self._mark(((name, ""), net) for net in self._telling(members))
                case PolicyUpdate(_, rules) | ProfileUpdate(_, rules):
                    nets = set(_nets((*rules.ingress, *rules.egress)))
                    self._mark((("", net), net) for net in nets)
                case ServiceCidrsUpdate(cidrs):
                    self._mark((("", net), net) for net in cidrs)
                case _:
                    pass  # nothing else speaks of addresses that a rule asks for

    def of(self, address: Address) -> Likeness:
        return frozenset(self._marks[address])

    def _telling(self, members: frozenset[str]) -> Iterator[str]:
        """Of thousands of members those that may be about an address of ours."""
        whole = (net for net in members if not net.endswith(_SINGLE))
        return chain(self._texts.keys() & members, whole)

    def _mark(self, nets: Iterable[tuple[tuple[str, str], str]]) -> None:
        for mark, text in nets:
            net = ip_network(text)
            if net.prefixlen == net.max_prefixlen:
                address = self._texts.get(net.with_prefixlen)
                if address is not None:
                    self._marks[address].add(mark)
                continue
            version, mask, value = net.version, int(net.netmask), int(net.network_address)
            for address, own in self._marks.items():
                if address.version == version and int(address) & mask == value:
                    own.add(mark)

    def _mark_ports(self, name: str, members: Iterable[str]) -> None:
        for member in members:
            text, _, port = member.partition(",")
            address = self._texts.get(text + _SINGLE[":" in text])
            if address is not None:
                self._marks[address].add((name, port))


def _nets(rules: Iterable[ActiveRule]) -> Iterator[str]:
    for rule in rules:
        for side in (rule.source, rule.destination):
            yield from side.nets
            yield from side.not_nets
