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

Pure.  A change costs what it touches; all peers only when the ring or this node's own life changes.
Source: sections 4 to 7 of the IPsec reference.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from calc_graph.model import IpsecNode
from calc_graph.multimap import Multimap
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
from dataplane.families import Family, family_of
from dataplane.ipsec import report
from dataplane.ipsec.choice import Choice, choose, common_keys, excluded
from dataplane.ipsec.ends import NO_END, End, Ends
from dataplane.ipsec.family import NOBODY, FamilyMesh, Peer
from dataplane.ipsec.life import Life
from dataplane.ipsec.progress import PeerProgress
from dataplane.ipsec.record import Record, told
from dataplane.ipsec.retire import IN_FLIGHT_SECONDS, Keys, may_send
from dataplane.ipsec.states import Tunnel, key_of
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
_NEVER = float("inf")


class Changes(Struct, frozen=True):
    """None: not wished for any more.  Routes: net -> the node's address that it is behind."""

    states: dict[StateId, StateWish | None]
    policies: dict[PolicyId, PolicyWish | None]
    routes: dict[str, str | None]


class _Former:
    """States of a peer that go: what receives when it has been quiet for as long as packets travel,
    what sends later, since it could not be made again if the peer came back.
    """

    def __init__(self, until: float) -> None:
        self.wishes: dict[StateId, StateWish] = {}
        self.until = until
        self.quiet_since: float | None = None

    @property
    def deaf_at(self) -> float:
        quiet = _NEVER if self.quiet_since is None else self.quiet_since + IN_FLIGHT_SECONDS
        return min(self.until, quiet)

    @property
    def receives(self) -> bool:
        return any(wish.receives for wish in self.wishes.values())

    def let_go(self, now: float) -> float:
        """Out: when to look again; infinity when nothing is left."""
        if now >= self.deaf_at:
            self.wishes = {i: wish for i, wish in self.wishes.items() if not wish.receives}
        if now >= self.until:
            self.wishes = {}
        if not self.wishes:
            return _NEVER
        return self.deaf_at if self.receives else self.until


class Mesh:
    def __init__(self, hostname: str, settings: IpsecSettings) -> None:
        self._hostname = hostname
        self._settings = settings
        self._shared = settings.layout == "shared"
        self._ends = Ends(hostname, settings.layout)
        self._keys = Keys(settings.key_grace)
        self._record = Record(settings)
        self._families: dict[Family, FamilyMesh] = {
            family: FamilyMesh(family, hostname, settings)
            for family in _FAMILIES
            if family in settings.families
        }
        self._life = Life("", 0)
        self._choices: dict[str, Choice] = {}
        self._held: Multimap[int, str] = Multimap()  # retired key -> who may send with it
        self._sent: Multimap[int, str] = Multimap()  # key -> whom we send to with it
        self._former: dict[str, _Former] = {}
        self._adopted_keys: set[int] = set()
        self._ring: Mapping[int, str] | None = None  # to be taken over
        self._known: Mapping[int, str] | None = None
        self._dropped: set[int] = set()
        self._dirty: dict[str, None] = {}
        self._all_dirty = True
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
        self._ring = dict(checks)

    def drop(self, key: int) -> None:
        """The operator does not wait any longer for those that still use it.

        Nothing happens to a key that is in the ring.
        """
        self._dropped.add(key)

    def life(self, life: Life) -> None:
        """Another one than before makes all states anew."""
        if (life.boot, life.tag) != (self._life.boot, self._life.tag):
            self._record.restart()
            self._all_dirty = True
            self._former.clear()
        if self._known is None:
            self._known = dict(life.known)
        self._life = life
        self._ends.own_tag(life.tag)

    def adopt(self, family: Family, states: Mapping[StateId, str]) -> None:
        """States of ours that were found, with their source; before the first `resolve`.

        Those of keys that are not in the ring are only kept, and only if they are named here.
        """
        self._families[family].adopt(states)
        self._adopted_keys.update(key_of(state.spi) for state in states)

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
        mesh = self._families[family]
        for state_id, state in states.items():
            self._touch(mesh.observe_state(state_id, state))
        for policy_id, policy in policies.items():
            for name in mesh.observe_policy(policy_id, policy):
                self._touch(name)

    def _touch(self, name: str) -> None:
        if name:
            self._dirty[name] = None

    # ---------------------------------------------------------------- worked out

    def resolve(self, now: float) -> float:
        """`now`: seconds on any clock that only goes forward.

        Out: when to do it again though nothing was told, infinity for never.
        """
        self._now = now
        self._take_keys()
        due = self._resolve_once()
        while self._dirty or self._all_dirty:
            due = self._resolve_once()
        return due

    def _take_keys(self) -> None:
        before = self._key_picture()
        if self._ring is not None:
            known, self._known = self._known or {}, {}
            left = {
                key: check
                for key, check in known.items()
                if key in self._adopted_keys or self._ring.get(key) == check
            }
            self._keys.remember(left, self._now)
            self._keys.set_ring(self._ring, self._now)
            self._ring = None
        for key in self._dropped:
            self._keys.drop(key, self._now)
        self._dropped.clear()
        self._all_dirty |= self._key_picture() != before

    def _key_picture(self) -> tuple[object, ...]:
        keys = self._keys
        return (dict(keys.alive), keys.order, [keys.phase(key) for key in keys.alive])

    def _resolve_once(self) -> float:
        dirty = self._dirty | self._ends.take_dirty()
        self._dirty = {}
        if self._all_dirty or self._hostname in dirty:
            dirty |= self._set_here()
        dirty.pop(self._hostname, None)
        for name in dirty:
            self._set_peer(name)
        for mesh in self._families.values():
            mesh.resolve_nets()
        self._list_keys()
        for name in dirty:
            self._describe(name)
        return min(self._retire(), self._let_go())

    def _set_here(self) -> dict[str, None]:
        """Out: all peers, if anything about this node is another than before."""
        addresses = self._ends.own_addresses()
        moved = {f: m for f, m in self._families.items() if m.here != addresses.get(f, "")}
        if not moved and not self._all_dirty:
            return {}
        if moved:
            self._record.restart()
        self._all_dirty = False
        keys = self._keys
        makeable = frozenset(key for key in keys.alive if keys.can_be_made(key))
        receives = [key for key in keys.alive if keys.receives(key)]
        for family, mesh in self._families.items():
            mesh.set_here(addresses.get(family, ""), makeable, receives)
        return dict.fromkeys(self._ends.hosts())

    def _set_peer(self, name: str) -> None:
        end = self._ends.end(name)
        keys, order = self._keys, self._keys.order
        choice = choose(
            name,
            end,
            hostname=self._hostname,
            layout=self._settings.layout,
            tag=self._life.tag,
            order=order,
            alive=keys.alive,
        )
        self._choices[name] = choice
        if not self._ends.is_host(name):
            self._forget(name)
            return
        eligible = not excluded(name, end, self._settings.layout)
        usable = common_keys(end.record, order, keys.alive) if choice.key else ()
        gone: list[StateWish] = []
        for family, mesh in self._families.items():
            there = end.addresses.get(family, "")
            peer = Peer(
                there=there or end.hosts.get(family, ""),
                tunnel=self._tunnel(name, end, mesh.here, there) if eligible else None,
                key=choice.key,
                usable=tuple(usable),
                alive=tuple(keys.alive),
                receives=tuple(key for key in keys.alive if keys.receives(key)),
                enabled=end.record.enabled,
                nodes=end.record.node_encryption,
                sends=end.peering(self._hostname).sends != 0,
            )
            gone += mesh.set_peer(name, peer)
        self._keep(name, end, gone, eligible=eligible)
        for key in keys.retired:
            if may_send(end.record, self._hostname, key, keys.alive[key]):
                self._held.add(key, name)
            else:
                self._held.discard(key, name)

    def _tunnel(self, name: str, end: End, here: str, there: str) -> Tunnel | None:
        if not here or not there:
            return None
        if self._shared:
            return Tunnel(name, here, there, shared=True)
        life, record = self._life, end.record
        return Tunnel(
            name,
            here,
            there,
            own_tag=life.tag,
            own_boot=life.boot,
            tag=record.tag,
            boot=record.boot,
        )

    def _forget(self, name: str) -> None:
        """Its node is gone."""
        gone = [wish for mesh in self._families.values() for wish in mesh.set_peer(name, NOBODY)]
        self._keep(name, NO_END, gone, eligible=False)
        self._record.set_peer(name, 0, 0)
        self._choices.pop(name, None)
        for key in list(self._held):
            self._held.discard(key, name)
        for key in list(self._sent):
            self._sent.discard(key, name)

    def _keep(self, name: str, end: End, gone: list[StateWish], *, eligible: bool) -> None:
        """States of another life of a peer, or of one that is off or gone, for a while."""
        former = self._former.get(name)
        if former is None and not gone:
            return
        if former is None:
            former = self._former[name] = _Former(self._now + self._settings.key_grace)
        former.wishes.update({wish.id: wish for wish in gone})
        # In its new life a peer does not send with what it had before, and one that is switched off
        # says when it has come to its end.
        sends = end.peering(self._hostname).sends != 0
        if sends != eligible:
            former.quiet_since = None
        elif former.quiet_since is None:
            former.quiet_since = self._now
        self._put_former(name, former)

    def _put_former(self, name: str, former: _Former) -> None:
        alive, receives = self._keys.alive, self._keys.receives
        for family, mesh in self._families.items():
            wishes = [
                wish
                for wish in former.wishes.values()
                if family_of(wish.id.destination) == family
                and mesh.here in (wish.source, wish.id.destination)
                and (receives(wish.key) if wish.receives else wish.key in alive)
            ]
            mesh.keep(name, wishes)

    def _let_go(self) -> float:
        due = _NEVER
        for name, former in list(self._former.items()):
            before = len(former.wishes)
            due = min(due, former.let_go(self._now))
            if len(former.wishes) != before:
                self._put_former(name, former)
            if not former.wishes:
                del self._former[name]
        return due

    def _list_keys(self) -> None:
        keys = self._keys
        meshes = [mesh for mesh in self._families.values() if mesh.here]
        received = {
            key: bool(meshes) and not any(mesh.is_missing(key) for mesh in meshes)
            for key in keys.alive
            if keys.publishes(key)
        }
        self._record.list_keys(received, keys.alive)

    def _describe(self, name: str) -> None:
        """What the record says of a peer."""
        if name not in self._choices:
            return
        used: set[int] = set()
        for mesh in self._families.values():
            used |= mesh.sent_with(name)
        for key in list(self._sent):
            self._sent.discard(key, name)
        for key in used | {self._choices[name].key} - {0}:
            self._sent.add(key, name)
        self._record.set_peer(name, self._taken_in(name), told(used))

    def _taken_in(self, name: str) -> int:
        """The tag of the peer's receiving states, if they are there."""
        end = self._ends.end(name)
        if excluded(name, end, self._settings.layout):
            return 0
        keys, listed = self._keys, self._record.listed
        made = [key for key in listed if keys.can_be_made(key)]
        # A key that we have no more cannot be made states of: it counts for whom there is no other.
        common = common_keys(end.record, made, keys.alive)
        needed = made if common else common_keys(end.record, listed, keys.alive) + made
        meshes = [m for f, m in self._families.items() if m.here and f in end.addresses]
        there = bool(meshes) and all(mesh.receives(name, needed) for mesh in meshes)
        return end.record.tag if there else 0

    def _retire(self) -> float:
        before = self._key_picture()
        published = self._ends.published()
        due = self._keys.advance(
            self._now,
            held=[key for key in self._keys.retired if key in self._held],
            published=() if published is None else list(published.receive),
            sent=list(self._sent),
        )
        if self._key_picture() != before:
            self._all_dirty = True
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
        return {**(self._known or {}), **self._keys.alive}

    @property
    def needs_new_life(self) -> bool:
        """Another node has our tag, and it is for us to give way."""
        return bool(self._ends.own_rival())

    @property
    def record(self) -> IpsecNode:
        """To be published once the driver's loop has come to rest."""
        return self._record.value(self._life, self._ends.own_addresses())

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
            choose(
                name,
                end,
                hostname=self._hostname,
                layout=self._settings.layout,
                tag=self._life.tag,
                order=self._keys.order,
                alive=self._keys.alive,
            ),
            self._families,
            sends=self._record.peering(name).sends,
            sent=end.peering(self._hostname).sends,
            common=common_keys(end.record, self._keys.order, self._keys.alive),
            allow_clear=self._settings.allow_clear,
        )

    def problems(self) -> dict[str, str]:
        """Subject -> what is wrong."""
        held = {key: set(self._held.get(key)) for key in self._keys.retired}
        found = report.key_problems(self._keys, held, self._ends.records())
        for name in self._ends.nodes():
            end = self._ends.end(name)
            if end.rival:
                found[name] = f"its tag is that of {end.rival} as well"
            elif end.record.enabled and end.record.layout != self._settings.layout:
                found[name] = excluded(name, end, self._settings.layout)
        rival = self._ends.own_rival()
        if rival:
            found[self._hostname] = f"its tag is that of {rival} as well"
        return found
