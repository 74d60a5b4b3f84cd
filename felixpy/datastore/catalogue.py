"""Which file's word is in force for each key.

    in   replace: for some files, all the resources they hold now
    out  flush: the keys whose value differs from the one sent last
         conflicts: resources that are in two files at once

Several files may claim the same resource, or different resources the same key; the earliest claim
is in force, and the next one takes over when it goes, without a moment in between.  Resources that
move between the files of one `replace` keep their value, so nothing is sent for them.  A key that
no file claims has its built-in value, if there is one.

Pure: output is a function of what the files hold and of the order in which they came to hold it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, NamedTuple, TypeVar

from calc_graph.model import Key, Value
from felixpy.datastore.manifest_text import Identity, Placed
from felixpy.datastore.source import Changed

C = TypeVar("C")


class Claimant(NamedTuple):
    file: str
    identity: Identity


class Conflict(NamedTuple):
    """`of` is the resource, or the key, that both claim; `first` is in force."""

    of: str
    first: Claimant
    second: Claimant


class _Claims(Generic[C]):
    """Who claims what, in the order of arrival; nearly every claim has one claimant."""

    def __init__(self) -> None:
        self._claimants: dict[C, list[Claimant]] = {}
        self.contested: dict[
            C, None
        ] = {}  # a dict, not a set: conflicts come out in the order they arose

    def of(self, claim: C) -> list[Claimant]:
        return self._claimants.get(claim, [])

    def add(self, claim: C, claimant: Claimant) -> None:
        claimants = self._claimants.setdefault(claim, [])
        claimants.append(claimant)
        if len(claimants) > 1:
            self.contested[claim] = None

    def discard(self, claim: C, claimant: Claimant) -> None:
        claimants = self._claimants[claim]
        claimants.remove(claimant)
        if len(claimants) < 2:
            self.contested.pop(claim, None)
        if not claimants:
            del self._claimants[claim]


class Catalogue:
    def __init__(self, builtin: Mapping[Key, Value]) -> None:
        self._builtin = builtin
        self._files: dict[str, dict[Identity, Placed]] = {}
        self._by_identity: _Claims[Identity] = _Claims()
        self._by_key: _Claims[Key] = _Claims()
        self._dirty: dict[Key, None] = dict.fromkeys(builtin)
        self._sent: dict[Key, Value] = {}

    def replace(self, files: Mapping[str, dict[Identity, Placed]]) -> None:
        """Each file's whole new content; a file that is gone has an empty one."""
        for file, new in files.items():
            for identity, old in self._files.get(file, {}).items():
                if identity not in new:
                    self._withdraw(Claimant(file, identity), old)
        for file, new in files.items():
            self._enter(file, new)

    def flush(self) -> list[Changed]:
        changes = []
        for key in self._dirty:
            value = self._in_force(key)
            if value == self._sent.get(key):
                continue
            if value is None:
                del self._sent[key]
            else:
                self._sent[key] = value
            changes.append(Changed(key, value))
        self._dirty.clear()
        return changes

    def conflicts(self) -> list[Conflict]:
        found = []
        for identity in self._by_identity.contested:
            first, *others = self._by_identity.of(identity)
            found += [Conflict(str(identity), first, other) for other in others]
        for key in self._by_key.contested:
            rivals = [claimant for claimant in self._by_key.of(key) if self._leads(claimant)]
            found += [Conflict(str(key), rivals[0], rival) for rival in rivals[1:]]
        return found

    def placed(self, claimant: Claimant) -> Placed:
        return self._files[claimant.file][claimant.identity]

    def _enter(self, file: str, new: dict[Identity, Placed]) -> None:
        old = self._files.get(file, {})
        for identity, placed in new.items():
            known = old.get(identity)
            if known is not None and known.resource is placed.resource:
                continue
            claimant = Claimant(file, identity)
            if known is None:
                self._by_identity.add(identity, claimant)
                # the identity's other claimants may have lost or won the lead
                self._touch_rivals(identity)
            self._claim_keys(claimant, known, placed)
        if new:
            self._files[file] = new
        else:
            self._files.pop(file, None)

    def _claim_keys(self, claimant: Claimant, known: Placed | None, placed: Placed) -> None:
        before = dict(known.resource.changes) if known else {}
        after = dict(placed.resource.changes)
        for key in before.keys() - after.keys():
            self._by_key.discard(key, claimant)
            self._dirty[key] = None
        for key, value in after.items():
            if key not in before:
                self._by_key.add(key, claimant)
                self._dirty[key] = None
            elif before[key] != value:
                self._dirty[key] = None

    def _withdraw(self, claimant: Claimant, old: Placed) -> None:
        self._by_identity.discard(claimant.identity, claimant)
        for key, _ in old.resource.changes:
            self._by_key.discard(key, claimant)
            self._dirty[key] = None
        self._touch_rivals(claimant.identity)

    def _touch_rivals(self, identity: Identity) -> None:
        for claimant in self._by_identity.of(identity):
            placed = self._files.get(claimant.file, {}).get(claimant.identity)
            if placed is not None:
                self._dirty |= dict.fromkeys(key for key, _ in placed.resource.changes)

    def _leads(self, claimant: Claimant) -> bool:
        return self._by_identity.of(claimant.identity)[0] == claimant

    def _in_force(self, key: Key) -> Value | None:
        for claimant in self._by_key.of(key):
            if self._leads(claimant):
                changes: dict[Key, Value] = dict(self.placed(claimant).resource.changes)
                return changes[key]
        return self._builtin.get(key)
