"""What has been told of each range of keys, so that a second telling can be compared with it.

    in   put(key, value), delete(key): bytes as etcd has them
    out  what that changes for the graph; what is wrong with which key

Of each resource only a fingerprint of its JSON is kept, and the graph's keys that came of it.  A
resource that cannot be read counts as absent, whatever it was before.
"""

from __future__ import annotations

from typing import NamedTuple

import structlog

from calc_graph.model import Key
from felixpy.datastore.decode import InvalidResourceError, decode_stored
from felixpy.datastore.etcd_keys import KeyRange
from felixpy.datastore.source import Changed, Problems

log = structlog.get_logger(__name__)


class _Held(NamedTuple):
    """`fingerprint` is keyed with a secret of this process, so nobody can make two agree."""

    fingerprint: int
    keys: tuple[Key, ...]


class Holdings:
    def __init__(self, range_: KeyRange, problems: Problems) -> None:
        self.range = range_
        self._problems = problems
        self._held: dict[bytes, _Held] = {}

    def put(self, key: bytes, value: bytes) -> list[Changed]:
        fingerprint = hash(value)
        old = self._held.get(key)
        if old is not None and old.fingerprint == fingerprint:
            return []
        identity = self.range.identity(key)
        if identity is None:
            return []
        where = key.decode()
        try:
            changes = decode_stored(self.range.kind, *identity, value)
        except InvalidResourceError as error:
            changes = ()
            reason = str(error)
            if self._problems.report(where, f"{where}: {reason}"):
                log.warning("resource.invalid", key=where, reason=reason, counts_as="absent")
        else:
            self._problems.clear(where)
        keys = tuple(each for each, _ in changes)
        self._held[key] = _Held(fingerprint, keys)
        gone = [Changed(each, None) for each in (old.keys if old else ()) if each not in keys]
        return gone + [Changed(*change) for change in changes]

    def delete(self, key: bytes) -> list[Changed]:
        old = self._held.pop(key, None)
        if old is None:
            return []
        self._problems.clear(key.decode())
        return [Changed(each, None) for each in old.keys]

    def keys(self) -> set[bytes]:
        return set(self._held)
