"""What is decided of each other node, of all families: its key, what the families are to do for it,
what this node's record says of it.

    in   decide    anything that was told of it, or of this node, is another
         take_keys  the keys are others
         look_at   something was observed of it
         let_go    it is time to give up states of peers as they were
         describe  what the record says is worked out
    out  a Peer for each family; the record

Pure.  Source: sections 5.2 to 5.5 of the IPsec reference.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Final

from calc_graph.model import IpsecPeering
from dataplane.families import Family
from dataplane.ipsec.choice import Choice, choose
from dataplane.ipsec.ends import End, Ends
from dataplane.ipsec.family import FamilyMesh
from dataplane.ipsec.former import Formers
from dataplane.ipsec.life import Life
from dataplane.ipsec.peer import NOBODY, Peer
from dataplane.ipsec.record import Record, told
from dataplane.ipsec.retire import KeyChange, Keys, Picture
from dataplane.ipsec.states import Tunnel
from dataplane.ipsec.usage import Usage
from dataplane.ipsec.values import StateWish
from dataplane.settings import IpsecSettings

_NONE: Final = frozenset[int]()


class Peers:
    """`ends`, `keys` and `families` belong to the mesh, which says when they are others."""

    def __init__(
        self,
        hostname: str,
        settings: IpsecSettings,
        ends: Ends,
        keys: Keys,
        families: Mapping[Family, FamilyMesh],
    ) -> None:
        self._hostname = hostname
        self._layout = settings.layout
        self._shared = settings.layout == "shared"
        self._with_nodes = settings.node_encryption
        self._ends = ends
        self._keys = keys
        self._families = families
        self._former = Formers(settings.key_grace)
        self._have_former = self._former.names
        self.life = Life("", 0)
        self.record = Record(settings)
        self.usage = Usage()
        self.choices: dict[str, Choice] = {}
        self._ends_taken: dict[str, End] = {}  # that these were made for
        self._taken = Picture()  # that all peers were decided on with, or need not be
        self._complete = False  # all receiving states of all keys that are published are there

    def begin_life(self, life: Life) -> None:
        """All states are made anew; all nodes are to be decided on after."""
        self.life = life
        self.record.restart()
        self._former.clear()

    def be_elsewhere(self, *, moved: bool) -> None:
        """This node has another address, if `moved`, or other keys; as with another life."""
        if moved:
            self.record.restart()
        self._taken = self._keys.picture
        self._former.look_at_all()

    def take_keys(self, told: Container[str]) -> list[str] | None:
        """The keys are others; of those in `told` other things are, too, and they are decided on in
        any case.  Out: peers to decide on after; None: it takes `be_elsewhere`.
        """
        keys = self._keys.picture
        change = keys.change_from(self._taken)
        if change is None:
            return None
        self._taken = keys
        self._former.look_at_all()
        for mesh in self._families.values():
            mesh.take_keys(keys, change)
        if change.retired:
            for name, end in self._ends_taken.items():
                if name not in told:
                    self.usage.set_record(name, end.record, self._hostname, keys)
        choices = self.choices.items()
        return [n for n, c in choices if n not in told and self._is_affected(n, c, keys, change)]

    def _is_affected(self, name: str, choice: Choice, keys: Picture, change: KeyChange) -> bool:
        """Whether another key may be chosen for it, or gone on with: it has one of those that are
        offered, or its own is not there any more.  While some are not begun with, only the first of
        all is beyond doubt.
        """
        if change.offered:
            receive = self._ends_taken[name].record.receive
            for key in change.offered:
                if key in receive and receive[key] == keys.checks[key]:
                    return True
        if keys.closing:
            return choice.key != keys.order[0] or choice.key not in keys.published
        return choice.key != 0 and choice.key not in keys.order

    def decide(self, name: str, now: float) -> bool:
        """What was told of it, or of this node, is another; or its node is gone.  Out: whether
        anything of what the record says of it may be another, if all states are there.
        """
        if not self._ends.is_host(name):
            self._forget(name, now)
            return False
        end, before = self._ends.end(name), self._ends_taken.get(name)
        choice = self.choose(name, end)
        is_another = before is None or before.place is not end.place
        if before is not None:
            was = self.choices[name]
            is_another |= was.eligible != choice.eligible or before.record.tag != end.record.tag
            if was.key != choice.key:
                self.usage.set_sent(name, self._used(name), choice.key)
        self.choices[name], self._ends_taken[name] = choice, end
        here: list[StateWish] = []
        for family, mesh in self._families.items():
            gone = mesh.set_peer(name, self._peer(name, end, choice, family, mesh.here))
            if gone is not None:
                is_another = True
                here += gone
        if here or name in self._have_former:
            # In its new life a peer does not send with what it had before, and one that is switched
            # off says when it has come to its end.
            quiet = (end.peering.sends != 0) == choice.eligible
            kept = [wish for wish in here if self._is_of_now(wish)]
            self._former.keep(name, kept, quiet=quiet, now=now)
        keys = self._keys.picture
        if keys.retired:
            self.usage.set_record(name, end.record, self._hostname, keys)
        return is_another

    def _peer(self, name: str, end: End, choice: Choice, family: Family, here: str) -> Peer:
        """`here`: this node's address, "" where there is none."""
        record, place = end.record, end.place
        there = place.addresses.get(family, "")
        tunnel = None
        if choice.eligible and here and there:
            if self._shared:
                tunnel = Tunnel(name, here, there, shared=True)
            else:
                life = self.life
                own = life.tag, life.boot
                tunnel = Tunnel(name, here, there, False, *own, record.tag, record.boot)
        return Peer(
            there or place.hosts.get(family, ""),
            tunnel,
            choice.key,
            choice.usable,
            record.enabled,
            record.node_encryption,
            end.peering.hosts,
        )

    def look_at(self, name: str, now: float) -> bool:
        """Something was observed of it: what was decided stays, but for keys that are on their way
        out, which are taken only where they are in use.  Out: whether policies were among it,
        which is what tells who is sent to with which key.
        """
        if name in self._have_former:
            self._former.look_at(name)
        used = False
        for mesh in self._families.values():
            used |= mesh.look_at(name)
        if used and self._keys.picture.closing and name in self.choices:
            self.decide(name, now)
        return used

    def choose(self, name: str, end: End) -> Choice:
        """What it is sent to with."""
        keys = self._keys.picture
        return choose(
            name,
            end,
            layout=self._layout,
            tag=self.life.tag,
            order=self.usage.order(name, keys) if keys.closing else keys.order,
            alive=keys.checks,
            usable=keys.order,
        )

    def _forget(self, name: str, now: float) -> None:
        """Its node is gone."""
        gone = [w for m in self._families.values() for w in m.set_peer(name, NOBODY) or ()]
        self._former.keep(name, gone, quiet=True, now=now)
        self.record.set_peer(name)
        self.choices.pop(name, None)
        self._ends_taken.pop(name, None)
        self.usage.forget(name)

    def let_go(self, now: float) -> float:
        """States of peers as they were, for a while.  Out: when to look again."""
        due = self._former.let_go(now)
        for name in self._former.take_changed():
            wishes = [wish for wish in self._former.wishes(name) if self._is_of_now(wish)]
            for mesh in self._families.values():
                mesh.keep(name, wishes)
        return due

    def _is_of_now(self, wish: StateWish) -> bool:
        """Whether its key is alive, and it is of this life of this node."""
        if wish.life and self.life.boot not in wish.life:
            return False
        return self._keys.receives(wish.key) if wish.receives else wish.key in self._keys.alive

    def describe(self, changed: Iterable[str], heard: Iterable[str]) -> None:
        """What the record says: of keys, of peers of which anything is another, and of those of
        which something was told, or states were observed.
        """
        was_complete = self._complete
        others_listed = self._list_keys()
        names = dict.fromkeys(changed)
        if not (was_complete and self._complete):
            # Else all was there for each peer, and is: whatever keys are listed.
            names.update(dict.fromkeys(self.choices if others_listed else heard))
        for name in names:
            self._describe(name)

    def _list_keys(self) -> bool:
        """Whether others are published than before."""
        keys = self._keys.picture
        meshes = [mesh for mesh in self._families.values() if mesh.here]
        received = {
            key: bool(meshes) and not any(mesh.is_missing(key) for mesh in meshes)
            for key in keys.published
        }
        changed = self.record.list_keys(received, keys)
        listed = self.record.listed
        # Of a key that no state can be made with, none is expected, so none is ever missing.
        self._complete = bool(listed) and all(received[k] and k in keys.makeable for k in listed)
        return changed

    def _describe(self, name: str) -> None:
        """What the record says of a peer."""
        choice = self.choices.get(name)
        if choice is None:
            return
        used, end = self._used(name), self._ends_taken[name]
        self.usage.set_sent(name, used, choice.key)
        there = choice.eligible and self._has_taken_in(name, end)
        tag = end.record.tag if there else 0
        hosts = self._with_nodes and self._encrypts_hosts(name, end)
        said, sends = self.record.peering(name), told(used)
        if (tag, sends, hosts) != (said.tag, said.sends, said.hosts):
            self.record.set_peer(name, IpsecPeering(tag, sends, hosts))

    def _used(self, name: str) -> frozenset[int]:
        """Keys that ways out to it have in the kernel."""
        used = _NONE
        for mesh in self._families.values():
            keys = mesh.sent_with(name)
            used = used | keys if used else keys
        return used

    def _has_taken_in(self, name: str, end: End) -> bool:
        """Whether all that a peer needs to send to us with is there."""
        if not self._complete and not self.record.listed:
            return False
        needed = () if self._complete else self.record.needed_keys(end.record)
        any_common = False
        for family, mesh in self._families.items():
            if mesh.here and family in end.place.addresses:
                if needed and not mesh.receives(name, needed):
                    return False
                any_common = True
        return any_common

    def _encrypts_hosts(self, name: str, end: End) -> bool:
        families = self._families.items()
        common = [m for f, m in families if m.here and f in end.place.addresses]
        return bool(common) and all(mesh.encrypts_hosts(name) for mesh in common)
