"""What has been told of each range of keys, so that a second telling can be compared with it.

    in   put(key, value), delete(key): bytes as etcd has them
    out  what that changes for the graph; what is wrong with which key

Of each resource only a fingerprint of its JSON is kept, and the graph's keys that came of it.  A
resource that cannot be read counts as absent, whatever it was before, or as what
`decode.remainder` leaves of it.

A large cluster has tens of thousands of them, so what is kept of one is a single tuple, under as
much of its key as differs within the range.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec
import structlog

from calc_graph.model import Key
from felixpy.datastore.decode import InvalidResourceError, decode_stored, remainder
from felixpy.datastore.etcd_keys import KeyRange
from felixpy.datastore.source import Changed, Problems

log = structlog.get_logger(__name__)


# A fingerprint, keyed with a secret of this process so that nobody can make two agree, and keys.
_Held: TypeAlias = tuple[int, *tuple[Key, ...]]


_LEFT: Final = {"BGPConfiguration": "its password alone"}
_ENCRYPTED: Final = "encryption required"
_ANSWERED: Final = "CalicoNodeStatus"
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Holdings:
    def __init__(self, range_: KeyRange, problems: Problems) -> None:
        self.range = range_
        self._problems = problems
        self._prefix = range_.prefix.encode()
        self._held: dict[bytes, _Held] = {}  # by what follows the prefix

    def put(self, key: bytes, value: bytes) -> list[Changed]:
        """The key is one of the range."""
        fingerprint = hash(_content(self.range.kind, value))
        rest = key[len(self._prefix) :]
        old = self._held.get(rest)
        if old is not None and old[0] == fingerprint:
            return []
        identity = self.range.identity(key)
        if identity is None:
            return []
        where = key.decode()
        try:
            changes = decode_stored(self.range.kind, *identity, value)
        except InvalidResourceError as error:
            changes = remainder(self.range.kind, *identity, value)
            reason = str(error)
            if self._problems.report(where, f"{where}: {reason}"):
                counts_as = _LEFT.get(self.range.kind, _ENCRYPTED) if changes else "absent"
                log.warning("resource.invalid", key=where, reason=reason, counts_as=counts_as)
        else:
            self._problems.clear(where)
        keys = [each for each, _ in changes]
        self._held[rest] = (fingerprint, *keys)
        gone = [Changed(each, None) for each in (old[1:] if old else ()) if each not in keys]
        return gone + [Changed(*change) for change in changes]

    def delete(self, key: bytes) -> list[Changed]:
        old = self._held.pop(key[len(self._prefix) :], None)
        if old is None:
            return []
        self._problems.clear(key.decode())
        return [Changed(each, None) for each in old[1:]]

    def keys(self) -> set[bytes]:
        return {self._prefix + rest for rest in self._held}


def _content(kind: str, value: bytes) -> bytes:
    """What can mean something to the graph: every node answers in the status of such a resource
    again and again, and all of them see it.
    """
    if kind != _ANSWERED:
        return value
    try:
        fields = _FIELDS.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return value
    return b"\0".join(bytes(fields.get(name, b"")) for name in ("metadata", "spec"))
