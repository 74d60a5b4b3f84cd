"""The mesh: which key each peer is sent to with, what is to be in the kernel, what to publish.

    in   update      IpsecPeer, HostUpdate, RouteUpdate, PoolUpdate, removals; others change nothing
         keys        the check values of the ring that is to be used, the newest first
         drop        a key that the operator does not wait for any more
         life        boot, tag, and the keys that states of an agent before this one may have
         adopt       states of ours that were found in the kernel, before anything is resolved
         observe     what the kernel has of what was wished for, as far as it is another than before
    out  resolve     works it all out for a time; when it is to be called again for the time alone
         take_changes  of one family: what is wished for now and was not at the last take
         states, policies, routes  of one family, all of them
         record      what to publish
         progress    of each other node
         problems    by subject

The driver's loop, and nothing may be written before it has come to rest once:

    due = mesh.resolve(now)
    changes = mesh.take_changes(family)       compare with what is there
    mesh.observe(family, states, policies)    what is there as wished; then again from the top

A wish that depends on another is made when that one is observed: the way out through a tunnel when
its state is there, `receive` in the record when all receiving states are.

Pure.  A change costs what it touches: all peers only when this node's own life changes; another key
costs each peer its states for that key.
Source: sections 4 to 7 of the IPsec reference.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

from msgspec import Struct

from calc_graph.model import IpsecNode
from calc_graph.updates import (
    HostRemove,
    HostUpdate,
    IpsecPeer,
    IpsecPeerRemove,
    PoolRemove,
    PoolUpdate,
    RouteRemove,
    RouteUpdate,
)
from dataplane.families import Family
from dataplane.ipsec import report
from dataplane.ipsec.choice import common_keys, excluded
from dataplane.ipsec.ends import Ends
from dataplane.ipsec.family import FamilyMesh
from dataplane.ipsec.life import Life
from dataplane.ipsec.peers import Peers
from dataplane.ipsec.progress import PeerProgress
from dataplane.ipsec.retire import Keys
from dataplane.ipsec.states import key_of
from dataplane.ipsec.values import PolicyId, PolicyWish, StateId, StateWish
from dataplane.settings import IpsecSettings

Event = (
    IpsecPeer
    | IpsecPeerRemove
    | HostUpdate
    | HostRemove
    | RouteUpdate
    | RouteRemove
    | PoolUpdate
    | PoolRemove
)


_FAMILIES: tuple[Family, ...] = (4, 6)


class Changes(Struct, frozen=True):
    """None: not wished for any more.  Routes: net -> the node's address that it is behind."""

    states: dict[StateId, StateWish | None]
    policies: dict[PolicyId, PolicyWish | None]
    routes: dict[str, str | None]


class Mesh:
    def __init__(self, hostname: str, settings: IpsecSettings) -> None:
        self._hostname = hostname
        self._settings = settings
        self._ends = Ends(hostname, settings.layout)
        self._keys = Keys(settings.key_grace)
        self._families: dict[Family, FamilyMesh] = {
            family: FamilyMesh(family, hostname, settings)
            for family in _FAMILIES
            if family in settings.families
        }
        self._life = Life("", 0)
        self._peers = Peers(hostname, settings, self._ends, self._keys, self._families)
        self._touched: dict[str, None] = {}  # peers of which something was observed
        self._all_dirty = True
        self._keys_changed = False
        self._now = 0.0

    # ---------------------------------------------------------------- told

    def update(self, event: Event) -> None:
        """Events of families that IPsec is not on for change nothing."""
        match event:
            case RouteUpdate() | RouteRemove():
                for mesh in self._families.values():
                    mesh.nets.update(event)
            case PoolUpdate() | PoolRemove():
                for mesh in self._families.values():
                    mesh.nets.update_pool(event)
            case _:
                self._ends.update(event)

    def keys(self, checks: Mapping[int, str]) -> None:
        """The ring, the newest first: key ID -> check value, as `KeyRing.checks` has them."""
        self._keys.offer(checks)

    def drop(self, key: int) -> None:
        """The operator does not wait any longer for those that still use it.

        Nothing happens to a key that is in the ring.
        """
        self._keys.drop(key)

    def life(self, life: Life) -> None:
        """Another one than before makes all states anew."""
        if (life.boot, life.tag) != (self._life.boot, self._life.tag):
            self._peers.begin_life(life)
            self._all_dirty = True
        self._keys.remember(life.known)
        self._life = life
        self._ends.own_tag(life.tag)

    def adopt(self, family: Family, states: Mapping[StateId, str]) -> None:
        """States of ours that were found, with their source; before the first `resolve`.

        Those of keys that are not in the ring are only kept, and only if they are named here.
        """
        self._families[family].adopt(states)
        self._keys.found(key_of(state.spi) for state in states)

    def observe(
        self,
        family: Family,
        states: Mapping[StateId, StateWish | None],
        policies: Mapping[PolicyId, PolicyWish | None],
    ) -> None:
        """What has come to be there, or has gone (None), since the last time.

        A state counts if it is the one that is wished for, key and all; of one with a key that is
        not in the ring, ID and source are enough.
        """
        self._touched |= self._families[family].observe(states, policies)

    # ---------------------------------------------------------------- worked out

    def resolve(self, now: float) -> float:
        """`now`: seconds on any clock that only goes forward.

        Out: when to do it again though nothing was told, infinity for never.
        """
        self._now = now
        self._keys_changed |= self._keys.take_over(now)
        due = self._resolve_once()
        while self._keys_changed:
            due = self._resolve_once()
        return due

    def _resolve_once(self) -> float:
        touched, self._touched = self._touched, {}
        dirty = self._ends.take_dirty()
        if self._all_dirty or self._keys_changed or self._hostname in dirty:
            dirty |= self._set_here(dirty)
        dirty.pop(self._hostname, None)
        touched.pop(self._hostname, None)
        for mesh in self._families.values():
            mesh.resolve_own()
        decided = [name for name in dirty if self._peers.decide(name, self._now)]
        used = [name for name in touched if self._peers.look_at(name, self._now)]
        for mesh in self._families.values():
            mesh.resolve_nets()
        self._peers.describe([*decided, *used], {**dirty, **touched})
        return min(self._retire(), self._peers.let_go(self._now))

    def _set_here(self, told: Container[str]) -> dict[str, None]:
        """What is another than before about this node and its keys.  Out: peers to decide on, those
        in `told` apart.
        """
        addresses = self._ends.own_addresses()
        moved = any(m.here != addresses.get(f, "") for f, m in self._families.items())
        if not moved and not self._all_dirty:
            affected = self._peers.take_keys(told) if self._keys_changed else []
            self._keys_changed = False
            if affected is not None:
                return dict.fromkeys(affected)
        self._all_dirty = self._keys_changed = False
        self._peers.be_elsewhere(moved=moved)
        for family, mesh in self._families.items():
            mesh.set_here(addresses.get(family, ""), self._keys.picture)
        return dict.fromkeys(self._ends.hosts())

    def _retire(self) -> float:
        published = self._ends.published()
        due, changed = self._keys.advance(
            self._now,
            held=[key for key in self._keys.retired if self._peers.usage.held(key)],
            published=() if published is None else list(published.receive),
            sent=self._peers.usage.sent,
        )
        self._keys_changed |= changed
        return due

    # ---------------------------------------------------------------- asked

    def take_changes(self, family: Family) -> Changes:
        mesh = self._families[family]
        return Changes(mesh.states.take(), mesh.policies.take(), mesh.routes.take())

    def states(self, family: Family) -> Mapping[StateId, StateWish]:
        """As of the last resolve; it changes with the next."""
        return self._families[family].states.all

    def policies(self, family: Family) -> Mapping[PolicyId, PolicyWish]:
        """As of the last resolve; it changes with the next."""
        return self._families[family].policies.all

    def routes(self, family: Family) -> Mapping[str, str]:
        """As of the last resolve; it changes with the next."""
        return self._families[family].routes.all

    @property
    def alive(self) -> Mapping[int, str]:
        """Key ID -> check value, of all that states are wished for with.

        Whoever holds keys keeps those: of an ID that stands for another key in the ring it is this
        one that counts.  To be remembered over a restart as `Life.known`.
        """
        return self._keys.remembered

    @property
    def needs_new_life(self) -> bool:
        """Another node has our tag, and it is for us to give way."""
        return bool(self._ends.own_rival())

    @property
    def record(self) -> IpsecNode:
        """To be published once the driver's loop has come to rest."""
        return self._peers.record.value(self._life, self._ends.own_addresses())

    def progress(self) -> dict[str, PeerProgress]:
        """Of all nodes that publish something or have anything behind them, but this one."""
        nodes = self._ends.nodes()
        for mesh in self._families.values():
            nodes |= mesh.nets.nodes()
        return {name: self._progress(name) for name in sorted(nodes)}

    def _progress(self, name: str) -> PeerProgress:
        end = self._ends.end(name)
        return report.progress(
            name,
            end,
            self._peers.choose(name, end),
            self._families,
            sends=self._peers.record.peering(name).sends,
            sent=end.peering.sends,
            common=common_keys(end.record, self._keys.order, self._keys.alive),
            allow_clear=self._settings.allow_clear,
        )

    def problems(self) -> dict[str, str]:
        """Subject -> what is wrong."""
        held = {key: set(self._peers.usage.held(key)) for key in self._keys.retired}
        found = report.key_problems(self._keys, held, self._ends.records())
        for name in self._ends.nodes():
            end = self._ends.end(name)
            if end.place.rival:
                found[name] = f"its tag is that of {end.place.rival} as well"
            elif end.record.enabled and end.record.layout != self._settings.layout:
                found[name] = excluded(name, end, self._settings.layout)
        rival = self._ends.own_rival()
        if rival:
            found[self._hostname] = f"its tag is that of {rival} as well"
        return found
