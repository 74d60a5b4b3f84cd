"""The sets of prefixes that guards look into: which there are, and what is in them.

    in   the speaker, all nodes' origins, the sessions
    out  definitions, by name; those of one node have a name of their own, so that its new block
         changes the filters of its sessions alone

    CLUSTER4     pools and service ranges, and all beneath
    OWN4         what this node may announce: exact
    ADVERTISED4  service ranges that this node announces: exact
    SERVICES4    service ranges and all beneath: never for the kernel
    WITHHELD4    pools that are not exported, and all beneath
    AGENT4       pools whose routes into the kernel are the route driver's, and all beneath
    FROM_10_0_0_2  what the node with that address may announce: exact
    NODES4       what all other nodes may announce, where somebody has to know

A family without pools has nothing to announce and nothing to accept from nodes.

BIRD 2.0.12 takes two sets for the same that differ in prefixes of the same four bits of length,
such as 10.65.3.0/26 alone and with 10.65.3.64/26 beside it (measured; its `trie_same` compares no
prefixes kept within a node): it then reloads no channel, and what the new set refuses stays.  So
whoever uses sets is rendered with their checksum as well, for that makes it another text.
Source: section 6.1 of the BGP reference.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping

from calc_graph.bgp.updates import BgpOrigins, BgpSession, BgpSpeaker
from dataplane.bird.render import texts
from dataplane.bird.render.problems import Problems
from dataplane.bird.render.texts import Family, Net, NotFitError

_WRAPPED = 4  # more members than these stand in a line each
_ADDRESS_TO_SYMBOL = str.maketrans(".:", "__")


class Sets:
    """`owners` are address and name of each node whose set there is, sorted by address."""

    def __init__(
        self,
        family: Family,
        speaker: BgpSpeaker,
        origins: Mapping[str, BgpOrigins],
        sessions: Iterable[BgpSession],
        problems: Problems,
    ) -> None:
        self.family: Family = family
        self._speaker = speaker
        self._origins = origins
        self._problems = problems
        pools = [(self._nets([p.cidr], f"IPPool {p.cidr}"), p) for p in speaker.pools]
        self._has_pools = any(nets for nets, _ in pools)
        self._pools = pools
        advertised = self._nets(speaker.advertised_cidrs, "BGPConfiguration")
        self._services = [*self._nets(speaker.service_cidrs, "BGPConfiguration"), *advertised]
        self._advertised = advertised if self._has_pools else []
        self.reflected = False
        self.owners = self._find_owners(sessions)
        own = origins.get(speaker.node, BgpOrigins(node=speaker.node))
        self.own = self._of_node(own.nets, own.node)
        self.retiring = self._of_node(own.retiring, own.node)
        self.withheld = self._of_node(own.withheld, own.node)
        self.advertised = self._advertised if own.services else []
        self._members = self._all_members()

    def name(self, of: str) -> str:
        return f"{of}{self.family}"

    def definitions(self) -> list[str]:
        return [_definition(name, members) for name, members in self._members.items()]

    def seal(self, *names: str) -> str:
        """The statement that makes a filter's text another one when one of these sets is."""
        return seal(str([self._members[name] for name in names]))

    def seal_owners(self) -> str:
        """For what looks into the set of every node there is one of."""
        owned = [owner_set(address) for address, _ in self.owners]
        return self.seal(self.name("CLUSTER"), self.name("NODES"), *owned)

    def _all_members(self) -> dict[str, list[str]]:
        named = {
            "CLUSTER": _and_beneath([*self._of_pools(), *self._services]),
            "OWN": _exact(self.own),
            "ADVERTISED": _exact(self.advertised),
            "SERVICES": _and_beneath(self._services),
            "WITHHELD": _and_beneath(
                net for nets, pool in self._pools for net in nets if not pool.exported
            ),
            "AGENT": _and_beneath(
                net for nets, pool in self._pools for net in nets if not pool.in_kernel
            ),
        }
        if self._speaker.fabric or self.reflected:
            named["NODES"] = _exact(self._all_nodes())
        members = {self.name(of): found for of, found in named.items()}
        for address, node in self.owners:
            members[owner_set(address)] = _exact(self._may_announce(node))
        return members

    def _of_pools(self) -> list[Net]:
        return [net for nets, _ in self._pools for net in nets]

    def _may_announce(self, node: str) -> list[Net]:
        """Nothing while it is not known what a node has."""
        origins = self._origins.get(node)
        if origins is None:
            return []
        nets = self._of_node((*origins.nets, *origins.retiring), node)
        return [*nets, *self._advertised] if origins.services else nets

    def _all_nodes(self) -> list[Net]:
        own = set(self.own) | set(self.retiring)
        found: set[Net] = set()
        for node, origins in self._origins.items():
            if node != self._speaker.node:
                found.update(self._of_node((*origins.nets, *origins.retiring), node))
        return list(found - own)

    def _of_node(self, cidrs: Iterable[str], node: str) -> list[Net]:
        return self._nets(cidrs, f"Node {node}") if self._has_pools else []

    def _nets(self, cidrs: Iterable[str], about: str) -> list[Net]:
        found = []
        for cidr in cidrs:
            try:
                net = texts.net(cidr)
            except NotFitError as error:
                self._problems.add(about, str(error))
                continue
            if net.family == self.family:
                found.append(net)
        return found

    def _find_owners(self, sessions: Iterable[BgpSession]) -> list[tuple[str, str]]:
        """An address that two nodes claim is that node's to which there is a session, else the
        first's by name.
        """
        owners: dict[str, str] = {}
        for session in sessions:
            if session.trust == "node":
                owners.setdefault(texts.address(session.address, self.family), session.remote)
            self.reflected = self.reflected or session.trust == "reflector"
        if self.reflected:
            for node, origins in sorted(self._origins.items()):
                if node != self._speaker.node:
                    self._add_owner(owners, node, origins)
        return sorted(owners.items())

    def _add_owner(self, owners: dict[str, str], node: str, origins: BgpOrigins) -> None:
        text = origins.address_v4 if self.family == 4 else origins.address_v6
        if not text:
            return
        try:
            first = owners.setdefault(texts.address(text, self.family), node)
        except NotFitError as error:
            self._problems.add(f"Node {node}", str(error))
            return
        if first != node:
            self._problems.add(f"Node {node}", f"{text} is the address of node {first}")


def seal(text: str) -> str:
    return f"sealed({zlib.crc32(text.encode())})"


def owner_set(address: str) -> str:
    return f"FROM_{address.translate(_ADDRESS_TO_SYMBOL)}"


def _exact(nets: Iterable[Net]) -> list[str]:
    return [net.text for net in sorted(set(nets))]


def _and_beneath(nets: Iterable[Net]) -> list[str]:
    return [f"{text}+" for text in _exact(nets)]


def _definition(name: str, members: list[str]) -> str:
    if len(members) <= _WRAPPED:
        return f"define {name} = [ {', '.join(members)} ];" if members else f"define {name} = [ ];"
    return f"define {name} = [\n  " + ",\n  ".join(members) + "\n];"
