"""The mesh of one address family: what each peer and each net needs in the kernel, and what it has.

    in   nets, this node's address, a Peer as the mesh of all families has decided on it, what was
         found and observed in the kernel
    out  wishes for states, policies and routes; what a peer is sent to with; which receiving
         states are missing

A way turns to another key when the kernel has the state; the state it had goes when no policy in
the kernel names it any more.
Pure.  Source: sections 4.6, 4.7 and 5.5 of the IPsec reference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, TypeAlias

from calc_graph.multimap import Multimap
from dataplane.families import Family
from dataplane.ipsec import policies, states
from dataplane.ipsec.nets import Nets
from dataplane.ipsec.peer import NOBODY, Peer
from dataplane.ipsec.policies import Way
from dataplane.ipsec.values import PolicyId, PolicyWish, Selector, StateId, StateWish
from dataplane.ipsec.wishes import Wishes
from dataplane.rtnetlink import BITS
from dataplane.settings import IpsecSettings

# Who wishes: for the net, the peer, or the node of that name.
Owner: TypeAlias = tuple[
    Literal["net", "own", "host", "node", "here", "send", "receive", "former"], str
]
_HERE: Owner = ("here", "")
_NO_WAY = Way()
_NOT_USED: Mapping[StateId, int] = {}


class FamilyMesh:
    def __init__(self, family: Family, hostname: str, settings: IpsecSettings) -> None:
        self._family: Family = family
        self._allow_clear = settings.allow_clear
        self._shared = settings.layout == "shared"
        self._ports = settings.clear_ports
        self._with_nodes = settings.node_encryption
        self.nets = Nets(family, hostname)
        self.here = ""
        self._makeable: frozenset[int] = frozenset()
        self._adopted: dict[StateId, str] = {}
        self._present: dict[StateId, StateWish] = {}
        self._named: dict[PolicyId, StateId] = {}  # of ways out in the kernel
        self._users: dict[str, Counter[StateId]] = {}  # of those, by the other end
        self._strict: set[PolicyId] = set()  # ways in, in the kernel, that nothing clear passes
        self._peers: dict[str, Peer] = {}
        self._at: dict[str, str] = {}  # peers by the other end
        self._ways: dict[str, Way] = {}
        self._missing: Multimap[int, StateId] = Multimap()
        self.states: Wishes[Owner, StateId, StateWish] = Wishes()
        self.policies: Wishes[Owner, PolicyId, PolicyWish] = Wishes()
        self.routes: Wishes[Owner, str, str] = Wishes()

    # ---------------------------------------------------------------- told

    def adopt(self, found: Mapping[StateId, str]) -> None:
        self._adopted.update(found)

    def observe_state(self, name: StateId, state: StateWish | None) -> str:
        """Out: the peer that it is of, "" for none or all."""
        before = self._present.pop(name, None)
        if state is not None:
            self._present[name] = state
        else:
            self._adopted.pop(name, None)
        wish = self.states.all.get(name)
        if wish is not None and wish.receives and self.states.owner(name)[0] != "former":
            self._note_missing(wish)
        for known in (wish, state, before):
            if known is not None and known.peer:
                return known.peer
        return ""

    def observe_policy(self, name: PolicyId, policy: PolicyWish | None) -> Iterator[str]:
        """Out: peers whose tunnel it has left or taken."""
        template = None if policy is None else policy.template
        if name.direction == "in":
            if template is not None and not template.optional:
                self._strict.add(name)
            else:
                self._strict.discard(name)
        if name.direction != "out":
            return
        before = self._named.pop(name, None)
        after = StateId(template.destination, template.spi) if template is not None else None
        if before is not None and before != after:
            self._count(before, -1)
            yield self._at.get(before.destination, "")
        if after is not None:
            self._named[name] = after
            if before != after:
                self._count(after, 1)
                yield self._at.get(after.destination, "")

    def _count(self, state: StateId, by: int) -> None:
        users = self._users.setdefault(state.destination, Counter())
        users[state] += by
        if not users[state]:
            del users[state]
        if not users:
            del self._users[state.destination]

    def set_here(self, here: str, makeable: frozenset[int], receives: Iterable[int]) -> None:
        """`makeable`: keys that new states can be made with.  All peers are to be set after."""
        self.here, self._makeable = here, makeable
        wishes: list[PolicyWish] = []
        if here:
            wishes += policies.rest_policies(self._family, here)
            if self._with_nodes:
                wishes += policies.exceptions(self._family, here, self._ports)
        self.policies.put(_HERE, ((wish.id, wish) for wish in wishes))
        every: list[StateWish] = []
        if here and self._shared:
            every = [states.receiving_from_all(self._family, here, key) for key in receives]
        self._put_receiving(_HERE, filter(self._is_possible, every))

    # ---------------------------------------------------------------- a peer

    def set_peer(self, name: str, peer: Peer) -> list[StateWish]:
        """Out: states that are not wished for any more, and were there."""
        before = self._peers.pop(name, NOBODY)
        if self._at.get(before.there) == name:
            del self._at[before.there]
        if peer != NOBODY:
            self._peers[name] = peer
        if peer.there:
            self._at[peer.there] = name
        gone = self._receive(name, peer)
        sending = self.states.of(("send", name))
        spi = self._send(name, peer)
        left = {wish.id for wish in self.states.of(("send", name))}
        gone += [w for w in sending if w.id not in left and w.id in self._present]
        way = Way(
            here=self.here,
            there=peer.there,
            spi=spi,
            asked=not self._allow_clear or peer.tunnel is not None,
            closed=not self._allow_clear,
            optional=self._allow_clear,
            shared=self._shared,
        )
        changed = way != self._ways.get(name)
        self._ways[name] = way
        self._set_host(name, peer, way)
        if changed:
            for net in self.nets.on(name):
                self.set_net(net)
        if peer == NOBODY:
            del self._ways[name]
        return gone

    def keep(self, name: str, former: Iterable[StateWish]) -> None:
        """States of a peer that are wished for no more, and may be needed yet."""
        current = self.states.all
        left = [
            wish
            for wish in former
            if self.here in (wish.source, wish.id.destination)
            and current.get(wish.id, wish) == wish
            and wish.id in self._present
        ]
        self.states.put(("former", name), ((wish.id, wish) for wish in left))

    def _receive(self, name: str, peer: Peer) -> list[StateWish]:
        wishes: list[StateWish] = []
        if peer.tunnel is not None and not self._shared:
            wishes = [states.receiving(peer.tunnel, key) for key in peer.receives]
        return self._put_receiving(("receive", name), filter(self._is_possible, wishes))

    def _put_receiving(self, owner: Owner, wishes: Iterable[StateWish]) -> list[StateWish]:
        wanted = {wish.id: wish for wish in wishes}
        gone: list[StateWish] = []
        for wish in self.states.of(owner):
            self._missing.discard(wish.key, wish.id)
            if wish.id not in wanted and wish.id in self._present:
                gone.append(wish)
        self.states.put(owner, wanted.items())
        for wish in wanted.values():
            self._note_missing(wish)
        return gone

    def _note_missing(self, wish: StateWish) -> None:
        if self._present.get(wish.id) == wish:
            self._missing.discard(wish.key, wish.id)
        else:
            self._missing.add(wish.key, wish.id)

    def _send(self, name: str, peer: Peer) -> int:
        """The SPI to send with.

        A state that was sent with stays as long as its key is alive: it could not be made again,
        as that would count anew under the same key.
        """
        if peer.tunnel is None:
            self.states.put(("send", name))
            return 0
        wishes: dict[StateId, StateWish] = {}
        for key in peer.alive:
            wish = states.sending(peer.tunnel, key)
            made = wish.id in self._present or self._adopted.get(wish.id) == wish.source
            if made or (key == peer.key and key in self._makeable):
                wishes[wish.id] = wish
        self.states.put(("send", name), wishes.items())
        for key in (peer.key, *peer.usable) if peer.key else ():
            wish = states.sending(peer.tunnel, key)
            if self._present.get(wish.id) == wish and self._may_turn(name, peer, wish):
                return wish.id.spi
        return 0

    def _may_turn(self, name: str, peer: Peer, wish: StateWish) -> bool:
        """To the best key at once; while its state is missing, only what is in use stays so."""
        before = self._ways.get(name, _NO_WAY).spi
        used = wish.id in self._users.get(wish.id.destination, _NOT_USED)
        return wish.key == peer.key or wish.id.spi == before or (used and before == 0)

    def _is_possible(self, wish: StateWish) -> bool:
        if wish.key in self._makeable:
            return True
        present = self._present.get(wish.id)
        return present == wish or self._adopted.get(wish.id) == wish.source

    def _set_host(self, name: str, peer: Peer, way: Way) -> None:
        wishes: list[PolicyWish] = []
        if peer.enabled and way.there:
            wishes += policies.host_policies(self.nets.own, way)
        self.policies.put(("host", name), ((wish.id, wish) for wish in wishes))
        wishes = []
        if self._with_nodes and peer.enabled and peer.nodes and way.here and way.there:
            settled = peer.sends or self._has_settled(way)
            wishes += policies.node_policies(way, settled=settled)
        self.policies.put(("node", name), ((wish.id, wish) for wish in wishes))

    def _has_settled(self, way: Way) -> bool:
        bits = BITS[self._family]
        selector = Selector(f"{way.there}/{bits}", f"{way.here}/{bits}")
        return PolicyId("in", selector) in self._strict

    # ---------------------------------------------------------------- a net

    def resolve_nets(self) -> None:
        if self.nets.take_own_dirty():
            for name, peer in self._peers.items():
                self._set_host(name, peer, self._ways[name])
            if self._shared:
                for name in self.nets.nodes():
                    for net in self.nets.on(name):
                        self.set_net(net)
        for net in self.nets.take_dirty():
            self.set_net(net)

    def set_net(self, net: str) -> None:
        name = self.nets.node_of(net)
        wishes: list[PolicyWish] = []
        route = ""
        if name:
            way = self._way(name)
            wishes += policies.net_policies(net, way)
            if self._shared:
                wishes += policies.guide_policies(net, self.nets.own, way)
            route = way.there if way.spi else ""
        self.policies.put(("net", net), ((wish.id, wish) for wish in wishes))
        self.routes.put(("net", net), ((net, route),) if route else ())
        self._set_own(net)

    def _set_own(self, net: str) -> None:
        wishes: list[PolicyWish] = []
        guarded = not self._allow_clear
        if self.nets.is_own(net):
            borrowed = self.nets.is_borrowed(net)
            wishes += policies.own_policies(net, borrowed=borrowed, guarded=guarded)
        if guarded and self.nets.is_pool(net):
            wishes += policies.pool_policies(net)
        self.policies.put(("own", net), ((wish.id, wish) for wish in wishes))

    def _way(self, name: str) -> Way:
        """Of a node that is nobody's peer: nowhere, or in clear."""
        unknown = Way(here=self.here, asked=not self._allow_clear, closed=not self._allow_clear)
        return self._ways.get(name, unknown)

    # ---------------------------------------------------------------- asked

    def way(self, name: str) -> Way:
        return self._way(name)

    def is_missing(self, key: int) -> bool:
        """Whether a receiving state of that key is not there."""
        return key in self._missing

    def receives(self, name: str, keys: Iterable[int]) -> bool:
        """Whether all receiving states for a peer are there, of these keys."""
        peer = self._peers.get(name, NOBODY)
        if peer.tunnel is None or self._shared:
            return True
        wishes = (states.receiving(peer.tunnel, key) for key in keys)
        return all(self._present.get(wish.id) == wish for wish in wishes)

    def sent_with(self, name: str) -> set[int]:
        """Key IDs that ways out to a peer have in the kernel."""
        there = self._peers.get(name, NOBODY).there
        users = self._users.get(there, _NOT_USED) if there else _NOT_USED
        return {states.key_of(state.spi) for state in users}

    def spis(self, name: str) -> list[int]:
        """Of the states that are wished for to send to a peer with, those in use first."""
        wished = [wish.id.spi for wish in self.states.of(("send", name))]
        return sorted(wished, key=lambda spi: (spi != self._way(name).spi, spi))
