"""The mesh of one address family: what each peer and each net needs in the kernel, and what it has.

    in   nets, this node's address, a Peer as the mesh of all families has decided on it, what was
         found and observed in the kernel
    out  wishes for states, policies and routes; what a peer is sent to with; which receiving
         states are missing

A way turns to another key when the kernel has the state; the state it had goes when no policy in
the kernel names it any more.

What was decided of a peer is worked out when it is another than before, or when anything of this
node is that all peers depend on; what was observed changes only its states and its way; nets and
what is said to hosts follow when a way has turned.
Pure.  Source: sections 4.6, 4.7 and 5.5 of the IPsec reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dataplane.families import Family
from dataplane.ipsec import states
from dataplane.ipsec.behind import Behind, Owner
from dataplane.ipsec.hosts import Hosts
from dataplane.ipsec.line import Line, possible, receiving, sending, spi_of
from dataplane.ipsec.nets import Nets
from dataplane.ipsec.peer import NOBODY, Peer
from dataplane.ipsec.policies import Between, Way
from dataplane.ipsec.retire import KeyChange, Picture
from dataplane.ipsec.seen import Seen
from dataplane.ipsec.states import TunnelStates, key_of
from dataplane.ipsec.values import PolicyId, PolicyWish, StateId, StateWish
from dataplane.ipsec.wishes import Wishes
from dataplane.settings import IpsecSettings

_HERE: Owner = ("here", "")


class FamilyMesh:
    def __init__(self, family: Family, hostname: str, settings: IpsecSettings) -> None:
        self._family: Family = family
        self._allow_clear = settings.allow_clear
        self._shared = settings.layout == "shared"
        self.nets = Nets(family, hostname)
        self.here = ""
        self._keys = Picture()
        self._time = 0  # another whenever `here` or the keys are
        self._received_here: dict[StateId, StateWish] = {}
        self._seen = Seen(with_nodes=settings.node_encryption)
        self._lines: dict[str, Line] = {}
        self._at: dict[str, str] = {}  # peers by the other end
        self.states: Wishes[Owner, StateId, StateWish] = Wishes()
        self.policies: Wishes[Owner, PolicyId, PolicyWish] = Wishes()
        self.routes: Wishes[Owner, str, str] = Wishes()
        self._behind = Behind(self.nets, self.policies, self.routes, settings)
        self._hosts = Hosts(family, self.nets, self.policies, self._seen, settings)

    # ---------------------------------------------------------------- told

    def adopt(self, found: Mapping[StateId, str]) -> None:
        self._seen.adopt(found)

    def observe(
        self,
        states: Mapping[StateId, StateWish | None],
        policies: Mapping[PolicyId, PolicyWish | None],
    ) -> dict[str, None]:
        """Out: peers to look at: of states, and whose tunnel a policy has left or taken."""
        touched: dict[str, None] = {}
        seen, wished = self._seen, self.states.all
        gone = seen.states(states)
        for state_id, state in states.items():
            known = wished.get(state_id) or state or gone.get(state_id)
            if known is not None and known.peer:
                touched[known.peer] = None
                if known.key in self._keys.checks:  # else nothing follows from it
                    self._stir(known, there=state is not None)
        for address in seen.policies(policies):
            name = self._at.get(address, "")
            if name:
                touched[name] = None
                line = self._lines[name]
                line.used, line.keys = True, seen.keys_to(address)
        return touched

    def _stir(self, state: StateWish, *, there: bool) -> None:
        """A state was observed: what follows from that for its peer?

        A receiving one is wished for, there or not, as long as it can be made; a sending one that
        is wished for and has come stays so, and the way may lead through it.
        """
        line = self._lines.get(state.peer)
        if line is None:
            return
        if state.receives:
            line.changed |= state.key not in self._keys.makeable
        else:
            line.stirred = True
            line.changed |= not there or state.id not in line.sent

    def set_here(self, here: str, keys: Picture) -> None:
        """This node's address, "" for none.  All peers are to be set after."""
        if (here, keys) != (self.here, self._keys):
            self.here, self._keys = here, keys
            self._time += 1
        self._hosts.set_here(here)
        self._receive_from_all()

    def take_keys(self, keys: Picture, change: KeyChange) -> None:
        """Peers whose choice is another now are to be set after.

        What is wished for no more has a key that has gone, so none of it is of use to anybody.
        """
        self._keys = keys
        self._receive_from_all()
        for name, line in self._lines.items():
            if change.received:
                self._receive(name, line)
            if change.alive:
                self._send(name, line)
                if line.way is not None and key_of(line.way.spi) not in (0, *keys.checks):
                    self._follow(name, line)

    def _receive_from_all(self) -> None:
        """Layout "shared"."""
        keys, every = self._keys, dict[StateId, StateWish]()
        if self.here and self._shared:
            here = self.here
            made = [states.receiving_from_all(self._family, here, key) for key in keys.received]
            every = possible(made, keys, self._seen)
        self._seen.expect(self._received_here, every)
        self.states.put(_HERE, every)
        self._received_here = every

    # ---------------------------------------------------------------- a peer

    def set_peer(self, name: str, peer: Peer) -> list[StateWish] | None:
        """Out: states that are not wished for any more, and are there.  None: there are none, and
        its tunnel is as it was.
        """
        line = self._lines.get(name)
        if line is None:
            if peer == NOBODY:
                return None
            line = self._lines[name] = Line()
        elif line.made_for == self._time and line.peer == peer:
            return None
        before, received, sent = line.peer, line.received, line.sent
        is_new = line.made_for != self._time or before.tunnel != peer.tunnel
        line.peer, line.made_for = peer, self._time
        if is_new or before.there != peer.there:
            self._meet(name, line, before)
        # What is received with does not follow from the choice of a key.
        if is_new:
            self._receive(name, line)
        self._send(name, line)
        if self._turn(name, line) is not None or peer.enabled != before.enabled:
            self._hosts.set_host(name, peer, self.way(name))
        if self._hosts.with_nodes:
            self._hosts.set_node(name, peer, self.way(name))
        if peer == NOBODY:
            del self._lines[name]
        gone: list[StateWish] = []
        if line.received is not received:
            gone += self._left(received, line.received)
        if line.sent is not sent:
            gone += self._left(sent, line.sent)
        return gone if gone or is_new else None

    def _meet(self, name: str, line: Line, before: Peer) -> None:
        """Its tunnel, or its address, may be another."""
        peer = line.peer
        line.keys = self._seen.keys_to(peer.there)
        if self._at.get(before.there) == name:
            del self._at[before.there]
        if peer.there:
            self._at[peer.there] = name
        line.states = None if peer.tunnel is None else TunnelStates(peer.tunnel)
        between = self._between(peer.there, encrypted=peer.tunnel is not None)
        if line.between != between:
            line.between = between

    def look_at(self, name: str) -> bool:
        """Something was observed of a peer, or of its way.  Out: whether of policies."""
        line = self._lines.get(name)
        if line is None:
            return False
        if line.changed:
            self._receive(name, line)
            self._send(name, line)
        used, is_open = line.used, line.way is not None and line.way.spi != 0
        if line.changed or line.stirred or (used and not is_open):
            self._follow(name, line)
        elif used and self._hosts.with_nodes:
            # A way that is open does not follow from what leads through it.
            self._hosts.set_node(name, line.peer, self.way(name))
        line.changed = line.stirred = line.used = False
        return used

    def _follow(self, name: str, line: Line) -> None:
        """What its way leads through may be another."""
        way = self._turn(name, line)
        if way is not None:
            self._hosts.set_host(name, line.peer, way)
        if self._hosts.with_nodes:
            self._hosts.set_node(name, line.peer, self.way(name))

    def keep(self, name: str, former: Iterable[StateWish]) -> None:
        """States of a peer that are wished for no more, and may be needed yet."""
        owner: Owner = ("former", name)
        left = {
            wish.id: wish
            for wish in former
            if self.here in (wish.source, wish.id.destination)
            and self.states.owner(wish.id) in (None, owner)
            and self._seen.has(wish)
        }
        self.states.put(owner, left)

    def _receive(self, name: str, line: Line) -> None:
        wishes: dict[StateId, StateWish] = {}
        if line.states is not None and not self._shared:
            wishes = receiving(line.states, self._keys, self._seen)
        before = line.received
        if wishes != before:
            line.received = wishes
            self._seen.expect(before, wishes)
            self.states.put(("receive", name), wishes)

    def _send(self, name: str, line: Line) -> None:
        wishes: dict[StateId, StateWish] = {}
        if line.states is not None:
            wishes = sending(line.states, line.peer.key, self._keys, self._seen)
        if wishes != line.sent:
            line.sent = wishes
            self.states.put(("send", name), wishes)

    def _left(
        self, before: Mapping[StateId, StateWish], after: Mapping[StateId, StateWish]
    ) -> list[StateWish]:
        return [w for name, w in before.items() if name not in after and self._seen.has(w)]

    def _turn(self, name: str, line: Line) -> Way | None:
        """The way, if it is another now; the nets follow."""
        spi, way = spi_of(line, self._keys, self._seen), line.way
        if way is not None and way.spi == spi and way.between is line.between:
            return None
        way = line.way = Way(line.between, spi)
        self._behind.turn(name)
        return way

    def _between(self, there: str, *, encrypted: bool) -> Between:
        closed = not self._allow_clear
        return Between(
            self.here,
            there,
            asked=closed or encrypted,
            closed=closed,
            optional=self._allow_clear,
            shared=self._shared,
        )

    # ---------------------------------------------------------------- a net

    def resolve_own(self) -> None:
        """What peers, as they were, need because of nets of ours."""
        if self.nets.take_own_dirty():
            self._hosts.own_changed()
            for name, line in self._lines.items():
                self._hosts.set_host(name, line.peer, self.way(name))
            if self._shared:
                self._behind.turn_all()

    def resolve_nets(self) -> None:
        """Those that were told, and those of peers whose way is another."""
        self._behind.resolve(self.way)

    # ---------------------------------------------------------------- asked

    def way(self, name: str) -> Way:
        """To a node; to one that is nobody's peer: nowhere, or in clear."""
        line = self._lines.get(name)
        if line is not None and line.way is not None:
            return line.way
        return Way(self._between("", encrypted=False))

    def is_missing(self, key: int) -> bool:
        """Whether a receiving state of that key is not there."""
        return self._seen.is_missing(key)

    def receives(self, name: str, keys: Iterable[int]) -> bool:
        """Whether all receiving states for a peer are there, of these keys."""
        line = self._lines.get(name)
        if line is None or line.states is None or self._shared:
            return True
        return all(self._seen.has(line.states.receiving[key]) for key in keys)

    def sent_with(self, name: str) -> frozenset[int]:
        """Key IDs that ways out to a peer have in the kernel."""
        line = self._lines.get(name)
        return frozenset() if line is None else line.keys

    def encrypts_hosts(self, name: str) -> bool:
        """Whether what this node itself says to a peer goes encrypted."""
        return self._hosts.is_encrypted(self.way(name))

    def spis(self, name: str) -> list[int]:
        """Of the states that are wished for to send to a peer with, those in use first."""
        line = self._lines.get(name)
        wished = [] if line is None else [state.spi for state in line.sent]
        return sorted(wished, key=lambda spi: (spi != self.way(name).spi, spi))
